//! Every policy that ever judged a call, `LOG/policies/<hash>.json`.
//!
//! A policy's name is the SHA-256 of its bytes, so it is written once, never changes, and is checked
//! each time that it is read: a replay under another policy than the one that judged would be a lie.

use std::path::Path;

use tollbook_engine::PolicyHash;

use crate::disk::{self, DiskError};
use crate::store::Store;

/// Why a policy can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log doesn't hold it.
    #[error("the log holds no policy {0}")]
    Missing(PolicyHash),
    /// The text isn't the one that the hash names.
    #[error("the policy {expected} is damaged: its SHA-256 is {found}")]
    Damaged {
        /// The hash that names it.
        expected: PolicyHash,
        /// The hash of the text that is there.
        found: PolicyHash,
    },
    /// It isn't text.
    #[error("the policy {0} isn't UTF-8")]
    NotText(PolicyHash),
}

/// Keeps a policy. Once this returns, it is on stable storage.
///
/// # Errors
/// Where the text isn't what the hash names, or can't be written.
pub(crate) fn store(log: &Path, instance: &str, hash: PolicyHash, json: &str) -> Result<(), PolicyError> {
    check(hash, json)?;
    let path = log.join(within(hash));
    let kept = disk::read_if_there(&path)?;
    if kept.is_some_and(|kept| kept == json.as_bytes()) {
        return Ok(());
    }
    Ok(disk::write_whole(&path, instance, json.as_bytes())?)
}

/// Reads a policy and checks it.
pub(crate) fn read(log: &Store, hash: PolicyHash) -> Result<String, PolicyError> {
    let bytes = log.read(&within(hash))?.ok_or(PolicyError::Missing(hash))?;
    let json = String::from_utf8(bytes.into()).map_err(|_| PolicyError::NotText(hash))?;
    check(hash, &json)?;
    Ok(json)
}

fn check(expected: PolicyHash, json: &str) -> Result<(), PolicyError> {
    let found = tollbook_engine::policy_hash(json);
    if found == expected { Ok(()) } else { Err(PolicyError::Damaged { expected, found }) }
}

/// Where a policy lies in a log.
fn within(hash: PolicyHash) -> String {
    format!("policies/{hash}.json")
}
