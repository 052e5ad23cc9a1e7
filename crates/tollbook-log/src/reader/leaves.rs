//! The leaves of an instance's tree, made from its rows without making events of them.
//!
//! `verify` needs of each record no more than the hash of its canonical bytes and its place. So the rows are
//! hashed where they were decoded, some ten thousand at a time and on as many threads as there are
//! processors, and then put into their places: the order in which they were read doesn't matter.

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use tollbook_engine::{Event, EventRef, Reads};

use super::events::{RangeEvents, batch_rows, projection, sound};
use super::{ReadError, open_sealed};
use crate::manifest::{Manifest, SealedFile, SealedRange};
use crate::rows::{self, RowsError};
use crate::schema::Kind;
use crate::store::Store;
use crate::threads;
use crate::tree::{self, Hash};

/// Rows that one thread takes at once.
const PART_ROWS: usize = 1 << 17;
/// Rows of adjacent ranges that are worked on together. Each takes some eighty bytes of memory.
const GROUP_ROWS: u64 = 1 << 18;
/// A range that is said to have more rows than this is read one event after the other, so that no file makes
/// a reader hold more.
const RANGE_ROWS_MAX: u64 = 1 << 24;
/// The leaves of an instance in order of sequence, each with its place. After an error there are none.
pub(crate) struct Leaves<'a> {
    store: Store,
    instance: &'a str,
    ranges: &'a [SealedRange],
    /// Worked on while `group` is read.
    ahead: Option<Ahead>,
    group: std::vec::IntoIter<RangeLeaves>,
    range: Option<RangeLeaves>,
    open: std::vec::IntoIter<&'a [u8]>,
    failed: bool,
}

/// The leaves of one range.
enum RangeLeaves {
    /// In order from a sequence number on, and what came instead of the next.
    Ready {
        next_seq: u64,
        leaves: std::vec::IntoIter<Hash>,
        error: Option<ReadError>,
    },
    Streamed(RangeEvents),
}

