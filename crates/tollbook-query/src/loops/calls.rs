//! The calls of a log in the order of each instance, with the columns that loops depend on.
//!
//! One range of sealed files is read after another, the next ones ahead, and what is still open at the end.
//! Nothing is sorted: a file is in order already, and so are the days of a range, but for imports, where days
//! overlap and are merged by sequence.
//!
//! Texts that repeat come as dictionaries, so that a session is looked up once in a file and not once a call;
//! hashes, which hardly repeat, come as views into the page that they were read from.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use tollbook_log::schema::Kind;

use crate::source::{LogSource, Sealed};
use crate::store::Store;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// Batches of a file that are read before they are wanted, a few MB each.
const AHEAD_BATCHES: usize = 8;
/// Files that are begun before they are wanted.
const AHEAD_FILES: usize = 2;

/// What is read of each call.
const COLUMNS: [&str; 8] = ["instance", "seq", "ts", "session", "tool", "args_hash", "outcome", "result_hash"];

type Texts = DictionaryArray<Int32Type>;

/// Some calls of one instance, in order.
#[derive(Debug)]
pub struct Calls {
    pub seq: Int64Array,
    pub ts: TimestampMicrosecondArray,
    pub session: Texts,
    pub tool: Texts,
    pub args_hash: StringViewArray,
    pub outcome: Texts,
    pub result_hash: StringViewArray,
}

fn data_type(name: &str) -> Option<DataType> {
    match name {
        "session" | "tool" | "outcome" => {
            Some(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
        }
        "args_hash" | "result_hash" => Some(DataType::Utf8View),
        _ => None,
    }
}

impl Calls {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let column = |name: &str| -> Result<ArrayRef> {
            let lacks = || DataFusionError::Execution(format!("the log's calls have no usable column `{name}`"));
            let column = batch.column_by_name(name).ok_or_else(lacks)?;
            Ok(match data_type(name) {
                Some(wanted) if wanted != *column.data_type() => cast(column, &wanted)?,
                _ => Arc::clone(column),
            })
        };
        let other = |name: &str| DataFusionError::Execution(format!("the log's column `{name}` has another type"));
        let texts = |name: &str| column(name)?.as_dictionary_opt::<Int32Type>().cloned().ok_or_else(|| other(name));
        let views = |name: &str| column(name)?.as_string_view_opt().cloned().ok_or_else(|| other(name));
        Ok(Self {
            seq: column("seq")?.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| other("seq"))?,
            ts: column("ts")?.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or_else(|| other("ts"))?,
            session: texts("session")?,
            tool: texts("tool")?,
            args_hash: views("args_hash")?,
            outcome: texts("outcome")?,
            result_hash: views("result_hash")?,
        })
    }
}

/// The calls of a log, one instance after another.
pub struct InOrder<'a> {
    log: &'a LogSource,
    ranges: std::vec::IntoIter<Vec<Sealed>>,
    ahead: VecDeque<Opened>,
    now: Option<Merge>,
    open: std::vec::IntoIter<RecordBatch>,
}

impl<'a> InOrder<'a> {
    pub fn of(log: &'a LogSource) -> Self {
        let (ranges, open) = (log.ranges().into_iter(), log.open(Kind::Calls).into_iter());
        Self { log, ranges, ahead: VecDeque::new(), now: None, open }
    }

    /// The next calls, all of one instance; None at the end.
    pub async fn next(&mut self) -> Result<Option<(Arc<str>, Calls)>> {
        loop {
            if let Some(now) = &mut self.now
                && let Some(calls) = now.next().await?
            {
                return Ok(Some((Arc::clone(&now.instance), calls)));
            }
            while self.ahead.len() < AHEAD_FILES
                && let Some(range) = self.ranges.next()
            {
                self.ahead.extend(Opened::of(&self.log.store, range));
            }
            let Some(opened) = self.ahead.pop_front() else { break };
            self.now = Some(opened.merged().await?);
        }
        self.now = None;
        let Some(batch) = self.open.next() else { return Ok(None) };
        // Open rows come from the log one instance at a time.
        let instances = batch.column_by_name("instance").and_then(|column| column.as_string_opt::<i32>());
        let instance = instances.and_then(|names| names.iter().next().flatten()).unwrap_or_default().into();
        Ok(Some((instance, Calls::of(&batch)?)))
    }
}

