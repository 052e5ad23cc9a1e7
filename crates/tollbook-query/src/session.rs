//! One DataFusion session over logs, as they stood when the session began.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::config::Dialect;
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, cast, col, lit};
use futures::FutureExt;
use tollbook_log::schema::Kind;
use tollbook_log::{ReadError, Reader};

use crate::answer::Answer;
use crate::backtest::{Backtest, BacktestFunction};
use crate::category::{self, Categories};
use crate::loops::LoopsFunction;
use crate::rates::RatesFunction;
use crate::sealed::SealedTable;
use crate::source::{self, LogSource};
use crate::store::Store;
use crate::{answer, damage, late, table};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The log can't be read.
    #[error("cannot read the log")]
    Log(#[from] ReadError),
    /// A sealed file isn't as it was written.
    #[error("the sealed file `{}` is damaged: {what}; --skip-damaged answers from the rest", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something panicked.
    #[error("the query ended in a panic, and no sealed file is to blame")]
    Panicked,
    /// The query can't be planned or run.
    #[error("{}", told(.0))]
    Query(Box<DataFusionError>),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}

/// DataFusion's reason without its own wrapping, with the place in the SQL where that is known.
fn told(error: &DataFusionError) -> String {
    if let DataFusionError::ResourcesExhausted(what) = error.find_root() {
        // It may have a line for each of the hungriest parts of the plan before the one that failed.
        let last = what.lines().last().unwrap_or_default().trim_start_matches("Error: ");
        return format!(
            "the query takes more memory than --memory-limit gives it, and what takes it can't be spilled to disk \
             ({last})"
        );
    }
    if let DataFusionError::SQL(wrong, _) = error.find_root() {
        // DataFusion shows it as Rust would write it.
        return wrong.to_string();
    }
    let text = error.strip_backtrace();
    match error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        Some(span) => format!("{text} at line {}, column {}", span.start.line, span.start.column),
        None => text,
    }
}

/// A log's directory, and the name that its rows are given in the column `log`.
#[derive(Debug)]
pub struct LogDir {
    /// As it is told.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
    /// A snapshot of it.
    pub reader: Reader,
    /// Where its sealed files are read from.
    pub store: Store,
}

/// How a session answers.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Most memory that queries take, in bytes. What can be spilled to disk is; otherwise a query that
    /// would take more fails. None means no bound.
    pub memory_bytes_max: Option<usize>,
    /// Whether damaged files are left out rather than an error.
    pub skip_damaged: bool,
    /// Tells what calls do.
    pub categories: Option<Arc<dyn Categories>>,
    /// Judges calls anew, for `backtest('candidate.toll')`.
    pub backtest: Option<Arc<dyn Backtest>>,
}

/// Logs that questions can be put to. It sees them as they stood when it was opened.
pub struct Session {
    context: SessionContext,
    logs: Arc<Vec<LogDir>>,
    sources: Arc<Vec<Arc<LogSource>>>,
    skipped: Vec<(PathBuf, String)>,
}

