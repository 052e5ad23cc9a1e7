//! Events from rows.

use arrow::array::{
    Array, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use tollbook_engine::{
    Activated, Answered, Body, Bounds, End, Event, Frozen, Gap, Hash128, Judge, Kept, LimitFact, Mode, Opened, Outcome,
    PolicyHash, Pruned, Record, RecordedArgs, Reset, Snapshot, Verdict,
};

use super::{
    AnsweredDetail, FrozenDetail, GapDetail, OpenedDetail, PrunedDetail, ResetDetail, RowsError, SnapshotDetail,
};
use crate::schema::{Column, calls, events, limit, outcomes};

/// A call's event, and its outcome's where that stands in the same row.
pub(crate) type CallEvent = (Event, Option<Event>);

/// The events of rows of `calls`.
pub(crate) fn call_events(batch: &RecordBatch) -> Result<Vec<CallEvent>, RowsError> {
    let table = Table::Batch(batch);
    let reader = CallReader::new(&table)?;
    (0..batch.num_rows()).map(|row| reader.row(row)).collect()
}

/// The events of rows of `outcomes`.
pub(crate) fn outcome_events(batch: &RecordBatch) -> Result<Vec<Event>, RowsError> {
    let table = Table::Batch(batch);
    let seqs = Seqs { seq: table.wholes(&outcomes::SEQ)?, ts: table.times(&outcomes::TS)? };
    let call_seq = table.wholes(&outcomes::CALL_SEQ)?;
    let ends = Ends {
        word: table.texts(&outcomes::OUTCOME)?,
        upstream_us: table.wholes(&outcomes::UPSTREAM_US)?,
        result_bytes: table.wholes(&outcomes::RESULT_BYTES)?,
        result_hash: table.texts(&outcomes::RESULT_HASH)?,
    };
    (0..batch.num_rows())
        .map(|row| {
            let seq = seqs.seq(row)?;
            let call_seq = call_seq.required(row, seq)?.cast_unsigned();
            Ok(Event { seq, ts_us: seqs.ts.get(row), body: Body::Outcome(ends.outcome(row, seq, call_seq)?) })
        })
        .collect()
}

/// The events of rows of `events`.
pub(crate) fn other_events(batch: &RecordBatch) -> Result<Vec<Event>, RowsError> {
    let table = Table::Batch(batch);
    let seqs = Seqs { seq: table.wholes(&events::SEQ)?, ts: table.times(&events::TS)? };
    let kind = table.texts(&events::KIND)?;
    let server = table.texts(&events::SERVER)?;
    let grant = table.texts(&events::GRANT)?;
    let policy = table.texts(&events::POLICY_HASH)?;
    let detail = table.texts(&events::DETAIL)?;
    (0..batch.num_rows())
        .map(|row| {
            let seq = seqs.seq(row)?;
            let body = match kind.required(row, seq)? {
                "opened" => {
                    let opened: OpenedDetail = json(&detail, row, seq)?;
                    let bounds = Bounds {
                        keys_max: opened.keys_max,
                        in_flight_max: opened.in_flight_max,
                        sessions_max: opened.sessions_max,
                        approvals_max: opened.approvals_max,
                        rolling_charges_max: opened.rolling_charges_max,
                    };
                    Body::Opened(Opened { engine: opened.engine, bounds, imported_from: opened.imported_from })
                }
                "activated" => Body::Activated(Activated {
                    server: server.required(row, seq)?.to_owned(),
                    grant: grant.owned(row),
                    policy: policy.parsed(row, seq, PolicyHash::from_hex)?.ok_or_else(|| policy.null(seq))?,
                }),
                "gap" => {
                    let GapDetail { calls, cause } = json(&detail, row, seq)?;
                    Body::Gap(Gap { calls, cause })
                }
                "answered" => {
                    let AnsweredDetail { approval, approved, by } = json(&detail, row, seq)?;
                    Body::Answered(Answered { approval, approved, by })
                }
                "reset" => {
                    let ResetDetail { counter, key, by } = json(&detail, row, seq)?;
                    Body::Reset(Reset { counter, key, by })
                }
                "frozen" => {
                    let FrozenDetail { frozen, by } = json(&detail, row, seq)?;
                    Body::Frozen(Frozen { grant: grant.required(row, seq)?.to_owned(), frozen, by })
                }
                "snapshot" => {
                    let SnapshotDetail { sha256, bytes } = json(&detail, row, seq)?;
                    // Both are a SHA-256 in hexadecimal.
                    let PolicyHash(sha256) = PolicyHash::from_hex(&sha256).ok_or_else(|| detail.wrong(seq, &sha256))?;
                    Body::Snapshot(Snapshot { sha256, bytes })
                }
                "pruned" => {
                    let PrunedDetail { first_seq, before_us } = json(&detail, row, seq)?;
                    Body::Pruned(Pruned { first_seq, before_us })
                }
                other => return Err(kind.wrong(seq, other)),
            };
            Ok(Event { seq, ts_us: seqs.ts.get(row), body })
        })
        .collect()
}

fn json<T: serde::de::DeserializeOwned>(detail: &Texts<'_>, row: usize, seq: u64) -> Result<T, RowsError> {
    let text = detail.required(row, seq)?;
    serde_json::from_str(text).map_err(|_| detail.wrong(seq, text))
}

struct CallReader<'a> {
    seqs: Seqs<'a>,
    judged_by: Texts<'a>,
    server: Texts<'a>,
    session: Texts<'a>,
    grant: Texts<'a>,
    agent: Texts<'a>,
    request_id: Texts<'a>,
    tool: Texts<'a>,
    args: Texts<'a>,
    args_kept: Texts<'a>,
    args_keys: Typed<'a, ListArray>,
    args_hash: Texts<'a>,
    args_bytes: Wholes<'a>,
    policy_hash: Texts<'a>,
    mode: Texts<'a>,
    decision: Texts<'a>,
    reason: Texts<'a>,
    rule: Texts<'a>,
    message: Texts<'a>,
    limits: Typed<'a, ListArray>,
    decide_ns: Wholes<'a>,
    ends: Ends<'a>,
    done_ts: Times<'a>,
    done_seq: Wholes<'a>,
    trace_id: Texts<'a>,
    label: Texts<'a>,
    shadow_rules: Typed<'a, ListArray>,
    loop_period: Wholes<'a>,
    loop_repeats: Wholes<'a>,
    approval: Texts<'a>,
    /// None in files of before it was kept.
    category: Option<Texts<'a>>,
}

