//! Tree heads: what an instance had recorded, signed (c2sp.org/tlog-checkpoint).
//!
//! ```text
//! tollbook/<instance>        the origin
//! 1500                       records: the tree's size
//! 3ZkP…=                     the tree's root
//! instance 4                 the instance's number in its log directory
//! ```
//!
//! `LOG/checkpoints/<instance>` is the last head, replaced as a whole: older ones add nothing, because
//! the records give the root of any earlier size too. A head covers only what was synced before, so
//! that no crash can leave a head without its records. Instances are numbered from 1, so that one
//! which was removed with all its files leaves a hole, unless it was the last: like a tail that was
//! cut off together with its head, that shows only against a head that was kept elsewhere.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::disk::{self, DiskError};
use crate::key::{PublicKey, Signer};
use crate::note;
use crate::tree::{Hash, Tree};

/// Directory of the heads.
pub(crate) const DIR: &str = "checkpoints";

/// What an instance had recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The process that recorded.
    pub instance: String,
    /// Its number among the instances of its log directory, from 1.
    pub number: u64,
    /// Events that are covered: those with smaller sequence numbers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: [u8; 32],
}

impl Head {
    /// The name in which heads of an instance are signed.
    #[must_use]
    pub fn origin(instance: &str) -> String {
        format!("tollbook/{instance}")
    }

    /// Reads a head whose signature one of these keys made; none where it isn't one.
    #[must_use]
    pub fn open(note: &str, keys: &[PublicKey]) -> Option<Self> {
        let head = Self::peek(note)?;
        note::open(note, &Self::origin(&head.instance), keys).map(|_| head)
    }

    /// Reads a head without a look at its signature.
    pub(crate) fn peek(note: &str) -> Option<Self> {
        let (text, _) = note::split(note)?;
        let mut lines = text.lines();
        let instance =
            lines.next()?.strip_prefix("tollbook/").filter(|name| !name.is_empty() && !name.contains('/'))?;
        let size = lines.next()?.parse().ok()?;
        let root: Hash = BASE64_STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let number = lines.next()?.strip_prefix("instance ")?.parse().ok()?;
        let head = Self { instance: instance.to_owned(), number, size, root };
        (head.text() == text).then_some(head)
    }

    pub(crate) fn of(tree: &Tree, instance: &str, number: u64) -> Self {
        Self { instance: instance.to_owned(), number, size: tree.size(), root: tree.root() }
    }

    /// Switches this head in.
    pub(crate) fn store(&self, log: &Path, signer: &Signer) -> Result<(), DiskError> {
        let note = note::sign(&self.text(), &Self::origin(&self.instance), signer);
        disk::write_whole(&path(log, &self.instance), &self.instance, note.as_bytes())
    }

    fn text(&self) -> String {
        let Self { instance, number, size, root } = self;
        format!("{}\n{size}\n{}\ninstance {number}\n", Self::origin(instance), BASE64_STANDARD.encode(root))
    }
}

/// The note of an instance's last head; none where it has none. What isn't text comes back as none of a
/// head's.
pub(crate) fn load(log: &Path, instance: &str) -> Result<Option<String>, DiskError> {
    let path = path(log, instance);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = disk::read_small(&path, note::NOTE_BYTES_MAX)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Instances that have a head, sorted.
pub(crate) fn instances(log: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = disk::names(&log.join(DIR))?;
    names.retain(|name| disk::writer_of(name).is_none());
    Ok(names)
}

/// The number of the next instance. The log's lock must be held.
pub(crate) fn next_number(log: &Path) -> Result<u64, DiskError> {
    let mut last = 0;
    for instance in instances(log)? {
        let head = load(log, &instance)?.and_then(|note| Head::peek(&note));
        last = last.max(head.map_or(0, |head| head.number));
    }
    Ok(last.saturating_add(1))
}

pub(crate) fn path(log: &Path, instance: &str) -> PathBuf {
    log.join(DIR).join(instance)
}
