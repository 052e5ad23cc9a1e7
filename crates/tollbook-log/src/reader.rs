//! The reading end of a log: a snapshot of what is sealed and what is open.
//!
//! A reader changes nothing and waits for nobody, so it can look at a log that others write. Its
//! snapshot is taken in an order that makes it consistent: the manifests, then the open segments,
//! then the manifests once more; where one of them changed meanwhile, all of it again. Of the open
//! segments only what lies beyond the manifest counts, so that no event is ever seen twice.

mod events;
mod leaves;
mod waiting;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use tollbook_engine::{Event, PolicyHash, Reads};

use crate::disk::{self, DiskError};
use crate::instance;
use crate::layout::Layout;
use crate::manifest::{self, Manifest, ManifestError, PrunedRange, SealedFile};
use crate::policies::{self, PolicyError};
use crate::prune;
use crate::rows::{self, CallEvent, RowsError};
use crate::schema::{self, Kind};
use crate::segment::{self, HeaderError, SegmentEnd};
use crate::store::Store;

pub(crate) use events::sound;
pub use events::{Events, Replay};
pub(crate) use leaves::Leaves;

/// How often a snapshot is begun anew because the log changed meanwhile.
const TRIES_MAX: u32 = 100;

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log.
    #[error("there is no log in `{}`", .0.display())]
    NoLog(PathBuf),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A manifest can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An open segment can't be read.
    #[error("cannot read the open segment `{}`: {what}", path.display())]
    Segment {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A sealed file isn't there.
    #[error("the sealed file `{}` is missing", .0.display())]
    MissingFile(PathBuf),
    /// A sealed file isn't as it was written.
    #[error("the sealed file `{}` is damaged: {what}", path.display())]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A sealed file isn't Parquet.
    #[error("cannot read the sealed file `{}`", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParquetError,
    },
    /// Rows or records can't be read.
    #[error("cannot read the records of `{}`", path.display())]
    Rows {
        /// The file, or the directory where they come from several.
        path: PathBuf,
        /// Why.
        #[source]
        source: RowsError,
    },
    /// The sealed files of a range don't hold what the manifest says.
    #[error("the sealed files of `{instance}` from {first_seq} to {last_seq} don't hold event {seq} in its place")]
    Sequence {
        /// The process.
        instance: String,
        /// The range's first sequence number.
        first_seq: u64,
        /// The range's last sequence number.
        last_seq: u64,
        /// The event that is missing, or stands elsewhere.
        seq: u64,
    },
    /// No instance has the name.
    #[error("the log holds no instance `{0}`")]
    NoInstance(String),
    /// No consistent snapshot could be taken.
    #[error("`{}` changed each time that it was read", .0.display())]
    Restless(PathBuf),
}

/// A snapshot of one log, or of several.
#[derive(Debug)]
pub struct Reader {
    stores: Vec<Store>,
    instances: Vec<Instance>,
}

#[derive(Debug)]
struct Instance {
    store: Store,
    manifest: Manifest,
    segments: Vec<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    path: PathBuf,
    bytes: Bytes,
}

impl Reader {
    /// Takes a snapshot of the logs in these directories.
    ///
    /// The open segments are held in memory.
    ///
    /// # Errors
    /// Where a directory holds no log, or something in it can't be read.
    pub fn open<P: AsRef<Path>>(dirs: &[P]) -> Result<Self, ReadError> {
        let mut stores = Vec::with_capacity(dirs.len());
        for dir in dirs.iter().map(AsRef::as_ref) {
            if !dir.join(instance::OPEN_DIR).is_dir() && !dir.join(manifest::DIR).is_dir() {
                return Err(ReadError::NoLog(dir.to_owned()));
            }
            stores.push(Store::local(dir)?);
        }
        Self::at(stores)
    }

    /// Takes a snapshot of logs, wherever they are.
    ///
    /// # Errors
    /// Where something in them can't be read.
    pub fn at(stores: Vec<Store>) -> Result<Self, ReadError> {
        let mut instances = Vec::new();
        for store in &stores {
            instances.extend(snapshot_of(store, |_| true)?);
        }
        instances.sort_by(|a, b| a.manifest.instance.cmp(&b.manifest.instance));
        Ok(Self { stores, instances })
    }

    /// Takes a snapshot of one instance, whatever the state of the others.
    pub(crate) fn open_one(dir: &Path, instance: &str) -> Result<Self, ReadError> {
        let store = Store::local(dir)?;
        let instances = snapshot_of(&store, |name| name == instance)?;
        Ok(Self { stores: vec![store], instances })
    }

