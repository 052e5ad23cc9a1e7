//! `backtest('candidate.toll')`: what another policy would have said, one row a call.
//!
//! This crate knows no policy. Whoever opens a session brings the judgement along ([`Backtest`]); here its
//! verdicts only become rows.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use tollbook_log::Reader;

use crate::schema::{Doc, LOG};
use crate::session::LogDir;

/// What the columns mean.
pub const COLUMNS: &[Doc] = &[
    Doc::new("seq", "calls.seq of the call."),
    Doc::new("session", "The call's session."),
    Doc::new("tool", "The call's tool."),
    Doc::new("recorded", "What was decided. Imported calls, which nobody judged, are told as let through."),
    Doc::new("candidate", "What the candidate decides: allow, deny, hold or unknown."),
    Doc::new("certainty", "exact, diverged (an earlier call came out otherwise) or unknown (the log lacks something)."),
    Doc::new("rule", "The rule that decided; the candidate's where it refuses."),
    Doc::new("instance", "calls.instance of the call."),
    LOG,
];

/// Rows that are given on at once.
const ROWS: usize = 4096;

/// Judges the calls of a log anew.
pub trait Backtest: Debug + Send + Sync {
    /// Tells of each call that a policy judges, in the order of each instance, until `tell` says false.
    ///
    /// # Errors
    /// Why the policy or the log can't be used, in words.
    fn judge(&self, candidate: &str, log: &Reader, tell: &mut dyn FnMut(Rejudged) -> bool) -> Result<(), String>;
}

/// A call, judged anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejudged {
    /// The process that recorded it.
    pub instance: String,
    /// Its place in the instance's order.
    pub seq: u64,
    /// Its session.
    pub session: Option<String>,
    /// Its tool.
    pub tool: Option<String>,
    /// What was decided.
    pub recorded: String,
    /// What the candidate decides.
    pub candidate: String,
    /// How sure that is.
    pub certainty: &'static str,
    /// The rule that decided.
    pub rule: Option<String>,
}

/// The function.
#[derive(Debug)]
pub(crate) struct BacktestFunction {
    pub logs: Arc<Vec<LogDir>>,
    pub backtest: Option<Arc<dyn Backtest>>,
}

impl TableFunctionImpl for BacktestFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [Expr::Literal(ScalarValue::Utf8(Some(candidate)) | ScalarValue::Utf8View(Some(candidate)), _)] =
            args.exprs()
        else {
            return plan_err!("backtest() takes the file of a policy: backtest('candidate.toll')");
        };
        let Some(backtest) = self.backtest.clone() else {
            return plan_err!("backtest() isn't to be had here: nobody brought a judge along");
        };
        let (logs, candidate) = (Arc::clone(&self.logs), candidate.clone());
        let partition = Candidate { logs, backtest, candidate, schema: schema() };
        Ok(Arc::new(StreamingTable::try_new(schema(), vec![Arc::new(partition)])?))
    }
}

fn schema() -> SchemaRef {
    let field = |column: &Doc| match column.name {
        "seq" => Field::new(column.name, DataType::Int64, false),
        name => Field::new(name, DataType::Utf8, matches!(name, "session" | "tool" | "rule")),
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

#[derive(Debug, Clone)]
struct Candidate {
    logs: Arc<Vec<LogDir>>,
    backtest: Arc<dyn Backtest>,
    candidate: String,
    schema: SchemaRef,
}

impl PartitionStream for Candidate {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (to, this) = (builder.tx(), self.clone());
        builder.spawn_blocking(move || {
            let mut listens = true;
            for log in this.logs.iter() {
                let mut judged = Vec::new();
                let mut tell = |one| {
                    judged.push(one);
                    if judged.len() >= ROWS {
                        listens = to.blocking_send(rows(&this.schema, &log.name, &judged)).is_ok();
                        judged.clear();
                    }
                    listens
                };
                let done = this.backtest.judge(&this.candidate, &log.reader, &mut tell);
                done.map_err(DataFusionError::Execution)?;
                // Whoever no longer listens has seen enough.
                if !listens || to.blocking_send(rows(&this.schema, &log.name, &judged)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        builder.build()
    }
}

fn rows(schema: &SchemaRef, log: &str, judged: &[Rejudged]) -> Result<RecordBatch> {
    let text =
        |of: fn(&Rejudged) -> Option<&str>| -> ArrayRef { Arc::new(judged.iter().map(of).collect::<StringArray>()) };
    let seqs = judged.iter().map(|one| i64::try_from(one.seq).unwrap_or(i64::MAX));
    let columns = vec![
        Arc::new(seqs.collect::<Int64Array>()) as ArrayRef,
        text(|one| one.session.as_deref()),
        text(|one| one.tool.as_deref()),
        text(|one| Some(&one.recorded)),
        text(|one| Some(&one.candidate)),
        text(|one| Some(one.certainty)),
        text(|one| one.rule.as_deref()),
        text(|one| Some(&one.instance)),
        Arc::new(judged.iter().map(|_| Some(log)).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
