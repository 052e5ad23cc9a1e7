//! Events from sealed files and open records, put back into one order.
//!
//! The rows of a range lie in several files, each of them sorted. A call's row may hold its outcome
//! too, which has a place of its own, later than the call's: it waits until its turn comes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque, vec_deque};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use tollbook_engine::Event;

use super::{ReadError, open_sealed};
use crate::layout::BATCH_ROWS_MAX;
use crate::manifest::{Manifest, SealedFile, SealedRange};
use crate::rows::{self, CallEvent, RowsError};
use crate::schema::Kind;
use crate::store::Store;

/// A file with more bytes than this, decompressed, is read in small batches: Arrow's texts hold 2 GiB a
/// column at most, and a record is at most 16 MiB.
const LARGE_FILE_BYTES: i64 = 1 << 30;
const LARGE_FILE_BATCH_ROWS: usize = 64;

/// The events of an instance in order of sequence. After an error there are none.
pub struct Events<'a> {
    store: Store,
    instance: &'a str,
    ranges: std::slice::Iter<'a, SealedRange>,
    range: Option<RangeEvents>,
    open: std::vec::IntoIter<&'a [u8]>,
    failed: bool,
}

impl<'a> Events<'a> {
    pub(crate) fn new(store: &Store, manifest: &'a Manifest, open: Vec<&'a [u8]>) -> Self {
        Self {
            store: store.clone(),
            instance: &manifest.instance,
            ranges: manifest.ranges.iter(),
            range: None,
            open: open.into_iter(),
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if let Some(range) = &mut self.range {
                match range.step(self.instance)? {
                    Some(event) => return Ok(Some(event)),
                    None => self.range = None,
                }
            }
            match self.ranges.next() {
                Some(range) => self.range = Some(RangeEvents::open(&self.store, range)?),
                None => break,
            }
        }
        let Some(record) = self.open.next() else { return Ok(None) };
        let read = Event::from_bytes(record).map_err(RowsError::Record);
        read.map(Some).map_err(|source| ReadError::Rows { path: self.store.shown().to_owned(), source })
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// The events of one sealed range: its files, merged.
pub(super) struct RangeEvents {
    range: (u64, u64),
    next_seq: u64,
    files: Vec<FileEvents>,
    /// The next event of each file that has one, earliest first.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    waiting: BTreeMap<usize, Event>,
}

impl RangeEvents {
    pub fn open(store: &Store, range: &SealedRange) -> Result<Self, ReadError> {
        let files = range.files.iter().map(|file| FileEvents::open(store, file)).collect::<Result<Vec<_>, _>>()?;
        let mut events = Self {
            range: (range.first_seq, range.last_seq),
            next_seq: range.first_seq,
            heads: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            files,
        };
        for at in 0..events.files.len() {
            events.advance(at)?;
        }
        Ok(events)
    }

    /// Takes the next event out of a file.
    fn advance(&mut self, at: usize) -> Result<(), ReadError> {
        if let Some(event) = self.files.get_mut(at).and_then(Iterator::next).transpose()? {
            self.heads.push(Reverse((event.seq, at)));
            self.waiting.insert(at, event);
        }
        Ok(())
    }

    pub fn step(&mut self, instance: &str) -> Result<Option<Event>, ReadError> {
        let (first_seq, last_seq) = self.range;
        let out_of_place = |seq| ReadError::Sequence { instance: instance.to_owned(), first_seq, last_seq, seq };
        let head = self.heads.pop().and_then(|Reverse((_, at))| Some((at, self.waiting.remove(&at)?)));
        let Some((at, event)) = head else {
            return if self.next_seq == last_seq + 1 { Ok(None) } else { Err(out_of_place(self.next_seq)) };
        };
        if event.seq != self.next_seq || event.seq > last_seq {
            return Err(out_of_place(self.next_seq.min(event.seq)));
        }
        self.next_seq += 1;
        self.advance(at)?;
        Ok(Some(event))
    }
}

/// The events of one file, in order.
pub(super) struct FileEvents {
    path: PathBuf,
    kind: Kind,
    batches: ParquetRecordBatchReader,
    rows: VecDeque<CallEvent>,
    /// Outcomes of rows that were read, by their own place.
    outcomes: BTreeMap<u64, Event>,
}

pub(super) fn file_events(store: &Store, file: &SealedFile) -> Result<FileEvents, ReadError> {
    FileEvents::open(store, file)
}

/// The rows of a file of calls.
pub(super) fn file_calls(
    store: &Store,
    file: &SealedFile,
) -> Result<impl Iterator<Item = Result<CallEvent, ReadError>>, ReadError> {
    let mut file = FileEvents::open(store, file)?;
    Ok(std::iter::from_fn(move || {
        while file.rows.is_empty() {
            match file.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        file.rows.pop_front().map(Ok)
    }))
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
    if large { LARGE_FILE_BATCH_ROWS } else { BATCH_ROWS_MAX }
}

impl FileEvents {
    fn open(store: &Store, file: &SealedFile) -> Result<Self, ReadError> {
        let path = store.shown().join(&file.path);
        let opened = open_sealed(store, file)?;
        let parquet = |source| ReadError::Parquet { path: path.clone(), source };
        let batches = sound(&path, || {
            let builder = ParquetRecordBatchReaderBuilder::try_new(opened)?;
            let batch_rows = batch_rows(builder.metadata());
            builder.with_batch_size(batch_rows).build()
        });
        let batches = batches?.map_err(parquet)?;
        Ok(Self { path, kind: file.kind, batches, rows: VecDeque::new(), outcomes: BTreeMap::new() })
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        let Some(batch) = sound(&self.path, || self.batches.next())? else { return Ok(false) };
        let rows_error = |source| ReadError::Rows { path: self.path.clone(), source };
        let batch = batch.map_err(RowsError::Arrow).map_err(rows_error)?;
        let alone = |events: Vec<Event>| events.into_iter().map(|event| (event, None)).collect::<Vec<_>>();
        let rows = match self.kind {
            Kind::Calls => rows::call_events(&batch),
            Kind::Outcomes => rows::outcome_events(&batch).map(alone),
            Kind::Events => rows::other_events(&batch).map(alone),
        };
        self.rows = vec_deque::VecDeque::from(rows.map_err(rows_error)?);
        Ok(true)
    }

    fn step(&mut self) -> Result<Option<Event>, ReadError> {
        while self.rows.is_empty() && self.fill()? {}
        let row_seq = self.rows.front().map(|(event, _)| event.seq);
        let outcome_seq = self.outcomes.first_key_value().map(|(seq, _)| *seq);
        if outcome_seq.is_some_and(|outcome| row_seq.is_none_or(|row| outcome < row)) {
            return Ok(self.outcomes.pop_first().map(|(_, event)| event));
        }
        let Some((event, outcome)) = self.rows.pop_front() else { return Ok(None) };
        if let Some(outcome) = outcome
            && self.outcomes.insert(outcome.seq, outcome).is_some()
        {
            let what = format!("two outcomes stand in one place, one of them that of call {}", event.seq);
            return Err(ReadError::DamagedFile { path: self.path.clone(), what });
        }
        Ok(Some(event))
    }
}

impl Iterator for FileEvents {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
