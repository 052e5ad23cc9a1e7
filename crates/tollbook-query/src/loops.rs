//! `loops()`: the loops of every session, as a table.
//!
//! One log after another, the calls are read in the order of their instances, a few columns of them, one
//! range of sealed files after another and then what is still open, so that nothing is sorted and nothing
//! is kept but what [`detector`] remembers of each session. Imported ranges have a file for each day, and
//! days overlap there; such files are merged by sequence while they are read.

pub mod detector;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, DurationMicrosecondBuilder, Int64Builder, ListBuilder, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;

use crate::late::Late;
use crate::schema::{Doc, LOG};
use crate::source::LogSource;
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

/// The function.
#[derive(Debug)]
pub struct LoopsFunction(pub Arc<Vec<Arc<LogSource>>>);

impl TableFunctionImpl for LoopsFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return plan_err!("loops() takes no argument; filter its rows with WHERE");
        }
        let partition = Loops { logs: Arc::clone(&self.0), schema: schema() };
        Ok(Arc::new(StreamingTable::try_new(schema(), vec![Arc::new(partition)])?))
    }
}

#[derive(Debug, Clone)]
struct Loops {
    logs: Arc<Vec<Arc<LogSource>>>,
    schema: SchemaRef,
}

impl PartitionStream for Loops {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (to, this) = (builder.tx(), self.clone());
        builder.spawn(async move {
            let memory = MemoryConsumer::new("loops()").register(context.memory_pool());
            for log in this.logs.iter() {
                let late = LateEnds::of(log)?;
                let mut detector = Detector::default();
                let mut calls = log.calls_in_order(&context, PROJECTION)?;
                let mut found = Vec::new();
                while let Some(batch) = calls.next().await {
                    take(&mut detector, &batch?, &late)?;
                    memory.try_resize(detector.bytes())?;
                    found.append(&mut detector.take());
                    if found.len() >= ROWS {
                        let rows = rows(&this.schema, &log.name, &std::mem::take(&mut found))?;
                        if to.send(Ok(rows)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                found.append(&mut detector.finish());
                // Whoever no longer listens has seen enough.
                if to.send(rows(&this.schema, &log.name, &found)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// What the detector reads of each call.
const PROJECTION: &[&str] = &["instance", "seq", "ts", "session", "tool", "args_hash", "outcome", "result_hash"];

/// How calls ended after their segment was sealed.
struct LateEnds<'a> {
    late: &'a Late,
    outcomes: &'a StringArray,
    results: &'a StringArray,
}

impl<'a> LateEnds<'a> {
    fn of(log: &'a LogSource) -> Result<Self> {
        let late = log.late()?;
        let text = |name: &str| Ok::<_, DataFusionError>(late.column(name)?.as_string::<i32>());
        Ok(Self { late, outcomes: text("outcome")?, results: text("result_hash")? })
    }

    /// Whether a call ended in an error, and its result's hash; None where nothing came late.
    fn of_call(&self, instance: &str, seq: i64) -> Option<(bool, Option<u64>)> {
        let place = usize::try_from(self.late.place(instance, seq)?).ok()?;
        Some(end(self.outcomes, self.results, place))
    }
}

/// Whether the call of a row ended in an error, and its result's hash.
fn end(outcomes: &StringArray, results: &StringArray, row: usize) -> (bool, Option<u64>) {
    let error = outcomes.is_valid(row) && is_error(outcomes.value(row));
    (error, results.is_valid(row).then(|| hash(results.value(row))).flatten())
}

fn take(detector: &mut Detector, batch: &RecordBatch, late: &LateEnds<'_>) -> Result<()> {
    let text = |name: &str| {
        batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| lacks(name))
    };
    let seqs = batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let times = batch.column_by_name("ts").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let (seqs, times) = (seqs.ok_or_else(|| lacks("seq"))?, times.ok_or_else(|| lacks("ts"))?);
    let (instances, sessions, tools) = (text("instance")?, text("session")?, text("tool")?);
    let (args, outcomes, results) = (text("args_hash")?, text("outcome")?, text("result_hash")?);
    for row in 0..batch.num_rows() {
        let (instance, seq) = (instances.value(row), seqs.value(row));
        let came_late = if outcomes.is_null(row) { late.of_call(instance, seq) } else { None };
        let (error, result) = came_late.unwrap_or_else(|| end(outcomes, results, row));
        let step = Step {
            seq,
            ts: times.is_valid(row).then(|| times.value(row)),
            tool: tools.is_valid(row).then(|| tools.value(row)),
            args: args.is_valid(row).then(|| hash(args.value(row))).flatten(),
            error,
            result,
        };
        detector.push(instance, sessions.is_valid(row).then(|| sessions.value(row)), step);
    }
    Ok(())
}

fn lacks(name: &str) -> DataFusionError {
    DataFusionError::Execution(format!("the log's calls have no usable column `{name}`"))
}

/// Whether a call that ended so failed.
fn is_error(outcome: &str) -> bool {
    matches!(outcome, "tool_error" | "rpc_error" | "unreachable" | "timeout")
}

/// The first 64 bits of a hexadecimal hash; None where it isn't one.
fn hash(text: &str) -> Option<u64> {
    let digits = text.as_bytes().get(..16)?;
    digits.iter().try_fold(0, |hash: u64, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(hash << 4 | u64::from(digit))
    })
}

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
