//! Retention: whole sealed ranges go from the front of an instance, and what is left can still be checked.
//!
//! The tree is over all that an instance ever recorded, so its heads and proofs stay as they are: of the ranges
//! that go, the manifest keeps the roots of their whole subtrees, at most one for each bit of their number, and
//! a verification begins there. It keeps the few events that matter still, too. What the engine had counted by then
//! is kept as bytes that the caller made by replaying, since nothing here judges a call; a replay of the rest begins
//! with them. The manifest names the SHA-256 of these bytes, and is signed as a whole.
//!
//! The order of the steps: the state is written; the event that tells of the pruning is sealed; then one rename
//! of the manifest takes the old ranges out and that event in. A crash before it leaves the log as it was, with
//! files that nobody counts; one after it leaves files that are named as retired and deleted the next time.
//!
//! An instance that is recording can be pruned by its own process alone, which numbers its events: it records the
//! event that tells of the pruning before the old ranges go. All others that are recording are left alone. Only
//! ranges without a hole before them go: of records that were lost with a damaged segment the tree knows nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tollbook_engine::{Body, Event, Pruned as PrunedEvent};

use crate::carry;
use crate::compact::delete_retired;
use crate::disk::{self, DiskError};
use crate::instance::{self, Claim};
use crate::key::Signer;
use crate::manifest::{self, Manifest, ManifestError, PrunedRange, RetiredFile, SealedRange};
use crate::reader::{Leaves, ReadError, Reader, last_us};
use crate::seal::{self, SealError};
use crate::store::Store;
use crate::tree::Tree;
use crate::verify;

/// Directory of the states that replays begin with.
pub(crate) const SNAPSHOTS_DIR: &str = "snapshots";

/// Why the instance of another process that lives is left alone.
pub const IS_RECORDING: &str = "it is recording";

/// How a log is pruned.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Ranges go whose events all happened before this instant, in microseconds since 1970. A range with an
    /// event without a time stays, and so do all behind it.
    pub before_us: i64,
    /// How long a file stays after it was taken out, in seconds: readers at work may hold a snapshot of the
    /// log. With zero it is deleted at once.
    pub grace_s: u64,
    /// Signs the manifests anew. Those that are signed are left alone without it.
    pub signer: Option<Signer>,
    /// Now, in microseconds since 1970.
    pub now_us: i64,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Instances that lost ranges, each with the first event that is left.
    pub pruned: Vec<(String, u64)>,
    /// Files that are deleted now.
    pub deleted: Vec<PathBuf>,
    /// Instances that were left alone, with the reason.
    pub left: Vec<(String, String)>,
}

/// Why a log can't be pruned. Whatever was done by then is whole.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// There is no log.
    #[error("there is no log in `{}`", .0.display())]
    NoLog(PathBuf),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A manifest couldn't be read or switched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The sealed records can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The event that tells of it couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The records aren't those that were sealed.
    #[error("the records {first_seq} to {last_seq} of `{instance}` aren't those that were sealed, so none is removed")]
    Changed {
        /// The process that recorded.
        instance: String,
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
    },
    /// The caller couldn't record that its own events are about to go.
    #[error("cannot record the pruning: {why}")]
    Untold {
        /// What it said.
        why: String,
    },
    /// The caller couldn't make the state.
    #[error("cannot make the state of `{instance}` at event {seq}: {why}")]
    State {
        /// The process that recorded.
        instance: String,
        /// The first event that would be left.
        seq: u64,
        /// What it said.
        why: String,
    },
}

/// Makes the engine's state of an instance as it is before an event, as bytes; none where nobody replays the
/// instance, as with an import.
pub type StateAt<'a> = dyn FnMut(&Reader, &str, u64) -> Result<Option<Vec<u8>>, String> + 'a;

/// The instance that the caller itself is recording as.
pub struct Own<'a> {
    /// Its name.
    pub instance: &'a str,
    /// Records that ranges are about to go.
    pub tell: &'a mut dyn FnMut(PrunedEvent) -> Result<(), String>,
}

