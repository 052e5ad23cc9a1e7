//! Outcomes that came after their call's segment was sealed.
//!
//! They are few: the calls that were in flight when a segment was sealed. So nothing is joined: they are read
//! into memory before a query that asks for an outcome begins, and looked up for the calls whose own row has
//! none. A batch of calls without a late outcome goes through as it is. A query that asks for no outcome reads
//! none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, ScalarUDF, Volatility, create_udf};
use foldhash::fast::RandomState;
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashMap;
use tollbook_log::schema::Kind;

use crate::source::{self, LogSource, Sealed};
use crate::store::Store;

/// Files that are read at once.
const AT_ONCE: usize = 16;

/// The late outcomes of one log, by instance and the call's place in it.
#[derive(Debug)]
pub struct Late {
    rows: RecordBatch,
    places: HashMap<String, HashMap<i64, usize, RandomState>, RandomState>,
}

impl Late {
    /// Reads them. Of several outcomes of one call the first counts.
    pub async fn read(log: &LogSource) -> Result<Self> {
        let files: Vec<Sealed> = log.files(Kind::Outcomes).cloned().collect();
        // There is one for each sealed range, and opening it is most of the work.
        let read = |file| SpawnedTask::spawn(whole(log.store.clone(), file)).join_unwind();
        let read = futures::stream::iter(files).map(read).buffered(AT_ONCE);
        let read = read.map(|read| read.map_err(|gone| DataFusionError::ExecutionJoin(Box::new(gone)))?);
        let mut batches: Vec<RecordBatch> = read.try_collect::<Vec<_>>().await?.concat();
        for rows in log.open(Kind::Outcomes) {
            batches.push(source::as_seen(&rows, Kind::Outcomes)?);
        }
        let rows = concat_batches(&source::seen(Kind::Outcomes), &batches)?;
        let (instances, calls) = (rows.column_by_name("instance"), rows.column_by_name("call_seq"));
        let instances = instances.and_then(|column| column.as_string_view_opt());
        let calls = calls.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(instances), Some(calls)) = (instances, calls) else {
            return exec_err!("the log's outcomes name no calls");
        };
        let mut places: HashMap<String, HashMap<i64, usize, RandomState>, RandomState> = HashMap::default();
        for (place, (instance, call)) in (0..).zip(instances.iter().zip(calls)) {
            let (Some(instance), Some(call)) = (instance, call) else { continue };
            places.entry_ref(instance).or_default().entry(call).or_insert(place);
        }
        Ok(Self { rows, places })
    }

    /// The row of a call's outcome in [`Self::column`].
    pub fn place(&self, instance: &str, call: i64) -> Option<usize> {
        self.places.get(instance)?.get(&call).copied()
    }

    /// A column of `outcomes`.
    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        let found = self.rows.column_by_name(name);
        found.ok_or_else(|| DataFusionError::Internal(format!("outcomes have no column `{name}`")))
    }
}

/// The rows of a sealed file, with the columns of today.
async fn whole(store: Store, file: Sealed) -> Result<Vec<RecordBatch>> {
    let stream = store.parquet(&file).await?.build();
    let batches: Vec<RecordBatch> = stream.map_err(DataFusionError::from)?.try_collect().await?;
    batches.iter().map(|rows| source::as_seen(rows, Kind::Outcomes)).collect()
}

/// What the names of the functions below begin with.
const NAME: &str = "late_or_own_";

/// The function of (a call's own value, instance, seq) that gives a column of its outcome, whenever that came.
pub fn function(log: &Arc<LogSource>, column: &'static str, data_type: DataType) -> ScalarUDF {
    let log = Arc::clone(log);
    let invoke = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let [own, instance, calls] = args else { return exec_err!("a call has an instance and a place") };
        let arrays = ColumnarValue::values_to_arrays(&[own.clone(), calls.clone()])?;
        let [own, calls] = arrays.as_slice() else { return exec_err!("a call has a place") };
        let Some(nulls) = own.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(ColumnarValue::Array(Arc::clone(own)));
        };
        let (late, calls) = (log.late()?, calls.as_primitive::<Int64Type>());
        let instance = |row| match instance {
            ColumnarValue::Array(instances) => Some(instances.as_string_view().value(row)),
            // It isn't written out for each row.
            ColumnarValue::Scalar(instance) => instance.try_as_str().flatten(),
        };
        let without = !nulls.inner();
        let came: Vec<(usize, usize)> = without
            .set_indices()
            .filter_map(|row| Some((row, late.place(instance(row)?, calls.value(row))?)))
            .collect();
        if came.is_empty() {
            return Ok(ColumnarValue::Array(Arc::clone(own)));
        }
        let mut rows: Vec<(usize, usize)> = (0..own.len()).map(|row| (0, row)).collect();
        for (row, place) in came {
            if let Some(of_row) = rows.get_mut(row) {
                *of_row = (1, place);
            }
        }
        Ok(ColumnarValue::Array(interleave(&[own.as_ref(), late.column(column)?.as_ref()], &rows)?))
    };
    let types = vec![data_type.clone(), DataType::Utf8View, DataType::Int64];
    create_udf(&format!("{NAME}{column}"), types, data_type, Volatility::Immutable, Arc::new(invoke))
}

/// Whether an expression is one of those functions.
pub fn is_outcome(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name().starts_with(NAME))
}

/// Whether a plan asks for an outcome.
pub fn is_asked_for(plan: &LogicalPlan) -> Result<bool> {
    let mut asked = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                asked |= is_outcome(part);
                Ok(if asked { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(asked)
}

#[cfg(test)]
pub(crate) mod tests;
