//! `loops()`: the loops of every session, as a table.
//!
//! One log after another, the calls are read in the order of their instances, a few columns of them, so that
//! nothing is sorted and nothing is kept but what [`detector`] remembers of each session.

mod calls;
pub mod detector;

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, DurationMicrosecondBuilder, Int64Builder, ListBuilder, StringArray,
    StringBuilder, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;

use crate::late::Late;
use crate::schema::{Doc, LOG};
use crate::source::LogSource;
use calls::{Calls, InOrder};
use detector::{Detector, LooksLike, Loop, Results, Step};

/// What the columns mean.
pub const COLUMNS: &[Doc] = &[
    Doc::new("session", "The session."),
    Doc::new("start_seq", "calls.seq of the first call."),
    Doc::new("start_in_session", "The first call's place in its session, from 0."),
    Doc::new("period", "Calls in the block that repeats, 1 to 8."),
    Doc::new("repeats", "How often the whole block stands there, 3 or more."),
    Doc::new("calls", "period × repeats."),
    Doc::new("wasted_calls", "Calls after the first block."),
    Doc::new("tools", "The block's tools, sorted."),
    Doc::new("errors", "Calls of the loop that ended in an error."),
    Doc::new("results", "same, differ or unknown: whether each call had the result of the call a period before."),
    Doc::new("span", "Time from the first call to the last, a duration in microseconds. Null where a time is missing."),
    Doc::new(
        "looks_like",
        "polling (results differ, or it went on for an hour or longer), stuck (the same results) or unknown (results \
         aren't known).",
    ),
    Doc::new("still_running", "Whether the session's last call is the loop's too."),
    Doc::new("instance", "calls.instance of the calls."),
    LOG,
];

/// Loops that are given on at once.
const ROWS: usize = 4096;

fn schema() -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Utf8, false));
    let fields = COLUMNS.iter().map(|column| {
        let (data_type, nullable) = match column.name {
            "session" | "results" | "looks_like" | "instance" | "log" => (DataType::Utf8, false),
            "tools" => (DataType::List(Arc::clone(&item)), false),
            "span" => (DataType::Duration(TimeUnit::Microsecond), true),
            "still_running" => (DataType::Boolean, false),
            _ => (DataType::Int64, false),
        };
        Field::new(column.name, data_type, nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Most loops that are remembered for the next question.
const REMEMBERED_MAX: usize = 100_000;

/// The function.
#[derive(Debug)]
pub struct LoopsFunction {
    logs: Arc<Vec<Arc<LogSource>>>,
    /// What was found, where that isn't too much to be remembered: a report asks for it again and again, and the logs
    /// are as they stood when they were opened.
    found: Arc<OnceLock<Vec<RecordBatch>>>,
}

impl LoopsFunction {
    /// The loops of these logs.
    pub fn of(logs: Arc<Vec<Arc<LogSource>>>) -> Self {
        Self { logs, found: Arc::default() }
    }
}

impl TableFunctionImpl for LoopsFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return plan_err!("loops() takes no argument; filter its rows with WHERE");
        }
        let partition = Loops { logs: Arc::clone(&self.logs), schema: schema(), found: Arc::clone(&self.found) };
        Ok(Arc::new(StreamingTable::try_new(schema(), vec![Arc::new(partition)])?))
    }
}

#[derive(Debug, Clone)]
struct Loops {
    logs: Arc<Vec<Arc<LogSource>>>,
    schema: SchemaRef,
    found: Arc<OnceLock<Vec<RecordBatch>>>,
}

