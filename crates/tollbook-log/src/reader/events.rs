//! Events from sealed files and open records, put back into one order.
//!
//! The rows of a range lie in several files, each of them sorted. A call's row may hold its outcome
//! too, which has a place of its own, later than the call's: it waits until its turn comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;
use tollbook_engine::{Event, EventRef, Reads};

use super::{ReadError, open_sealed};
use crate::manifest::{Manifest, SealedFile, SealedRange};
use crate::rows::{self, CallEvent, CallReader, Done, Lists, RowsError};
use crate::schema::Kind;
use crate::store::Store;

/// A file with more bytes than this, decompressed, is read in small batches: Arrow's texts hold 2 GiB a
/// column at most, and a record is at most 16 MiB.
const LARGE_FILE_BYTES: i64 = 1 << 30;
const LARGE_FILE_BATCH_ROWS: usize = 64;
/// Few enough that a batch's columns stay in the processor's cache.
const BATCH_ROWS: usize = 2048;

/// The events of an instance in order of sequence, borrowed from where they stand.
pub struct Replay<'a> {
    store: Store,
    reads: Reads,
    instance: &'a str,
    ranges: std::slice::Iter<'a, SealedRange>,
    range: Option<RangeEvents>,
    open: std::vec::IntoIter<&'a [u8]>,
    /// The last of the open segments that was read.
    opened: Option<Event>,
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
            opened: None,
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
        while let Some(taken) = self.next_with(&mut take)? {
            if taken?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Hands over the next event; none at the end.
    fn next_with<T>(&mut self, take: impl FnOnce(&EventRef<'_>) -> T) -> Result<Option<T>, ReadError> {
        if !self.advance()? {
            return Ok(None);
        }
        match (&self.range, &self.opened) {
            (Some(range), _) => range.with(take),
            (None, opened) => Ok(opened.as_ref().map(|event| take(&EventRef::from(event)))),
        }
    }

    /// Goes on to the next event. False at the end.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(range) = &mut self.range {
                if range.advance(self.instance)? {
                    return Ok(true);
                }
                self.range = None;
            }
            match self.ranges.next() {
                Some(range) => self.range = Some(RangeEvents::open(&self.store, range, self.reads)?),
                None => break,
            }
        }
        let read = self.open.next().map(Event::from_bytes).transpose().map_err(RowsError::Record);
        self.opened = read.map_err(|source| ReadError::Rows { path: self.store.shown().to_owned(), source })?;
        Ok(self.opened.is_some())
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
        let next = self.replay.next_with(|event| event.to_event());
        self.failed = next.is_err();
        next.transpose()
    }
}

/// The events of one sealed range: its files, merged.
pub(super) struct RangeEvents {
    range: (u64, u64),
    next_seq: u64,
    files: Vec<FileEvents>,
    /// The file whose event was gone on to.
    at: usize,
}

impl RangeEvents {
    pub fn open(store: &Store, range: &SealedRange, reads: Reads) -> Result<Self, ReadError> {
        let open = |file: &SealedFile| {
            let mut file = FileEvents::open(store, file, reads)?;
            file.look_ahead()?;
            Ok(file)
        };
        let files = range.files.iter().map(open).collect::<Result<Vec<_>, ReadError>>()?;
        Ok(Self { range: (range.first_seq, range.last_seq), next_seq: range.first_seq, files, at: 0 })
    }

    /// Goes on to the next event. False at the end of the range.
    pub fn advance(&mut self, instance: &str) -> Result<bool, ReadError> {
        let (first_seq, last_seq) = self.range;
        if let Some(file) = self.files.get_mut(self.at) {
            file.look_ahead()?;
        }
        let is_next = |file: &FileEvents| file.next_seq == Some(self.next_seq) && self.next_seq <= last_seq;
        // The next event most often stands in the same file.
        if !self.files.get(self.at).is_some_and(is_next) {
            let Some(at) = self.files.iter().position(is_next) else {
                let ahead = self.files.iter().filter_map(|file| file.next_seq).min();
                let seq = ahead.map_or(self.next_seq, |ahead| ahead.min(self.next_seq));
                return match ahead {
                    None if seq == last_seq + 1 => Ok(false),
                    _ => Err(ReadError::Sequence { instance: instance.to_owned(), first_seq, last_seq, seq }),
                };
            };
            self.at = at;
        }
        self.next_seq += 1;
        self.files.get_mut(self.at).map_or(Ok(()), FileEvents::take)?;
        Ok(true)
    }

