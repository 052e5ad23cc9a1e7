//! The columns of the log, in one place.
//!
//! Parquet files and the open segment as SQL sees it have the same columns, and nothing outside of
//! this module knows a column's name but SQL. A call is one row of `calls`, its outcome in the same
//! row where both were sealed together; an outcome that came later is a row of `outcomes`; whatever
//! else a replay needs is a row of `events`. Together the three tables hold every event exactly, so
//! that its canonical bytes can be made again from Parquet.
//!
//! A column is only ever added, nullable and at the end. None is renamed, retyped or removed: a
//! reader takes a nullable column that an older file lacks as null.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

/// Decimal digits of an amount: enough for every 64-bit count of millionths.
pub const AMOUNT_PRECISION: u8 = 19;
/// Decimal places of an amount.
pub const AMOUNT_SCALE: i8 = 6;
/// The zone of every time in the log.
pub const ZONE: &str = "UTC";

/// A column: what it is called, what it holds, and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name in Parquet and in SQL.
    pub name: &'static str,
    /// What a value is.
    pub cell: Cell,
    /// Whether a value can be missing.
    pub nullable: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
}

/// What a value of a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// UTF-8 text.
    Text,
    /// A list of texts.
    Texts,
    /// A whole number of 64 bits. Counts from 2^63 on, which nothing produces, show as negative:
    /// unsigned columns are awkward in SQL and unknown to Spark.
    Whole,
    /// True or false.
    Flag,
    /// Microseconds since 1970 in UTC, as a timestamp.
    Time,
    /// An exact decimal of six places.
    Amount,
    /// The limits that a call met: a list of [`limit`] rows.
    Limits,
}

impl Cell {
    /// The Arrow type.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Texts => DataType::List(texts_item()),
            Self::Whole => DataType::Int64,
            Self::Flag => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
            Self::Amount => DataType::Decimal128(AMOUNT_PRECISION, AMOUNT_SCALE),
            Self::Limits => DataType::List(limits_item()),
        }
    }
}

impl Column {
    fn field(&self) -> Field {
        Field::new(self.name, self.cell.data_type(), self.nullable)
    }
}

/// A table of the log, and the directory that holds its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One row for each call.
    Calls,
    /// Outcomes whose call was sealed earlier.
    Outcomes,
    /// Everything else that a replay needs.
    Events,
}

impl Kind {
    /// All tables.
    pub const ALL: [Self; 3] = [Self::Calls, Self::Outcomes, Self::Events];

    /// The table's name, which is that of its directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Outcomes => "outcomes",
            Self::Events => "events",
        }
    }

    /// The columns, in order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Calls => calls::COLUMNS,
            Self::Outcomes => outcomes::COLUMNS,
            Self::Events => events::COLUMNS,
        }
    }

    /// The Arrow schema. The partition column `date` of `calls` is in no file: the directory names it.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.columns().iter().map(Column::field).collect::<Vec<_>>()))
    }
}

/// The item of a list of texts.
pub(crate) fn texts_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Utf8, false))
}

/// The fields of one limit fact.
pub(crate) fn limit_fields() -> Fields {
    limit::COLUMNS.iter().map(|column| Arc::new(column.field())).collect()
}

/// The item of the list of limit facts.
pub(crate) fn limits_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(limit_fields()), false))
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($name:ident = $text:literal: $cell:ident $(| $null:ident)?, $meaning:literal;)+ }) => {
        $(#[$doc])*
        pub mod $table {
            use super::{Cell, Column};

            $(
                #[doc = $meaning]
                pub const $name: Column =
                    Column { name: $text, cell: Cell::$cell, nullable: table!(@null $($null)?), doc: $meaning };
            )+

            /// All of them, in the order of the schema.
            pub const COLUMNS: &[Column] = &[$($name),+];
        }
    };
    (@null null) => { true };
    (@null) => { false };
}