/// Takes the oldest ranges out of each instance that isn't recording, and out of the caller's own. An instance whose
/// records can't be read, aren't those that were sealed or don't give a state is left alone.
///
/// # Errors
/// Where the log can't be written.
pub fn prune(
    log: &Path,
    options: &PruneOptions,
    mut own: Option<Own<'_>>,
    state_at: &mut StateAt<'_>,
) -> Result<Pruned, PruneError> {
    if !log.join(manifest::DIR).is_dir() {
        return Err(PruneError::NoLog(log.to_owned()));
    }
    // Nobody compacts meanwhile.
    let dir = File::open(log).map_err(DiskError::at("open", log))?;
    dir.lock().map_err(DiskError::at("lock", log))?;
    let mut done = Pruned::default();
    for name in manifest::instances(log)? {
        let pruning = Pruning { log, options, instance: &name };
        if let Some(own) = own.as_mut().filter(|own| own.instance == name) {
            pruning.run_alone(Some(own), state_at, &mut done)?;
            continue;
        }
        let claim = {
            let _opening = instance::lock_log(log)?;
            Claim::take(log, &name)?
        };
        let Some(claim) = claim else {
            done.left.push((name, IS_RECORDING.to_owned()));
            continue;
        };
        let pruned = pruning.run_alone(None, state_at, &mut done);
        claim.end()?;
        pruned?;
    }
    Ok(done)
}

struct Pruning<'a> {
    log: &'a Path,
    options: &'a PruneOptions,
    instance: &'a str,
}