impl<'a> CallReader<'a> {
    fn new(table: &Table<'a>) -> Result<Self, RowsError> {
        Ok(Self {
            seqs: Seqs { seq: table.wholes(&calls::SEQ)?, ts: table.times(&calls::TS)? },
            judged_by: table.texts(&calls::JUDGED_BY)?,
            server: table.texts(&calls::SERVER)?,
            session: table.texts(&calls::SESSION)?,
            grant: table.texts(&calls::GRANT)?,
            agent: table.texts(&calls::AGENT)?,
            request_id: table.texts(&calls::REQUEST_ID)?,
            tool: table.texts(&calls::TOOL)?,
            args: table.texts(&calls::ARGS)?,
            args_kept: table.texts(&calls::ARGS_KEPT)?,
            args_keys: table.lists(&calls::ARGS_KEYS)?,
            args_hash: table.texts(&calls::ARGS_HASH)?,
            args_bytes: table.wholes(&calls::ARGS_BYTES)?,
            policy_hash: table.texts(&calls::POLICY_HASH)?,
            mode: table.texts(&calls::MODE)?,
            decision: table.texts(&calls::DECISION)?,
            reason: table.texts(&calls::REASON)?,
            rule: table.texts(&calls::RULE)?,
            message: table.texts(&calls::MESSAGE)?,
            limits: table.lists(&calls::LIMITS)?,
            decide_ns: table.wholes(&calls::DECIDE_NS)?,
            ends: Ends {
                word: table.texts(&calls::OUTCOME)?,
                upstream_us: table.wholes(&calls::UPSTREAM_US)?,
                result_bytes: table.wholes(&calls::RESULT_BYTES)?,
                result_hash: table.texts(&calls::RESULT_HASH)?,
            },
            done_ts: table.times(&calls::DONE_TS)?,
            done_seq: table.wholes(&calls::DONE_SEQ)?,
            trace_id: table.texts(&calls::TRACE_ID)?,
            label: table.texts(&calls::LABEL)?,
            shadow_rules: table.lists(&calls::SHADOW_RULES)?,
            loop_period: table.wholes(&calls::LOOP_PERIOD)?,
            loop_repeats: table.wholes(&calls::LOOP_REPEATS)?,
            approval: table.texts(&calls::APPROVAL)?,
            category: table.has(&calls::CATEGORY).then(|| table.texts(&calls::CATEGORY)).transpose()?,
        })
    }