impl PartitionStream for Loops {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (to, this) = (builder.tx(), self.clone());
        builder.spawn(async move {
            if let Some(found) = this.found.get() {
                for rows in found {
                    if to.send(Ok(rows.clone())).await.is_err() {
                        break;
                    }
                }
                return Ok(());
            }
            let memory = MemoryConsumer::new("loops()").register(context.memory_pool());
            let mut found = Vec::new();
            for log in this.logs.iter() {
                let mut reading = Reading { late: LateEnds::of(log).await?, ..Reading::default() };
                let mut calls = InOrder::of(log);
                while let Some((instance, calls)) = calls.next().await? {
                    reading.take(&instance, &calls);
                    memory.try_resize(reading.detector.bytes())?;
                    if reading.detector.found() >= ROWS {
                        let rows = rows(&this.schema, &log.name, &reading.detector.take())?;
                        remember(&mut found, &rows);
                        if to.send(Ok(rows)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                let rows = rows(&this.schema, &log.name, &reading.detector.finish())?;
                remember(&mut found, &rows);
                // Whoever no longer listens has seen enough.
                if to.send(Ok(rows)).await.is_err() {
                    return Ok(());
                }
            }
            if found.iter().map(RecordBatch::num_rows).sum::<usize>() <= REMEMBERED_MAX {
                // Another that asked at the same time has found the same.
                let _ = this.found.set(found);
            }
            Ok(())
        });
        builder.build()
    }
}

/// Adds what was found, unless it is too much by now.
fn remember(found: &mut Vec<RecordBatch>, rows: &RecordBatch) {
    if found.iter().map(RecordBatch::num_rows).sum::<usize>() <= REMEMBERED_MAX {
        found.push(rows.clone());
    }
}

/// How calls ended after their segment was sealed.
#[derive(Default)]
struct LateEnds<'a>(Option<(&'a Late, &'a StringViewArray, &'a StringViewArray)>);

impl<'a> LateEnds<'a> {
    async fn of(log: &'a LogSource) -> Result<Self> {
        let late = log.read_late().await?;
        let text = |name: &str| {
            let column = late.column(name)?.as_string_view_opt();
            column.ok_or_else(|| DataFusionError::Internal(format!("outcomes have no text `{name}`")))
        };
        Ok(Self(Some((late, text("outcome")?, text("result_hash")?))))
    }

    /// Whether a call ended in an error, and its result's hash; None where nothing came late.
    fn of_call(&self, instance: &str, seq: i64) -> Option<(bool, Option<u64>)> {
        let (late, outcomes, results) = self.0?;
        let row = late.place(instance, seq)?;
        let error = outcomes.is_valid(row) && is_error(outcomes.value(row));
        Some((error, results.is_valid(row).then(|| hash(results.value(row))).flatten()))
    }
}

/// What is remembered while a log's calls go by.
#[derive(Default)]
struct Reading<'a> {
    detector: Detector,
    late: LateEnds<'a>,
    sessions: Dictionary<usize>,
    tools: Dictionary<u32>,
    errors: Dictionary<bool>,
}

/// What stands for each text of a dictionary, as long as the batches come with the same one.
struct Dictionary<T> {
    texts: Option<StringArray>,
    known: Vec<T>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self { texts: None, known: Vec::new() }
    }
}

impl<T: Copy> Dictionary<T> {
    fn read(&mut self, texts: &ArrayRef, number: impl FnMut(&str) -> T) {
        let Some(texts) = texts.as_string_opt::<i32>() else { return };
        let same = self.texts.as_ref().is_some_and(|known| {
            known.len() == texts.len() && known.value_data().as_ptr() == texts.value_data().as_ptr()
        });
        if !same {
            self.known = texts.iter().map(Option::unwrap_or_default).map(number).collect();
            self.texts = Some(texts.clone());
        }
    }

    fn at(&self, keys: &arrow::array::DictionaryArray<Int32Type>, row: usize) -> Option<T> {
        self.known.get(keys.key(row)?).copied()
    }
}

