//! Events as Arrow rows, and rows as the same events again.
//!
//! Reading back gives exactly the events that were written, whatever strings and numbers they hold:
//! `verify` makes canonical bytes from these rows, and a byte that differs would look like an edit.
//! Which table an event goes to is decided in [`crate::layout`]; the columns are in
//! [`crate::schema`].

mod call;
mod columns;
mod hex;
mod read;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::error::ArrowError;
use tollbook_engine::{
    Activated, Answered, Body, Carried, ClockBack, Event, Expired, Frozen, Gap, LimitFact, Opened, Outcome, Pruned,
    Record, Reset,
};

use crate::disk;
use crate::schema::{self, Kind};

pub use hex::HexColumn;

pub(crate) use call::{CallReader, Done, read_schema, reads};
pub(crate) use read::{CallEvent, UNREAD, call_bytes, call_events, other_events, outcome_events};

/// Why events can't be made of rows, or rows of events.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The bytes of a record aren't one.
    #[error("undecodable record: {0}")]
    Record(String),
    /// A column isn't there, or holds something else.
    #[error("column `{column}` is missing or isn't {expected}")]
    Column {
        /// The column's name.
        column: &'static str,
        /// The type that it should have.
        expected: arrow::datatypes::DataType,
    },
    /// A value isn't one that the log writes.
    #[error("column `{column}` holds `{found}` in the row of event {seq}")]
    Value {
        /// The column's name.
        column: &'static str,
        /// Sequence number of the row's event, or -1 where that is what is missing.
        seq: i64,
        /// The value.
        found: String,
    },
    /// Arrow refused the data.
    #[error("the rows don't fit the columns")]
    Arrow(#[from] ArrowError),
}

/// The rest of an `opened` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenedDetail {
    engine: String,
    keys_max: u64,
    in_flight_max: u64,
    sessions_max: u64,
    approvals_max: u64,
    rolling_charges_max: u64,
    imported_from: Option<String>,
}

/// The rest of a `gap` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GapDetail {
    calls: Option<u64>,
    cause: String,
}

/// The rest of a `clock_back` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
struct ClockBackDetail {
    behind_us: u64,
}

/// The rest of an `answered` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AnsweredDetail {
    approval: String,
    approved: bool,
    by: Option<String>,
}

/// The rest of an `expired` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpiredDetail {
    approval: String,
}

/// The rest of a `reset` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetDetail {
    counter: Option<String>,
    key: Option<String>,
    by: Option<String>,
}

/// The rest of a `frozen` event, in the column `detail`. The grant has a column of its own.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FrozenDetail {
    frozen: bool,
    by: Option<String>,
}

/// The rest of a `carried` event, in the column `detail`; the SHA-256 in hexadecimal.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedDetail {
    from: Vec<String>,
    sha256: String,
    replays: bool,
}

/// The rest of a `pruned` event, in the column `detail`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PrunedDetail {
    first_seq: u64,
    before_us: i64,
}

/// Rows of `calls`: decisions, with the outcome that goes into each one's row.
pub(crate) fn calls(instance: &str, events: &[Event], done: &[Option<Event>]) -> Result<RecordBatch, RowsError> {
    let records: Vec<&Record> = events.iter().filter_map(record).collect();
    let ends: Vec<Option<(&Event, &Outcome)>> =
        done.iter().map(|event| event.as_ref().and_then(|event| Some((event, outcome(event)?)))).collect();
    let each = || records.iter();
    let end = || ends.iter().map(|end| end.as_ref());
    let columns: Vec<ArrayRef> = vec![
        text(events.iter().map(|_| Some(instance))),
        whole(events.iter().map(|event| Some(event.seq))),
        time(events.iter().map(|event| event.ts_us)),
        text(each().map(|record| Some(record.judged_by.as_str()))),
        text(each().map(|record| Some(&record.server))),
        text(each().map(|record| record.session.as_ref())),
        text(each().map(|record| record.grant.as_ref())),
        text(each().map(|record| record.agent.as_ref())),
        text(each().map(|record| record.request_id.as_ref())),
        text(each().map(|record| record.tool.as_ref())),
        text(each().map(|record| record.args.json.as_ref())),
        text(each().map(|record| Some(record.args.kept.as_str()))),
        texts(each().map(|record| record.args.keys.as_deref()))?,
        text(each().map(|record| record.args.hash.map(|hash| hash.to_string()))),
        whole(each().map(|record| record.args.bytes)),
        text(each().map(|record| record.policy.map(|hash| hash.to_string()))),
        text(each().map(|record| Some(record.mode.as_str()))),
        text(each().map(|record| record.verdict.map(|verdict| verdict.as_str()))),
        text(each().map(|record| record.reason.as_ref())),
        text(each().map(|record| record.rule.as_ref())),
        text(each().map(|record| record.message.as_ref())),
        limits(&records)?,
        whole(each().map(|record| record.decide_ns)),
        text(end().map(|end| end.map(|(_, outcome)| outcome.end.as_str()))),
        time(end().map(|end| end.and_then(|(event, _)| event.ts_us))),
        whole(end().map(|end| end.map(|(event, _)| event.seq))),
        whole(end().map(|end| end.and_then(|(_, outcome)| outcome.upstream_us))),
        whole(end().map(|end| end.and_then(|(_, outcome)| outcome.result_bytes))),
        text(end().map(|end| end.and_then(|(_, outcome)| outcome.result_hash).map(|hash| hash.to_string()))),
        text(each().map(|record| record.trace_id.as_ref())),
        text(each().map(|record| record.label.as_ref())),
        texts(each().map(|record| Some(record.shadow_rules.as_slice())))?,
        whole(each().map(|record| record.loop_period.map(u64::from))),
        whole(each().map(|record| record.loop_repeats.map(u64::from))),
        text(each().map(|record| record.approval.as_ref())),
        text(each().map(|record| record.category.as_ref())),
        whole(each().map(|record| record.continues)),
    ];
    Ok(RecordBatch::try_new(Kind::Calls.schema(), columns)?)
}

