//! The rows that answer a query.
//!
//! They are kept until they are written, so they count against the memory that a query may take, as what its plan
//! keeps does: an answer of millions of rows fails under a limit instead of taking the process down.

use std::sync::Arc;

use arrow::array::{Array, ArrayData};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use foldhash::fast::RandomState;
use futures::TryStreamExt;
use hashbrown::HashSet;

/// The rows that answer a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Runs a plan and keeps its rows.
pub(crate) async fn collect(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    let memory = MemoryConsumer::new("the answer").register(context.memory_pool());
    let mut stream = execute_stream(plan, context)?;
    let mut kept = Kept::default();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        memory.try_grow(kept.more(&batch))?;
        batches.push(batch);
    }
    Ok(batches)
}

/// The buffers that rows keep alive. Batches share them, as slices do, and each is kept once.
#[derive(Default)]
struct Kept(HashSet<usize, RandomState>);

impl Kept {
    /// Bytes that a batch keeps and those before it don't.
    fn more(&mut self, batch: &RecordBatch) -> usize {
        batch.columns().iter().map(|column| self.of(&column.to_data())).sum()
    }

    fn of(&mut self, data: &ArrayData) -> usize {
        let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
        let own = buffers.filter(|buffer| self.0.insert(buffer.data_ptr().addr().get()));
        let own: usize = own.map(|buffer| buffer.capacity()).sum();
        own + data.child_data().iter().map(|child| self.of(child)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn what_batches_share_is_kept_once() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        let text = "a text that is too long to lie in the view itself".repeat(10);
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, 1_000)));
        let all = batch(vec![("n", numbers), ("t", texts)]);
        let mut kept = Kept::default();
        let first = kept.more(&all.slice(0, 10));
        assert!(first >= 8 * 1_000 + 490 * 1_000, "{first}");
        assert_eq!(kept.more(&all.slice(10, 10)), 0);
        let other: ArrayRef = Arc::new(Int64Array::from_iter([Some(1), None]));
        assert!((17..1_000).contains(&kept.more(&batch(vec![("n", other)]))));
    }
}