    fn row(&self, row: usize) -> Result<CallEvent, RowsError> {
        let seq = self.seqs.seq(row)?;
        let record = Record {
            judged_by: self.judged_by.word(row, seq, Judge::from_word)?,
            server: self.server.required(row, seq)?.to_owned(),
            session: self.session.owned(row),
            grant: self.grant.owned(row),
            agent: self.agent.owned(row),
            request_id: self.request_id.owned(row),
            tool: self.tool.owned(row),
            args: RecordedArgs {
                kept: self.args_kept.word(row, seq, Kept::from_word)?,
                json: self.args.owned(row),
                keys: self.args_keys.texts(row)?,
                hash: self.args_hash.parsed(row, seq, Hash128::from_hex)?,
                bytes: self.args_bytes.unsigned(row),
            },
            policy: self.policy_hash.parsed(row, seq, PolicyHash::from_hex)?,
            mode: self.mode.word(row, seq, Mode::from_word)?,
            verdict: self.decision.parsed(row, seq, Verdict::from_word)?,
            reason: self.reason.owned(row),
            rule: self.rule.owned(row),
            message: self.message.owned(row),
            limits: self.limits(row, seq)?,
            decide_ns: self.decide_ns.unsigned(row),
            trace_id: self.trace_id.owned(row),
            label: self.label.owned(row),
            shadow_rules: self.shadow_rules.texts(row)?.ok_or_else(|| self.shadow_rules.null(seq))?,
            loop_period: self.loop_period.small(row, seq)?,
            loop_repeats: self.loop_repeats.small(row, seq)?,
            approval: self.approval.owned(row),
            category: self.category.as_ref().and_then(|category| category.owned(row)),
        };
        let done = match self.done_seq.unsigned(row) {
            None => None,
            Some(done_seq) => Some(Event {
                seq: done_seq,
                ts_us: self.done_ts.get(row),
                body: Body::Outcome(self.ends.outcome(row, seq, seq)?),
            }),
        };
        Ok((Event { seq, ts_us: self.seqs.ts.get(row), body: Body::Decision(Box::new(record)) }, done))
    }

