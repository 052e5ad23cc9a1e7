//! The calls of a log in the order of each instance, with the columns that loops depend on.
//!
//! Nothing is sorted by anything but its session: a file is in order already, and so are the days of a range, but for
//! imports, where days overlap and are merged by sequence. Several files are read at once, each by a task that puts the
//! calls of a session together, so that whoever takes them looks a session up once and not at every call; they are
//! handed over one file after another. What is still open comes last.
//!
//! Texts that repeat come as dictionaries, so that each is looked at once in a file; hashes, which hardly repeat, are
//! read a batch at once. A column that nobody asks for isn't read.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};
use foldhash::fast::RandomState;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashTable;
use parquet::arrow::ProjectionMask;
use tokio::sync::mpsc;
use tollbook_engine::run::CallId;
use tollbook_log::HexColumn;
use tollbook_log::schema::Kind;

use super::detector::{Instant, Kept, Seen, ToolNumber, Tools, Went, call_id};
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
pub struct Grouped<W> {
    pub instance: Arc<str>,
    sessions: Vec<Stretch>,
    /// The sessions' names, one after the other: most sessions are of one group, and each would be a text of its own
    /// that is made on one thread and given back on another.
    names: String,
    pub ids: Vec<Option<CallId>>,
    pub seen: Vec<Seen<W>>,
}

/// The calls of a session in a group.
#[derive(Debug)]
struct Stretch {
    /// Where the session's name stands.
    name: Range<usize>,
    calls: Range<usize>,
}

impl<W> Grouped<W> {
    /// Each session's name with the place of its calls in `ids` and in `seen`.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.sessions.iter().map(|session| (self.names.get(session.name.clone()).unwrap_or(""), session.calls.clone()))
    }
}

/// What is read of each call, in batches of a file.
#[derive(Debug)]
struct Calls {
    seq: Int64Array,
    session: Texts,
    tool: Texts,
    args_hash: Hashes,
    ts: Option<TimestampMicrosecondArray>,
    ends: Option<(Texts, Hashes)>,
}

/// Hashes in hexadecimal digits.
#[derive(Debug)]
struct Hashes {
    texts: StringArray,
    read: HexColumn,
}

impl Hashes {
    fn of(texts: &StringArray) -> Self {
        Self { texts: texts.clone(), read: HexColumn::new(texts) }
    }

    /// The first 64 bits of a row's hash; None where it has none.
    #[inline]
    fn at(&self, row: usize) -> Option<u64> {
        if self.texts.is_null(row) {
            return None;
        }
        match self.read.hash(row).and_then(|hash| hash.first_chunk()) {
            Some(bytes) => Some(u64::from_be_bytes(*bytes)),
            None => hash(self.texts.value(row)),
        }
    }
}

fn data_type(name: &str) -> Option<DataType> {
    match name {
        "session" | "tool" | "outcome" => {
            Some(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
        }
        "args_hash" | "result_hash" => Some(DataType::Utf8),
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
        let hashes = |name: &str| column(name)?.as_string_opt::<i32>().map(Hashes::of).ok_or_else(|| other(name));
        let times = || column("ts")?.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or_else(|| other("ts"));
        Ok(Self {
            seq: column("seq")?.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| other("seq"))?,
            session: texts("session")?,
            tool: texts("tool")?,
            args_hash: hashes("args_hash")?,
            ts: wanted.times.then(times).transpose()?,
            ends: wanted
                .ends
                .then(|| Ok::<_, DataFusionError>((texts("outcome")?, hashes("result_hash")?)))
                .transpose()?,
        })
    }
}

/// The calls of a log, one instance after another.
pub struct InOrder<W> {
    log: Arc<LogSource>,
    how: Reading,
    ranges: std::vec::IntoIter<Vec<Sealed>>,
    /// The files of a range that aren't begun yet.
    waiting: VecDeque<Opened>,
    ahead: VecDeque<Ahead<W>>,
    open: std::vec::IntoIter<RecordBatch>,
}

/// What all tasks read with.
#[derive(Debug, Clone)]
pub struct Reading {
    pub wanted: Wanted,
    pub tools: Arc<Tools>,
    pub late: Option<Arc<LateEnds>>,
}

impl<W: Kept> InOrder<W> {
    pub fn of(log: &Arc<LogSource>, how: Reading) -> Self {
        let (ranges, open) = (log.ranges().into_iter(), log.open(Kind::Calls).into_iter());
        Self { log: Arc::clone(log), how, ranges, waiting: VecDeque::new(), ahead: VecDeque::new(), open }
    }

