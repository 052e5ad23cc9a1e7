//! Hashes of a batch of rows, read at once.

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use tollbook_engine::read_hex;

/// A column of hashes in hexadecimal digits. They are read at once: a call for the few digits of each row takes longer
/// than they do.
#[derive(Debug, Default)]
pub struct HexColumn {
    offsets: Option<OffsetBuffer<i32>>,
    /// What all digits of all rows are, one text after the other. Empty where any isn't a digit.
    read: Vec<u8>,
}

impl HexColumn {
    /// Reads the digits.
    #[must_use]
    pub fn new(texts: &StringArray) -> Self {
        let offsets = texts.offsets().clone();
        let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        let digits = texts.value_data().get(place(offsets.first())..place(offsets.last())).unwrap_or_default();
        let mut read = vec![0; digits.len() / 2];
        if !read_hex(digits, &mut read) {
            read.clear();
        }
        Self { offsets: Some(offsets), read }
    }

    /// A row's hash, where all rows have nothing but digits, and this one as many as a hash has.
    #[must_use]
    #[inline]
    pub fn hash(&self, row: usize) -> Option<&[u8; 16]> {
        let offsets = self.offsets.as_ref()?;
        let digits = offsets.get(row)?..offsets.get(row + 1)?;
        let before = usize::try_from(digits.start - offsets.first()?).ok()?;
        let is_whole = digits.end - digits.start == 32 && before.is_multiple_of(2);
        self.read.get(before / 2..).filter(|_| is_whole)?.first_chunk()
    }
}