    fn limits(&self, row: usize, seq: u64) -> Result<Vec<LimitFact>, RowsError> {
        if !item(self.limits.array, row) {
            return Ok(Vec::new());
        }
        let items = self.limits.array.value(row);
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let table = Table::Items(items.as_struct_opt().ok_or_else(|| self.limits.mistyped())?);
        let counter = table.texts(&limit::COUNTER)?;
        let owner = table.texts(&limit::OWNER)?;
        let scope = table.texts(&limit::SCOPE)?;
        let key = table.texts(&limit::KEY)?;
        let window_s = table.wholes(&limit::WINDOW_S)?;
        let rolling = table.flags(&limit::ROLLING)?;
        let window_start = table.times(&limit::WINDOW_START)?;
        let used_before = table.amounts(&limit::USED_BEFORE)?;
        let amount = table.amounts(&limit::AMOUNT)?;
        let max = table.amounts(&limit::MAX)?;
        let frees_at = table.times(&limit::FREES_AT)?;
        let shadow = table.flags(&limit::SHADOW)?;
        (0..items.len())
            .map(|at| {
                Ok(LimitFact {
                    counter: counter.required(at, seq)?.to_owned(),
                    owner: owner.required(at, seq)?.to_owned(),
                    scope: scope.required(at, seq)?.to_owned(),
                    key: key.required(at, seq)?.to_owned(),
                    window_s: window_s.required(at, seq)?.cast_unsigned(),
                    rolling: rolling.required(at, seq)?,
                    window_start_us: window_start.required(at, seq)?,
                    used_before_micros: used_before.required(at, seq)?,
                    amount_micros: amount.micros(at, seq)?,
                    max_micros: max.required(at, seq)?,
                    frees_at_us: frees_at.get(at),
                    shadow: shadow.required(at, seq)?,
                })
            })
            .collect()
    }
}

struct Seqs<'a> {
    seq: Wholes<'a>,
    ts: Times<'a>,
}

impl Seqs<'_> {
    fn seq(&self, row: usize) -> Result<u64, RowsError> {
        // There is no number to name the row by but the largest, which no event has.
        self.seq.required(row, u64::MAX).map(i64::cast_unsigned)
    }
}

struct Ends<'a> {
    word: Texts<'a>,
    upstream_us: Wholes<'a>,
    result_bytes: Wholes<'a>,
    result_hash: Texts<'a>,
}

impl Ends<'_> {
    fn outcome(&self, row: usize, seq: u64, call_seq: u64) -> Result<Outcome, RowsError> {
        Ok(Outcome {
            call_seq,
            end: self.word.word(row, seq, End::from_word)?,
            upstream_us: self.upstream_us.unsigned(row),
            result_bytes: self.result_bytes.unsigned(row),
            result_hash: self.result_hash.parsed(row, seq, Hash128::from_hex)?,
        })
    }
}

/// Whether there is a value in the row.
fn item(array: &dyn Array, row: usize) -> bool {
    row < array.len() && array.is_valid(row)
}

enum Table<'a> {
    Batch(&'a RecordBatch),
    Items(&'a StructArray),
}

impl<'a> Table<'a> {
    fn typed<A>(
        &self,
        column: &Column,
        downcast: impl Fn(&'a dyn Array) -> Option<&'a A>,
    ) -> Result<Typed<'a, A>, RowsError> {
        let array = match self {
            Self::Batch(batch) => batch.column_by_name(column.name),
            Self::Items(items) => items.column_by_name(column.name),
        };
        let array = array.and_then(|array| downcast(array)).ok_or_else(|| mistyped(column))?;
        Ok(Typed { column: *column, array })
    }

    fn has(&self, column: &Column) -> bool {
        match self {
            Self::Batch(batch) => batch.column_by_name(column.name).is_some(),
            Self::Items(items) => items.column_by_name(column.name).is_some(),
        }
    }

    fn texts(&self, column: &Column) -> Result<Texts<'a>, RowsError> {
        self.typed(column, |array| array.as_string_opt::<i32>())
    }

    fn wholes(&self, column: &Column) -> Result<Wholes<'a>, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<Int64Type>())
    }

    fn times(&self, column: &Column) -> Result<Times<'a>, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<TimestampMicrosecondType>())
    }

    fn amounts(&self, column: &Column) -> Result<Typed<'a, Decimal128Array>, RowsError> {
        self.typed(column, |array| array.as_primitive_opt::<Decimal128Type>())
    }

    fn lists(&self, column: &Column) -> Result<Typed<'a, ListArray>, RowsError> {
        self.typed(column, |array| array.as_list_opt::<i32>())
    }

    fn flags(&self, column: &Column) -> Result<Typed<'a, BooleanArray>, RowsError> {
        self.typed(column, |array| array.as_boolean_opt())
    }
}

