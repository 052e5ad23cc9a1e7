//! What is done about the processes that died: on opening a log, their segments are sealed.
//!
//! Only the files of dead instances are touched (see [`crate::instance`]). A torn end is cut and
//! reported. Whatever else isn't as a live process would have left it is moved to `LOG/damaged/` and
//! reported, never deleted: a segment that is damaged before its end (the records before the damage
//! are sealed all the same), a temporary file, and Parquet that no manifest names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::disk::{self, DiskError};
use crate::instance::{self, Claim, SegmentName};
use crate::key::Signer;
use crate::manifest::{self, Manifest};
use crate::prune::SNAPSHOTS_DIR;
use crate::schema::Kind;
use crate::seal::{self, SealError};
use crate::segment::{self, HeaderError, SegmentEnd};
use crate::verify;

/// Directory of what was set aside.
pub(crate) const DAMAGED_DIR: &str = "damaged";

/// What was found on opening a log. Empty where every process before had closed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Open segments of processes that died.
    pub segments: Vec<RecoveredSegment>,
    /// Files that were moved to `damaged/`.
    pub set_aside: Vec<SetAside>,
    /// Instances whose manifest can't be read, with the reason. Their files were left alone.
    pub unreadable: Vec<(String, String)>,
    /// Instances whose last records no head covers because they don't follow from the last head, with what
    /// doesn't fit. `tollbook log verify` says more.
    pub not_vouched: Vec<(String, String)>,
}

/// An open segment of a process that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredSegment {
    /// The process.
    pub instance: String,
    /// Its file, which is gone now.
    pub path: PathBuf,
    /// Whole records in it.
    pub events: u64,
    /// Those among them that weren't sealed before.
    pub newly_sealed: u64,
    /// How it ended.
    pub end: SegmentEnd,
    /// Bytes from the bad frame on, which aren't sealed.
    pub bytes_lost: u64,
}

/// A file that was moved to `damaged/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it lay.
    pub from: PathBuf,
    /// Where it lies now.
    pub to: PathBuf,
    /// Why.
    pub why: String,
}

/// Why a log can't be recovered. Nothing is lost: opening it again tries again.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The records of a segment couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A segment was written by a newer version.
    #[error("cannot read `{}`", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        #[source]
        source: HeaderError,
    },
}

/// Seals what dead instances left. The log's lock must be held.
pub(crate) fn recover(log: &Path, signer: Option<&Signer>) -> Result<Recovery, RecoveryError> {
    let mut recovery = Recovery::default();
    let mut open: BTreeSet<String> = instance::locked(log)?.into_iter().collect();
    open.extend(instance::segments(log)?.into_iter().map(|segment| segment.instance));
    let mut untouchable = BTreeSet::new();
    for name in manifest::instances(log)?.iter().chain(&open) {
        if let Err(error) = Manifest::load(log, name)
            && untouchable.insert(name.clone())
        {
            recovery.unreadable.push((name.clone(), error.to_string()));
        }
    }
    for name in open {
        if untouchable.contains(&name) {
            continue;
        }
        let Some(claim) = Claim::take(log, &name)? else {
            untouchable.insert(name);
            continue;
        };
        // Listed anew: until just now the process may have been alive, sealing them.
        for segment in instance::segments(log)?.iter().filter(|segment| segment.instance == name) {
            recover_segment(log, segment, signer, &mut recovery)?;
        }
        if let Some(signer) = signer
            && let Err(why) = verify::vouch(log, &name, signer)?
        {
            recovery.not_vouched.push((name.clone(), why));
        }
        claim.end()?;
    }
    set_aside_strays(log, &untouchable, &mut recovery)?;
    Ok(recovery)
}

