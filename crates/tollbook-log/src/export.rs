//! The calls of a log in formats that others read, each with its outcome wherever that was recorded.
//!
//! The columns are those of [`crate::schema::calls`], in the log's order: by instance, then by sequence.
//! In CSV, which has no lists, a list is its JSON text.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use tollbook_engine::{Body, Event};

use crate::layout::BATCH_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::rows::{self, CallEvent, RowsError};
use crate::schema::Kind;
use crate::seal;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file, as sealed ones are.
    Parquet,
}

/// Calls from an instant up to another, in microseconds since 1970; half-open. Calls without a time are
/// outside of every range that has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first instant.
    pub from_us: Option<i64>,
    /// The instant after the last.
    pub to_us: Option<i64>,
}

impl TimeRange {
    fn holds(&self, ts_us: Option<i64>) -> bool {
        match ts_us {
            None => self.from_us.is_none() && self.to_us.is_none(),
            Some(ts) => self.from_us.is_none_or(|from| from <= ts) && self.to_us.is_none_or(|to| ts < to),
        }
    }
}

/// Calls by their instance and sequence number, as the answer to a query names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named(BTreeMap<String, BTreeSet<u64>>);

impl Named {
    /// Adds the calls of a batch whose first column is the instance and whose second one the sequence number.
    /// A batch without these columns names none.
    ///
    /// # Errors
    /// Where the columns are no text and no number.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let [instances, seqs, ..] = batch.columns() else { return Ok(()) };
        let instances = cast(instances, &DataType::Utf8)?;
        let seqs = cast(seqs, &DataType::UInt64)?;
        for (instance, seq) in instances.as_string::<i32>().iter().zip(seqs.as_primitive::<UInt64Type>()) {
            let (Some(instance), Some(seq)) = (instance, seq) else { continue };
            match self.0.get_mut(instance) {
                Some(named) => drop(named.insert(seq)),
                None => drop(self.0.insert(instance.to_owned(), BTreeSet::from([seq]))),
            }
        }
        Ok(())
    }

    fn holds(&self, instance: &str, seq: u64) -> bool {
        self.0.get(instance).is_some_and(|named| named.contains(&seq))
    }
}

/// Which calls are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// Those of this time.
    pub range: TimeRange,
    /// Of them those that are named; all of them where there is no list.
    pub named: Option<Named>,
}

impl Choice {
    fn holds(&self, instance: &str, event: &Event) -> bool {
        self.range.holds(event.ts_us) && self.named.as_ref().is_none_or(|named| named.holds(instance, event.seq))
    }
}

/// Why calls can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Rows can't be made.
    #[error("cannot make rows of the calls")]
    Rows(#[from] RowsError),
    /// JSON or CSV couldn't be written.
    #[error("cannot write the calls")]
    Arrow(#[from] ArrowError),
    /// Parquet couldn't be written.
    #[error("cannot write the calls as Parquet")]
    Parquet(#[from] ParquetError),
}

/// Writes the calls that were chosen, and says how many there are.
///
/// # Errors
/// Where the log can't be read or the output refuses.
pub fn export(reader: &Reader, format: Format, choice: &Choice, out: impl Write + Send) -> Result<u64, ExportError> {
    let mut sink = Sink::new(format, out)?;
    let mut late: BTreeMap<(String, u64), Event> = BTreeMap::new();
    for (instance, event) in reader.late_outcomes()? {
        if let Body::Outcome(outcome) = &event.body {
            late.entry((instance, outcome.call_seq)).or_insert(event);
        }
    }
    let mut calls = 0;
    let instances: Vec<String> = reader.instances().map(str::to_owned).collect();
    for instance in instances {
        let mut events: Vec<Event> = Vec::new();
        let mut done: Vec<Option<Event>> = Vec::new();
        for call in reader.calls(&instance)? {
            let (event, end): CallEvent = call?;
            if !choice.holds(&instance, &event) {
                continue;
            }
            let end = end.or_else(|| late.remove(&(instance.clone(), event.seq)));
            events.push(event);
            done.push(end);
            calls += 1;
            if events.len() == BATCH_ROWS_MAX {
                sink.write(&rows::calls(&instance, &events, &done)?)?;
                events.clear();
                done.clear();
            }
        }
        if !events.is_empty() {
            sink.write(&rows::calls(&instance, &events, &done)?)?;
        }
    }
    sink.finish()?;
    Ok(calls)
}

/// An event as a row of its table, in JSON.
///
/// # Errors
/// Where it can't be made a row.
pub fn to_json(instance: &str, event: &Event) -> Result<String, ExportError> {
    let events = std::slice::from_ref(event);
    let batch = match event.body {
        Body::Decision(_) => rows::calls(instance, events, &[None]),
        Body::Outcome(_) => rows::outcomes(instance, events),
        _ => rows::events(instance, events),
    };
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().build::<_, LineDelimited>(&mut text);
    writer.write(&offset(&batch?)?)?;
    writer.finish()?;
    drop(writer);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

enum Sink<W: Write + Send> {
    Jsonl(arrow::json::Writer<W, LineDelimited>),
    Csv(Box<csv::Writer<W>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Sink<W> {
    fn new(format: Format, out: W) -> Result<Self, ExportError> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(WriterBuilder::new().with_explicit_nulls(true).build(out)),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
                // The header, also where there is no call.
                writer.write(&flat(&RecordBatch::new_empty(Kind::Calls.schema()))?)?;
                Self::Csv(Box::new(writer))
            }
            Format::Parquet => {
                let properties = seal::properties(Kind::Calls, BATCH_ROWS_MAX);
                Self::Parquet(Box::new(ArrowWriter::try_new(out, Kind::Calls.schema(), Some(properties))?))
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(writer) => writer.write(&offset(batch)?)?,
            Self::Csv(writer) => writer.write(&flat(batch)?)?,
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(mut writer) => writer.finish()?,
            Self::Csv(_) => {}
            Self::Parquet(writer) => drop(writer.close()?),
        }
        Ok(())
    }
}

/// The batch with each list as its JSON text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let batch = offset(batch)?;
    let schema = batch.schema();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if matches!(field.data_type(), DataType::List(_)) {
            fields.push(Field::new(field.name(), DataType::Utf8, field.is_nullable()));
            columns.push(Arc::new(json_texts(field, column)?));
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The batch with the zone `UTC` as `+00:00`, which Arrow writes as text without a table of zones.
fn offset(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(zoned(field.data_type()))).collect();
    let columns = batch.columns().iter().zip(&fields).map(|(column, field)| cast(column, field.data_type()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect::<Result<_, _>>()?)
}

fn zoned(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(zoned(field.data_type())));
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn json_texts(field: &Field, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let alone = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![Arc::clone(column)])?;
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
    writer.write(&alone)?;
    writer.finish()?;
    drop(writer);
    let text = String::from_utf8_lossy(&text);
    let (before, after) = (format!("{{\"{}\":", field.name()), "}");
    let values = text.lines().map(|line| line.strip_prefix(&before)?.strip_suffix(after));
    Ok(values.zip(0..).map(|(value, row)| value.filter(|_| column.is_valid(row))).collect())
}

#[cfg(test)]
mod tests;