    /// Hands over the event that was gone on to.
    #[inline]
    pub fn with<T>(&self, take: impl FnOnce(&EventRef<'_>) -> T) -> Result<Option<T>, ReadError> {
        self.files.get(self.at).map_or(Ok(None), |file| file.with(take))
    }
}

/// The events of one file, in order.
struct FileEvents {
    batches: Batches,
    rows: Rows,
    /// Rows of this batch that were taken.
    taken: usize,
    /// Outcomes of rows that were taken, by their own place, and their rows in this batch.
    outcomes: BinaryHeap<Reverse<(u64, usize)>>,
    /// Outcomes of rows of batches before, the next one last.
    earlier: Vec<Done>,
    /// Place of the next row's event, and of the next event.
    row_seq: Option<u64>,
    next_seq: Option<u64>,
    lent: Lent,
}

/// A batch of rows.
enum Rows {
    Calls(Box<CallReader>),
    Others(Vec<Event>),
}

/// What was taken last.
enum Lent {
    Nothing,
    Row(usize),
    Outcome(Event),
}

impl Rows {
    fn seq(&self, row: usize) -> Result<Option<u64>, RowsError> {
        match self {
            Self::Calls(calls) => (row < calls.rows()).then(|| calls.seq(row)).transpose(),
            Self::Others(events) => Ok(events.get(row).map(|event| event.seq)),
        }
    }
}

impl FileEvents {
    fn open(store: &Store, file: &SealedFile, reads: Reads) -> Result<Self, ReadError> {
        Ok(Self {
            batches: Batches::open(store, file, reads)?,
            rows: Rows::Others(Vec::new()),
            taken: 0,
            outcomes: BinaryHeap::new(),
            earlier: Vec::new(),
            row_seq: None,
            next_seq: None,
            lent: Lent::Nothing,
        })
    }

    /// Finds out the place of the next event. What was lent is lent no more.
    fn look_ahead(&mut self) -> Result<(), ReadError> {
        self.lent = Lent::Nothing;
        loop {
            self.row_seq = self.rows.seq(self.taken).map_err(|source| self.batches.rows_error(source))?;
            if self.row_seq.is_some() {
                break;
            }
            let Some(rows) = self.batches.next_rows()? else { break };
            self.keep_outcomes()?;
            (self.rows, self.taken) = (rows, 0);
        }
        let next = |seq: u64, other: Option<u64>| Some(other.map_or(seq, |other| other.min(seq)));
        self.next_seq = self.row_seq;
        if let Some(Reverse((seq, _))) = self.outcomes.peek() {
            self.next_seq = next(*seq, self.next_seq);
        }
        if let Some(done) = self.earlier.last() {
            self.next_seq = next(done.seq, self.next_seq);
        }
        Ok(())
    }

    /// Keeps the outcomes that are still to come of a batch that goes.
    fn keep_outcomes(&mut self) -> Result<(), ReadError> {
        let Rows::Calls(calls) = &self.rows else { return Ok(()) };
        for Reverse((_, row)) in self.outcomes.drain() {
            self.earlier.extend(calls.done(row).map_err(|source| self.batches.rows_error(source))?);
        }
        self.earlier.sort_unstable_by_key(|done| Reverse(done.seq));
        Ok(())
    }

    /// Takes the next event, to be lent.
    fn take(&mut self) -> Result<(), ReadError> {
        if self.row_seq != self.next_seq {
            self.lent = self.outcome()?;
            return Ok(());
        }
        self.lent = Lent::Row(self.taken);
        let Rows::Calls(calls) = &self.rows else {
            self.taken += 1;
            return Ok(());
        };
        self.outcomes.extend(calls.done_seq(self.taken).map(|seq| Reverse((seq, self.taken))));
        self.taken += 1;
        Ok(())
    }

    /// The next event, which is an outcome.
    fn outcome(&mut self) -> Result<Lent, ReadError> {
        if self.earlier.last().is_some_and(|done| Some(done.seq) == self.next_seq) {
            return Ok(self.earlier.pop().map_or(Lent::Nothing, |done| Lent::Outcome(done.event())));
        }
        let (Some(Reverse((_, row))), Rows::Calls(calls)) = (self.outcomes.pop(), &self.rows) else {
            return Ok(Lent::Nothing);
        };
        let done = calls.done(row).map_err(|source| self.batches.rows_error(source))?;
        Ok(done.map_or(Lent::Nothing, |done| Lent::Outcome(done.event())))
    }

    /// Hands over what was taken.
    #[inline]
    fn with<T>(&self, take: impl FnOnce(&EventRef<'_>) -> T) -> Result<Option<T>, ReadError> {
        let event = match (&self.lent, &self.rows) {
            (Lent::Row(row), Rows::Calls(calls)) => {
                return match calls.event(*row, Lists::default()) {
                    Ok(event) => Ok(Some(take(&event))),
                    Err(source) => Err(self.batches.rows_error(source)),
                };
            }
            (Lent::Row(row), Rows::Others(events)) => events.get(*row),
            (Lent::Outcome(event), _) => Some(event),
            (Lent::Nothing, _) => None,
        };
        Ok(event.map(|event| take(&EventRef::from(event))))
    }
}

/// The batches of one file.
struct Batches {
    path: PathBuf,
    kind: Kind,
    reads: Reads,
    batches: ParquetRecordBatchReader,
}

impl Batches {
    fn open(store: &Store, file: &SealedFile, reads: Reads) -> Result<Self, ReadError> {
        let path = store.shown().join(&file.path);
        let opened = open_sealed(store, file)?;
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
        Ok(Self { path, kind: file.kind, reads, batches })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let Some(batch) = sound(&self.path, || self.batches.next())? else { return Ok(None) };
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
