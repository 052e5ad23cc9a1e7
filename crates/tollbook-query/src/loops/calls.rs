//! The calls of a log in the order of each instance, with the columns that loops depend on.
//!
//! Nothing is sorted by anything but its session: a file is in order already, and so are the days of a range, but for
//! imports, where days overlap and are merged by sequence. Several files are read at once, each by a task that puts the
//! calls of a session together, so that whoever takes them looks a session up once and not at every call; they are
//! handed over one file after another. What is still open comes last.
//!
//! Texts that repeat come as dictionaries, so that each is looked at once in a file; hashes, which hardly repeat, as
//! views into the page that they were read from. A column that nobody asks for isn't read.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};
use foldhash::fast::RandomState;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashMap;
use parquet::arrow::ProjectionMask;
use tokio::sync::mpsc;
use tollbook_log::schema::Kind;

use super::detector::{Instant, Seen, Step, ToolNumber, Tools, call_id};
use super::{LateEnds, Wanted, hash, is_error};
use crate::source::{LogSource, Sealed};
use crate::store::Store;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// Calls whose sessions are put together: few enough that their memory is used again and again.
const GROUP_ROWS: usize = 1 << 14;
/// Files that are begun before they are wanted.
const AHEAD_FILES: usize = 3;
/// Groups of a file that are made before they are wanted: most files have no more.
const AHEAD_GROUPS: usize = 16;

type Texts = DictionaryArray<Int32Type>;

/// Calls of one instance, those of a session together and in order.
#[derive(Debug)]
pub struct Grouped {
    pub instance: Arc<str>,
    /// Each session with the place of its calls in `steps`.
    pub sessions: Vec<(Arc<str>, Range<usize>)>,
    pub steps: Vec<Step>,
}

/// What is read of each call, in batches of a file.
#[derive(Debug)]
struct Calls {
    seq: Int64Array,
    session: Texts,
    tool: Texts,
    args_hash: StringViewArray,
    ts: Option<TimestampMicrosecondArray>,
    ends: Option<(Texts, StringViewArray)>,
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

fn columns(wanted: Wanted) -> impl Iterator<Item = &'static str> {
    let times: &[&str] = if wanted.times { &["ts"] } else { &[] };
    let ends: &[&str] = if wanted.ends { &["outcome", "result_hash"] } else { &[] };
    ["seq", "session", "tool", "args_hash"].into_iter().chain(times.iter().copied()).chain(ends.iter().copied())
}

impl Calls {
    fn of(batch: &RecordBatch, wanted: Wanted) -> Result<Self> {
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
        let times = || column("ts")?.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or_else(|| other("ts"));
        Ok(Self {
            seq: column("seq")?.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| other("seq"))?,
            session: texts("session")?,
            tool: texts("tool")?,
            args_hash: views("args_hash")?,
            ts: wanted.times.then(times).transpose()?,
            ends: wanted
                .ends
                .then(|| Ok::<_, DataFusionError>((texts("outcome")?, views("result_hash")?)))
                .transpose()?,
        })
    }
}

/// The calls of a log, one instance after another.
pub struct InOrder {
    log: Arc<LogSource>,
    how: Reading,
    ranges: std::vec::IntoIter<Vec<Sealed>>,
    /// The files of a range that aren't begun yet.
    waiting: VecDeque<Opened>,
    ahead: VecDeque<Ahead>,
    open: std::vec::IntoIter<RecordBatch>,
}

/// What all tasks read with.
#[derive(Debug, Clone)]
pub struct Reading {
    pub wanted: Wanted,
    pub tools: Arc<Tools>,
    pub late: Option<Arc<LateEnds>>,
}

impl InOrder {
    pub fn of(log: &Arc<LogSource>, how: Reading) -> Self {
        let (ranges, open) = (log.ranges().into_iter(), log.open(Kind::Calls).into_iter());
        Self { log: Arc::clone(log), how, ranges, waiting: VecDeque::new(), ahead: VecDeque::new(), open }
    }

    /// The next calls, all of one instance; None at the end.
    pub async fn next(&mut self) -> Result<Option<Grouped>> {
        loop {
            while self.ahead.len() < AHEAD_FILES {
                if let Some(opened) = self.waiting.pop_front() {
                    self.ahead.push_back(Ahead::begin(opened, self.how.clone()));
                } else if let Some(range) = self.ranges.next() {
                    self.waiting.extend(Opened::of(&self.log.store, range, self.how.wanted));
                } else {
                    break;
                }
            }
            let Some(first) = self.ahead.front_mut() else { break };
            if let Some(calls) = first.calls.recv().await {
                return Ok(Some(calls));
            }
            if let Some(first) = self.ahead.pop_front() {
                first.task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
            }
        }
        let Some(batch) = self.open.next() else { return Ok(None) };
        // Open rows come from the log one instance at a time.
        let instances = batch.column_by_name("instance").and_then(|column| column.as_string_opt::<i32>());
        let instance = instances.and_then(|names| names.iter().next().flatten()).unwrap_or_default().into();
        let mut together = Together::new(instance, &self.how);
        together.take(&Calls::of(&batch, self.how.wanted)?);
        Ok(Some(together.group()))
    }
}