fn mistyped(column: &Column) -> RowsError {
    RowsError::Column { column: column.name, expected: column.cell.data_type() }
}

/// A column of a batch, its type known.
struct Typed<'a, A> {
    column: Column,
    array: &'a A,
}

type Texts<'a> = Typed<'a, StringArray>;
type Wholes<'a> = Typed<'a, Int64Array>;
type Times<'a> = Typed<'a, TimestampMicrosecondArray>;

impl<A> Typed<'_, A> {
    fn mistyped(&self) -> RowsError {
        mistyped(&self.column)
    }

    fn wrong(&self, seq: u64, found: &str) -> RowsError {
        RowsError::Value { column: self.column.name, seq: seq.cast_signed(), found: found.to_owned() }
    }

    fn null(&self, seq: u64) -> RowsError {
        self.wrong(seq, "null")
    }
}

impl Texts<'_> {
    fn get(&self, row: usize) -> Option<&str> {
        item(self.array, row).then(|| self.array.value(row))
    }

    fn owned(&self, row: usize) -> Option<String> {
        self.get(row).map(str::to_owned)
    }

    fn required(&self, row: usize, seq: u64) -> Result<&str, RowsError> {
        self.get(row).ok_or_else(|| self.null(seq))
    }

    fn parsed<T>(&self, row: usize, seq: u64, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, RowsError> {
        self.get(row).map(|text| parse(text).ok_or_else(|| self.wrong(seq, text))).transpose()
    }

    fn word<T>(&self, row: usize, seq: u64, parse: impl Fn(&str) -> Option<T>) -> Result<T, RowsError> {
        self.parsed(row, seq, parse)?.ok_or_else(|| self.null(seq))
    }
}

impl Wholes<'_> {
    fn unsigned(&self, row: usize) -> Option<u64> {
        item(self.array, row).then(|| self.array.value(row).cast_unsigned())
    }

    fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        item(self.array, row).then(|| self.array.value(row)).ok_or_else(|| self.null(seq))
    }
}

impl Wholes<'_> {
    fn small(&self, row: usize, seq: u64) -> Result<Option<u32>, RowsError> {
        let wrong = |value: u64| self.wrong(seq, &value.to_string());
        self.unsigned(row).map(|value| u32::try_from(value).map_err(|_| wrong(value))).transpose()
    }
}

impl Typed<'_, ListArray> {
    fn texts(&self, row: usize) -> Result<Option<Vec<String>>, RowsError> {
        if !item(self.array, row) {
            return Ok(None);
        }
        let items = self.array.value(row);
        let texts = items.as_string_opt::<i32>().ok_or_else(|| self.mistyped())?;
        Ok(Some(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect()))
    }
}

impl Times<'_> {
    fn get(&self, row: usize) -> Option<i64> {
        item(self.array, row).then(|| self.array.value(row))
    }

    fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        self.get(row).ok_or_else(|| self.null(seq))
    }
}

impl Typed<'_, BooleanArray> {
    fn required(&self, row: usize, seq: u64) -> Result<bool, RowsError> {
        item(self.array, row).then(|| self.array.value(row)).ok_or_else(|| self.null(seq))
    }
}

impl Typed<'_, Decimal128Array> {
    fn micros(&self, row: usize, seq: u64) -> Result<Option<i64>, RowsError> {
        if !item(self.array, row) {
            return Ok(None);
        }
        let value = self.array.value(row);
        i64::try_from(value).map(Some).map_err(|_| self.wrong(seq, &value.to_string()))
    }

    fn required(&self, row: usize, seq: u64) -> Result<i64, RowsError> {
        self.micros(row, seq)?.ok_or_else(|| self.null(seq))
    }
}