    /// The instances, by name, which is by the time that they began.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.iter().map(|instance| instance.manifest.instance.as_str())
    }

    /// What each instance has sealed.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.instances.iter().map(|instance| &instance.manifest)
    }

    /// Whether a process is recording as this instance.
    pub(crate) fn is_recording(&self, instance: &str) -> Result<bool, ReadError> {
        Ok(instance::is_alive(self.store_of(instance)?.shown(), instance))
    }

    /// The log that has an instance.
    pub(crate) fn store_of(&self, instance: &str) -> Result<&Store, ReadError> {
        Ok(&self.instance(instance)?.store)
    }

    fn instance(&self, name: &str) -> Result<&Instance, ReadError> {
        let named = self.instances.iter().find(|known| known.manifest.instance == name);
        named.ok_or_else(|| ReadError::NoInstance(name.to_owned()))
    }

    /// The sealed files of a table, in order of instance and sequence.
    #[must_use]
    pub fn sealed_files(&self, kind: Kind) -> Vec<(PathBuf, &SealedFile)> {
        let files = |instance: &'_ Instance| instance.store.shown().to_owned();
        self.instances
            .iter()
            .flat_map(|instance| instance.manifest.files().map(move |file| (files(instance).join(&file.path), file)))
            .filter(|(_, file)| file.kind == kind)
            .collect()
    }

    /// The rows of a table that aren't sealed yet, with the schema of the sealed ones. An outcome whose call
    /// is sealed is a row of `outcomes`.
    ///
    /// # Errors
    /// Where a record can't be made a row.
    pub fn open_batches(&self, kind: Kind) -> Result<Vec<RecordBatch>, ReadError> {
        let mut batches = Vec::new();
        for instance in &self.instances {
            let records = instance.open_records()?;
            let rows = Layout::of(records).and_then(|layout| layout.batches(kind, &instance.manifest.instance));
            batches.extend(rows.map_err(|source| ReadError::Rows { path: instance.store.shown().to_owned(), source })?);
        }
        Ok(batches)
    }

    /// The outcomes, sealed and open, that aren't in their call's row, each with its instance's name. They
    /// are few: outcomes that came after their call's segment was sealed.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub fn late_outcomes(&self) -> Result<Vec<(String, Event)>, ReadError> {
        let mut late = Vec::new();
        for instance in &self.instances {
            let name = &instance.manifest.instance;
            for file in instance.manifest.files().filter(|file| file.kind == Kind::Outcomes) {
                late.extend(events::file_events(&instance.store, file)?.into_iter().map(|event| (name.clone(), event)));
            }
            let rows_error = |source| ReadError::Rows { path: instance.store.shown().to_owned(), source };
            let layout = Layout::of(instance.open_records()?).map_err(rows_error)?;
            for record in layout.outcomes {
                let event = Event::from_bytes(record).map_err(RowsError::Record).map_err(rows_error)?;
                late.push((name.clone(), event));
            }
        }
        Ok(late)
    }

    /// The events of all instances, sealed and open, that are neither calls nor outcomes, each with its instance's
    /// name; of those that were pruned, the ones that matter still.
    pub(crate) fn other_events(&self) -> Result<Vec<(String, Event)>, ReadError> {
        let mut all = Vec::new();
        for instance in &self.instances {
            let name = &instance.manifest.instance;
            let pruned = instance.manifest.pruned.as_ref().and_then(PrunedRange::events);
            all.extend(pruned.unwrap_or_default().into_iter().map(|event| (name.clone(), event)));
            for file in instance.manifest.files().filter(|file| file.kind == Kind::Events) {
                all.extend(events::file_events(&instance.store, file)?.into_iter().map(|event| (name.clone(), event)));
            }
            let rows_error = |source| ReadError::Rows { path: instance.store.shown().to_owned(), source };
            for record in Layout::of(instance.open_records()?).map_err(rows_error)?.events {
                let event = Event::from_bytes(record).map_err(RowsError::Record).map_err(rows_error)?;
                all.push((name.clone(), event));
            }
        }
        Ok(all)
    }

    /// Records of all instances that aren't sealed.
    pub(crate) fn open_records(&self) -> Result<Vec<&[u8]>, ReadError> {
        let records = self.instances.iter().map(Instance::open_records).collect::<Result<Vec<_>, _>>()?;
        Ok(records.concat())
    }

    /// The calls of an instance in order, each with the outcome that was recorded with it.
    pub(crate) fn calls(
        &self,
        instance: &str,
    ) -> Result<impl Iterator<Item = Result<CallEvent, ReadError>> + '_, ReadError> {
        let found = self.instance(instance)?;
        let rows_error = |source| ReadError::Rows { path: found.store.shown().to_owned(), source };
        let layout = Layout::of(found.open_records()?).map_err(rows_error)?;
        let mut open = Vec::new();
        for batch in layout.batches(Kind::Calls, instance).map_err(rows_error)? {
            open.extend(rows::call_events(&batch).map_err(rows_error)?);
        }
        let files = found.manifest.files().filter(|file| file.kind == Kind::Calls);
        let sealed = files.flat_map(|file| match events::file_calls(&found.store, file) {
            Ok(calls) => Box::new(calls) as Box<dyn Iterator<Item = Result<CallEvent, ReadError>>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        Ok(sealed.chain(open.into_iter().map(Ok)))
    }

    /// All events of an instance in order of sequence. Sealed files are streamed; a file that is missing or
    /// doesn't hold what its manifest says is an error. The sequence jumps only where recovery had to set a
    /// damaged segment aside.
    ///
    /// # Errors
    /// Where no instance has the name, or its open segments can't be read.
    pub fn events(&self, instance: &str) -> Result<Events<'_>, ReadError> {
        let found = self.instance(instance)?;
        Ok(Events::new(&found.store, &found.manifest, found.open_records()?))
    }

    /// The same events, borrowed from where they stand, and of calls what is read.
    ///
    /// # Errors
    /// Those of [`Reader::events`].
    pub fn replay(&self, instance: &str, reads: Reads) -> Result<Replay<'_>, ReadError> {
        let found = self.instance(instance)?;
        Ok(Replay::new(&found.store, &found.manifest, found.open_records()?, reads))
    }

    /// The first event of an instance that is left: 0, unless older ones were pruned.
    ///
    /// # Errors
    /// Where no instance has the name.
    pub fn first_seq(&self, instance: &str) -> Result<u64, ReadError> {
        Ok(self.instance(instance)?.manifest.first_seq())
    }

    /// The sequence number after the last sealed event of an instance.
    ///
    /// # Errors
    /// Where no instance has the name.
    pub fn next_seq(&self, instance: &str) -> Result<u64, ReadError> {
        Ok(self.instance(instance)?.manifest.next_seq())
    }

    /// The engine's state before [`Reader::first_seq`], as the bytes that a replay restores it from; none where
    /// nothing was pruned, or nobody replays the instance.
    ///
    /// # Errors
    /// Where it isn't there, or not as it was.
    pub fn snapshot(&self, instance: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let found = self.instance(instance)?;
        let Some(pruned) = &found.manifest.pruned else { return Ok(None) };
        let Some(sum) = &pruned.snapshot_sha256 else { return Ok(None) };
        let within = prune::snapshot_within(instance, pruned.first_seq);
        let path = found.store.shown().join(&within);
        match found.store.read(&within)? {
            None => Err(ReadError::MissingFile(path)),
            Some(bytes) if disk::sha256_of(&bytes) == *sum => Ok(Some(bytes.into())),
            Some(_) => Err(ReadError::DamagedFile { path, what: "its SHA-256 isn't the manifest's".to_owned() }),
        }
    }

    /// The leaves of an instance's tree in order; see [`Leaves`].
    pub(crate) fn leaves(&self, instance: &str) -> Result<Leaves<'_>, ReadError> {
        let found = self.instance(instance)?;
        Ok(Leaves::new(&found.store, &found.manifest, found.open_records()?))
    }

    /// Reads a policy and checks it against its hash.
    ///
    /// # Errors
    /// Where none of the logs holds it as it was.
    pub fn policy(&self, hash: PolicyHash) -> Result<String, PolicyError> {
        let mut outcome = Err(PolicyError::Missing(hash));
        for store in &self.stores {
            outcome = policies::read(store, hash);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Instance {
    /// Records in the open segments that aren't sealed.
    fn open_records(&self) -> Result<Vec<&[u8]>, ReadError> {
        let mut next_seq = self.manifest.next_seq();
        let mut records = Vec::new();
        for OpenSegment { path, bytes } in &self.segments {
            let wrong = |what| ReadError::Segment { path: path.clone(), what };
            let segment = match segment::read(bytes) {
                Ok(segment) => segment,
                // It is being begun, or its process died at that.
                Err(HeaderError::Short(_)) => continue,
                Err(error) => return Err(wrong(error.to_string())),
            };
            if let SegmentEnd::Damaged { at, why, good_at } = &segment.end {
                return Err(wrong(format!("{why} at byte {at}, with a good record at byte {good_at}")));
            }
            let sealed = usize::try_from(next_seq.saturating_sub(segment.first_seq)).unwrap_or(usize::MAX);
            records.extend(segment.records.get(sealed..).unwrap_or_default());
            next_seq = next_seq.max(segment.next_seq());
        }
        Ok(records)
    }
}

fn snapshot_of(store: &Store, wanted: impl Fn(&str) -> bool) -> Result<Vec<Instance>, ReadError> {
    for _ in 0..TRIES_MAX {
        let before = manifests(store, &wanted)?;
        let Some(segments) = open_segments(store, &wanted)? else { continue };
        if manifests(store, &wanted)? != before {
            continue;
        }
        let mut instances = Vec::with_capacity(before.len());
        for (name, bytes) in before {
            let path = store.shown().join(manifest::within(&name));
            let manifest = Manifest::read(path, &bytes, &name)?;
            instances.push(Instance { store: store.clone(), manifest, segments: Vec::new() });
        }
        for (name, segment) in segments {
            match instances.iter_mut().find(|instance| instance.manifest.instance == name) {
                Some(instance) => instance.segments.push(segment),
                None => instances.push(Instance {
                    store: store.clone(),
                    manifest: Manifest::new(&name),
                    segments: vec![segment],
                }),
            }
        }
        return Ok(instances);
    }
    Err(ReadError::Restless(store.shown().to_owned()))
}

/// The bytes of the manifests, by instance.
fn manifests(store: &Store, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Bytes)>, ReadError> {
    let mut manifests = Vec::new();
    for name in store.names(manifest::DIR)? {
        let Some(instance) = manifest::instance_of(&name).filter(|instance| wanted(instance)) else { continue };
        // One that has gone again is none.
        if let Some(bytes) = store.read(&manifest::within(instance))? {
            manifests.push((instance.to_owned(), bytes));
        }
    }
    Ok(manifests)
}

/// The bytes of the open segments by instance and number; none where one was sealed meanwhile. They are read
/// in order: a segment is whole before the next one begins.
fn open_segments(
    store: &Store,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<Vec<(String, OpenSegment)>>, ReadError> {
    let mut segments = Vec::new();
    let named = instance::segments_named(store.shown(), store.names(instance::OPEN_DIR)?);
    for name in named.into_iter().filter(|name| wanted(&name.instance)) {
        match store.read(&instance::segment_within(&name.instance, name.number))? {
            Some(bytes) => segments.push((name.instance, OpenSegment { path: name.path, bytes })),
            None => return Ok(None),
        }
    }
    Ok(Some(segments))
}

/// A sealed file, its size and SHA-256 as they were written. Parquet that was damaged, even by one bit, can do
/// worse than fail to decode.
fn open_sealed(store: &Store, file: &SealedFile) -> Result<Bytes, ReadError> {
    open_sealed_into(store, file, Vec::new())
}

/// The same in memory that was used before.
fn open_sealed_into(store: &Store, file: &SealedFile, spare: Vec<u8>) -> Result<Bytes, ReadError> {
    let path = store.shown().join(&file.path);
    let Some(bytes) = store.read_into(&file.path, spare)? else { return Err(ReadError::MissingFile(path)) };
    if bytes.len() as u64 != file.bytes {
        let what = format!("it has {} bytes instead of {}", bytes.len(), file.bytes);
        return Err(ReadError::DamagedFile { path, what });
    }
    if disk::sha256_of(&bytes) != file.sha256 {
        return Err(ReadError::DamagedFile { path, what: "its SHA-256 isn't the manifest's".to_owned() });
    }
    Ok(bytes)
}

/// The last time in a file's rows, as its footer tells; none where a row may have none.
pub(crate) fn last_us(store: &Store, file: &SealedFile) -> Result<Option<i64>, ReadError> {
    let path = store.shown().join(&file.path);
    let opened = open_sealed(store, file)?;
    let parquet = |source| ReadError::Parquet { path: path.clone(), source };
    let reader = sound(&path, || SerializedFileReader::new(opened))?.map_err(parquet)?;
    let mut last = i64::MIN;
    for group in reader.metadata().row_groups() {
        for column in [schema::calls::TS, schema::calls::DONE_TS] {
            let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column.name);
            let Some(chunk) = chunk else { continue };
            let Some(Statistics::Int64(statistics)) = chunk.statistics() else { return Ok(None) };
            // Calls that are in flight have no end, and every event has its time but those of imports.
            let known = column.name == schema::calls::DONE_TS.name || statistics.null_count_opt() == Some(0);
            match statistics.max_opt() {
                Some(max) if known => last = last.max(*max),
                None if column.name == schema::calls::DONE_TS.name => {}
                _ => return Ok(None),
            }
        }
    }
    Ok(Some(last))
}

#[cfg(test)]
mod tests;
