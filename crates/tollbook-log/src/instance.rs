//! Instances: who writes to a log directory, and whether they are still alive.
//!
//! Each process that records is an instance with a name of its own, and each file that it is still
//! writing carries that name. For as long as it lives it holds a lock on `LOG/open/<instance>.lock`,
//! which the system releases when it dies, however it dies. So recovery may touch the files of
//! exactly those instances whose lock it can take. `LOG/lock` is held while a log is opened: without
//! it, an instance could be taken for dead between making its lock's file and locking it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::ToSpan;
use jiff::tz::TimeZone;

use crate::disk::{self, DiskError};
use crate::manifest;

/// Directory of what is still being written.
pub(crate) const OPEN_DIR: &str = "open";
const LOCK: &str = ".lock";
const SEGMENT: &str = ".seg";

/// How a name tells the time.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// A name that no other process has, such as `20261123T064652Z-7f3a9c01`: when it began, and later than every name
/// that is there. So instances sort in the order in which they began, and those that another one carries on come
/// before it, whatever the clock says.
pub(crate) fn new_name(log: &Path, now_us: i64) -> Result<String, DiskError> {
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let names = [manifest::instances(log)?, locked(log)?].concat();
    let begun = |name: &String| {
        let time = jiff::civil::DateTime::strptime(TIME, name.split_once('-')?.0).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let now = jiff::Timestamp::from_microsecond(now_us).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let latest = names.iter().filter_map(begun).max();
    let after = latest.and_then(|latest| latest.checked_add(1.second()).ok());
    let time = after.map_or(now, |after| now.max(after));
    Ok(format!("{}-{random:08x}", time.strftime(TIME)))
}

/// Waits until nobody else is opening the log. Given up when it is dropped.
pub(crate) fn lock_log(log: &Path) -> Result<File, DiskError> {
    let path = log.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(DiskError::at("create", &path))?;
    file.lock().map_err(DiskError::at("lock", &path))?;
    Ok(file)
}

/// An instance's lock, held.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    /// Locked for as long as it is open.
    _file: File,
}

impl Claim {
    /// Takes an instance's lock; none where it is alive. The log's lock must be held.
    pub fn take(log: &Path, instance: &str) -> Result<Option<Self>, DiskError> {
        let path = log.join(OPEN_DIR).join(format!("{instance}{LOCK}"));
        disk::create_dir(&log.join(OPEN_DIR))?;
        let file = File::options().create(true).append(true).open(&path).map_err(DiskError::at("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path, _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(DiskError::at("lock", &path)(error)),
        }
    }

    /// Ends the instance: nothing of it is open any more.
    pub fn end(self) -> Result<(), DiskError> {
        match fs::remove_file(&self.path) {
            // The process that was taken for dead was just ending itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(DiskError::at("delete", &self.path)),
        }
    }
}

/// Whether a process holds the instance's lock. Changes nothing.
pub(crate) fn is_alive(log: &Path, instance: &str) -> bool {
    let path = log.join(OPEN_DIR).join(format!("{instance}{LOCK}"));
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// An open segment's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub instance: String,
    pub number: u64,
    pub path: PathBuf,
}

pub(crate) fn segment_path(log: &Path, instance: &str, number: u64) -> PathBuf {
    log.join(segment_within(instance, number))
}

/// Where an open segment lies in a log.
pub(crate) fn segment_within(instance: &str, number: u64) -> String {
    format!("{OPEN_DIR}/{instance}.{number}{SEGMENT}")
}

/// The open segments, by instance and number.
pub(crate) fn segments(log: &Path) -> Result<Vec<SegmentName>, DiskError> {
    Ok(segments_named(log, disk::names(&log.join(OPEN_DIR))?))
}

/// The open segments among the files of these names.
pub(crate) fn segments_named(log: &Path, names: Vec<String>) -> Vec<SegmentName> {
    let dir = log.join(OPEN_DIR);
    let named = |name: String| {
        let (instance, number) = name.strip_suffix(SEGMENT)?.rsplit_once('.')?;
        Some(SegmentName { instance: instance.to_owned(), number: number.parse().ok()?, path: dir.join(&name) })
    };
    let mut segments: Vec<_> = names.into_iter().filter_map(named).collect();
    segments.sort_unstable();
    segments
}

/// Instances that left a lock's file, sorted.
pub(crate) fn locked(log: &Path) -> Result<Vec<String>, DiskError> {
    let names = disk::names(&log.join(OPEN_DIR))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(LOCK)).map(str::to_owned).collect())
}