impl Session {
    /// Opens the tables and functions over snapshots of logs.
    ///
    /// # Errors
    /// Where a log's files can't be read.
    pub async fn open(logs: Vec<LogDir>, options: Options) -> Result<Self, QueryError> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().sql_parser.collect_spans = true;
        // What is grouped by session and tool has a third as many groups as calls, and grouping each part of it first
        // is as much work again.
        config.options_mut().execution.skip_partial_aggregation_probe_ratio_threshold = 0.25;
        // So that `args->>'path' IS NOT NULL` means what it says, and `args ? 'path'` is known.
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_bytes_max {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        let mut context = SessionContext::new_with_config_rt(config, Arc::new(runtime.build()?));
        datafusion_functions_json::register_all(&mut context)?;
        for log in &logs {
            context.register_object_store(log.store.url().as_ref(), Arc::clone(log.store.store()));
        }
        let (sources, skipped) = sources(&logs, options.skip_damaged).await?;
        let session = Self { context, logs: Arc::new(logs), sources: Arc::new(sources), skipped };
        session.context.register_udf(category::function(options.categories.clone()));
        session.tables(options.categories.as_ref())?;
        session.context.register_udtf("loops", Arc::new(LoopsFunction::of(Arc::clone(&session.sources))));
        let backtest = BacktestFunction { logs: Arc::clone(&session.logs), backtest: options.backtest };
        session.context.register_udtf("backtest", Arc::new(backtest));
        session.context.register_udtf("rates", Arc::new(RatesFunction));
        let files: Vec<_> = session.logs.iter().flat_map(|log| table::policies(&log.dir, &log.name)).collect();
        let files = table::policy_rows(&files).map_err(DataFusionError::from)?;
        session.context.register_batch("policy_files", files)?;
        for (name, sql) in
            [("limits", table::LIMITS_SQL), ("sessions", table::SESSIONS_SQL), ("policies", table::POLICIES_SQL)]
        {
            let view = session.context.sql(sql).await?.into_view();
            session.context.register_table(name, view)?;
        }
        Ok(session)
    }

    /// Damaged files that were left out, with what is wrong with them.
    #[must_use]
    pub fn skipped(&self) -> &[(PathBuf, String)] {
        &self.skipped
    }

    /// Answers one query. It can only read.
    ///
    /// # Errors
    /// Where the query can't be planned or run; the text says why.
    pub async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = self.context.sql_with_options(sql, read_only).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        // What a damaged file does to those who read it isn't known beforehand.
        match AssertUnwindSafe(self.rows(frame)).catch_unwind().await {
            Ok(Ok(batches)) => Ok(Answer { schema, batches }),
            Ok(Err(error)) => Err(damage::culprit(&self.sources, &error).await.unwrap_or_else(|| error.into())),
            Err(_) => Err(damage::unsound(&self.sources).await.unwrap_or(QueryError::Panicked)),
        }
    }

    async fn rows(&self, frame: DataFrame) -> Result<Vec<RecordBatch>, DataFusionError> {
        let (state, plan) = frame.into_parts();
        let plan = state.optimize(&plan)?;
        if late::is_asked_for(&plan)? {
            for log in self.sources.iter() {
                log.read_late().await?;
            }
        }
        let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
        answer::collect(plan, state.task_ctx()).await
    }

    /// `calls`, `outcomes` and `events`, each of all logs.
    fn tables(&self, categories: Option<&Arc<dyn Categories>>) -> Result<(), QueryError> {
        for kind in Kind::ALL {
            let mut all: Option<DataFrame> = None;
            for log in self.sources.iter() {
                let rows = match kind {
                    Kind::Calls => self.calls(log)?,
                    Kind::Outcomes | Kind::Events => self.seen(log, kind)?,
                };
                let named = rows.with_column("log", lit(log.name.clone()))?;
                all = Some(match all {
                    Some(before) => before.union(named)?,
                    None => named,
                });
            }
            let mut all = match all {
                Some(all) => all,
                None => {
                    self.context.read_batch(RecordBatch::new_empty(source::seen(kind)))?.with_column("log", lit(""))?
                }
            };
            if let (Kind::Calls, Some(categories)) = (kind, categories) {
                all = with_category(all, categories)?;
            }
            let view = ViewTable::new(all.into_unoptimized_plan(), None);
            self.context.register_table(kind.name(), Arc::new(view))?;
        }
        Ok(())
    }

    /// Sealed and open rows of a table, in no order.
    fn seen(&self, log: &Arc<LogSource>, kind: Kind) -> Result<DataFrame, QueryError> {
        let sealed = self.context.read_table(Arc::new(SealedTable::new(Arc::clone(log), kind)))?;
        let open = log.open(kind);
        if open.iter().all(|rows| rows.num_rows() == 0) {
            return Ok(sealed);
        }
        let open = open.iter().map(|rows| source::as_seen(rows, kind)).collect::<Result<Vec<_>, _>>()?;
        let open = self.context.read_table(Arc::new(MemTable::try_new(source::seen(kind), vec![open])?))?;
        Ok(if log.files(kind).next().is_some() { sealed.union(open)? } else { open })
    }

    /// The calls, with the outcomes that came after their segment was sealed.
    fn calls(&self, log: &Arc<LogSource>) -> Result<DataFrame, QueryError> {
        let rows = self.seen(log, Kind::Calls)?;
        if !log.can_be_late() {
            return Ok(rows);
        }
        let instance = log.only_instance();
        let merged = Kind::Calls.columns().iter().map(|column| {
            let late = match column.name {
                "outcome" | "upstream_us" | "result_bytes" | "result_hash" => column.name,
                "done_ts" => "ts",
                "done_seq" => "seq",
                name => return col(format!("\"{name}\"")),
            };
            // Where it is the same for all, it need not be read.
            let instance = instance
                .as_deref()
                .map_or_else(|| col("instance"), |name| lit(ScalarValue::Utf8View(Some(name.to_owned()))));
            let seen = source::seen(Kind::Calls).field_with_name(column.name).map(|field| field.data_type().clone());
            let function = late::function(log, late, seen.unwrap_or_else(|_| column.cell.data_type()));
            function.call(vec![col(column.name), instance, col("seq")]).alias(column.name)
        });
        Ok(rows.select(merged.collect::<Vec<_>>())?)
    }
}

