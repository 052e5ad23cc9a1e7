//! Events from sealed files and open records, put back into one order.
//!
//! The rows of a range lie in several files, each of them sorted. A call's row may hold its outcome
//! too, which has a place of its own, later than the call's: it waits until its turn comes.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;
use tollbook_engine::{Event, EventRef, Reads};

use super::waiting::Waiting;
use super::{ReadError, open_sealed_into};
use crate::manifest::{Manifest, SealedFile, SealedRange};
use crate::rows::{self, CallEvent, CallReader, RowsError};
use crate::schema::Kind;
use crate::store::Store;

/// A file with more bytes than this, decompressed, is read in small batches: Arrow's texts hold 2 GiB a
/// column at most, and a record is at most 16 MiB.
const LARGE_FILE_BYTES: i64 = 1 << 30;
const LARGE_FILE_BATCH_ROWS: usize = 64;
/// Few enough that a batch's columns stay in the processor's first cache.
const BATCH_ROWS: usize = 1024;

/// The events of an instance in order of sequence, borrowed from where they stand.
pub struct Replay<'a> {
    store: Store,
    reads: Reads,
    instance: &'a str,
    ranges: std::slice::Iter<'a, SealedRange>,
    range: Option<RangeEvents>,
    open: std::vec::IntoIter<&'a [u8]>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(store: &Store, manifest: &'a Manifest, open: Vec<&'a [u8]>, reads: Reads) -> Self {
        Self {
            store: store.clone(),
            reads,
            instance: &manifest.instance,
            ranges: manifest.ranges.iter(),
            range: None,
            open: open.into_iter(),
        }
    }

    /// Hands over one event after the other, until there are no more or `take` has enough. An event isn't moved
    /// on its way, which for millions of them is dear.
    ///
    /// # Errors
    /// Those of `take`, and where a file can't be read or doesn't hold what its manifest says.
    pub fn each<E: From<ReadError>>(
        mut self,
        mut take: impl FnMut(&EventRef<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let ended = self.run(&mut |event| match take(event) {
            Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
            Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
            Err(error) => ControlFlow::Break(Err(error)),
        })?;
        ended.break_value().unwrap_or(Ok(()))
    }

    /// Hands over the events that weren't yet, until `take` has enough.
    fn run<T>(&mut self, take: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<T>) -> Result<ControlFlow<T>, ReadError> {
        loop {
            if let Some(range) = &mut self.range
                && let enough @ ControlFlow::Break(_) = range.run(self.instance, take)?
            {
                return Ok(enough);
            }
            let Some(range) = self.ranges.next() else { break };
            let spare = self.range.take().map(|range| range.spare).unwrap_or_default();
            self.range = Some(RangeEvents::new(&self.store, range, self.reads, spare));
        }
        for record in self.open.by_ref() {
            let event = Event::from_bytes(record).map_err(RowsError::Record);
            let event = event.map_err(|source| ReadError::Rows { path: self.store.shown().to_owned(), source })?;
            if let enough @ ControlFlow::Break(_) = take(&EventRef::from(&event)) {
                return Ok(enough);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The events of an instance in order of sequence, with texts of their own. After an error there are none.
pub struct Events<'a> {
    replay: Replay<'a>,
    failed: bool,
}

impl<'a> Events<'a> {
    pub(crate) fn new(store: &Store, manifest: &'a Manifest, open: Vec<&'a [u8]>) -> Self {
        Self { replay: Replay::new(store, manifest, open, Reads::ALL), failed: false }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.replay.run(&mut |event| ControlFlow::Break(event.to_event()));
        self.failed = next.is_err();
        next.map(ControlFlow::break_value).transpose()
    }
}

/// The events of one sealed range: its files, merged. Each is read when it is its turn and let go when it has no
/// more, since most ranges span days, and the files of a day hold what came on that day.
pub(super) struct RangeEvents {
    store: Store,
    reads: Reads,
    range: (u64, u64),
    next_seq: u64,
    /// Those that weren't opened, the next one last.
    unopened: Vec<SealedFile>,
    files: Vec<FileEvents>,
    /// The file of the last event. The next one most often stands there too.
    at: usize,
    /// The memory of a file that was let go.
    spare: Vec<u8>,
}

impl RangeEvents {
    /// The range's files are read into this memory, as far as one after the other.
    pub fn new(store: &Store, range: &SealedRange, reads: Reads, spare: Vec<u8>) -> Self {
        let mut unopened = range.files.clone();
        // What isn't a call is little and may stand anywhere; calls stand in the order of their days.
        unopened.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)).reverse());
        unopened.sort_by_key(|file| file.kind != Kind::Calls);
        let (first_seq, last_seq) = (range.first_seq, range.last_seq);
        let (store, range) = (store.clone(), (first_seq, last_seq));
        Self { store, reads, range, next_seq: first_seq, unopened, files: Vec::new(), at: 0, spare }
    }

    /// Hands over the events that weren't yet, until `take` has enough.
    pub fn run<T>(
        &mut self,
        instance: &str,
        take: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<T>,
    ) -> Result<ControlFlow<T>, ReadError> {
        let (first_seq, last_seq) = self.range;
        while self.find()? {
            let Some(file) = self.files.get_mut(self.at) else { break };
            if let enough @ ControlFlow::Break(_) = file.run(&mut self.next_seq, last_seq, take)? {
                return Ok(enough);
            }
            // It is let go once its rows are read, though outcomes of them may still be to come.
            let spare = file.batches.let_go();
            if spare.capacity() > self.spare.capacity() {
                self.spare = spare;
            }
            if file.next_seq()?.is_none() {
                self.files.remove(self.at);
            }
        }
        let mut ahead = None;
        for file in &self.files {
            ahead = ahead.into_iter().chain(file.next_seq()?).min();
        }
        if ahead.is_none() && self.next_seq == last_seq + 1 {
            return Ok(ControlFlow::Continue(()));
        }
        let seq = ahead.map_or(self.next_seq, |ahead| ahead.min(self.next_seq));
        Err(ReadError::Sequence { instance: instance.to_owned(), first_seq, last_seq, seq })
    }

    /// Finds the file of the next event. False where there is none, once all files were looked into.
    fn find(&mut self) -> Result<bool, ReadError> {
        let seq = self.next_seq;
        let holds = |file: &FileEvents| Ok::<_, ReadError>(seq <= self.range.1 && file.holds(seq)?);
        if let Some(file) = self.files.get_mut(self.at) {
            // Whoever had enough may have had it at the end of a batch.
            file.go_on()?;
            if holds(file)? {
                return Ok(true);
            }
        }
        for (at, file) in self.files.iter().enumerate() {
            if holds(file)? {
                self.at = at;
                return Ok(true);
            }
        }
        while let Some(file) = self.unopened.pop() {
            // A small file isn't given what a large one can use.
            let fits = self.spare.capacity() as u64 / 4 <= file.bytes;
            let spare = if fits { std::mem::take(&mut self.spare) } else { Vec::new() };
            let file = FileEvents::open(&self.store, &file, self.reads, spare)?;
            let found = holds(&file)?;
            self.files.push(file);
            if found {
                self.at = self.files.len() - 1;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The events of one file, in order.
struct FileEvents {
    batches: Batches,
    rows: Rows,
    /// Rows of this batch that were handed over. There is one more, or else the file has no more rows.
    taken: usize,
    waiting: Waiting,
}

/// A batch of rows.
enum Rows {
    Calls(Box<CallReader>),
    Others(Vec<Event>),
}

impl FileEvents {
    fn open(store: &Store, file: &SealedFile, reads: Reads, spare: Vec<u8>) -> Result<Self, ReadError> {
        let batches = Batches::open_into(store, file, reads, spare)?;
        let mut file = Self { batches, rows: Rows::Others(Vec::new()), taken: 0, waiting: Waiting::default() };
        file.go_on()?;
        Ok(file)
    }

    /// Goes on to the next rows, where all of the batch were handed over. False where there are no more.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        loop {
            let rows = match &self.rows {
                Rows::Calls(calls) => calls.rows(),
                Rows::Others(events) => events.len(),
            };
            if self.taken < rows {
                return Ok(true);
            }
            let Some(mut next) = self.batches.next_rows()? else { return Ok(false) };
            if let Rows::Calls(calls) = &self.rows {
                self.waiting.leave(calls).map_err(|source| self.batches.rows_error(source))?;
                if let Rows::Calls(next) = &mut next {
                    next.follow(calls);
                }
            }
            (self.rows, self.taken) = (next, 0);
        }
    }

    /// Hands over the events that stand here from `next_seq` on, as far as they follow one another and until `take`
    /// has enough.
    fn run<T>(
        &mut self,
        next_seq: &mut u64,
        last_seq: u64,
        take: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<T>,
    ) -> Result<ControlFlow<T>, ReadError> {
        loop {
            let Self { batches, rows, taken, waiting } = self;
            let enough = match rows {
                Rows::Calls(calls) => waiting
                    .run(calls, taken, (next_seq, last_seq), take)
                    .map_err(|source| batches.rows_error(source))?,
                Rows::Others(events) => run(events, taken, (next_seq, last_seq), take),
            };
            let before = self.taken;
            if enough.is_break() || !self.go_on()? || self.taken == before {
                return Ok(enough);
            }
        }
    }

    fn row_seq(&self) -> Result<Option<u64>, ReadError> {
        match &self.rows {
            Rows::Calls(calls) if self.taken < calls.rows() => {
                calls.seq(self.taken).map(Some).map_err(|source| self.batches.rows_error(source))
            }
            Rows::Calls(_) => Ok(None),
            Rows::Others(events) => Ok(events.get(self.taken).map(|event| event.seq)),
        }
    }

    /// Whether the event of this place stands here.
    fn holds(&self, seq: u64) -> Result<bool, ReadError> {
        let waits = matches!(&self.rows, Rows::Calls(calls) if self.waiting.has(seq, calls));
        Ok(waits || self.row_seq()? == Some(seq))
    }

    /// The place of the next event that stands here.
    fn next_seq(&self) -> Result<Option<u64>, ReadError> {
        let waiting = match &self.rows {
            Rows::Calls(calls) => self.waiting.next_seq(calls),
            Rows::Others(_) => None,
        };
        Ok(self.row_seq()?.into_iter().chain(waiting).min())
    }
}

/// Hands over the events that follow one another from `next_seq` on.
fn run<T>(
    events: &[Event],
    taken: &mut usize,
    (next_seq, last_seq): (&mut u64, u64),
    take: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    while let Some(event) = events.get(*taken).filter(|event| event.seq == *next_seq && event.seq <= last_seq) {
        *taken += 1;
        *next_seq += 1;
        take(&EventRef::from(event))?;
    }
    ControlFlow::Continue(())
}

/// The batches of one file.
struct Batches {
    path: PathBuf,
    kind: Kind,
    reads: Reads,
    /// None after the last one.
    batches: Option<ParquetRecordBatchReader>,
    /// All of the file.
    bytes: Bytes,
}

impl Batches {
    fn open(store: &Store, file: &SealedFile, reads: Reads) -> Result<Self, ReadError> {
        Self::open_into(store, file, reads, Vec::new())
    }

    /// The same in memory that was used before.
    fn open_into(store: &Store, file: &SealedFile, reads: Reads, spare: Vec<u8>) -> Result<Self, ReadError> {
        let path = store.shown().join(&file.path);
        let bytes = open_sealed_into(store, file, spare)?;
        let opened = bytes.clone();
        let parquet = |source| ReadError::Parquet { path: path.clone(), source };
        let batches = sound(&path, || {
            let options = ArrowReaderOptions::new();
            let mut metadata = ArrowReaderMetadata::load(&opened, options.clone())?;
            if file.kind == Kind::Calls {
                let schema = rows::read_schema(metadata.schema());
                metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))?;
            }
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata);
            let batch_rows = batch_rows(builder.metadata());
            let mask = projection(&builder, file.kind, reads);
            builder.with_projection(mask).with_batch_size(batch_rows).build()
        });
        let batches = batches?.map_err(parquet)?;
        Ok(Self { path, kind: file.kind, reads, batches: Some(batches), bytes })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let Some(batches) = &mut self.batches else { return Ok(None) };
        let Some(batch) = sound(&self.path, || batches.next())? else {
            self.batches = None;
            return Ok(None);
        };
        batch.map(Some).map_err(RowsError::Arrow).map_err(|source| self.rows_error(source))
    }

    fn next_rows(&mut self) -> Result<Option<Rows>, ReadError> {
        let Some(batch) = self.next_batch()? else { return Ok(None) };
        let rows = match self.kind {
            Kind::Calls => CallReader::new(&batch, self.reads).map(|calls| Rows::Calls(Box::new(calls))),
            Kind::Outcomes => rows::outcome_events(&batch).map(Rows::Others),
            Kind::Events => rows::other_events(&batch).map(Rows::Others),
        };
        rows.map(Some).map_err(|source| self.rows_error(source))
    }

    /// The memory that the file was read into, after the last batch and where nothing refers to it any more.
    fn let_go(&mut self) -> Vec<u8> {
        if self.batches.is_some() || !self.bytes.is_unique() {
            return Vec::new();
        }
        std::mem::take(&mut self.bytes).into()
    }

    fn rows_error(&self, source: RowsError) -> ReadError {
        ReadError::Rows { path: self.path.clone(), source }
    }
}

