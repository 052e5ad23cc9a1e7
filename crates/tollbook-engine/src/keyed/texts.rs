//! The two texts of a key, short ones where they stand.
//!
//! Most keys are short: the name of a session or of a grant. In memory of its own such a key would be one more
//! line of the cache at each look-up, and as large again.

use tollbook_policy::same::same;

/// Most bytes of both texts that stand where they are, which makes [`Texts`] half a line of the cache.
const SHORT_MAX: usize = 29;

/// Two texts, one after the other, and where the first ends.
#[derive(Debug)]
pub(super) enum Texts {
    Short { first: u8, both: u8, bytes: [u8; SHORT_MAX] },
    Long { first: usize, bytes: Box<[u8]> },
}

impl Default for Texts {
    fn default() -> Self {
        Self::Short { first: 0, both: 0, bytes: [0; SHORT_MAX] }
    }
}

impl Texts {
    pub fn new(first: &str, second: &str) -> Self {
        let both = first.len().saturating_add(second.len());
        let mut bytes = [0; SHORT_MAX];
        if let (Ok(first_bytes), Ok(both_bytes), Some(to)) =
            (u8::try_from(first.len()), u8::try_from(both), bytes.get_mut(..both))
        {
            to.iter_mut().zip(first.bytes().chain(second.bytes())).for_each(|(to, byte)| *to = byte);
            return Self::Short { first: first_bytes, both: both_bytes, bytes };
        }
        Self::Long { first: first.len(), bytes: [first, second].concat().into_bytes().into() }
    }

    /// Whether these are they.
    #[inline(always)]
    pub fn are(&self, first: &str, second: &str) -> bool {
        let (first_bytes, both) = self.both();
        if first_bytes != first.len() {
            return false;
        }
        if first_bytes == 0 {
            return same(both, second.as_bytes());
        }
        let parts = both.split_at_checked(first_bytes);
        parts.is_some_and(|(head, rest)| same(rest, second.as_bytes()) && same(head, first.as_bytes()))
    }

    /// Both texts.
    pub fn texts(&self) -> (&str, &str) {
        let (first, second) = self.bytes();
        // They were texts when they came.
        (std::str::from_utf8(first).unwrap_or_default(), std::str::from_utf8(second).unwrap_or_default())
    }

    /// The bytes of both texts.
    pub fn bytes(&self) -> (&[u8], &[u8]) {
        let (first_bytes, both) = self.both();
        both.split_at_checked(first_bytes).unwrap_or_default()
    }

    fn both(&self) -> (usize, &[u8]) {
        match self {
            Self::Short { first, both, bytes } => {
                (usize::from(*first), bytes.get(..usize::from(*both)).unwrap_or_default())
            }
            Self::Long { first, bytes } => (*first, bytes),
        }
    }
}

#[cfg(test)]
mod tests;