/// Rows of `outcomes`.
pub(crate) fn outcomes(instance: &str, events: &[Event]) -> Result<RecordBatch, RowsError> {
    let ends: Vec<&Outcome> = events.iter().filter_map(outcome).collect();
    let each = || ends.iter();
    let columns: Vec<ArrayRef> = vec![
        text(events.iter().map(|_| Some(instance))),
        whole(events.iter().map(|event| Some(event.seq))),
        time(events.iter().map(|event| event.ts_us)),
        whole(each().map(|outcome| Some(outcome.call_seq))),
        text(each().map(|outcome| Some(outcome.end.as_str()))),
        whole(each().map(|outcome| outcome.upstream_us)),
        whole(each().map(|outcome| outcome.result_bytes)),
        text(each().map(|outcome| outcome.result_hash.map(|hash| hash.to_string()))),
    ];
    Ok(RecordBatch::try_new(Kind::Outcomes.schema(), columns)?)
}

/// Rows of `events`.
pub(crate) fn events(instance: &str, events: &[Event]) -> Result<RecordBatch, RowsError> {
    let each = || events.iter().map(|event| &event.body);
    let activated = || {
        each().map(|body| match body {
            Body::Activated(activated) => Some(activated),
            _ => None,
        })
    };
    let columns: Vec<ArrayRef> = vec![
        text(events.iter().map(|_| Some(instance))),
        whole(events.iter().map(|event| Some(event.seq))),
        time(events.iter().map(|event| event.ts_us)),
        text(each().map(|body| Some(kind_word(body)))),
        text(each().map(|body| match body {
            Body::Activated(Activated { server, .. }) => Some(server),
            Body::Carried(Carried { server, .. }) => server.as_ref(),
            _ => None,
        })),
        text(each().map(|body| match body {
            Body::Activated(Activated { grant, .. }) => grant.as_ref(),
            Body::Frozen(Frozen { grant, .. }) => Some(grant),
            _ => None,
        })),
        text(activated().map(|activated| activated.map(|Activated { policy, .. }| policy.to_string()))),
        text(each().map(detail)),
    ];
    Ok(RecordBatch::try_new(Kind::Events.schema(), columns)?)
}

fn kind_word(body: &Body) -> &'static str {
    match body {
        Body::Opened(_) => "opened",
        Body::Activated(_) => "activated",
        Body::Gap(_) => "gap",
        Body::Answered(_) => "answered",
        Body::Expired(_) => "expired",
        Body::Reset(_) => "reset",
        Body::Frozen(_) => "frozen",
        Body::Carried(_) => "carried",
        Body::Pruned(_) => "pruned",
        Body::ClockBack(_) => "clock_back",
        Body::Decision(_) => "decision",
        Body::Outcome(_) => "outcome",
    }
}