/// Files that are being read.
struct Ahead {
    calls: mpsc::Receiver<Grouped>,
    /// Ends where nobody wants the calls any more.
    task: SpawnedTask<Result<()>>,
}

impl Ahead {
    fn begin(opened: Opened, how: Reading) -> Self {
        let (to, calls) = mpsc::channel(AHEAD_GROUPS);
        let task = SpawnedTask::spawn(async move {
            let mut together = Together::new(Arc::clone(&opened.instance), &how);
            let mut merge = opened.merged().await?;
            while let Some(calls) = merge.next(how.wanted).await? {
                together.take(&calls);
                // Whoever no longer listens has seen enough.
                if together.calls.len() >= GROUP_ROWS && to.send(together.group()).await.is_err() {
                    return Ok(());
                }
            }
            let _ = to.send(together.group()).await;
            Ok(())
        });
        Self { calls, task }
    }
}

/// Files whose calls are in order when they are merged; most often one file.
struct Opened {
    instance: Arc<str>,
    files: Vec<BoxStream<'static, Result<RecordBatch>>>,
}

impl Opened {
    fn of(store: &Store, range: Vec<Sealed>, wanted: Wanted) -> Vec<Self> {
        let overlap = range.iter().any(|file| !file.days_in_order);
        let mut opened: Vec<Self> = Vec::new();
        for file in range {
            let instance = Arc::clone(&file.instance);
            let stream = read(store.clone(), file, wanted);
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
        Ok(Merge(files))
    }
}

struct Merge(Vec<Cursor>);

impl Merge {
    /// The calls of the file that is furthest behind, up to where another one is.
    async fn next(&mut self, wanted: Wanted) -> Result<Option<Calls>> {
        let at = |(place, file): (usize, &Cursor)| Some((file.seq()?, place));
        let Some((_, behind)) = self.0.iter().enumerate().filter_map(at).min() else { return Ok(None) };
        let others = self.0.iter().enumerate().filter(|(place, _)| *place != behind);
        let until = others.filter_map(|(_, file)| file.seq()).min();
        let Some(file) = self.0.get_mut(behind) else { return Ok(None) };
        let rows = file.rows_until(until);
        let calls = Calls::of(&file.batch.slice(0, rows), wanted)?;
        file.batch = file.batch.slice(rows, file.batch.num_rows() - rows);
        if file.batch.num_rows() == 0 {
            match file.stream.next().await {
                Some(batch) => file.batch = batch?,
                None => drop(self.0.swap_remove(behind)),
            }
        }
        Ok(Some(calls))
    }
}

struct Cursor {
    stream: BoxStream<'static, Result<RecordBatch>>,
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

fn read(store: Store, file: Sealed, wanted: Wanted) -> BoxStream<'static, Result<RecordBatch>> {
    let begun = async move {
        let with = |schema: &Schema| {
            let fields = schema.fields().iter().map(|field| match data_type(field.name()) {
                Some(wanted) => Arc::new(Field::new(field.name(), wanted, field.is_nullable())),
                None => Arc::clone(field),
            });
            Schema::new(fields.collect::<Vec<_>>())
        };
        let builder = store.parquet_with(&file, with).await?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns(wanted));
        let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        Ok::<_, DataFusionError>(stream.map_err(DataFusionError::from)?.map_err(DataFusionError::from))
    };
    futures::stream::once(begun).try_flatten().boxed()
}

/// Puts the calls of each session together.
struct Together<'a> {
    instance: Arc<str>,
    how: &'a Reading,
    /// The sessions so far, and how many calls each has.
    sessions: Vec<(Arc<str>, usize)>,
    by_name: HashMap<Arc<str>, usize, RandomState>,
    /// Each call with its session's place.
    calls: Vec<(usize, Step)>,
    session: Dictionary<usize>,
    tool: Dictionary<ToolNumber>,
    error: Dictionary<bool>,
}

impl<'a> Together<'a> {
    fn new(instance: Arc<str>, how: &'a Reading) -> Self {
        Self {
            instance,
            how,
            sessions: Vec::new(),
            by_name: HashMap::default(),
            calls: Vec::new(),
            session: Dictionary::default(),
            tool: Dictionary::default(),
            error: Dictionary::default(),
        }
    }

