//! A proof that one record is in a log, for somebody who has neither the log nor our trust.
//!
//! ```json
//! {
//!   "format": 1,
//!   "seq": 7,
//!   "record": "the canonical bytes, base64",
//!   "path": ["the hashes from the record's leaf to the root, nearest first, base64"],
//!   "checkpoint": "the signed head"
//! }
//! ```
//!
//! It is checked with the public key alone: the head's signature, then the path from the record to the
//! head's root, then that the record says of itself the place that was proven.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tollbook_engine::Event;

use crate::checkpoint::{self, Head};
use crate::disk::DiskError;
use crate::key::PublicKey;
use crate::manifest::Manifest;
use crate::reader::{ReadError, Reader};
use crate::tree::{self, Hash};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A proof that a record is in a log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Format of the proof.
    pub format: u32,
    /// The record's place.
    pub seq: u64,
    /// The record's canonical bytes, in base64.
    pub record: String,
    /// The hashes from the record to the root, nearest first, in base64.
    pub path: Vec<String>,
    /// The signed head whose root it is.
    pub checkpoint: String,
}

/// Why a record can't be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log has several instances, and none was named.
    #[error("the log has {} instances, so the event's must be named: {}", .0.len(), .0.join(", "))]
    WhichInstance(Vec<String>),
    /// No head was signed.
    #[error("`{0}` has no signed head")]
    NoHead(String),
    /// The head doesn't cover the event.
    #[error("event {seq} isn't covered: the last head of `{instance}` covers {size} events")]
    NotCovered {
        /// The process that recorded.
        instance: String,
        /// The event.
        seq: u64,
        /// Events that are covered.
        size: u64,
    },
    /// The event was taken out of the log.
    #[error("event {seq} was pruned: the first event of `{instance}` that is left is {first_seq}")]
    Pruned {
        /// The process that recorded.
        instance: String,
        /// The event.
        seq: u64,
        /// The first that is left.
        first_seq: u64,
    },
    /// The records aren't those that were signed.
    #[error("the records of `{0}` don't lead to its last head; `tollbook log verify` says where they differ")]
    Tampered(String),
    /// It isn't a log's directory.
    #[error("there are no heads in `{}`", .0.display())]
    NoHeads(PathBuf),
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// It was written by a newer version.
    #[error("the proof has format {0}; this version reads formats up to {FORMAT}")]
    Newer(u32),
    /// The head isn't one that this key signed.
    #[error("the head isn't signed with this key")]
    Signature,
    /// A part of it isn't what it should be.
    #[error("the proof's `{0}` isn't what it should be")]
    Malformed(&'static str),
    /// The path doesn't lead to the root.
    #[error("event {seq} as it stands here isn't in the log that the head was signed for")]
    NotIncluded {
        /// The event.
        seq: u64,
    },
    /// The record is of another place.
    #[error("the record says that it is event {found}, and the proof is for {expected}")]
    WrongPlace {
        /// What the record says.
        found: u64,
        /// What was proven.
        expected: u64,
    },
}

/// Proves a record by the last head of its instance, which may be left out where there is but one.
///
/// # Errors
/// Where no head covers the record, or the records don't lead to the head.
pub fn prove(log: &Path, instance: Option<&str>, seq: u64) -> Result<Proof, ProveError> {
    let instance = match instance {
        Some(name) => name.to_owned(),
        None => {
            let mut names = checkpoint::instances(log)?;
            match (names.pop(), names.is_empty()) {
                (Some(only), true) => only,
                (None, _) => return Err(ProveError::NoHeads(log.to_owned())),
                (Some(last), false) => {
                    names.push(last);
                    return Err(ProveError::WhichInstance(names));
                }
            }
        }
    };
    let note = checkpoint::load(log, &instance)?.ok_or_else(|| ProveError::NoHead(instance.clone()))?;
    let head = Head::peek(&note).ok_or_else(|| ProveError::NoHead(instance.clone()))?;
    if seq >= head.size {
        return Err(ProveError::NotCovered { instance, seq, size: head.size });
    }
    let reader = Reader::open_one(log, &instance)?;
    let before = reader.manifests().next().map(Manifest::pruned_tree).unwrap_or_default();
    if seq < before.size() {
        return Err(ProveError::Pruned { instance, seq, first_seq: before.size() });
    }
    let mut record = None;
    let events = reader.events(&instance)?;
    let mut leaves = events.map(|event| {
        let event = event?;
        let bytes = event.to_bytes();
        let leaf = tree::leaf(&bytes);
        if event.seq == seq {
            record = Some(bytes);
        }
        Ok::<Hash, ReadError>(leaf)
    });
    let proven = tree::inclusion(&before, &mut leaves, seq, head.size)?;
    drop(leaves);
    match (proven, record) {
        (Some((path, root)), Some(record)) if root == head.root => Ok(Proof {
            format: FORMAT,
            seq,
            record: BASE64_STANDARD.encode(record),
            path: path.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
            checkpoint: note,
        }),
        _ => Err(ProveError::Tampered(instance)),
    }
}

impl Proof {
    /// Checks the proof, and gives the record and the head that it was proven by.
    ///
    /// # Errors
    /// Where it proves nothing.
    pub fn check(&self, keys: &[PublicKey]) -> Result<(Event, Head), ProofFault> {
        if self.format > FORMAT {
            return Err(ProofFault::Newer(self.format));
        }
        let head = Head::open(&self.checkpoint, keys).ok_or(ProofFault::Signature)?;
        let record = BASE64_STANDARD.decode(&self.record).map_err(|_| ProofFault::Malformed("record"))?;
        let path =
            self.path.iter().take(tree::PATH_MAX + 1).map(|hash| BASE64_STANDARD.decode(hash).ok()?.try_into().ok());
        let path: Vec<Hash> = path.collect::<Option<_>>().ok_or(ProofFault::Malformed("path"))?;
        let root = tree::root_from_path(tree::leaf(&record), self.seq, head.size, &path);
        if root != Some(head.root) {
            return Err(ProofFault::NotIncluded { seq: self.seq });
        }
        let event = Event::from_bytes(&record).map_err(|_| ProofFault::Malformed("record"))?;
        if event.seq == self.seq {
            Ok((event, head))
        } else {
            Err(ProofFault::WrongPlace { found: event.seq, expected: self.seq })
        }
    }
}

#[cfg(test)]
mod tests;