fn detail(body: &Body) -> Option<String> {
    let json = match body {
        Body::Opened(Opened { engine, bounds, imported_from }) => serde_json::to_string(&OpenedDetail {
            engine: engine.clone(),
            keys_max: bounds.keys_max,
            in_flight_max: bounds.in_flight_max,
            sessions_max: bounds.sessions_max,
            approvals_max: bounds.approvals_max,
            rolling_charges_max: bounds.rolling_charges_max,
            imported_from: imported_from.clone(),
        }),
        Body::Gap(Gap { calls, cause }) => serde_json::to_string(&GapDetail { calls: *calls, cause: cause.clone() }),
        Body::Answered(Answered { approval, approved, by }) => {
            serde_json::to_string(&AnsweredDetail { approval: approval.clone(), approved: *approved, by: by.clone() })
        }
        Body::Expired(Expired { approval }) => serde_json::to_string(&ExpiredDetail { approval: approval.clone() }),
        Body::Reset(Reset { counter, key, by }) => {
            serde_json::to_string(&ResetDetail { counter: counter.clone(), key: key.clone(), by: by.clone() })
        }
        Body::Frozen(Frozen { frozen, by, .. }) => {
            serde_json::to_string(&FrozenDetail { frozen: *frozen, by: by.clone() })
        }
        Body::Carried(Carried { from, sha256, replays, .. }) => {
            serde_json::to_string(&CarriedDetail { from: from.clone(), sha256: disk::hex(sha256), replays: *replays })
        }
        Body::Pruned(Pruned { first_seq, before_us }) => {
            serde_json::to_string(&PrunedDetail { first_seq: *first_seq, before_us: *before_us })
        }
        Body::ClockBack(ClockBack { behind_us }) => serde_json::to_string(&ClockBackDetail { behind_us: *behind_us }),
        Body::Activated(_) | Body::Decision(_) | Body::Outcome(_) => return None,
    };
    // Strings and numbers always have a JSON text.
    json.ok()
}

fn record(event: &Event) -> Option<&Record> {
    match &event.body {
        Body::Decision(record) => Some(record),
        _ => None,
    }
}

fn outcome(event: &Event) -> Option<&Outcome> {
    match &event.body {
        Body::Outcome(outcome) => Some(outcome),
        _ => None,
    }
}

fn text<S: AsRef<str>>(values: impl Iterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn whole(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|value| value.map(u64::cast_signed)).collect::<Int64Array>())
}

fn flag(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}

fn time(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone(schema::ZONE))
}

fn amount(values: impl Iterator<Item = Option<i64>>) -> Result<ArrayRef, ArrowError> {
    let millionths = values.map(|value| value.map(i128::from)).collect::<Decimal128Array>();
    Ok(Arc::new(millionths.with_precision_and_scale(schema::AMOUNT_PRECISION, schema::AMOUNT_SCALE)?))
}

fn texts<'a>(lists: impl Iterator<Item = Option<&'a [String]>> + Clone) -> Result<ArrayRef, ArrowError> {
    let lengths = OffsetBuffer::from_lengths(lists.clone().map(|list| list.map_or(0, <[String]>::len)));
    let nulls = NullBuffer::from_iter(lists.clone().map(|list| list.is_some()));
    let items = text(lists.flatten().flatten().map(Some));
    Ok(Arc::new(ListArray::try_new(schema::texts_item(), lengths, items, Some(nulls))?))
}

fn limits(records: &[&Record]) -> Result<ArrayRef, ArrowError> {
    let lengths = OffsetBuffer::from_lengths(records.iter().map(|record| record.limits.len()));
    let facts: Vec<&LimitFact> = records.iter().flat_map(|record| &record.limits).collect();
    let each = || facts.iter();
    let columns: Vec<ArrayRef> = vec![
        text(each().map(|fact| Some(&fact.counter))),
        text(each().map(|fact| Some(&fact.owner))),
        text(each().map(|fact| Some(&fact.scope))),
        text(each().map(|fact| Some(&fact.key))),
        whole(each().map(|fact| Some(fact.window_s))),
        flag(each().map(|fact| fact.rolling)),
        time(each().map(|fact| Some(fact.window_start_us))),
        amount(each().map(|fact| Some(fact.used_before_micros)))?,
        amount(each().map(|fact| fact.amount_micros))?,
        amount(each().map(|fact| Some(fact.max_micros)))?,
        time(each().map(|fact| fact.frees_at_us)),
        flag(each().map(|fact| fact.shadow)),
    ];
    let items = StructArray::try_new(schema::limit_fields(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(schema::limits_item(), lengths, Arc::new(items), None)?))
}

#[cfg(test)]
mod tests;