impl<'a> Leaves<'a> {
    pub fn new(store: &Store, manifest: &'a Manifest, open: Vec<&'a [u8]>) -> Self {
        Self {
            store: store.clone(),
            instance: &manifest.instance,
            ranges: &manifest.ranges,
            ahead: None,
            group: Vec::new().into_iter(),
            range: None,
            open: open.into_iter(),
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<(u64, Hash)>, ReadError> {
        loop {
            match &mut self.range {
                Some(RangeLeaves::Ready { next_seq, leaves, error }) => {
                    if let Some(leaf) = leaves.next() {
                        *next_seq += 1;
                        return Ok(Some((*next_seq - 1, leaf)));
                    }
                    if let Some(error) = error.take() {
                        return Err(error);
                    }
                }
                Some(RangeLeaves::Streamed(events)) => {
                    let mut leaf = |event: &EventRef<'_>| {
                        ControlFlow::Break((event.seq, tree::leaf(&event.to_event().to_bytes())))
                    };
                    if let ControlFlow::Break(leaf) = events.run(self.instance, &mut leaf)? {
                        return Ok(Some(leaf));
                    }
                }
                None => {}
            }
            self.range = self.group.next();
            if self.range.is_none() {
                self.group = self.next_group().into_iter();
                self.range = self.group.next();
                if self.range.is_none() {
                    break;
                }
            }
        }
        let Some(record) = self.open.next() else { return Ok(None) };
        let read = Event::from_bytes(record).map_err(RowsError::Record);
        let event = read.map_err(|source| ReadError::Rows { path: self.store.shown().to_owned(), source })?;
        Ok(Some((event.seq, tree::leaf(record))))
    }

    /// The next ranges, worked on while those before them were read.
    fn next_group(&mut self) -> Vec<RangeLeaves> {
        let ready = self.ahead.take().or_else(|| self.begin_group()).map(Ahead::wait).unwrap_or_default();
        self.ahead = self.begin_group();
        ready
    }

    /// Begins to work on the next ranges.
    fn begin_group(&mut self) -> Option<Ahead> {
        let mut rows = 0_u64;
        let fits = |range: &&SealedRange| {
            let before = rows;
            rows = range.files.iter().fold(rows, |rows, file| rows.saturating_add(file.rows));
            before < GROUP_ROWS
        };
        let count = self.ranges.iter().take_while(fits).count();
        let (group, rest) = self.ranges.split_at_checked(count).filter(|(group, _)| !group.is_empty())?;
        self.ranges = rest;
        let (store, instance, group) = (self.store.clone(), self.instance.to_owned(), group.to_vec());
        if rest.is_empty() && rows < GROUP_ROWS && self.ahead.is_none() && self.range.is_none() {
            return Some(Ahead::Done(hash_ranges(&store, &instance, &group)));
        }
        let (store_there, instance_there, group_there) = (store.clone(), instance.clone(), group.clone());
        let work = move || hash_ranges(&store_there, &instance_there, &group_there);
        Some(match thread::Builder::new().name("tollbook-hash".into()).spawn(work) {
            Ok(thread) => Ahead::Working(thread),
            Err(_) => Ahead::Done(hash_ranges(&store, &instance, &group)),
        })
    }
}

/// Ranges that are worked on.
enum Ahead {
    Working(JoinHandle<Vec<RangeLeaves>>),
    Done(Vec<RangeLeaves>),
}

impl Ahead {
    fn wait(self) -> Vec<RangeLeaves> {
        match self {
            Self::Done(ready) => ready,
            // A panic of our own goes on where it would have been without the thread.
            Self::Working(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

/// The leaves of some ranges, all threads together.
fn hash_ranges(store: &Store, instance: &str, ranges: &[SealedRange]) -> Vec<RangeLeaves> {
    let failed = |error| RangeLeaves::Ready { next_seq: 0, leaves: Vec::new().into_iter(), error: Some(error) };
    let open = |range: &SealedRange| range.files.iter().map(|file| SealedRows::open(store, file)).collect();
    let opened: Vec<Result<Vec<SealedRows>, ReadError>> = ranges.iter().map(open).collect();
    let mut parts = Vec::new();
    let mut ends = Vec::new();
    for files in opened.iter().map(|files| files.as_deref().unwrap_or_default()) {
        let rows = files.iter().fold(0_u64, |rows, file| rows.saturating_add(file.rows));
        if rows <= RANGE_ROWS_MAX {
            files.iter().for_each(|file| file.parts(&mut parts));
        }
        ends.push((rows, parts.len()));
    }
    let mut hashed = threads::each(&parts, Part::hash).into_iter();
    drop(parts);
    let mut from = 0;
    let mut ready = Vec::new();
    for ((range, files), (rows, to)) in ranges.iter().zip(opened).zip(ends) {
        let hashed: Result<Vec<_>, ReadError> = hashed.by_ref().take(to - from).collect();
        from = to;
        ready.push(match (files, hashed) {
            (Err(error), _) | (_, Err(error)) => failed(error),
            _ if rows > RANGE_ROWS_MAX => RangeLeaves::Streamed(RangeEvents::new(store, range, Reads::ALL, Vec::new())),
            (_, Ok(hashed)) => in_place(instance, range, hashed),
        });
    }
    ready
}

impl Iterator for Leaves<'_> {
    type Item = Result<(u64, Hash), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// Puts leaves into their places. Where one is missing, or stands in a place that is taken, those before it are
/// good.
fn in_place(instance: &str, range: &SealedRange, parts: Vec<Vec<(u64, Hash)>>) -> RangeLeaves {
    let SealedRange { first_seq, last_seq, .. } = *range;
    let mut all: Vec<(u64, Hash)> = parts.concat();
    // Runs that are sorted already, which this sort merges.
    all.sort_by_key(|(seq, _)| *seq);
    let good = all.iter().zip(first_seq..=last_seq).take_while(|((seq, _), place)| seq == place).count();
    let next_seq = first_seq.saturating_add(good as u64);
    let error = (good < all.len() || next_seq <= last_seq).then(|| {
        let seq = all.get(good).map_or(next_seq, |(seq, _)| next_seq.min(*seq));
        ReadError::Sequence { instance: instance.to_owned(), first_seq, last_seq, seq }
    });
    all.truncate(good);
    let leaves: Vec<Hash> = all.into_iter().map(|(_, leaf)| leaf).collect();
    RangeLeaves::Ready { next_seq: first_seq, leaves: leaves.into_iter(), error }
}

/// A sealed file, its footer read.
struct SealedRows {
    path: PathBuf,
    kind: Kind,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    rows: u64,
}

/// Some rows of one row group.
struct Part<'f> {
    file: &'f SealedRows,
    group: usize,
    rows: Range<usize>,
}

impl SealedRows {
    fn open(store: &Store, file: &SealedFile) -> Result<Self, ReadError> {
        let path = store.shown().join(&file.path);
        let bytes = open_sealed(store, file)?;
        // With the page index, what lies before a part isn't decoded.
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = sound(&path, || ArrowReaderMetadata::load(&bytes, options))?;
        let metadata = metadata.map_err(|source| ReadError::Parquet { path: path.clone(), source })?;
        let groups = metadata.metadata().row_groups();
        let rows = groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
        let rows = rows.fold(0_u64, u64::saturating_add);
        Ok(Self { path, kind: file.kind, bytes, metadata, rows })
    }

    fn parts<'f>(&'f self, parts: &mut Vec<Part<'f>>) {
        for (group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
            parts.extend((0..rows).step_by(PART_ROWS).map(|from| Part {
                file: self,
                group,
                rows: from..rows.min(from + PART_ROWS),
            }));
        }
    }
}

impl Part<'_> {
    fn hash(&self) -> Result<Vec<(u64, Hash)>, ReadError> {
        let SealedRows { path, kind, bytes, metadata, .. } = self.file;
        let parquet = |source| ReadError::Parquet { path: path.clone(), source };
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone());
        let mask = projection(&builder, *kind, Reads::ALL);
        let batch_rows = batch_rows(builder.metadata());
        let builder = builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .with_row_groups(vec![self.group])
            .with_offset(self.rows.start)
            .with_limit(self.rows.len());
        let mut batches = sound(path, || builder.build())?.map_err(parquet)?;
        let mut leaves = Vec::new();
        while let Some(batch) = sound(path, || batches.next())? {
            let rows_error = |source| ReadError::Rows { path: path.clone(), source };
            let batch = batch.map_err(RowsError::Arrow).map_err(rows_error)?;
            hash_rows(*kind, &batch, &mut leaves).map_err(rows_error)?;
        }
        Ok(leaves)
    }
}

fn hash_rows(kind: Kind, batch: &RecordBatch, leaves: &mut Vec<(u64, Hash)>) -> Result<(), RowsError> {
    let event = |event: Event| (event.seq, tree::leaf(&event.to_bytes()));
    match kind {
        Kind::Calls => rows::call_bytes(batch, |seq, bytes| leaves.push((seq, tree::leaf(bytes))))?,
        Kind::Outcomes => leaves.extend(rows::outcome_events(batch)?.into_iter().map(event)),
        Kind::Events => leaves.extend(rows::other_events(batch)?.into_iter().map(event)),
    }
    Ok(())
}
