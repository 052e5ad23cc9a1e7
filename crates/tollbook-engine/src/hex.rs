//! Hexadecimal digits, as hashes are written.

/// The bytes that so many digits are, twice as many, in either case. None where they aren't.
#[must_use]
#[inline]
pub fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    read_hex(text, &mut bytes).then_some(bytes)
}

/// Reads them where they are to stay. False where the text isn't so many digits: then the bytes are anything.
#[inline]
pub fn read_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    // The library would take `0x` before the digits, too.
    text.len() == 2 * bytes.len() && const_hex::decode_to_slice(text, bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::from_hex;

    #[test]
    fn what_is_no_digit_is_none_in_any_place() {
        for place in 0..32 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0f9aA0F80123456789abcdefABCDEF77";
                digits[place] = byte;
                let expect: Option<Vec<u8>> = digits
                    .chunks(2)
                    .map(|pair| {
                        let nibble =
                            |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
                        Some(nibble(pair[0])? << 4 | nibble(pair[1])?)
                    })
                    .collect();
                assert_eq!(from_hex::<16>(&digits).map(Vec::from), expect, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn length_is_exact() {
        assert_eq!(from_hex::<4>(b"0123abcd"), Some([0x01, 0x23, 0xab, 0xcd]));
        assert_eq!(from_hex::<8>(b"00000000ffffffff"), Some([0, 0, 0, 0, 255, 255, 255, 255]));
        for text in ["", "0123abc", "0123abcde", "0123abcd0123abcd", "0123abc\u{e9}", "0x0123abcd", "0x0123ab"] {
            assert_eq!(from_hex::<4>(text.as_bytes()), None, "{text}");
        }
    }
}
