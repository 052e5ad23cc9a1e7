//! Which row of which table an event becomes.
//!
//! A decision is a row of `calls`, in the partition of its UTC day. An outcome goes into its call's
//! row where both lie in the same batch of records, and to `outcomes` otherwise; so does a second
//! outcome of one call, or one that names something else than an earlier call, because the tables
//! must hold whatever the log held. Nothing is decoded twice at once: a layout keeps the canonical
//! bytes, and the rows are made a few thousand at a time.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tollbook_engine::Event;

use crate::rows::{self, RowsError};
use crate::schema::Kind;

/// Most rows of one batch.
pub(crate) const BATCH_ROWS_MAX: usize = 8192;
/// A batch is ended once its records take this many bytes. Arrow's texts hold 2 GiB a column at most, and a
/// record is at most 16 MiB.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Canonical records, sorted into tables.
#[derive(Debug, Default)]
pub(crate) struct Layout<'a> {
    /// Calls by UTC day; none is the day of those without a time that the calendar knows.
    pub calls: BTreeMap<Option<Date>, Vec<CallAt<'a>>>,
    pub outcomes: Vec<&'a [u8]>,
    pub events: Vec<&'a [u8]>,
}

/// A call's record and its outcome's, where they are in one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallAt<'a> {
    pub record: &'a [u8],
    pub done: Option<&'a [u8]>,
}

impl<'a> Layout<'a> {
    /// Sorts records of one instance, which are in order.
    pub fn of(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RowsError> {
        let mut layout = Self::default();
        let mut calls: BTreeMap<u64, (Option<Date>, CallAt<'a>)> = BTreeMap::new();
        for bytes in records {
            match peek(bytes).map_err(|error| RowsError::Record(error.to_string()))? {
                Peek::Decision { seq, ts_us } => {
                    calls.insert(seq, (ts_us.and_then(utc_day), CallAt { record: bytes, done: None }));
                }
                Peek::Outcome { call_seq } => match calls.get_mut(&call_seq) {
                    Some((_, call)) if call.done.is_none() => call.done = Some(bytes),
                    _ => layout.outcomes.push(bytes),
                },
                Peek::Other => layout.events.push(bytes),
            }
        }
        for (day, call) in calls.into_values() {
            layout.calls.entry(day).or_default().push(call);
        }
        Ok(layout)
    }

    /// Every row of a table, whatever its day, in order of day and then of sequence.
    pub fn batches(&self, kind: Kind, instance: &str) -> Result<Vec<RecordBatch>, RowsError> {
        match kind {
            Kind::Calls => {
                let calls: Vec<CallAt<'_>> = self.calls.values().flatten().copied().collect();
                call_batches(instance, &calls).collect()
            }
            Kind::Outcomes => other_batches(kind, instance, &self.outcomes).collect(),
            Kind::Events => other_batches(kind, instance, &self.events).collect(),
        }
    }
}

/// The rows of some calls, a batch at a time.
pub(crate) fn call_batches<'a>(
    instance: &'a str,
    calls: &'a [CallAt<'a>],
) -> impl Iterator<Item = Result<RecordBatch, RowsError>> + Send + 'a {
    let bytes = |call: &CallAt<'_>| call.record.len() + call.done.map_or(0, <[u8]>::len);
    chunks(calls, bytes).map(move |chunk| {
        let events = chunk.iter().map(|call| decode(call.record)).collect::<Result<Vec<_>, _>>()?;
        let done = chunk.iter().map(|call| call.done.map(decode).transpose()).collect::<Result<Vec<_>, _>>()?;
        rows::calls(instance, &events, &done)
    })
}

/// The rows of some outcomes or other events, a batch at a time.
pub(crate) fn other_batches<'a>(
    kind: Kind,
    instance: &'a str,
    records: &'a [&'a [u8]],
) -> impl Iterator<Item = Result<RecordBatch, RowsError>> + Send + 'a {
    chunks(records, |record| record.len()).map(move |chunk| {
        let events = chunk.iter().map(|record| decode(record)).collect::<Result<Vec<_>, _>>()?;
        match kind {
            Kind::Outcomes => rows::outcomes(instance, &events),
            Kind::Calls | Kind::Events => rows::events(instance, &events),
        }
    })
}

fn chunks<T: Sync>(all: &[T], bytes: impl Fn(&T) -> usize + Send) -> impl Iterator<Item = &[T]> + Send {
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut total = 0_usize;
        let fits = |item: &T| {
            let before = total;
            total = total.saturating_add(bytes(item));
            before < BATCH_BYTES_MAX
        };
        let rows = rest.iter().take(BATCH_ROWS_MAX).map(fits).take_while(|fits| *fits).count();
        let (chunk, left) = rest.split_at_checked(rows)?;
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// As much of an event as tells where it goes.
enum Peek {
    Decision { seq: u64, ts_us: Option<i64> },
    Outcome { call_seq: u64 },
    Other,
}

/// Reads the beginning of a record's canonical bytes; see [`Event`] and [`tollbook_engine::Body`].
fn peek(record: &[u8]) -> Result<Peek, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(record);
    decoder.array()?;
    let (seq, ts_us) = (decoder.u64()?, decoder.decode()?);
    decoder.array()?;
    let variant = decoder.u64()?;
    Ok(match variant {
        2 => Peek::Decision { seq, ts_us },
        3 => {
            decoder.array()?;
            decoder.array()?;
            Peek::Outcome { call_seq: decoder.u64()? }
        }
        _ => Peek::Other,
    })
}

fn decode(record: &[u8]) -> Result<Event, RowsError> {
    Event::from_bytes(record).map_err(RowsError::Record)
}

/// The UTC day of an instant; none outside of the years 0 to 9999.
pub(crate) fn utc_day(ts_us: i64) -> Option<Date> {
    let instant = jiff::Timestamp::from_microsecond(ts_us).ok()?;
    Some(instant.to_zoned(TimeZone::UTC).date()).filter(|date| date.year() >= 0)
}
