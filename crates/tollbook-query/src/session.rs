//! One DataFusion session over logs, as they stood when the session began.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::config::Dialect;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, coalesce, col, lit};
use tollbook_log::schema::Kind;
use tollbook_log::{ReadError, Reader};

use crate::backtest::{Backtest, BacktestFunction};
use crate::category::{self, Categories};
use crate::loops::LoopsFunction;
use crate::rates::RatesFunction;
use crate::source::LogSource;
use crate::{damage, late, table};

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
    skipped: Vec<(PathBuf, String)>,
}

impl Session {
    /// Opens the tables and functions over snapshots of logs.
    ///
    /// # Errors
    /// Where a log's files can't be read.
    pub async fn open(logs: Vec<LogDir>, options: Options) -> Result<Self, QueryError> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().sql_parser.collect_spans = true;
        // So that `args->>'path' IS NOT NULL` means what it says, and `args ? 'path'` is known.
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        // So that `category` and all else that takes text is given the same kind of it.
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_bytes_max {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        let mut context = SessionContext::new_with_config_rt(config, Arc::new(runtime.build()?));
        datafusion_functions_json::register_all(&mut context)?;
        let mut session = Self { context, logs: Arc::new(logs), skipped: Vec::new() };
        let sources = Arc::new(session.sources(options.skip_damaged)?);
        session.context.register_udf(category::function(options.categories.clone()));
        session.tables(&sources, options.categories)?;
        session.context.register_udtf("loops", Arc::new(LoopsFunction(sources)));
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
        match frame.collect().await {
            Ok(batches) => Ok(Answer { schema, batches }),
            Err(error) => Err(self.culprit(&error).unwrap_or_else(|| error.into())),
        }
    }

    /// The damaged file behind an error of reading, if there is one.
    fn culprit(&self, error: &DataFusionError) -> Option<QueryError> {
        let root = error.find_root();
        if matches!(root, DataFusionError::Plan(_) | DataFusionError::ResourcesExhausted(_)) {
            return None;
        }
        self.logs.iter().flat_map(|log| Kind::ALL.iter().flat_map(|kind| log.reader.sealed_files(*kind))).find_map(
            |(path, file)| damage::wrong(&path, file).map(|what| QueryError::Damaged { path: path.clone(), what }),
        )
    }

    /// The files and open rows of the logs, without what is damaged where that was asked for.
    fn sources(&mut self, skip_damaged: bool) -> Result<Vec<Arc<LogSource>>, QueryError> {
        let mut skipped = Vec::new();
        let mut logs = Vec::new();
        for log in self.logs.iter() {
            let (mut files, mut open) = (Vec::new(), Vec::new());
            for kind in Kind::ALL {
                for (path, file) in log.reader.sealed_files(kind) {
                    let wrong = if skip_damaged { damage::wrong } else { damage::wrong_size };
                    match wrong(&path, file) {
                        None => files.push((kind, path, file.bytes)),
                        Some(what) if skip_damaged => skipped.push((path, what)),
                        Some(what) => return Err(QueryError::Damaged { path, what }),
                    }
                }
                match log.reader.open_batches(kind) {
                    Ok(batches) => open.extend(batches.into_iter().map(|rows| (kind, rows))),
                    Err(error) if skip_damaged => skipped.push((log.dir.clone(), error.to_string())),
                    Err(error) => return Err(error.into()),
                }
            }
            logs.push(Arc::new(LogSource::new(log.name.clone(), files, open)));
        }
        self.skipped = skipped;
        Ok(logs)
    }

    /// `calls`, `outcomes` and `events`, each of all logs.
    fn tables(&self, logs: &[Arc<LogSource>], categories: Option<Arc<dyn Categories>>) -> Result<(), QueryError> {
        let empty = Arc::new(LogSource::new(String::new(), Vec::new(), Vec::new()));
        let logs = if logs.is_empty() { std::slice::from_ref(&empty) } else { logs };
        for kind in Kind::ALL {
            let mut all: Option<DataFrame> = None;
            for log in logs {
                let rows = match kind {
                    Kind::Calls => self.calls(log)?,
                    Kind::Outcomes | Kind::Events => self.rows(log, kind)?,
                };
                let named = rows.with_column("log", lit(log.name.clone()))?;
                all = Some(match all {
                    Some(before) => before.union(named)?,
                    None => named,
                });
            }
            let Some(mut all) = all else { continue };
            if kind == Kind::Calls {
                all = with_category(all, categories.as_ref())?;
            }
            let view = ViewTable::new(all.into_unoptimized_plan(), None);
            self.context.register_table(kind.name(), Arc::new(view))?;
        }
        Ok(())
    }

    /// Sealed and open rows of a table, in no order.
    fn rows(&self, log: &LogSource, kind: Kind) -> Result<DataFrame, QueryError> {
        let open = MemTable::try_new(kind.schema(), vec![log.open(kind)])?;
        let open = self.context.read_table(Arc::new(open))?;
        match self.sealed(log, kind)? {
            Some(sealed) => Ok(sealed.union(open)?),
            None => Ok(open),
        }
    }

    fn sealed(&self, log: &LogSource, kind: Kind) -> Result<Option<DataFrame>, QueryError> {
        let urls = log
            .files(kind)
            .map(|(path, _)| ListingTableUrl::parse(path.to_string_lossy()))
            .collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Ok(None);
        }
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config =
            ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(kind.schema());
        let table: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?);
        Ok(Some(self.context.read_table(table)?))
    }

    /// The calls, with the outcomes that came after their segment was sealed.
    fn calls(&self, log: &Arc<LogSource>) -> Result<DataFrame, QueryError> {
        let rows = self.rows(log, Kind::Calls)?;
        if !log.can_be_late() {
            return Ok(rows);
        }
        let merged = Kind::Calls.columns().iter().map(|column| {
            let late = match column.name {
                "outcome" | "upstream_us" | "result_bytes" | "result_hash" => column.name,
                "done_ts" => "ts",
                "done_seq" => "seq",
                name => return col(name),
            };
            let late = late::function(log, late, column.cell.data_type()).call(vec![col("instance"), col("seq")]);
            coalesce(vec![col(column.name), late]).alias(column.name)
        });
        Ok(rows.select(merged.collect::<Vec<_>>())?)
    }
}

/// The category by the user's word, or else as it was recorded, or else as it is told now.
fn with_category(calls: DataFrame, categories: Option<&Arc<dyn Categories>>) -> Result<DataFrame, DataFusionError> {
    let args = || vec![col("tool"), col("args")];
    let overridden = category::overridden(categories.cloned()).call(args());
    let told = category::function(categories.cloned()).call(args());
    calls.with_column("category", coalesce(vec![overridden, col("category"), told]))
}

impl LogDir {
    /// Takes a snapshot of the log in a directory.
    ///
    /// # Errors
    /// Where the directory holds no log, or something in it can't be read.
    pub fn open(dir: &Path) -> Result<Self, QueryError> {
        Ok(Self { name: dir.display().to_string(), dir: dir.to_owned(), reader: Reader::open(&[dir])? })
    }
}

/// The rows that answer a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}
