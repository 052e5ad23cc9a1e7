//! Signed heads of the log that this process writes.
//!
//! Each record is hashed as it is appended, so that what is signed is what was appended, whatever
//! becomes of the file. The syncing thread writes a head when a segment is whole and within
//! [`super::Options::head_within_s`] of an event, over what was synced and nothing more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::{Options, Shared, State};
use crate::checkpoint::{self, Head};
use crate::disk::DiskError;
use crate::key::Signer;
use crate::tree::{Hash, Tree};

/// The tree as it grows, and how much of it is signed.
pub(super) struct Heads {
    dir: PathBuf,
    instance: String,
    signer: Arc<Signer>,
    number: u64,
    /// Over all records that were appended.
    pub appended: Tree,
    /// Over those that are on stable storage.
    pub synced: Tree,
    /// Records that the last head covers.
    signed: u64,
    within: Duration,
    /// When a head was last written, or failed to be.
    last: Instant,
    /// A segment is whole: a head is due now.
    pub wanted: bool,
    pub failure: Option<String>,
}

impl Heads {
    /// Begins with the head over nothing, which tells that there is such an instance. The log's lock must be
    /// held.
    pub fn begin(log: &Path, instance: &str, options: &Options) -> Result<Option<Self>, DiskError> {
        let Some(signer) = options.signer.clone() else { return Ok(None) };
        let number = checkpoint::next_number(log)?;
        Head::of(&Tree::default(), instance, number).store(log, &signer)?;
        Ok(Some(Self {
            dir: log.to_owned(),
            instance: instance.to_owned(),
            signer,
            number,
            appended: Tree::default(),
            synced: Tree::default(),
            signed: 0,
            within: Duration::from_secs(options.head_within_s),
            last: Instant::now(),
            wanted: false,
            failure: None,
        }))
    }

    pub fn push(&mut self, leaf: Hash) {
        self.appended.push(leaf);
    }

    pub fn synced_to(&mut self, tree: Tree) {
        // A full segment may have been synced meanwhile.
        if tree.size() > self.synced.size() {
            self.synced = tree;
        }
    }

    /// How long until a head is due; none while nothing new is synced.
    pub fn due_in(&self) -> Option<Duration> {
        if self.synced.size() == self.signed {
            return None;
        }
        Some(if self.wanted { Duration::ZERO } else { self.within.saturating_sub(self.last.elapsed()) })
    }
}

impl Shared {
    /// Writes a head over what is synced. Appending goes on meanwhile.
    pub(super) fn head_due<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(heads) = &mut state.heads else { return state };
        heads.wanted = false;
        heads.last = Instant::now();
        drop(state);
        // Why it couldn't be is kept, and it is tried again.
        let written = self.write_head();
        let mut state = self.lock();
        if let Some(heads) = &mut state.heads {
            heads.failure = written.err().map(|error| {
                tracing::warn!(%error, cause = %error.source, "cannot write a head");
                format!("{error}: {}", error.source)
            });
        }
        state
    }

    /// Writes a head over what is synced, if it isn't covered yet.
    pub(super) fn write_head(&self) -> Result<(), DiskError> {
        let (dir, signer, head) = {
            let state = self.lock();
            let Some(heads) = state.heads.as_ref().filter(|heads| heads.synced.size() > heads.signed) else {
                return Ok(());
            };
            let head = Head::of(&heads.synced, &heads.instance, heads.number);
            (heads.dir.clone(), Arc::clone(&heads.signer), head)
        };
        head.store(&dir, &signer)?;
        if let Some(heads) = &mut self.lock().heads {
            heads.signed = heads.signed.max(head.size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
