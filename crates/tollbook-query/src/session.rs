//! One DataFusion session over a log, as it stood when the session began.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, JoinType, SessionConfig, SessionContext, coalesce, col};
use tollbook_log::schema::Kind;
use tollbook_log::{ReadError, Reader};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The log can't be read.
    #[error("cannot read the log")]
    Log(#[from] ReadError),
    /// The query can't be planned or run.
    #[error("{}", told(.0))]
    Query(Box<DataFusionError>),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}

/// DataFusion's reason without its own wrapping.
fn told(error: &DataFusionError) -> String {
    error.strip_backtrace()
}

/// A log that questions can be put to. It sees the log as it stood when it was opened.
pub struct Session {
    context: SessionContext,
}

impl Session {
    /// Opens the tables `calls`, `outcomes` and `events` over a snapshot of a log.
    ///
    /// # Errors
    /// Where the log's files can't be read.
    pub async fn open(log: &Reader) -> Result<Self, QueryError> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        let context = SessionContext::new_with_config(config);
        let session = Self { context };
        for kind in [Kind::Outcomes, Kind::Events] {
            let rows = session.rows(log, kind)?;
            session.context.register_table(kind.name(), rows.into_view())?;
        }
        let calls = session.calls(log)?;
        session
            .context
            .register_table(Kind::Calls.name(), Arc::new(ViewTable::new(calls.into_unoptimized_plan(), None)))?;
        Ok(session)
    }

    /// Answers one query. It can only read.
    ///
    /// # Errors
    /// Where the query can't be planned or run; the text says why.
    pub async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = self.context.sql_with_options(sql, read_only).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok(Answer { schema, batches: frame.collect().await? })
    }

    /// Sealed and open rows of a table, in no order.
    fn rows(&self, log: &Reader, kind: Kind) -> Result<DataFrame, QueryError> {
        let open = self.open_rows(log, kind)?;
        match self.sealed(log, kind)? {
            Some(sealed) => Ok(sealed.union(open)?),
            None => Ok(open),
        }
    }

    fn open_rows(&self, log: &Reader, kind: Kind) -> Result<DataFrame, QueryError> {
        let batches = log.open_batches(kind)?;
        let table = MemTable::try_new(kind.schema(), vec![batches])?;
        Ok(self.context.read_table(Arc::new(table))?)
    }

    fn sealed(&self, log: &Reader, kind: Kind) -> Result<Option<DataFrame>, QueryError> {
        let files = log.sealed_files(kind);
        if files.is_empty() {
            return Ok(None);
        }
        let urls = files
            .iter()
            .map(|(path, _)| ListingTableUrl::parse(path.to_string_lossy()))
            .collect::<Result<Vec<_>, _>>()?;
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config =
            ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(kind.schema());
        let table: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?);
        Ok(Some(self.context.read_table(table)?))
    }

    /// The calls, with the outcomes that came after their segment was sealed. Those are few, so they are
    /// looked up in memory, and only where there are any.
    fn calls(&self, log: &Reader) -> Result<DataFrame, QueryError> {
        let rows = self.rows(log, Kind::Calls)?;
        if log.sealed_files(Kind::Outcomes).is_empty() && log.open_batches(Kind::Outcomes)?.is_empty() {
            return Ok(rows);
        }
        let late = self.rows(log, Kind::Outcomes)?.select([
            col("instance").alias("late_instance"),
            col("call_seq").alias("late_call_seq"),
            col("outcome").alias("late_outcome"),
            col("ts").alias("late_done_ts"),
            col("seq").alias("late_done_seq"),
            col("upstream_us").alias("late_upstream_us"),
            col("result_bytes").alias("late_result_bytes"),
            col("result_hash").alias("late_result_hash"),
        ])?;
        let joined =
            rows.join(late, JoinType::Left, &["instance", "seq"], &["late_instance", "late_call_seq"], None)?;
        let merged = Kind::Calls.columns().iter().map(|column| match column.name {
            "outcome" | "done_ts" | "done_seq" | "upstream_us" | "result_bytes" | "result_hash" => {
                coalesce(vec![col(column.name), col(format!("late_{}", column.name))]).alias(column.name)
            }
            name => col(name),
        });
        Ok(joined.select(merged.collect::<Vec<_>>())?)
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
