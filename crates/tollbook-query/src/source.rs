//! A log that a session looks at, as it stood when the session began, and its calls in order.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use futures::StreamExt;
use futures::stream::BoxStream;
use tollbook_log::schema::Kind;

use crate::late::Late;

/// Batches of a range that are read before they are wanted. With two ranges ahead that is some 100 MB.
const AHEAD_BATCHES: usize = 32;

/// The files and open rows of one log.
#[derive(Debug)]
pub struct LogSource {
    /// The directory, as it was named.
    pub name: String,
    /// Sealed files of each table, with their sizes, in order of instance and sequence.
    pub files: Vec<(Kind, PathBuf, u64)>,
    /// Rows that aren't sealed.
    pub open: Vec<(Kind, RecordBatch)>,
    late: OnceLock<Late>,
}

impl LogSource {
    /// A log of these files and open rows.
    pub fn new(name: String, files: Vec<(Kind, PathBuf, u64)>, open: Vec<(Kind, RecordBatch)>) -> Self {
        Self { name, files, open, late: OnceLock::new() }
    }

    /// Sealed files of a table.
    pub fn files(&self, kind: Kind) -> impl Iterator<Item = (&PathBuf, u64)> {
        self.files.iter().filter(move |file| file.0 == kind).map(|(_, path, bytes)| (path, *bytes))
    }

    /// Rows of a table that aren't sealed.
    pub fn open(&self, kind: Kind) -> Vec<RecordBatch> {
        self.open.iter().filter(|rows| rows.0 == kind).map(|rows| rows.1.clone()).collect()
    }

    /// The files of calls, those of one range together. A range's files have one name, each below the
    /// directory of its day.
    fn ranges(&self) -> Vec<Vec<(&PathBuf, u64)>> {
        let mut ranges: Vec<Vec<(&PathBuf, u64)>> = Vec::new();
        for file in self.files(Kind::Calls) {
            match ranges.last_mut() {
                Some(range) if range.first().is_some_and(|first| first.0.file_name() == file.0.file_name()) => {
                    range.push(file);
                }
                _ => ranges.push(vec![file]),
            }
        }
        ranges
    }

    /// Columns of all calls, in the order of each instance.
    pub fn calls_in_order(
        &self,
        context: &Arc<TaskContext>,
        columns: &[&str],
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mut plans = Vec::new();
        for range in self.ranges() {
            plans.push(scan(Kind::Calls, &range, columns)?);
        }
        plans.push(open(Kind::Calls, self.open(Kind::Calls), columns)?);
        let context = Arc::clone(context);
        let streams = futures::stream::iter(plans).map(move |plan| {
            let plan = merged(plan)?;
            Ok::<_, DataFusionError>(spawn_buffered(plan.execute(0, Arc::clone(&context))?, AHEAD_BATCHES))
        });
        let started = streams.map(futures::future::ready).buffered(2);
        Ok(started
            .flat_map(|stream| match stream {
                Ok(stream) => stream.boxed(),
                Err(error) => futures::stream::once(futures::future::ready(Err(error))).boxed(),
            })
            .boxed())
    }

    /// The outcomes that aren't in their call's row, read when they are first asked for.
    pub fn late(&self) -> Result<&Late> {
        if self.late.get().is_none() {
            // Whoever else read them meanwhile has read the same.
            let _ = self.late.set(Late::read(self)?);
        }
        self.late.get().ok_or_else(|| DataFusionError::Internal("what was set is there".to_owned()))
    }

    /// Whether an outcome can have come after its call was sealed.
    pub fn can_be_late(&self) -> bool {
        self.files.iter().any(|file| file.0 == Kind::Outcomes) || self.open.iter().any(|rows| rows.0 == Kind::Outcomes)
    }
}

/// Reads files, each as a partition of its own.
fn scan(kind: Kind, files: &[(&PathBuf, u64)], columns: &[&str]) -> Result<Arc<dyn ExecutionPlan>> {
    let groups = files
        .iter()
        .map(|(path, bytes)| {
            let mut file = PartitionedFile::new("", *bytes);
            file.object_meta.location = ListingTableUrl::parse(path.to_string_lossy())?.prefix().clone();
            Ok(FileGroup::new(vec![file]))
        })
        .collect::<Result<Vec<_>>>()?;
    let source = Arc::new(ParquetSource::new(kind.schema()));
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
        .with_file_groups(groups)
        .with_projection_indices(Some(places(kind, columns)?))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn open(kind: Kind, batches: Vec<RecordBatch>, columns: &[&str]) -> Result<Arc<dyn ExecutionPlan>> {
    let places = places(kind, columns)?;
    Ok(MemorySourceConfig::try_new_exec(&[batches], kind.schema(), Some(places))?)
}

fn places(kind: Kind, columns: &[&str]) -> Result<Vec<usize>> {
    let schema = kind.schema();
    columns.iter().map(|name| Ok(schema.index_of(name)?)).collect()
}

/// One stream of several that are each in order.
fn merged(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.properties().partitioning.partition_count() == 1 {
        return Ok(plan);
    }
    let by = [PhysicalSortExpr::new_default(col("seq", &plan.schema())?)];
    match LexOrdering::new(by) {
        Some(order) => Ok(Arc::new(SortPreservingMergeExec::new(order, plan))),
        None => Ok(plan),
    }
}