    /// The next calls, all of one instance; None at the end.
    pub async fn next(&mut self) -> Result<Option<Grouped<W>>> {
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
struct Ahead<W> {
    calls: mpsc::Receiver<Grouped<W>>,
    /// Ends where nobody wants the calls any more.
    task: SpawnedTask<Result<()>>,
}

impl<W: Kept> Ahead<W> {
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
struct Together<'a, W> {
    instance: Arc<str>,
    how: &'a Reading,
    /// The sessions so far, with how many calls each has: the places of those are told by [`Together::group`].
    sessions: Vec<Stretch>,
    names: String,
    /// Places of sessions, found by name.
    by_name: HashTable<u32>,
    hasher: RandomState,
    calls: Vec<Placed<W>>,
    session: Dictionary<u32>,
    tool: Dictionary<ToolNumber>,
    error: Dictionary<bool>,
}

/// A call, and its session's place.
struct Placed<W> {
    session: u32,
    id: Option<CallId>,
    seen: Seen<W>,
}

impl<'a, W: Kept> Together<'a, W> {
    fn new(instance: Arc<str>, how: &'a Reading) -> Self {
        Self {
            instance,
            how,
            sessions: Vec::new(),
            names: String::new(),
            by_name: HashTable::new(),
            hasher: RandomState::default(),
            calls: Vec::new(),
            session: Dictionary::default(),
            tool: Dictionary::default(),
            error: Dictionary::default(),
        }
    }

    fn take(&mut self, calls: &Calls) {
        let Self { instance, how, sessions, names, by_name, hasher, session, tool, error, .. } = self;
        let mut place = |name: &str| {
            let hash = hasher.hash_one(name);
            let named = |place: &u32| sessions.get(index(*place)).and_then(|known| names.get(known.name.clone()));
            if let Some(place) = by_name.find(hash, |place| named(place) == Some(name)) {
                return *place;
            }
            let place = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
            by_name.insert_unique(hash, place, |place| named(place).map_or(0, |name| hasher.hash_one(name)));
            let start = names.len();
            names.push_str(name);
            sessions.push(Stretch { name: start..names.len(), calls: 0..0 });
            place
        };
        session.go_on(&calls.session);
        tool.go_on(&calls.tool);
        if let Some((outcomes, _)) = &calls.ends {
            error.go_on(outcomes);
        }
        let session_of = |row| session.at(&calls.session, row, &mut place);
        let sessions_of: Vec<Option<u32>> = (0..calls.seq.len()).map(session_of).collect();
        self.calls.reserve(calls.seq.len());
        for (row, (seq, session)) in calls.seq.values().iter().copied().zip(sessions_of).enumerate() {
            // Nobody knows what stands between calls without a session.
            let Some(session) = session else { continue };
            if let Some(session) = sessions.get_mut(index(session)) {
                session.calls.end += 1;
            }
            let tool = tool.at(&calls.tool, row, |name| how.tools.number(name));
            let went = || {
                let ts = calls.ts.as_ref().filter(|ts| ts.is_valid(row));
                let at = ts.and_then(|ts| Instant::of_us(ts.value(row)));
                let Some((outcomes, results)) = &calls.ends else { return Went { at, ..Went::default() } };
                let own = error.at(outcomes, row, is_error);
                let late = how.late.as_ref().filter(|_| own.is_none()).and_then(|late| late.of_call(instance, seq));
                let (error, result) = late.unwrap_or_else(|| (own.unwrap_or(false), results.at(row)));
                Went { at, error, result: result.map(not_zero) }
            };
            let seen = Seen { seq, tool, went: W::of(went) };
            let id = tool.zip(calls.args_hash.at(row)).map(|(tool, args)| call_id(tool, args));
            self.calls.push(Placed { session, id, seen });
        }
    }

    /// The calls so far.
    fn group(&mut self) -> Grouped<W> {
        let mut next = 0;
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in &mut sessions {
            let calls = session.calls.end;
            session.calls = next..next;
            next += calls;
        }
        let mut ids = vec![None; next];
        let mut seen = vec![Seen::default(); next];
        for call in self.calls.drain(..) {
            let Some(Stretch { calls: place, .. }) = sessions.get_mut(index(call.session)) else { continue };
            if let (Some(id), Some(seen)) = (ids.get_mut(place.end), seen.get_mut(place.end)) {
                (*id, *seen) = (call.id, call.seen);
            }
            place.end += 1;
        }
        self.by_name.clear();
        self.session.forget();
        let instance = Arc::clone(&self.instance);
        Grouped { instance, sessions, names: std::mem::take(&mut self.names), ids, seen }
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
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
