//! Whether two texts are equal, for the names and keys that every decision compares.
//!
//! Those are short, and a call to the C library's comparison costs more than comparing them, most of all
//! where it is handed an empty `Box`, which points at no memory. So a short text is taken for its two ends,
//! a word each, which together are all of it.

/// Texts up to this long are told by their ends.
pub const SHORT: usize = 16;

/// The two ends of a text, which overlap where it is shorter than both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    bytes: usize,
    head: u64,
    tail: u64,
}

impl Ends {
    /// The ends of a text.
    #[inline]
    pub fn of(text: &[u8]) -> Self {
        let eight = |chunk: Option<&[u8; 8]>| chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let four = |chunk: Option<&[u8; 4]>| chunk.map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)));
        let one = |byte: Option<&u8>| byte.map_or(0, |byte| u64::from(*byte));
        let (head, tail) = match text.len() {
            0..4 => ((one(text.first()) << 8) | one(text.get(1)), one(text.last())),
            4..8 => (four(text.first_chunk()), four(text.last_chunk())),
            _ => (eight(text.first_chunk()), eight(text.last_chunk())),
        };
        Self { bytes: text.len(), head, tail }
    }

    /// Whether they are all of the text.
    #[inline]
    pub fn are_all(self) -> bool {
        self.bytes <= SHORT
    }

    /// A hash for tables whose keys nobody outside chooses.
    #[inline]
    pub fn hash(self) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let bytes = u64::try_from(self.bytes).unwrap_or(u64::MAX);
        let mixed = (self.head ^ bytes).wrapping_mul(ODD) ^ self.tail;
        mixed.wrapping_mul(ODD).rotate_left(32)
    }
}

/// Whether two texts are equal.
#[inline(always)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_head), Some(b_head), Some(a_tail), Some(b_tail)) if a.len() <= SHORT => {
            a_head == b_head && a_tail == b_tail
        }
        (Some(_), ..) => a == b,
        _ => Ends::of(a) == Ends::of(b),
    }
}

#[cfg(test)]
mod tests;