    fn take(&mut self, calls: &Calls) {
        let Self { instance, how, sessions, by_name, session, tool, error, .. } = self;
        let mut place = |name: &str| {
            if let Some(place) = by_name.get(name) {
                return *place;
            }
            let (name, place): (Arc<str>, _) = (name.into(), sessions.len());
            by_name.insert(Arc::clone(&name), place);
            sessions.push((name, 0));
            place
        };
        session.go_on(&calls.session);
        tool.go_on(&calls.tool);
        if let Some((outcomes, _)) = &calls.ends {
            error.go_on(outcomes);
        }
        let session_of = |row| session.at(&calls.session, row, &mut place);
        let sessions_of: Vec<Option<usize>> = (0..calls.seq.len()).map(session_of).collect();
        let hashed = |hashes: &StringViewArray, row| hashes.is_valid(row).then(|| hash(hashes.value(row))).flatten();
        self.calls.reserve(calls.seq.len());
        for (row, (seq, session)) in calls.seq.values().iter().copied().zip(sessions_of).enumerate() {
            // Nobody knows what stands between calls without a session.
            let Some(session) = session else { continue };
            if let Some((_, calls)) = sessions.get_mut(session) {
                *calls += 1;
            }
            let tool = tool.at(&calls.tool, row, |name| how.tools.number(name));
            let mut seen = Seen { seq, tool, ..Seen::default() };
            if let Some((outcomes, results)) = &calls.ends {
                let own = error.at(outcomes, row, is_error);
                let late = how.late.as_ref().filter(|_| own.is_none()).and_then(|late| late.of_call(instance, seq));
                let (error, result) = late.unwrap_or_else(|| (own.unwrap_or(false), hashed(results, row)));
                (seen.error, seen.result) = (error, result.map(not_zero));
            }
            let ts = calls.ts.as_ref().filter(|ts| ts.is_valid(row));
            seen.at = ts.and_then(|ts| Instant::of_us(ts.value(row)));
            let args = hashed(&calls.args_hash, row);
            let id = tool.zip(args).map(|(tool, args)| call_id(tool, args));
            self.calls.push((session, Step { id, seen }));
        }
    }

    /// The calls so far.
    fn group(&mut self) -> Grouped {
        let mut next = 0;
        let mut sessions = Vec::with_capacity(self.sessions.len());
        for (name, calls) in self.sessions.drain(..) {
            sessions.push((name, next..next));
            next += calls;
        }
        let nothing = Step { id: None, seen: Seen::default() };
        let mut steps = vec![nothing; next];
        for (session, step) in self.calls.drain(..) {
            let Some((_, place)) = sessions.get_mut(session) else { continue };
            if let Some(slot) = steps.get_mut(place.end) {
                *slot = step;
            }
            place.end += 1;
        }
        self.by_name.clear();
        self.session.forget();
        Grouped { instance: Arc::clone(&self.instance), sessions, steps }
    }
}

fn not_zero(hash: u64) -> std::num::NonZeroU64 {
    std::num::NonZeroU64::new(hash).unwrap_or(std::num::NonZeroU64::MIN)
}

/// What stands for each text of a dictionary that was met, as long as the batches come with the same one.
struct Dictionary<T> {
    texts: Option<ArrayRef>,
    known: Vec<Option<T>>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self { texts: None, known: Vec::new() }
    }
}

impl<T: Copy> Dictionary<T> {
    /// A batch with this column follows.
    fn go_on(&mut self, column: &Texts) {
        let values = column.values();
        let data = |texts: &ArrayRef| texts.as_string_opt::<i32>().map(|texts| texts.value_data().as_ptr());
        let same = self.texts.as_ref().is_some_and(|known| known.len() == values.len() && data(known) == data(values));
        if !same {
            self.texts = Some(Arc::clone(values));
            self.forget();
        }
    }

    /// Whatever stood for a text, something else does now.
    fn forget(&mut self) {
        self.known.clear();
        self.known.resize(self.texts.as_ref().map_or(0, Array::len), None);
    }

    #[inline]
    fn at(&mut self, column: &Texts, row: usize, number: impl FnOnce(&str) -> T) -> Option<T> {
        let keys = column.keys();
        let key = if keys.is_valid(row) { keys.values().get(row) } else { None };
        let key = usize::try_from(*key?).ok()?;
        let known = self.known.get_mut(key)?;
        if known.is_none() {
            let texts = column.values().as_string_opt::<i32>()?;
            *known = texts.is_valid(key).then(|| number(texts.value(key)));
        }
        *known
    }
}