/// The files and open rows of the logs, without what is damaged where that was asked for.
async fn sources(
    logs: &[LogDir],
    skip_damaged: bool,
) -> Result<(Vec<Arc<LogSource>>, Vec<(PathBuf, String)>), QueryError> {
    let (mut sources, mut skipped) = (Vec::new(), Vec::new());
    for log in logs {
        let mut files = source::sealed(&log.reader, &log.store);
        if skip_damaged {
            skipped.extend(damage::leave_out(&log.store, &mut files).await);
        }
        let mut open = Vec::new();
        for kind in Kind::ALL {
            match log.reader.open_batches(kind) {
                Ok(batches) => open.extend(batches.into_iter().map(|rows| (kind, rows))),
                Err(error) if skip_damaged => skipped.push((log.dir.clone(), error.to_string())),
                Err(error) => return Err(error.into()),
            }
        }
        sources.push(Arc::new(LogSource::new(log.name.clone(), log.store.clone(), files, open)));
    }
    Ok((sources, skipped))
}

/// The category by the user's word, or else as it was recorded, or else as it is told now.
fn with_category(calls: DataFrame, categories: &Arc<dyn Categories>) -> Result<DataFrame, DataFusionError> {
    let args = if categories.looks_at_args() { col("args") } else { cast(lit(ScalarValue::Null), DataType::Utf8View) };
    let judged = category::judged(Arc::clone(categories));
    calls.with_column("category", judged.call(vec![col("category"), col("tool"), args]))
}

impl LogDir {
    /// Takes a snapshot of the log in a directory.
    ///
    /// # Errors
    /// Where the directory holds no log, or something in it can't be read.
    pub fn open(dir: &Path) -> Result<Self, QueryError> {
        // It tells a directory without a log from an empty log.
        let reader = Reader::open(&[dir])?;
        let store = Store::local(dir).map_err(ReadError::from)?;
        Ok(Self { name: dir.display().to_string(), dir: dir.to_owned(), reader, store })
    }

    /// Takes a snapshot of a log that lies elsewhere.
    ///
    /// # Errors
    /// Where something in it can't be read.
    pub fn at(store: Store) -> Result<Self, QueryError> {
        let dir = store.log().shown().to_owned();
        let reader = Reader::at(vec![store.log().clone()])?;
        Ok(Self { name: dir.display().to_string(), dir, reader, store })
    }
}

#[cfg(test)]
mod tests;
