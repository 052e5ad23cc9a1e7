//! What instances have counted, for those that carry it on.
//!
//! Counters live in the log: a process that begins takes up what those before it have counted, and an event
//! ([`Carried`]) says from whom. The state that goes on is kept beside it, `LOG/snapshots/<instance>-<n>.carried` for
//! event n, so that the instance can be replayed by itself; its SHA-256 is in the event. An instance that ends
//! cleanly leaves what it has counted by its last event, `LOG/snapshots/<instance>-<n>.left`, which saves its
//! successor a replay. Both are caches: a replay of the earlier instances gives the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use sha2::{Digest, Sha256};
use tollbook_engine::{Body, Carried, Event, Frozen};

use crate::disk::{self, DiskError};
use crate::manifest::Manifest;
use crate::prune::{SNAPSHOTS_DIR, snapshot_within};
use crate::reader::{ReadError, Reader};
use crate::writer::Log;

/// Held while a process takes up what others have left, so that no two take the same.
#[derive(Debug)]
pub struct Carrying {
    /// Locked for as long as it is open.
    _file: File,
}

impl Carrying {
    /// Waits until no other process takes up what was left in a log.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn begin(log: &Path) -> Result<Self, DiskError> {
        let dir = log.join(SNAPSHOTS_DIR);
        disk::create_dir(&dir)?;
        let file = File::open(&dir).map_err(DiskError::at("open", &dir))?;
        file.lock().map_err(DiskError::at("lock", &dir))?;
        Ok(Self { _file: file })
    }
}

/// What the instances of a log say that matters to the one that follows them.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// Grants whose calls an operator has stopped and nobody has let go on: the latest word on each, of
    /// whatever instance.
    pub frozen: BTreeSet<String>,
    /// What was carried on, each with the instance that did.
    pub carried: Vec<(String, Carried)>,
    /// Instances that have ended and whose calls this log's engines judged, by name.
    ended: Vec<String>,
}

impl Earlier {
    /// The instances whose counters of a server nobody has carried on.
    #[must_use]
    pub fn left_behind(&self, server: &str) -> Vec<&str> {
        let of_server = |carried: &Carried| carried.server.as_deref().is_none_or(|carried| carried == server);
        let taken: BTreeSet<&str> = self
            .carried
            .iter()
            .filter(|(_, carried)| of_server(carried))
            .flat_map(|(_, carried)| carried.from.iter().map(String::as_str))
            .collect();
        self.ended.iter().map(String::as_str).filter(|instance| !taken.contains(instance)).collect()
    }
}

impl Log {
    /// Keeps the state that goes on at this instance's event `seq`, which is to be a [`Carried`] with the SHA-256 that
    /// is returned. It is on stable storage then.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn keep_carried(&self, seq: u64, state: &[u8]) -> Result<[u8; 32], DiskError> {
        disk::write_whole(&self.dir().join(carried_within(self.instance(), seq)), self.instance(), state)?;
        Ok(Sha256::digest(state).into())
    }

    /// Leaves what was counted before event `next_seq`, which is never recorded, to the instance that carries it on.
    ///
    /// # Errors
    /// Where it can't be written; then a replay gives it.
    pub fn leave(&self, next_seq: u64, state: &[u8]) -> Result<(), DiskError> {
        disk::write_whole(&self.dir().join(left_within(self.instance(), next_seq)), self.instance(), state)
    }
}

impl Reader {
    /// What the instances say that matters to the one that follows them.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub fn earlier(&self) -> Result<Earlier, ReadError> {
        let mut said = self.other_events()?;
        said.sort_by_key(|(_, event)| event.ts_us);
        let mut earlier = Earlier::default();
        for (instance, Event { body, .. }) in said {
            match body {
                Body::Frozen(Frozen { grant, frozen: true, .. }) => drop(earlier.frozen.insert(grant)),
                Body::Frozen(Frozen { grant, .. }) => drop(earlier.frozen.remove(&grant)),
                Body::Carried(carried) => earlier.carried.push((instance, carried)),
                _ => {}
            }
        }
        for Manifest { instance, imported, .. } in self.manifests() {
            if imported.is_none() && !self.is_recording(instance)? {
                earlier.ended.push(instance.clone());
            }
        }
        Ok(earlier)
    }

    /// The state that an instance carries on at its event `seq`; none where its file has gone.
    ///
    /// # Errors
    /// Where it can't be read, or isn't as it was.
    pub fn carried(&self, instance: &str, seq: u64, carried: &Carried) -> Result<Option<Vec<u8>>, ReadError> {
        let (store, within) = (self.store_of(instance)?, carried_within(instance, seq));
        match store.read(&within)? {
            Some(bytes) if disk::sha256_of(&bytes) != disk::hex(&carried.sha256) => {
                let (path, what) = (store.shown().join(within), "its SHA-256 isn't that of the event".to_owned());
                Err(ReadError::DamagedFile { path, what })
            }
            read => Ok(read.map(Vec::from)),
        }
    }

    /// What an instance has left of what it counted, if it ended cleanly. It is a cache, and may be damaged.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn left(&self, instance: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.store_of(instance)?.read(&left_within(instance, self.next_seq(instance)?))?.map(Vec::from))
    }
}

/// Where the state lies in a log that event `seq` of an instance carries on.
fn carried_within(instance: &str, seq: u64) -> String {
    format!("{}.carried", snapshot_within(instance, seq))
}

/// Where that lies which an instance had counted when it ended, its next event being `next_seq`.
fn left_within(instance: &str, next_seq: u64) -> String {
    format!("{}.left", snapshot_within(instance, next_seq))
}

/// The states of an instance that nobody asks for once its events before `first_seq` are gone, as paths in the log:
/// what they carried on, and what was left before the event that tells of it.
pub(crate) fn states_before(log: &Path, instance: &str, first_seq: u64) -> Result<Vec<String>, DiskError> {
    let is_gone = |name: &str| {
        let state = name.strip_prefix(instance).and_then(|rest| rest.strip_prefix('-')?.split_once('.'));
        state.is_some_and(|(seq, what)| what == "left" || seq.parse().is_ok_and(|seq: u64| seq < first_seq))
    };
    let names = disk::names(&log.join(SNAPSHOTS_DIR))?;
    Ok(names.iter().filter(|name| is_gone(name)).map(|name| format!("{SNAPSHOTS_DIR}/{name}")).collect())
}

#[cfg(test)]
mod tests;
