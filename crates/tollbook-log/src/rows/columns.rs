//! Columns of a batch by name, their types known, and their values one by one.

use std::ops::Range;

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Int32Array, Int64Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use tollbook_engine::{Hash128, from_hex};

use super::RowsError;
use super::hex::HexColumn;
use crate::schema::Column;

/// Whether there is a value in the row.
#[inline]
pub(super) fn item(array: &impl Array, row: usize) -> bool {
    row < array.len() && array.nulls().is_none_or(|nulls| nulls.is_valid(row))
}

/// The number in the row.
#[inline]
fn number<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    let number = *array.values().get(row)?;
    array.nulls().is_none_or(|nulls| nulls.is_valid(row)).then_some(number)
}

/// Where columns are looked up by name.
pub(super) enum Table<'a> {
    Batch(&'a RecordBatch),
    Items(&'a StructArray),
}

impl<'a> Table<'a> {
    fn typed<A: Clone + 'static>(
        &self,
        column: &Column,
        downcast: impl Fn(&'a dyn Array) -> Option<&'a A>,
    ) -> Result<Typed<A>, RowsError> {
        let array = match self {
            Self::Batch(batch) => batch.column_by_name(column.name),
            Self::Items(items) => items.column_by_name(column.name),
        };
        let array = array.and_then(|array| downcast(array)).ok_or_else(|| mistyped(column))?;
        // The values are shared.
        Ok(Typed { column: *column, array: array.clone() })
    }

    pub fn has(&self, column: &Column) -> bool {
        match self {
            Self::Batch(batch) => batch.column_by_name(column.name).is_some(),
            Self::Items(items) => items.column_by_name(column.name).is_some(),
        }
    }

    pub fn texts(&self, column: &Column) -> Result<Texts, RowsError> {
        if let Ok(Typed { array, .. }) = self.typed(column, |array| array.as_dictionary_opt::<Int32Type>()) {
            let values = array.values().as_string_opt::<i32>().cloned().ok_or_else(|| mistyped(column))?;
            return Ok(Texts { column: *column, values, keys: Some(array.keys().clone()) });
        }
        let Typed { column, array } = self.typed(column, |array| array.as_string_opt::<i32>())?;
        Ok(Texts { column, values: array, keys: None })
    }

    /// A column of words, each of which stands for something.
    pub fn words<T>(&self, column: &Column, parse: impl Fn(&str) -> Option<T>) -> Result<Words<T>, RowsError> {
        let texts = self.texts(column)?;
        let means = texts.values.iter().map(|text| text.and_then(&parse)).collect();
        Ok(Words { texts, means })
    }

    pub fn hashes(&self, column: &Column) -> Result<Hashes, RowsError> {
        self.texts(column).map(Hashes::new)
    }

    pub fn wholes(&self, column: &Column) -> Result<Wholes, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<Int64Type>())
    }

    pub fn times(&self, column: &Column) -> Result<Times, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<TimestampMicrosecondType>())
    }

    pub fn amounts(&self, column: &Column) -> Result<Typed<Decimal128Array>, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<Decimal128Type>())
    }

    pub fn lists(&self, column: &Column) -> Result<Typed<ListArray>, RowsError> {
        self.typed(column, |array| array.as_list_opt::<i32>())
    }

    pub fn flags(&self, column: &Column) -> Result<Typed<BooleanArray>, RowsError> {
        self.typed(column, |array| array.as_boolean_opt())
    }
}

fn mistyped(column: &Column) -> RowsError {
    RowsError::Column { column: column.name, expected: column.cell.data_type() }
}

fn wrong(column: &Column, seq: u64, found: &str) -> RowsError {
    RowsError::Value { column: column.name, seq: seq.cast_signed(), found: found.to_owned() }
}

/// A column of a batch, its type known.
pub(super) struct Typed<A> {
    column: Column,
    pub array: A,
}

/// A column of texts, each of its own or one of few.
pub(super) struct Texts {
    column: Column,
    values: StringArray,
    /// By row, which of the values it is.
    keys: Option<Int32Array>,
}

/// A column of words, and what each of them stands for, looked up once in a batch.
pub(super) struct Words<T> {
    texts: Texts,
    means: Vec<Option<T>>,
}

/// A column of hashes in hexadecimal digits.
pub(super) struct Hashes {
    texts: Texts,
    read: HexColumn,
}

pub(super) type Wholes = Typed<Int64Array>;
pub(super) type Times = Typed<TimestampMicrosecondArray>;

impl<A> Typed<A> {
    pub fn mistyped(&self) -> RowsError {
        mistyped(&self.column)
    }

    pub fn wrong(&self, seq: u64, found: &str) -> RowsError {
        wrong(&self.column, seq, found)
    }

    pub fn null(&self, seq: u64) -> RowsError {
        self.wrong(seq, "null")
    }
}

impl Texts {
    /// Whether no row has a text.
    pub fn are_null(&self) -> bool {
        match &self.keys {
            None => self.values.null_count() == self.values.len(),
            Some(keys) => keys.null_count() == keys.len(),
        }
    }