fn recover_segment(
    log: &Path,
    name: &SegmentName,
    signer: Option<&Signer>,
    recovery: &mut Recovery,
) -> Result<(), RecoveryError> {
    let path = &name.path;
    let bytes = fs::read(path).map_err(DiskError::at("read", path))?;
    let segment = match segment::read(&bytes) {
        Ok(segment) if segment.instance == name.instance => segment,
        Ok(segment) => {
            let why = format!("it is a segment of the instance `{}`", segment.instance);
            return Ok(set_aside(log, path, why, recovery)?);
        }
        Err(source @ HeaderError::Newer { .. }) => return Err(RecoveryError::Newer { path: path.clone(), source }),
        Err(error) => return Ok(set_aside(log, path, error.to_string(), recovery)?),
    };
    let newly_sealed = seal::seal(log, &segment.instance, segment.first_seq, &segment.records, signer)?;
    let bytes_lost = match &segment.end {
        SegmentEnd::Clean => 0,
        SegmentEnd::Torn { at, .. } | SegmentEnd::Damaged { at, .. } => (bytes.len() - at) as u64,
    };
    let events = segment.records.len() as u64;
    match &segment.end {
        SegmentEnd::Damaged { at, why, .. } => {
            set_aside(log, path, format!("{why} at byte {at}, with good records behind it"), recovery)?;
        }
        SegmentEnd::Clean | SegmentEnd::Torn { .. } => disk::remove(path)?,
    }
    if events > 0 || bytes_lost > 0 {
        let (instance, path, end) = (segment.instance, path.clone(), segment.end);
        recovery.segments.push(RecoveredSegment { instance, path, events, newly_sealed, end, bytes_lost });
    }
    Ok(())
}

fn set_aside_strays(log: &Path, untouchable: &BTreeSet<String>, recovery: &mut Recovery) -> Result<(), DiskError> {
    for (path, owner) in strays(log)? {
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        let why = if is_temporary { "it was never finished" } else { "no manifest names it" };
        if owner.is_some_and(|owner| !untouchable.contains(&owner)) {
            set_aside(log, &path, why.to_owned(), recovery)?;
        }
    }
    Ok(())
}

/// Temporary files, and Parquet that no manifest names, each with the instance that its name tells.
pub(crate) fn strays(log: &Path) -> Result<Vec<(PathBuf, Option<String>)>, DiskError> {
    let mut named: BTreeSet<PathBuf> = BTreeSet::new();
    for name in manifest::instances(log)? {
        if let Ok(Some(manifest)) = Manifest::load(log, &name) {
            named.extend(manifest.files().map(|file| log.join(&file.path)));
            named.extend(manifest.retired.iter().map(|file| log.join(&file.path)));
        }
    }
    let mut strays = Vec::new();
    for dir in dirs(log)? {
        for name in disk::names(&dir)? {
            let path = dir.join(&name);
            let owner = disk::writer_of(&name).or_else(|| sealer_of(&name)).map(str::to_owned);
            let is_stray = disk::writer_of(&name).is_some() || name.ends_with(".parquet");
            if is_stray && !named.contains(&path) {
                strays.push((path, owner));
            }
        }
    }
    Ok(strays)
}

/// The directories that instances write to.
fn dirs(log: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut dirs: Vec<PathBuf> =
        [instance::OPEN_DIR, manifest::DIR, checkpoint::DIR, "policies", "imports", SNAPSHOTS_DIR]
            .iter()
            .map(|name| log.join(name))
            .collect();
    for kind in Kind::ALL {
        let dir = log.join(kind.name());
        let partitions = disk::names(&dir)?.into_iter().filter(|name| name.contains('='));
        dirs.extend(partitions.map(|name| dir.join(name)));
        dirs.push(dir);
    }
    Ok(dirs)
}

/// The instance that a Parquet file is named for: `<instance>-<first>-<last>.parquet`.
fn sealer_of(name: &str) -> Option<&str> {
    let mut parts = name.strip_suffix(".parquet")?.rsplitn(3, '-');
    let digits = |part: Option<&str>| part?.parse::<u64>().ok();
    digits(parts.next())?;
    digits(parts.next())?;
    parts.next()
}

fn set_aside(log: &Path, path: &Path, why: String, recovery: &mut Recovery) -> Result<(), DiskError> {
    let to = disk::move_into(path, &log.join(DAMAGED_DIR))?;
    recovery.set_aside.push(SetAside { from: path.to_owned(), to, why });
    Ok(())
}

#[cfg(test)]
mod tests;