impl Reading<'_> {
    fn take(&mut self, instance: &str, calls: &Calls) {
        let Self { detector, late, sessions, tools, errors } = self;
        sessions.read(calls.session.values(), |name| detector.session(instance, name));
        tools.read(calls.tool.values(), |name| detector.tool(name));
        errors.read(calls.outcome.values(), is_error);
        let hashed = |hashes: &StringViewArray, row| hashes.is_valid(row).then(|| hash(hashes.value(row))).flatten();
        for row in 0..calls.seq.len() {
            // Nobody knows what stands between calls without a session.
            let Some(session) = sessions.at(&calls.session, row) else { continue };
            let seq = calls.seq.value(row);
            let own = errors.at(&calls.outcome, row);
            let came_late = if own.is_none() { late.of_call(instance, seq) } else { None };
            let (error, result) = came_late.unwrap_or_else(|| (own.unwrap_or(false), hashed(&calls.result_hash, row)));
            let step = Step {
                seq,
                ts: calls.ts.is_valid(row).then(|| calls.ts.value(row)),
                tool: tools.at(&calls.tool, row),
                args: hashed(&calls.args_hash, row),
                error,
                result,
            };
            detector.push(session, step);
        }
    }
}

/// Whether a call that ended so failed.
fn is_error(outcome: &str) -> bool {
    matches!(outcome, "tool_error" | "rpc_error" | "unreachable" | "timeout")
}

/// The first 64 bits of a hexadecimal hash; None where it isn't one. Two are read for each call, so no digit
/// is branched upon.
fn hash(text: &str) -> Option<u64> {
    let digits: &[u8; 16] = text.as_bytes().first_chunk()?;
    let (mut hash, mut wrong) = (0, 0);
    for digit in digits {
        let value = DIGITS.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        wrong |= value;
        hash = hash << 4 | u64::from(value & 15);
    }
    (wrong < NO_DIGIT).then_some(hash)
}

const NO_DIGIT: u8 = 16;

/// The value of each byte as a hexadecimal digit in lower case.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        #[expect(clippy::indexing_slicing, reason = "it is worked out when this is compiled")]
        {
            digits[b"0123456789abcdef"[value as usize] as usize] = value;
        }
        value += 1;
    }
    digits
};

fn rows(schema: &SchemaRef, log: &str, loops: &[Loop]) -> Result<RecordBatch> {
    let [mut sessions, mut results, mut looks, mut instances, mut logs]: [StringBuilder; 5] = Default::default();
    let mut numbers: [Int64Builder; 7] = Default::default();
    let item = Field::new("item", DataType::Utf8, false);
    let mut tools = ListBuilder::new(StringBuilder::new()).with_field(item);
    let mut spans = DurationMicrosecondBuilder::new();
    let mut running = BooleanBuilder::new();
    for one in loops {
        sessions.append_value(&one.session);
        let calls = i64::from(one.period) * i64::from(one.repeats);
        let values = [
            one.start_seq,
            i64::try_from(one.start_in_session).unwrap_or(i64::MAX),
            i64::from(one.period),
            i64::from(one.repeats),
            calls,
            calls - i64::from(one.period),
            i64::from(one.errors),
        ];
        for (builder, value) in numbers.iter_mut().zip(values) {
            builder.append_value(value);
        }
        one.tools.iter().for_each(|tool| tools.values().append_value(tool));
        tools.append(true);
        results.append_value(match one.results {
            Results::Same => "same",
            Results::Differ => "differ",
            Results::Unknown => "unknown",
        });
        spans.append_option(one.span_us);
        looks.append_value(match one.looks_like() {
            LooksLike::Polling => "polling",
            LooksLike::Stuck => "stuck",
            LooksLike::Unknown => "unknown",
        });
        running.append_value(one.still_running);
        instances.append_value(&one.instance);
        logs.append_value(log);
    }
    let [seq, place, period, repeats, calls, wasted, errors] =
        numbers.map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
    let columns = vec![
        Arc::new(sessions.finish()) as ArrayRef,
        seq,
        place,
        period,
        repeats,
        calls,
        wasted,
        Arc::new(tools.finish()),
        errors,
        Arc::new(results.finish()),
        Arc::new(spans.finish()),
        Arc::new(looks.finish()),
        Arc::new(running.finish()),
        Arc::new(instances.finish()),
        Arc::new(logs.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
