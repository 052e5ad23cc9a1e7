//! Compaction: the small sealed segments of one instance become larger ones. Nothing is dropped.
//!
//! Adjacent ranges are read, written anew as one, and switched in the manifest in one rename, signed
//! where it was signed. The tree is over records and not over files, so heads and proofs stay as they
//! are. An outcome that had come after its call was sealed moves into its call's row.
//!
//! A reader that took its snapshot before the switch still reads the files that were replaced. They
//! stay where they were, named as retired in the manifest, until a compaction that runs at least
//! [`CompactOptions::grace_s`] later deletes them: a reader may hold a snapshot for that long. Readers
//! of this crate go by the manifest and see each call once all the while; whoever reads the directory
//! with another tool should take its list of files from the manifests, or wait until the old ones are
//! gone.
//!
//! A process that is still writing can go on: it only ever adds ranges, under the same lock.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError};
use crate::instance::{self, Claim};
use crate::key::Signer;
use crate::manifest::{self, Manifest, ManifestError, RetiredFile, SealedRange};
use crate::reader::{Events, ReadError};
use crate::seal::{self, SealError};
use crate::store::Store;
use crate::tree::Tree;

/// Records in memory at which a range is ended, in bytes.
const RANGE_BYTES_MAX: usize = 256 << 20;

/// How a log is compacted.
#[derive(Debug, Clone)]
pub struct CompactOptions {
    /// Most events in one merged range.
    pub events_max: u64,
    /// How long a file that was replaced stays, in seconds.
    pub grace_s: u64,
    /// Signs the manifests anew. Those that are signed are left alone without it.
    pub signer: Option<Signer>,
    /// Now, in microseconds since 1970.
    pub now_us: i64,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Instances with the number of their sealed ranges before and after, where it changed.
    pub merged: Vec<(String, usize, usize)>,
    /// Files that were replaced earlier and are deleted now.
    pub deleted: Vec<PathBuf>,
    /// Instances that were left alone, with the reason.
    pub left: Vec<(String, String)>,
}

/// Why a log can't be compacted. Whatever was done by then is whole.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// There is no log.
    #[error("there is no log in `{}`", .0.display())]
    NoLog(PathBuf),
    /// Another process is at it.
    #[error("`{}` is being compacted by another process", .0.display())]
    Busy(PathBuf),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A manifest couldn't be read or switched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The sealed records can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The merged records couldn't be written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The records aren't those that were sealed.
    #[error("the records {first_seq} to {last_seq} of `{instance}` aren't those that were sealed")]
    Changed {
        /// The process that recorded.
        instance: String,
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
    },
    /// The log changed under the compaction.
    #[error("the manifest of `{0}` was changed by somebody else; nothing was switched")]
    Restless(String),
}

/// Merges the small ranges of each instance, and deletes what earlier compactions replaced.
///
/// # Errors
/// Where the log can't be read or written, or another process compacts it.
pub fn compact(log: &Path, options: &CompactOptions) -> Result<Compacted, CompactError> {
    if !log.join(manifest::DIR).is_dir() {
        return Err(CompactError::NoLog(log.to_owned()));
    }
    let dir = File::open(log).map_err(DiskError::at("open", log))?;
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(CompactError::Busy(log.to_owned())),
        Err(TryLockError::Error(error)) => return Err(DiskError::at("lock", log)(error).into()),
    }
    let mut compacted = Compacted::default();
    for name in manifest::instances(log)? {
        // As long as it is held, nobody takes the instance's files for those of a process that died.
        let claim = {
            let _opening = instance::lock_log(log)?;
            Claim::take(log, &name)?
        };
        let done = Compaction { log, options, instance: &name }.run(&mut compacted);
        claim.map_or(Ok(()), Claim::end)?;
        done?;
    }
    Ok(compacted)
}

struct Compaction<'a> {
    log: &'a Path,
    options: &'a CompactOptions,
    instance: &'a str,
}