impl Pruning<'_> {
    /// An instance whose records aren't what they should be is left alone, and the others go on.
    fn run_alone(
        &self,
        own: Option<&mut Own<'_>>,
        state_at: &mut StateAt<'_>,
        done: &mut Pruned,
    ) -> Result<(), PruneError> {
        match self.run(own, state_at, done) {
            Err(error @ (PruneError::Changed { .. } | PruneError::State { .. } | PruneError::Read(_))) => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                done.left.push((self.instance.to_owned(), format!("{error}{}", source.unwrap_or_default())));
                Ok(())
            }
            done => done,
        }
    }

    fn run(&self, own: Option<&mut Own<'_>>, state_at: &mut StateAt<'_>, done: &mut Pruned) -> Result<(), PruneError> {
        let Some(manifest) = Manifest::load(self.log, self.instance)? else { return Ok(()) };
        let signer = self.options.signer.as_ref();
        let mut leave = |why: &str| {
            done.left.push((self.instance.to_owned(), why.to_owned()));
            Ok(())
        };
        if manifest.signature.is_some() && manifest.heir(signer).is_none() {
            return leave(if signer.is_some() {
                "it isn't signed with this key"
            } else {
                "it is signed, and there is no key"
            });
        }
        if own.is_none() && instance::segments(self.log)?.iter().any(|segment| segment.instance == self.instance) {
            return leave("its process died, and the log wasn't opened since");
        }
        let store = Store::local(self.log)?;
        let going = self.going(&store, &manifest)?;
        if let Some(last) = going.last() {
            let first_left = last.last_seq.saturating_add(1);
            let tree = match self.tree(&store, &manifest, going)? {
                Some(tree) if tree.size() == first_left => tree,
                _ => return leave("records are missing before the first that would be left"),
            };
            self.switch(going.len(), &tree, own, state_at)?;
            done.pruned.push((self.instance.to_owned(), first_left));
        }
        done.deleted.extend(delete_retired(
            self.log,
            self.instance,
            signer,
            self.options.grace_s,
            self.options.now_us,
        )?);
        Ok(())
    }

    /// The ranges whose events all happened before.
    fn going<'m>(&self, store: &Store, manifest: &'m Manifest) -> Result<&'m [SealedRange], PruneError> {
        let mut count = 0;
        for range in &manifest.ranges {
            let mut last = None;
            for file in &range.files {
                // Without a time nobody knows.
                last = last.max(Some(last_us(store, file)?.unwrap_or(i64::MAX)));
            }
            if last.is_none_or(|last| last >= self.options.before_us) {
                break;
            }
            count += 1;
        }
        // A range that only tells of the last pruning is no reason for another one.
        let (going, _) = manifest.ranges.split_at_checked(count).unwrap_or_default();
        let events: u64 = going.iter().map(|range| range.last_seq - range.first_seq + 1).sum();
        Ok(if manifest.pruned.is_some() && events == 1 { &[] } else { going })
    }

    /// The tree over all that goes, and what went before; none where records are missing.
    fn tree(&self, store: &Store, manifest: &Manifest, going: &[SealedRange]) -> Result<Option<Tree>, PruneError> {
        let mut tree = manifest.pruned_tree();
        for range in going {
            let mut alone = Manifest::new(self.instance);
            alone.ranges.push(range.clone());
            let mut own = Tree::default();
            for leaf in Leaves::new(store, &alone, Vec::new()) {
                let (seq, leaf) = leaf?;
                if seq != tree.size() {
                    return Ok(None);
                }
                tree.push(leaf);
                own.push(leaf);
            }
            if range.root.as_ref().is_some_and(|root| *root != disk::hex(&own.root())) {
                let instance = self.instance.to_owned();
                return Err(PruneError::Changed { instance, first_seq: range.first_seq, last_seq: range.last_seq });
            }
        }
        Ok(Some(tree))
    }

    /// Takes out the first `going` ranges, whose tree this is with what went before.
    fn switch(
        &self,
        going: usize,
        tree: &Tree,
        own: Option<&mut Own<'_>>,
        state_at: &mut StateAt<'_>,
    ) -> Result<(), PruneError> {
        let first_seq = tree.size();
        let before_us = self.options.before_us;
        let failed = |why| PruneError::State { instance: self.instance.to_owned(), seq: first_seq, why };
        let reader = Reader::open_one(self.log, self.instance)?;
        let snapshot = state_at(&reader, self.instance, first_seq).map_err(failed)?;
        let events = still_matter(reader.other_events()?, first_seq);
        drop(reader);
        if let Some(bytes) = &snapshot {
            disk::write_whole(&snapshot_path(self.log, self.instance, first_seq), self.instance, bytes)?;
        }
        let told = PrunedEvent { first_seq, before_us };
        let is_recording = own.is_some();
        let added = match own {
            Some(own) => (own.tell)(told).map(|()| None).map_err(|why| PruneError::Untold { why })?,
            None => self.sealed_event(told)?,
        };
        {
            let _opening = instance::lock_log(self.log)?;
            let _switching = manifest::lock(self.log)?;
            // Read anew: an instance that is recording may have sealed meanwhile, which only adds ranges.
            let Some(mut manifest) = Manifest::load(self.log, self.instance)? else { return Ok(()) };
            let heir = manifest.heir(self.options.signer.as_ref());
            let since_us = self.options.now_us;
            let gone = manifest.ranges.drain(..going.min(manifest.ranges.len())).flat_map(|range| range.files);
            let mut retired: Vec<RetiredFile> = gone.map(|file| RetiredFile { path: file.path, since_us }).collect();
            if let Some(old) = manifest.pruned.as_ref().filter(|old| old.snapshot_sha256.is_some()) {
                let path = format!("{SNAPSHOTS_DIR}/{}-{}", self.instance, old.first_seq);
                retired.push(RetiredFile { path, since_us });
            }
            let states = carry::states_before(self.log, self.instance, first_seq)?;
            retired.extend(states.into_iter().map(|path| RetiredFile { path, since_us }));
            manifest.retired.extend(retired);
            manifest.ranges.extend(added);
            manifest.pruned = Some(PrunedRange {
                first_seq,
                before_us,
                subtrees: tree.peaks().iter().map(|peak| disk::hex(peak)).collect(),
                snapshot_sha256: snapshot.as_deref().map(disk::sha256_of),
                events,
            });
            manifest.store(self.log, heir)?;
        }
        // One that is recording signs its own heads.
        if let Some(signer) = self.options.signer.as_ref().filter(|_| !is_recording) {
            let _numbering = instance::lock_log(self.log)?;
            if let Err(why) = verify::vouch(self.log, self.instance, signer)? {
                tracing::warn!(instance = self.instance, why, "no head covers the pruning");
            }
        }
        Ok(())
    }

    /// The event that tells of the pruning, sealed behind the instance's last one.
    fn sealed_event(&self, told: PrunedEvent) -> Result<Option<SealedRange>, PruneError> {
        let next_seq = Manifest::load(self.log, self.instance)?.map_or(0, |manifest| manifest.next_seq());
        let event = Event { seq: next_seq, ts_us: Some(self.options.now_us), body: Body::Pruned(told) };
        let record = event.to_bytes();
        Ok(seal::write_range(self.log, self.instance, event.seq, &[record.as_slice()])?)
    }
}

/// The events before `first_seq` that matter still; see [`PrunedRange::events`].
fn still_matter(events: Vec<(String, Event)>, first_seq: u64) -> Vec<String> {
    let (mut carried, mut frozen) = (Vec::new(), BTreeMap::new());
    for (_, event) in events.into_iter().filter(|(_, event)| event.seq < first_seq) {
        match &event.body {
            Body::Carried(_) => carried.push(event),
            Body::Frozen(word) => drop(frozen.insert(word.grant.clone(), event)),
            _ => {}
        }
    }
    carried.extend(frozen.into_values());
    carried.iter().map(|event| BASE64_STANDARD.encode(event.to_bytes())).collect()
}

/// Where the state before an event is kept.
pub(crate) fn snapshot_path(log: &Path, instance: &str, seq: u64) -> PathBuf {
    log.join(snapshot_within(instance, seq))
}

/// The same, as a path in the log.
pub(crate) fn snapshot_within(instance: &str, seq: u64) -> String {
    format!("{SNAPSHOTS_DIR}/{instance}-{seq}")
}

#[cfg(test)]
mod tests;