    /// Ten of them are asked for with each call that is replayed, and a function's way in and out is half of it.
    #[inline(always)]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.coded(row).0
    }

    /// Where the row's text stands among the values.
    #[inline(always)]
    fn place(&self, row: usize) -> Option<usize> {
        match &self.keys {
            None => Some(row),
            Some(keys) => number(keys, row).and_then(|key| usize::try_from(key).ok()),
        }
    }

    /// The row's text, and which of the values it is where they are numbered.
    #[inline(always)]
    pub fn coded(&self, row: usize) -> (Option<&str>, u32) {
        let Some(place) = self.place(row) else { return (None, 0) };
        let text = item(&self.values, place).then(|| self.values.value(place));
        (text, u32::try_from(place).unwrap_or(0))
    }

    /// Whether the values are numbered.
    pub fn are_coded(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether equal numbers are equal texts, here and there: the values are the same memory.
    pub fn are_coded_as(&self, other: &Self) -> bool {
        let (values, others) = (&self.values, &other.values);
        values.values().ptr_eq(others.values())
            && values.offsets().inner().inner().ptr_eq(others.offsets().inner().inner())
    }

    pub fn wrong(&self, seq: u64, found: &str) -> RowsError {
        wrong(&self.column, seq, found)
    }

    pub fn null(&self, seq: u64) -> RowsError {
        self.wrong(seq, "null")
    }

    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<&str, RowsError> {
        self.get(row).ok_or_else(|| self.null(seq))
    }

    #[inline]
    pub fn parsed<T>(&self, row: usize, seq: u64, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, RowsError> {
        self.get(row).map(|text| parse(text).ok_or_else(|| self.wrong(seq, text))).transpose()
    }
}

impl Hashes {
    fn new(texts: Texts) -> Self {
        let read = if texts.keys.is_some() { HexColumn::default() } else { HexColumn::new(&texts.values) };
        Self { texts, read }
    }

    /// Reads a row's hash where it is to stay: moving one just after it was written stalls.
    #[inline]
    pub fn fill(&self, row: usize, seq: u64, to: &mut Option<Hash128>) -> Result<(), RowsError> {
        if let (Some(bytes), true) = (self.read.hash(row), item(&self.texts.values, row)) {
            *to = Some(Hash128(*bytes));
            return Ok(());
        }
        let Some(text) = self.texts.get(row) else {
            *to = None;
            return Ok(());
        };
        *to = from_hex(text.as_bytes()).map(Hash128);
        if to.is_some() { Ok(()) } else { Err(self.texts.wrong(seq, text)) }
    }
}

impl<T: Copy> Words<T> {
    /// None where there is no word.
    #[inline]
    pub fn get(&self, row: usize, seq: u64) -> Result<Option<T>, RowsError> {
        let known = self.texts.place(row).and_then(|place| *self.means.get(place)?);
        if known.is_some() {
            return Ok(known);
        }
        self.texts.get(row).map_or(Ok(None), |text| Err(self.texts.wrong(seq, text)))
    }

    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<T, RowsError> {
        self.get(row, seq)?.ok_or_else(|| self.texts.null(seq))
    }
}

impl Wholes {
    /// Whether no row has a number.
    pub fn are_null(&self) -> bool {
        self.array.null_count() == self.array.len()
    }

    #[inline]
    pub fn unsigned(&self, row: usize) -> Option<u64> {
        number(&self.array, row).map(i64::cast_unsigned)
    }

    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        number(&self.array, row).ok_or_else(|| self.null(seq))
    }

    #[inline]
    pub fn small(&self, row: usize, seq: u64) -> Result<Option<u32>, RowsError> {
        let wrong = |value: u64| self.wrong(seq, &value.to_string());
        self.unsigned(row).map(|value| u32::try_from(value).map_err(|_| wrong(value))).transpose()
    }
}

impl Typed<ListArray> {
    /// The places of a row's items among all items; none where the row is null.
    #[inline]
    pub fn items(&self, row: usize) -> Option<Range<usize>> {
        let offset = |at: usize| self.array.value_offsets().get(at).and_then(|offset| usize::try_from(*offset).ok());
        if !item(&self.array, row) {
            return None;
        }
        Some(offset(row)?..offset(row + 1)?)
    }

    /// All items of all rows, which are texts.
    pub fn texts(&self) -> Result<StringArray, RowsError> {
        self.array.values().as_string_opt::<i32>().cloned().ok_or_else(|| self.mistyped())
    }
}

impl Times {
    #[inline]
    pub fn get(&self, row: usize) -> Option<i64> {
        number(&self.array, row)
    }

    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        self.get(row).ok_or_else(|| self.null(seq))
    }
}

impl Typed<BooleanArray> {
    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<bool, RowsError> {
        item(&self.array, row).then(|| self.array.value(row)).ok_or_else(|| self.null(seq))
    }
}

impl Typed<Decimal128Array> {
    #[inline]
    pub fn micros(&self, row: usize, seq: u64) -> Result<Option<i64>, RowsError> {
        let Some(value) = number(&self.array, row) else { return Ok(None) };
        i64::try_from(value).map(Some).map_err(|_| self.wrong(seq, &value.to_string()))
    }

    #[inline]
    pub fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        self.micros(row, seq)?.ok_or_else(|| self.null(seq))
    }
}

#[cfg(test)]
mod tests;