impl Compaction<'_> {
    fn run(&self, compacted: &mut Compacted) -> Result<(), CompactError> {
        let Some(manifest) = Manifest::load(self.log, self.instance)? else { return Ok(()) };
        let signer = self.options.signer.as_ref();
        if manifest.signature.is_some() && manifest.heir(signer).is_none() {
            let why =
                if signer.is_some() { "it isn't signed with this key" } else { "it is signed, and there is no key" };
            compacted.left.push((self.instance.to_owned(), why.to_owned()));
            return Ok(());
        }
        let CompactOptions { grace_s, now_us, .. } = *self.options;
        compacted.deleted.extend(delete_retired(self.log, self.instance, signer, grace_s, now_us)?);
        let before = manifest.ranges.len();
        let mut after = before;
        for group in groups(&manifest.ranges, self.options.events_max) {
            after -= self.merge(group)?;
        }
        if after < before {
            compacted.merged.push((self.instance.to_owned(), before, after));
        }
        Ok(())
    }

    /// Merges adjacent ranges, in several where one would be too large for memory. Says how many fewer there
    /// are now.
    fn merge(&self, group: &[SealedRange]) -> Result<usize, CompactError> {
        let mut fewer = 0;
        let mut records: Vec<Vec<u8>> = Vec::new();
        let (mut from, mut bytes) = (0, 0);
        for (at, range) in group.iter().enumerate() {
            let read = self.read(range)?;
            bytes += read.iter().map(Vec::len).sum::<usize>();
            records.extend(read);
            if bytes >= RANGE_BYTES_MAX || at + 1 == group.len() {
                let merged = group.get(from..=at).unwrap_or_default();
                if merged.len() > 1 {
                    self.switch(merged, &records)?;
                    fewer += merged.len() - 1;
                }
                records.clear();
                (from, bytes) = (at + 1, 0);
            }
        }
        Ok(fewer)
    }

    fn read(&self, range: &SealedRange) -> Result<Vec<Vec<u8>>, CompactError> {
        let mut alone = Manifest::new(self.instance);
        alone.ranges.push(range.clone());
        let store = Store::local(self.log)?;
        let events = Events::new(&store, &alone, Vec::new());
        let records = events.map(|event| Ok(event?.to_bytes())).collect::<Result<Vec<_>, ReadError>>()?;
        let root = disk::hex(&Tree::of(records.iter().map(Vec::as_slice)).root());
        if range.root.as_ref().is_some_and(|expected| *expected != root) {
            let instance = self.instance.to_owned();
            return Err(CompactError::Changed { instance, first_seq: range.first_seq, last_seq: range.last_seq });
        }
        Ok(records)
    }

    /// Writes the records as one range and puts it in the place of the old ones.
    fn switch(&self, old: &[SealedRange], records: &[Vec<u8>]) -> Result<(), CompactError> {
        let first_seq = old.first().map_or(0, |range| range.first_seq);
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let Some(range) = seal::write_range(self.log, self.instance, first_seq, &records)? else { return Ok(()) };
        // Nobody recovers the log meanwhile, and nobody seals.
        let _opening = instance::lock_log(self.log)?;
        let _switching = manifest::lock(self.log)?;
        let restless = || CompactError::Restless(self.instance.to_owned());
        let mut manifest = Manifest::load(self.log, self.instance)?.ok_or_else(restless)?;
        let heir = manifest.heir(self.options.signer.as_ref());
        let at = manifest.ranges.iter().position(|range| range.first_seq == first_seq).ok_or_else(restless)?;
        let to = at + old.len();
        let is_there = range.files.iter().all(|file| self.log.join(&file.path).is_file());
        if manifest.ranges.get(at..to) != Some(old) || !is_there {
            return Err(restless());
        }
        let since_us = self.options.now_us;
        let replaced = manifest.ranges.splice(at..to, [range]).flat_map(|range| range.files);
        let retired: Vec<RetiredFile> = replaced.map(|file| RetiredFile { path: file.path, since_us }).collect();
        manifest.retired.extend(retired);
        Ok(manifest.store(self.log, heir)?)
    }
}

/// Deletes the files that were taken out long enough ago, then forgets them: a crash in between leaves names
/// without files, which nobody reads.
pub(crate) fn delete_retired(
    log: &Path,
    instance: &str,
    signer: Option<&Signer>,
    grace_s: u64,
    now_us: i64,
) -> Result<Vec<PathBuf>, ManifestError> {
    let _switching = manifest::lock(log)?;
    let Some(mut manifest) = Manifest::load(log, instance)? else { return Ok(Vec::new()) };
    let heir = manifest.heir(signer);
    let grace_us = i64::try_from(grace_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let is_due = |file: &RetiredFile| file.since_us.saturating_add(grace_us) <= now_us;
    let (due, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut manifest.retired).into_iter().partition(is_due);
    let mut deleted = Vec::new();
    for file in &due {
        let path = log.join(&file.path);
        match disk::delete(&path) {
            Err(error) if error.source.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => deleted.push(path),
        }
    }
    if !due.is_empty() {
        manifest.retired = kept;
        manifest.store(log, heir)?;
    }
    Ok(deleted)
}

/// Runs of at least two adjacent ranges that together have no more than `events_max` events.
fn groups(ranges: &[SealedRange], events_max: u64) -> Vec<&[SealedRange]> {
    let events = |range: &SealedRange| (range.last_seq - range.first_seq).saturating_add(1);
    let mut groups = Vec::new();
    let mut rest = ranges;
    while let Some(first) = rest.first() {
        let mut total = events(first);
        let fits = rest.windows(2).take_while(|pair| {
            let [before, after] = pair else { return false };
            total = total.saturating_add(events(after));
            before.last_seq + 1 == after.first_seq && total <= events_max
        });
        let (group, left) = rest.split_at_checked(fits.count() + 1).unwrap_or((rest, &[]));
        if group.len() > 1 {
            groups.push(group);
        }
        rest = left;
    }
    groups
}

#[cfg(test)]
mod tests;
