//! `loops()`: the loops of every session, as a table.
//!
//! One log after another, the calls are read in the order of their instances, the columns of them that the question
//! asks for, and nothing is kept but what [`detector`] remembers of each session, and a few files' calls.

mod calls;
pub mod detector;

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, DurationMicrosecondBuilder, Int64Builder, ListBuilder, StringBuilder,
    StringViewArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::datasource::TableType;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use tokio::sync::mpsc;
use tollbook_engine::from_hex;

use crate::schema::{Doc, LOG};
use crate::source::LogSource;
use calls::{InOrder, Reading};
use detector::{Detector, Kept, LooksLike, Loop, Results, Went};

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
#[derive(Debug, Clone)]
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
        Ok(Arc::new(LoopsTable { function: self.clone(), schema: schema() }))
    }
}

/// What is asked for of the loops, besides where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// When they were.
    pub times: bool,
    /// What came of their calls.
    pub ends: bool,
}

impl Wanted {
    const ALL: Self = Self { times: true, ends: true };

    /// What the columns depend on, by their places.
    fn of(projection: Option<&Vec<usize>>) -> Self {
        let Some(places) = projection else { return Self::ALL };
        let any = |names: &[&str]| {
            let mut asked = places.iter().filter_map(|place| COLUMNS.get(*place));
            asked.any(|column| names.contains(&column.name))
        };
        Self { times: any(&["span", "looks_like"]), ends: any(&["errors", "results", "looks_like"]) }
    }
}

#[derive(Debug)]
struct LoopsTable {
    function: LoopsFunction,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for LoopsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (function, schema) = (self.function.clone(), Arc::clone(&self.schema));
        let loops = Loops { function, schema, wanted: Wanted::of(projection) };
        let table = StreamingTable::try_new(Arc::clone(&self.schema), vec![Arc::new(loops)])?;
        table.scan(state, projection, filters, limit).await
    }
}

/// The loops with the columns that are wanted. What the others hold is of no meaning.
#[derive(Debug, Clone)]
struct Loops {
    function: LoopsFunction,
    schema: SchemaRef,
    wanted: Wanted,
}

impl PartitionStream for Loops {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (to, this) = (builder.tx(), self.clone());
        builder.spawn(async move {
            let remembered = &this.function.found;
            if let Some(found) = remembered.get() {
                for rows in found {
                    if to.send(Ok(rows.clone())).await.is_err() {
                        break;
                    }
                }
                return Ok(());
            }
            // How calls went is most of what is remembered of a session.
            let found = match this.wanted {
                Wanted { times: false, ends: false } => this.find::<()>(&context, &to).await?,
                _ => this.find::<Went>(&context, &to).await?,
            };
            if let (Some(found), true) = (found, this.wanted == Wanted::ALL) {
                // Another that asked at the same time has found the same.
                let _ = remembered.set(found);
            }
            Ok(())
        });
        builder.build()
    }
}

impl Loops {
    /// Looks for the loops and hands them over. Returns them again where all were asked for and they aren't too many.
    async fn find<W: Kept>(&self, context: &TaskContext, to: &Rows) -> Result<Option<Vec<RecordBatch>>> {
        let memory = MemoryConsumer::new("loops()").register(context.memory_pool());
        let mut found = Vec::new();
        for log in self.function.logs.iter() {
            let late = if self.wanted.ends { Some(Arc::new(LateEnds::of(log).await?)) } else { None };
            let how = Reading { wanted: self.wanted, tools: Arc::default(), late };
            let mut detector = Detector::<W>::new(Arc::clone(&how.tools));
            let mut calls = InOrder::<W>::of(log, how);
            while let Some(calls) = calls.next().await? {
                let instance = detector.instance(&calls.instance);
                // All of them first: most sessions are new, and each waits for memory that nobody has touched lately.
                let sessions: Vec<usize> = calls.sessions().map(|(name, _)| detector.session(instance, name)).collect();
                for (session, (_, place)) in sessions.into_iter().zip(calls.sessions()) {
                    let (ids, seen) = (calls.ids.get(place.clone()), calls.seen.get(place.clone()));
                    detector.push(session, ids.unwrap_or_default(), seen.unwrap_or_default());
                }
                memory.try_resize(detector.bytes())?;
                if detector.found() >= ROWS {
                    let rows = rows(&self.schema, &log.name, &detector.take())?;
                    remember(&mut found, &rows);
                    // Whoever no longer listens has seen enough.
                    if to.send(Ok(rows)).await.is_err() {
                        return Ok(None);
                    }
                }
            }
            let rows = rows(&self.schema, &log.name, &detector.finish())?;
            remember(&mut found, &rows);
            if to.send(Ok(rows)).await.is_err() {
                return Ok(None);
            }
        }
        Ok((found.iter().map(RecordBatch::num_rows).sum::<usize>() <= REMEMBERED_MAX).then_some(found))
    }
}

/// Where rows are handed over.
type Rows = mpsc::Sender<Result<RecordBatch>>;

/// Adds what was found, unless it is too much by now.
fn remember(found: &mut Vec<RecordBatch>, rows: &RecordBatch) {
    if found.iter().map(RecordBatch::num_rows).sum::<usize>() <= REMEMBERED_MAX {
        found.push(rows.clone());
    }
}

/// How calls ended after their segment was sealed.
#[derive(Debug)]
pub struct LateEnds {
    log: Arc<LogSource>,
    outcomes: StringViewArray,
    results: StringViewArray,
}

impl LateEnds {
    async fn of(log: &Arc<LogSource>) -> Result<Self> {
        let late = log.read_late().await?;
        let text = |name: &str| {
            let column = late.column(name)?.as_string_view_opt().cloned();
            column.ok_or_else(|| DataFusionError::Internal(format!("outcomes have no text `{name}`")))
        };
        Ok(Self { log: Arc::clone(log), outcomes: text("outcome")?, results: text("result_hash")? })
    }

    /// Whether a call ended in an error, and its result's hash; None where nothing came late.
    fn of_call(&self, instance: &str, seq: i64) -> Option<(bool, Option<u64>)> {
        let row = self.log.late().ok()?.place(instance, seq)?;
        let error = self.outcomes.is_valid(row) && is_error(self.outcomes.value(row));
        Some((error, self.results.is_valid(row).then(|| hash(self.results.value(row))).flatten()))
    }
}

/// Whether a call that ended so failed.
fn is_error(outcome: &str) -> bool {
    matches!(outcome, "tool_error" | "rpc_error" | "unreachable" | "timeout")
}

/// The first 64 bits of a hexadecimal hash; None where it isn't one.
#[inline]
fn hash(text: &str) -> Option<u64> {
    // All of it, which the library reads at once, unlike half.
    let bytes: [u8; 16] = from_hex(text.as_bytes())?;
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
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
