//! Hexadecimal digits, as hashes are written. Two hashes are read for each call of a log, so the digits are worked on
//! side by side, each in a byte of one word.

/// The bytes that so many digits are, twice as many, in either case. None where they aren't. `N` is a multiple of four.
#[must_use]
#[inline]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (words, over) = bytes.as_chunks_mut::<4>();
    let (digits, rest) = text.as_bytes().as_chunks::<8>();
    if !over.is_empty() || !rest.is_empty() || words.len() != digits.len() {
        return None;
    }
    for (word, digits) in words.iter_mut().zip(digits) {
        *word = eight_digits(*digits)?.to_be_bytes();
    }
    Some(bytes)
}

/// The number that eight digits are.
#[inline]
fn eight_digits(digits: [u8; 8]) -> Option<u32> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let digits = u64::from_be_bytes(digits);
    // What tells a capital from its small letter is set in a decimal digit anyway.
    let small = digits | (0x20 * EACH);
    let letters = digits >> 6 & EACH;
    let values = (digits & (0x0f * EACH)) + 9 * letters;
    // The digits that these values have: whatever isn't among them was no digit.
    let from_ten = (values + 6 * EACH) >> 4 & EACH;
    let no_letter_and_no_digit = !(digits >> 5) & !letters & EACH;
    if values + 0x30 * EACH + 0x27 * from_ten != small || no_letter_and_no_digit != 0 {
        return None;
    }
    let bytes = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    u32::try_from((halves | halves >> 16) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::{eight_digits, from_hex};

    #[test]
    fn what_is_no_digit_is_none_in_any_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0f9aA0F8";
                digits[place] = byte;
                let text: Option<String> = std::str::from_utf8(&digits).ok().map(str::to_owned);
                // A sign is none of the digits that the library takes for one.
                let expect =
                    text.filter(|text| !text.starts_with('+')).and_then(|text| u32::from_str_radix(&text, 16).ok());
                assert_eq!(eight_digits(digits), expect, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn length_is_exact() {
        assert_eq!(from_hex::<4>("0123abcd"), Some([0x01, 0x23, 0xab, 0xcd]));
        assert_eq!(from_hex::<8>("00000000ffffffff"), Some([0, 0, 0, 0, 255, 255, 255, 255]));
        for text in ["", "0123abc", "0123abcde", "0123abcd0123abcd", "0123abcé"] {
            assert_eq!(from_hex::<4>(text), None, "{text}");
        }
    }
}