/// Files whose calls are in order when they are merged; most often one file.
struct Opened {
    instance: Arc<str>,
    files: Vec<SendableRecordBatchStream>,
}

impl Opened {
    fn of(store: &Store, range: Vec<Sealed>) -> Vec<Self> {
        let overlap = range.iter().any(|file| !file.days_in_order);
        let mut opened: Vec<Self> = Vec::new();
        for file in range {
            let instance = Arc::clone(&file.instance);
            let stream = read(store.clone(), file);
            match opened.last_mut() {
                Some(range) if overlap => range.files.push(stream),
                _ => opened.push(Self { instance, files: vec![stream] }),
            }
        }
        opened
    }

    async fn merged(self) -> Result<Merge> {
        let mut files = Vec::new();
        for mut stream in self.files {
            if let Some(batch) = stream.next().await {
                files.push(Cursor { stream, batch: batch? });
            }
        }
        Ok(Merge { instance: self.instance, files })
    }
}

struct Merge {
    instance: Arc<str>,
    files: Vec<Cursor>,
}

impl Merge {
    /// The calls of the file that is furthest behind, up to where another one is.
    async fn next(&mut self) -> Result<Option<Calls>> {
        let at = |(place, file): (usize, &Cursor)| Some((file.seq()?, place));
        let Some((_, behind)) = self.files.iter().enumerate().filter_map(at).min() else { return Ok(None) };
        let others = self.files.iter().enumerate().filter(|(place, _)| *place != behind);
        let until = others.filter_map(|(_, file)| file.seq()).min();
        let Some(file) = self.files.get_mut(behind) else { return Ok(None) };
        let rows = file.rows_until(until);
        let calls = Calls::of(&file.batch.slice(0, rows))?;
        file.batch = file.batch.slice(rows, file.batch.num_rows() - rows);
        if file.batch.num_rows() == 0 {
            match file.stream.next().await {
                Some(batch) => file.batch = batch?,
                None => drop(self.files.swap_remove(behind)),
            }
        }
        Ok(Some(calls))
    }
}

struct Cursor {
    stream: SendableRecordBatchStream,
    batch: RecordBatch,
}

impl Cursor {
    fn seqs(&self) -> Option<&Int64Array> {
        self.batch.column_by_name("seq")?.as_primitive_opt::<Int64Type>()
    }

    fn seq(&self) -> Option<i64> {
        self.seqs()?.values().first().copied()
    }

    /// How many rows come before a sequence number; one at least.
    fn rows_until(&self, until: Option<i64>) -> usize {
        let (Some(until), Some(seqs)) = (until, self.seqs()) else { return self.batch.num_rows() };
        seqs.values().partition_point(|seq| *seq < until).max(1).min(self.batch.num_rows())
    }
}

/// Reads a file on a task of its own.
fn read(store: Store, file: Sealed) -> SendableRecordBatchStream {
    let schema = schema();
    let begun = async move {
        let builder = store.parquet(&file, ArrowReaderOptions::new()).await?;
        let fields = builder.schema().fields().iter().map(|field| match data_type(field.name()) {
            Some(wanted) => Arc::new(Field::new(field.name(), wanted, field.is_nullable())),
            None => Arc::clone(field),
        });
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let builder = store.parquet(&file, options).await?;
        let columns = COLUMNS.iter().copied().filter(|name| *name != "instance");
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        Ok::<_, DataFusionError>(stream.map_err(DataFusionError::from)?.map_err(DataFusionError::from))
    };
    let rows = futures::stream::once(begun).try_flatten();
    spawn_buffered(Box::pin(RecordBatchStreamAdapter::new(schema, rows)), AHEAD_BATCHES)
}

fn schema() -> SchemaRef {
    let all = Kind::Calls.schema();
    let fields = all.fields().iter().filter(|field| COLUMNS.contains(&field.name().as_str())).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
