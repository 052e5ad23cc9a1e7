//! Sealed files as a table of DataFusion's.
//!
//! Which files can hold what is asked for is told by the manifest: the instance, the sequence numbers and the
//! day. A file that can't is not opened, and not shown by EXPLAIN. What remains DataFusion prunes by the
//! files' own statistics, page index and bloom filters.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use tollbook_log::schema::{Kind, calls};

use crate::late;
use crate::source::{self, LogSource, Sealed};
use crate::store::FOOTER_BYTES;

/// The sealed rows of one table of one log.
#[derive(Debug)]
pub struct SealedTable {
    log: Arc<LogSource>,
    kind: Kind,
    schema: SchemaRef,
}

impl SealedTable {
    pub fn new(log: Arc<LogSource>, kind: Kind) -> Self {
        Self { log, kind, schema: source::seen(kind) }
    }

    /// The files that can hold rows of which these filters are true.
    fn files(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&Sealed>> {
        let files: Vec<&Sealed> = self.log.files(self.kind).collect();
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files) };
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .build(state.create_physical_expr(filter, &schema)?);
        // A filter that bounds say nothing of is left to whoever reads the files.
        let Some(predicate) = predicate else { return Ok(files) };
        let statistics = files.iter().map(|file| Arc::new(file.statistics())).collect();
        let kept = predicate.prune(&PrunableStatistics::new(statistics, Arc::clone(&self.schema)))?;
        Ok(files.into_iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect())
    }
}

/// Whether a filter leaves a few calls, so that it pays to decode the other columns for those alone. Where many
/// calls remain, here and there, decoding all of them is faster.
fn names_few(filter: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return false };
    [left, right].into_iter().any(|side| match side.as_ref() {
        Expr::Column(column) => {
            [calls::SESSION, calls::ARGS_HASH, calls::SEQ].iter().any(|known| known.name == column.name)
        }
        _ => false,
    })
}

/// Whether a filter can leave out pages of a file: by their bounds, as calls stand in the order of `seq`, or because it
/// [names few](names_few) calls, whose pages are found by the same index. Other columns have about the same bounds in
/// all pages, and reading those of all columns takes a while. An outcome is looked up by `seq`, which bounds nothing.
fn names_pages(filter: &Expr) -> Result<bool> {
    let known = [calls::SEQ, calls::TS, calls::SESSION, calls::ARGS_HASH];
    let mut found = false;
    filter.apply(|part| {
        found |= matches!(part, Expr::Column(column) if known.iter().any(|known| known.name == column.name));
        Ok(if late::is_outcome(part) { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

#[async_trait]
impl TableProvider for SealedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files(state, filters)?;
        let projected = datafusion::common::project_schema(&self.schema, projection)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let rows = files.iter().map(|file| usize::try_from(file.rows).unwrap_or(usize::MAX));
        let mut statistics = Statistics::new_unknown(&self.schema);
        // A count alone reads the footers all the same, so that a damaged file is noticed.
        statistics.num_rows = datafusion::common::stats::Precision::Inexact(rows.fold(0, usize::saturating_add));
        let group = FileGroup::new(files.into_iter().map(Sealed::partitioned).collect());
        let names_pages = filters.iter().map(names_pages).collect::<Result<Vec<bool>>>()?.contains(&true);
        let store = Arc::clone(self.log.store.store());
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut options = TableParquetOptions::new();
        options.global = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_metadata_size_hint(FOOTER_BYTES)
            .with_pushdown_filters(filters.iter().any(names_few))
            .with_enable_page_index(names_pages)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, footers)));
        let config = FileScanConfigBuilder::new(self.log.store.url().clone(), Arc::new(source))
            .with_file_groups(group.split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
