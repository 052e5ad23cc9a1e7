//! What a log holds, without a look at its records: from manifests, footers and open segments.

use std::fs;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use tollbook_engine::{Body, Event};

use crate::checkpoint::{self, Head};
use crate::disk::{self, DiskError};
use crate::instance;
use crate::manifest::{self, SealedFile};
use crate::reader::{ReadError, Reader, sound};
use crate::recovery::DAMAGED_DIR;
use crate::schema::{self, Kind};

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// By name.
    pub instances: Vec<InstanceStatus>,
    /// Files that recovery set aside, with their sizes in bytes.
    pub set_aside: Vec<(PathBuf, u64)>,
    /// Policies that are kept.
    pub policies: u64,
}

/// What an instance has recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceStatus {
    /// The process that recorded.
    pub instance: String,
    /// Whether it is recording now.
    pub is_alive: bool,
    /// The file that it was imported from.
    pub imported_from: Option<String>,
    /// Sealed ranges.
    pub segments: u64,
    /// Open segments. Those of a process that died are recovered when the log is next opened.
    pub open_segments: u64,
    /// Calls, sealed and open.
    pub calls: u64,
    /// Calls in sealed files.
    pub sealed_calls: u64,
    /// Bytes of all sealed files.
    pub sealed_bytes: u64,
    /// Bytes of files that compaction replaced and that are still there.
    pub retired_bytes: u64,
    /// The times of the first and of the last call, in microseconds since 1970, where they are known.
    pub times_us: Option<(i64, i64)>,
    /// Sequence numbers that were lost with a damaged segment: the first and the last of each hole.
    pub holes: Vec<(u64, u64)>,
    /// The first event that is left, and the instant before which all that are gone happened, in microseconds
    /// since 1970, where some were pruned.
    pub pruned: Option<(u64, i64)>,
    /// The last head, unchecked, and when it was written, in microseconds since 1970.
    pub head: Option<(Head, Option<i64>)>,
    /// Why it can't be read, where it can't.
    pub unreadable: Option<String>,
}

/// Looks at a log. What can't be read of one instance is told with it.
///
/// # Errors
/// Where there is no log, or its directories can't be read.
pub fn status(log: &Path) -> Result<Status, ReadError> {
    if !log.join(instance::OPEN_DIR).is_dir() && !log.join(manifest::DIR).is_dir() {
        return Err(ReadError::NoLog(log.to_owned()));
    }
    let mut names = manifest::instances(log)?;
    names.extend(checkpoint::instances(log)?);
    names.extend(instance::segments(log)?.into_iter().map(|segment| segment.instance));
    names.sort_unstable();
    names.dedup();
    let mut status = Status::default();
    for name in names {
        let mut found = InstanceStatus {
            is_alive: instance::is_alive(log, &name),
            head: head(log, &name)?,
            instance: name,
            ..InstanceStatus::default()
        };
        if let Err(error) = found.look(log) {
            found.unreadable = Some(error.to_string());
        }
        status.instances.push(found);
    }
    let dir = log.join(DAMAGED_DIR);
    for name in disk::names(&dir)? {
        let path = dir.join(name);
        let bytes = fs::metadata(&path).map_err(DiskError::at("read", &path))?.len();
        status.set_aside.push((path, bytes));
    }
    let policies = disk::names(&log.join("policies"))?;
    status.policies = policies.iter().filter(|name| name.ends_with(".json")).count() as u64;
    Ok(status)
}

fn head(log: &Path, instance: &str) -> Result<Option<(Head, Option<i64>)>, DiskError> {
    let Some(head) = checkpoint::load(log, instance)?.and_then(|note| Head::peek(&note)) else { return Ok(None) };
    let written = fs::metadata(checkpoint::path(log, instance)).and_then(|metadata| metadata.modified()).ok();
    let written_us = written.and_then(|time| jiff::Timestamp::try_from(time).ok()).map(jiff::Timestamp::as_microsecond);
    Ok(Some((head, written_us)))
}

impl InstanceStatus {
    fn look(&mut self, log: &Path) -> Result<(), ReadError> {
        let reader = Reader::open_one(log, &self.instance)?;
        self.open_segments =
            instance::segments(log)?.iter().filter(|segment| segment.instance == self.instance).count() as u64;
        if let Some(manifest) = reader.manifests().next() {
            self.segments = manifest.ranges.len() as u64;
            self.imported_from = manifest.imported.as_ref().map(|imported| imported.name.clone());
            let mut next = manifest.first_seq();
            self.pruned = manifest.pruned.as_ref().map(|pruned| (pruned.first_seq, pruned.before_us));
            for range in &manifest.ranges {
                if range.first_seq > next {
                    self.holes.push((next, range.first_seq - 1));
                }
                next = range.last_seq.saturating_add(1);
            }
            for file in manifest.files() {
                self.sealed_bytes = self.sealed_bytes.saturating_add(file.bytes);
                if file.kind == Kind::Calls {
                    self.sealed_calls = self.sealed_calls.saturating_add(file.rows);
                    self.calls = self.calls.saturating_add(file.rows);
                    self.times(times(log, file)?);
                }
            }
            let size = |path: &String| fs::metadata(log.join(path)).map_or(0, |metadata| metadata.len());
            self.retired_bytes = manifest.retired.iter().map(|file| size(&file.path)).sum();
        }
        for record in reader.open_records()? {
            let event = Event::from_bytes(record).ok();
            if let Some(Event { ts_us, body: Body::Decision(_), .. }) = event {
                self.calls = self.calls.saturating_add(1);
                self.times(ts_us.map(|ts| (ts, ts)));
            }
        }
        Ok(())
    }

    fn times(&mut self, more: Option<(i64, i64)>) {
        self.times_us = match (self.times_us, more) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (known, more) => known.or(more),
        };
    }
}

/// The first and the last time in a file, as its footer tells.
fn times(log: &Path, file: &SealedFile) -> Result<Option<(i64, i64)>, ReadError> {
    let path = log.join(&file.path);
    let parquet = |source| ReadError::Parquet { path: path.clone(), source };
    let opened = fs::File::open(&path).map_err(|_| ReadError::MissingFile(path.clone()))?;
    let reader = sound(&path, || SerializedFileReader::new(opened))?.map_err(parquet)?;
    let mut times: Option<(i64, i64)> = None;
    for group in reader.metadata().row_groups() {
        let column = group.columns().iter().find(|column| column.column_path().string() == schema::calls::TS.name);
        if let Some(Statistics::Int64(statistics)) = column.and_then(|column| column.statistics())
            && let (Some(first), Some(last)) = (statistics.min_opt(), statistics.max_opt())
        {
            times = Some(times.map_or((*first, *last), |(from, to)| (from.min(*first), to.max(*last))));
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests;