table! {
    /// Columns of `calls`: one row for each call.
    calls {
        INSTANCE = "instance": Text, "The process that recorded the call. (instance, seq) is the key.";
        SEQ = "seq": Whole, "Place in the instance's order, from 0. Outcomes and other events take numbers too.";
        TS = "ts": Time | null, "When the call was judged. Null where an imported record has no time.";
        JUDGED_BY = "judged_by": Text, "Who decided: engine, gateway or import (nobody did).";
        SERVER = "server": Text, "The server that the call was for.";
        SESSION = "session": Text | null, "The conversation. Null where it isn't known.";
        GRANT = "grant": Text | null, "The grant. Null where it isn't known.";
        AGENT = "agent": Text | null, "The client program, with its version. Null where it isn't known.";
        REQUEST_ID = "request_id": Text | null, "JSON text of the request's id.";
        TOOL = "tool": Text | null, "The tool's name. Null where a frame was too broken to tell.";
        ARGS = "args": Text | null, "JSON text of what was kept of the arguments; see args_kept.";
        ARGS_KEPT = "args_kept": Text, "What args holds: none, read (the paths that the policy reads) or full.";
        ARGS_KEYS = "args_keys": Texts | null, "The arguments' top-level keys, sorted. Null where they aren't known.";
        ARGS_HASH = "args_hash": Text | null, "First 128 bits of the SHA-256 of the canonical arguments, hexadecimal.";
        ARGS_BYTES = "args_bytes": Whole | null, "Size of the arguments as they came, in bytes.";
        POLICY_HASH = "policy_hash": Text | null, "SHA-256 of the policy that judged, hexadecimal. Null where there was none.";
        MODE = "mode": Text, "Whether a refusal was acted upon: enforce or shadow.";
        DECISION = "decision": Text | null, "allow, deny, hold or unknown. Null on imported calls, which nobody judged.";
        REASON = "reason": Text | null, "Stable code of the reason, such as limit.";
        RULE = "rule": Text | null, "The rule that decided, shaped like a JSON Pointer.";
        MESSAGE = "message": Text | null, "The text that the agent was given.";
        LIMITS = "limits": Limits, "Every limit over the call that was looked at.";
        DECIDE_NS = "decide_ns": Whole | null, "Time that the decision took, in nanoseconds.";
        OUTCOME = "outcome": Text | null, "How the call ended: ok, tool_error, rpc_error, unreachable, timeout, cancelled or lost. Null while in flight.";
        DONE_TS = "done_ts": Time | null, "When the call ended.";
        DONE_SEQ = "done_seq": Whole | null, "The outcome's own place in the instance's order.";
        UPSTREAM_US = "upstream_us": Whole | null, "Time from forwarding to the answer, in microseconds.";
        RESULT_BYTES = "result_bytes": Whole | null, "Size of the result as it came, in bytes.";
        RESULT_HASH = "result_hash": Text | null, "First 128 bits of the SHA-256 of the result's bytes, hexadecimal.";
        TRACE_ID = "trace_id": Text | null, "W3C trace id of the request.";
        LABEL = "label": Text | null, "What an imported record says of itself.";
        SHADOW_RULES = "shadow_rules": Texts, "Rules under shadow that would have refused or held.";
        LOOP_PERIOD = "loop_period": Whole | null, "Calls in the block that repeats, where a breaker refused.";
        LOOP_REPEATS = "loop_repeats": Whole | null, "How often the block had been repeated, where a breaker refused.";
        APPROVAL = "approval": Text | null, "Id of the approval that the call waits for, or that let it pass.";
        CATEGORY = "category": Text | null, "The tool's category, such as write. Null where whoever judged didn't know it.";
        CONTINUES = "continues": Whole | null, "The seq of the call of which this is the rest, where the server had asked something back. Charged no second time.";
    }
}

table! {
    /// Columns of one limit fact, an item of `calls.limits`.
    limit {
        COUNTER = "counter": Text, "Name of the counter.";
        OWNER = "owner": Text, "What owns the counter: a tool, a group or all tools.";
        SCOPE = "scope": Text, "Whose calls are counted together: grant, session, ….";
        KEY = "key": Text, "The scope's value: the grant's name, the session's, ….";
        WINDOW_S = "window_s": Whole, "Length of the window, in seconds.";
        ROLLING = "rolling": Flag, "Whether the window is exact and rolling rather than aligned in UTC.";
        WINDOW_START = "window_start": Time, "Where the window began.";
        USED_BEFORE = "used_before": Amount, "What the window held before the call, in calls or units.";
        AMOUNT = "amount": Amount | null, "What the call would add. Null where the argument holds no usable amount.";
        MAX = "max": Amount, "What the window admits.";
        FREES_AT = "frees_at": Time | null, "When such a call fits again. Null where it fits now, or never will.";
        SHADOW = "shadow": Flag, "Whether the limit is measured and never enforced.";
    }
}

table! {
    /// Columns of `outcomes`: outcomes whose call was sealed earlier.
    outcomes {
        INSTANCE = "instance": Text, "The process that recorded the outcome.";
        SEQ = "seq": Whole, "Place in the instance's order.";
        TS = "ts": Time | null, "When the call ended. Null where it isn't known.";
        CALL_SEQ = "call_seq": Whole, "Place of the call's row, in the same instance.";
        OUTCOME = "outcome": Text, "How the call ended; the words are those of calls.outcome.";
        UPSTREAM_US = "upstream_us": Whole | null, "Time from forwarding to the answer, in microseconds.";
        RESULT_BYTES = "result_bytes": Whole | null, "Size of the result as it came, in bytes.";
        RESULT_HASH = "result_hash": Text | null, "First 128 bits of the SHA-256 of the result's bytes, hexadecimal.";
    }
}

table! {
    /// Columns of `events`: whatever else a replay needs.
    events {
        INSTANCE = "instance": Text, "The process that recorded the event.";
        SEQ = "seq": Whole, "Place in the instance's order.";
        TS = "ts": Time | null, "When it happened. Null where it isn't known.";
        KIND = "kind": Text, "opened (an engine began to judge), activated (a policy took effect), gap (calls went unrecorded), answered (a person let a call pass or not), expired (nobody answered in time, or the call that was let pass wasn't made in time), reset (counters were emptied), frozen (a grant was stopped or let go on), carried (what earlier processes had counted goes on), clock_back (the wall clock went back, and time stands still until it has caught up) or pruned (old events were removed).";
        SERVER = "server": Text | null, "The server whose calls an activated policy judges.";
        GRANT = "grant": Text | null, "The grant whose calls an activated policy judges, or that was stopped. Null means every grant.";
        POLICY_HASH = "policy_hash": Text | null, "SHA-256 of the activated policy, hexadecimal.";
        DETAIL = "detail": Text | null, "The rest of the event, as a JSON object.";
    }
}

#[cfg(test)]
mod tests;
