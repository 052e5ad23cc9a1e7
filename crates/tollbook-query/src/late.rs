//! Outcomes that came after their call's segment was sealed.
//!
//! They are few: the calls that were in flight when a segment was sealed. So they are kept in memory and
//! looked up, when a query first asks for one; a query that asks for no outcome reads none.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tollbook_log::schema::Kind;

use crate::source::LogSource;

/// The late outcomes of one log, by instance and the call's place in it.
#[derive(Debug)]
pub struct Late {
    rows: RecordBatch,
    places: HashMap<String, HashMap<i64, u64, RandomState>, RandomState>,
}

impl Late {
    /// Reads them. Of several outcomes of one call the first counts.
    pub fn read(log: &LogSource) -> Result<Self> {
        let schema = Kind::Outcomes.schema();
        let mut batches = Vec::new();
        for (path, _) in log.files(Kind::Outcomes) {
            batches.append(&mut file(path)?);
        }
        batches.append(&mut log.open(Kind::Outcomes));
        let rows = concat_batches(&schema, &batches)?;
        let (instances, calls) = (rows.column_by_name("instance"), rows.column_by_name("call_seq"));
        let instances = instances.and_then(|column| column.as_string_opt::<i32>());
        let calls = calls.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(instances), Some(calls)) = (instances, calls) else {
            return exec_err!("the log's outcomes name no calls");
        };
        let mut places: HashMap<String, HashMap<i64, u64, RandomState>, RandomState> = HashMap::default();
        for (place, (instance, call)) in (0..).zip(instances.iter().zip(calls)) {
            let (Some(instance), Some(call)) = (instance, call) else { continue };
            places.entry_ref(instance).or_default().entry(call).or_insert(place);
        }
        Ok(Self { rows, places })
    }

    /// The row of a call's outcome in [`Self::column`].
    pub fn place(&self, instance: &str, call: i64) -> Option<u64> {
        self.places.get(instance)?.get(&call).copied()
    }

    /// A column of `outcomes`.
    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        let found = self.rows.column_by_name(name);
        found.ok_or_else(|| DataFusionError::Internal(format!("outcomes have no column `{name}`")))
    }
}

/// The rows of a sealed file, with the columns of today.
fn file(path: &Path) -> Result<Vec<RecordBatch>> {
    let schema = Kind::Outcomes.schema();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).and_then(|builder| builder.build());
    let reader = reader.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
    reader
        .map(|batch| {
            let batch = batch?;
            let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), batch.num_rows()),
            });
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
        })
        .collect()
}

/// The function of (instance, seq) that gives a column of a call's late outcome; null where there is none.
pub fn function(log: &Arc<LogSource>, column: &'static str, data_type: DataType) -> ScalarUDF {
    let log = Arc::clone(log);
    let invoke = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [instances, calls] = arrays.as_slice() else { return exec_err!("a call has an instance and a place") };
        let late = log.late()?;
        let (instances, calls) = (instances.as_string::<i32>(), calls.as_primitive::<Int64Type>());
        let places: UInt64Array =
            instances.iter().zip(calls).map(|(instance, call)| late.place(instance?, call?)).collect();
        Ok(ColumnarValue::Array(take(late.column(column)?, &places, None)?))
    };
    let types = vec![DataType::Utf8, DataType::Int64];
    create_udf(&format!("late_{column}"), types, data_type, Volatility::Immutable, Arc::new(invoke))
}

#[cfg(test)]
mod tests;