/// The events of a file of outcomes or of other events.
pub(super) fn file_events(store: &Store, file: &SealedFile) -> Result<Vec<Event>, ReadError> {
    let mut batches = Batches::open(store, file, Reads::ALL)?;
    let mut events = Vec::new();
    while let Some(rows) = batches.next_rows()? {
        if let Rows::Others(rows) = rows {
            events.extend(rows);
        }
    }
    Ok(events)
}

/// The rows of a file of calls.
pub(super) fn file_calls(
    store: &Store,
    file: &SealedFile,
) -> Result<impl Iterator<Item = Result<CallEvent, ReadError>>, ReadError> {
    let mut batches = Batches::open(store, file, Reads::ALL)?;
    let mut rows = Vec::new().into_iter();
    Ok(std::iter::from_fn(move || {
        loop {
            if let Some(row) = rows.next() {
                return Some(Ok(row));
            }
            let batch = batches.next_batch().transpose()?;
            match batch.and_then(|batch| rows::call_events(&batch).map_err(|source| batches.rows_error(source))) {
                Ok(read) => rows = read.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// The columns of a file that are read.
pub(super) fn projection<T>(builder: &ArrowReaderBuilder<T>, kind: Kind, reads: Reads) -> ProjectionMask {
    let columns = builder.schema().fields().iter().enumerate();
    let read = columns.filter(|(_, field)| rows::reads(kind, reads, field.name())).map(|(at, _)| at);
    ProjectionMask::roots(builder.parquet_schema(), read)
}

/// Does something with a file of Parquet. The Parquet crate panics on some contents that no writer makes. They
/// can stand in a file all the same, with its SHA-256 in a manifest that nobody signed.
pub(crate) fn sound<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, ReadError> {
    let damaged = |_| ReadError::DamagedFile { path: path.to_owned(), what: "it isn't sound Parquet".to_owned() };
    std::panic::catch_unwind(AssertUnwindSafe(read)).map_err(damaged)
}

/// Rows that are decoded at once.
pub(super) fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let large = metadata.row_groups().iter().any(|group| group.total_byte_size() > LARGE_FILE_BYTES);
    if large { LARGE_FILE_BATCH_ROWS } else { BATCH_ROWS }
}
