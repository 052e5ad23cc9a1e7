//! What is sealed: one manifest for each instance, `LOG/manifests/<instance>.json`.
//!
//! A sealed file counts because the manifest names it, not because it is there. So the manifest's
//! rename is the one instant at which records pass from the open segment to Parquet: a reader takes
//! the manifest's files and, of the open segments, what lies beyond the manifest's last sequence
//! number. Whatever the crash, nothing is counted twice and nothing is lost.
//!
//! Where the log has a key, the manifest carries its own signature: so it is signed at the very instant
//! at which it counts, and no crash can leave one that isn't. Each file's SHA-256 is in it.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tollbook_engine::{Event, PolicyHash};

use crate::checkpoint::Head;
use crate::disk::{self, DiskError};
use crate::key::{PublicKey, Signer};
use crate::note;
use crate::schema::Kind;
use crate::tree::Tree;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Directory of the manifests.
pub(crate) const DIR: &str = "manifests";

/// The sealed records of one instance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Format of the manifest.
    pub format: u32,
    /// The process that recorded.
    pub instance: String,
    /// Where the records come from another log: from which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// What was taken out at the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PrunedRange>,
    /// The sealed ranges, in order of sequence.
    pub ranges: Vec<SealedRange>,
    /// Files that compaction replaced and that readers at work may still hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredFile>,
    /// A signed note over the SHA-256 of all the above, in the name of `tollbook/<instance>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What was taken out at the front of an instance, and what is needed of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PrunedRange {
    /// The first event that is left; all before it were taken out.
    pub first_seq: u64,
    /// All of them happened before this instant, in microseconds since 1970.
    pub before_us: i64,
    /// Roots of the whole subtrees over them, hexadecimal, the largest first: one for each bit of their number.
    pub subtrees: Vec<String>,
    /// SHA-256 of the engine's state before the first event that is left, hexadecimal; none where nobody
    /// replays the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_sha256: Option<String>,
    /// Canonical bytes, in base64, of those of them that matter still: from whom counters were carried on, and the
    /// latest word on each grant that an operator has stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// A file that compaction or pruning took out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RetiredFile {
    /// Path within the log directory, with `/` between its parts.
    pub path: String,
    /// When it was replaced, in microseconds since 1970.
    pub since_us: i64,
}

/// A range of sequence numbers and the files that hold its records.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SealedRange {
    /// First sequence number.
    pub first_seq: u64,
    /// Last sequence number. A gap before the next range was lost with a damaged segment.
    pub last_seq: u64,
    /// Root of the Merkle tree over the range's own records, hexadecimal; none in logs of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The files.
    pub files: Vec<SealedFile>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SealedFile {
    /// The table whose rows it holds.
    pub kind: Kind,
    /// Path within the log directory, with `/` between its parts.
    pub path: String,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// The file that an import read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// SHA-256 of the file as it came, hexadecimal.
    pub sha256: String,
    /// The format that it was read as.
    pub format: String,
    /// Its name, without directories.
    pub name: String,
    /// The grant that its calls were given.
    pub grant: String,
    /// Calls that were taken in.
    pub calls: u64,
    /// Calls among them without a time.
    pub calls_without_time: u64,
    /// Outcomes that were taken in.
    pub outcomes: u64,
    /// Conversations.
    pub sessions: u64,
    /// Lines that couldn't be read.
    pub rejected: u64,
}

/// Why a manifest can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It isn't a manifest.
    #[error("`{}` isn't a manifest", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a newer version.
    #[error("`{}` has format {found}; this version reads formats up to {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format that it states.
        found: u32,
    },
    /// It says something that can't be so.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What can't be so.
        what: String,
    },
}

#[derive(serde::Deserialize)]
struct Versioned {
    format: u32,
}

impl Manifest {
    /// A manifest that names nothing.
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self {
            format: FORMAT,
            instance: instance.to_owned(),
            imported: None,
            pruned: None,
            ranges: Vec::new(),
            retired: Vec::new(),
            signature: None,
        }
    }

    /// The sequence number after the last sealed one.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.ranges.last().map_or(self.first_seq(), |range| range.last_seq.saturating_add(1))
    }

    /// The first sequence number that is left: 0, unless older ones were taken out.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.pruned.as_ref().map_or(0, |pruned| pruned.first_seq)
    }

    /// The tree over what was taken out.
    pub(crate) fn pruned_tree(&self) -> Tree {
        self.pruned.as_ref().and_then(PrunedRange::tree).unwrap_or_default()
    }

    /// The files of all ranges.
    pub fn files(&self) -> impl Iterator<Item = &SealedFile> {
        self.ranges.iter().flat_map(|range| &range.files)
    }

    /// Reads the manifest of an instance; none where it has sealed nothing.
    pub(crate) fn load(log: &Path, instance: &str) -> Result<Option<Self>, ManifestError> {
        let path = path(log, instance);
        let bytes = disk::read_if_there(&path)?;
        bytes.map(|bytes| Self::read(path, &bytes, instance)).transpose()
    }

    /// Reads the manifest of an instance from the bytes of its file.
    pub(crate) fn read(path: PathBuf, bytes: &[u8], instance: &str) -> Result<Self, ManifestError> {
        let malformed = |source| ManifestError::Malformed { path: path.clone(), source };
        let Versioned { format } = serde_json::from_slice(bytes).map_err(malformed)?;
        if format > FORMAT {
            return Err(ManifestError::Newer { path, found: format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        match manifest.fault(instance) {
            Some(what) => Err(ManifestError::Damaged { path, what }),
            None => Ok(manifest),
        }
    }

    /// Switches the manifest in, signed anew where there is a signer.
    pub(crate) fn store(&mut self, log: &Path, signer: Option<&Signer>) -> Result<(), ManifestError> {
        let path = path(log, &self.instance);
        let malformed = |source| ManifestError::Malformed { path: path.clone(), source };
        self.signature = None;
        if let Some(signer) = signer {
            let name = Head::origin(&self.instance);
            self.signature = Some(note::sign(&self.statement().map_err(malformed)?, &name, signer));
        }
        Ok(disk::write_whole(&path, &self.instance, &self.rendered().map_err(malformed)?)?)
    }

    /// Whether one of these keys signed the manifest as it stands.
    #[must_use]
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let opened = |note| note::open(note, &Head::origin(&self.instance), keys);
        let stated = self.signature.as_deref().and_then(opened);
        stated.is_some_and(|text| self.statement().is_ok_and(|statement| statement == text))
    }

    /// The signer that may sign what follows this manifest: it vouches only for what it had signed itself.
    pub(crate) fn heir<'a>(&self, signer: Option<&'a Signer>) -> Option<&'a Signer> {
        signer
            .filter(|signer| (self.ranges.is_empty() && self.pruned.is_none()) || self.is_signed_by(&[signer.public()]))
    }

    /// What is signed: the name of the statement, and the SHA-256 of everything but the signature.
    fn statement(&self) -> Result<String, serde_json::Error> {
        let unsigned = Self { signature: None, ..self.clone() };
        let sum = disk::hex(&Sha256::digest(serde_json::to_vec(&unsigned)?));
        Ok(format!("tollbook/{}/manifest\n{sum}\n", self.instance))
    }

    /// Whether these bytes are this manifest as it is written, or another manifest altogether.
    pub(crate) fn is_written(&self, bytes: &[u8]) -> bool {
        let same = serde_json::from_slice::<Self>(bytes).is_ok_and(|read| read == *self);
        !same || self.rendered().is_ok_and(|rendered| rendered == bytes)
    }

    /// The bytes of the manifest's file.
    pub(crate) fn rendered(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// A manifest is a file that anybody may have touched: it mustn't lead a reader out of the log.
    fn fault(&self, instance: &str) -> Option<String> {
        if self.instance != instance {
            return Some(format!("it is of the instance `{}`", self.instance));
        }
        let paths = self.files().map(|file| &file.path).chain(self.retired.iter().map(|file| &file.path));
        if let Some(path) = paths.into_iter().find(|path| !stays_inside(path)) {
            return Some(format!("the path `{path}` leads out of the log"));
        }
        if self.pruned.as_ref().is_some_and(|pruned| pruned.tree().is_none()) {
            return Some("what it says of older events isn't a tree".to_owned());
        }
        if self.pruned.as_ref().is_some_and(|pruned| pruned.events().is_none()) {
            return Some("what it keeps of older events isn't events".to_owned());
        }
        let mut next = self.first_seq();
        for range in &self.ranges {
            if range.first_seq < next || range.last_seq < range.first_seq || range.last_seq == u64::MAX {
                return Some(format!("the range {} to {} is out of order", range.first_seq, range.last_seq));
            }
            next = range.last_seq + 1;
        }
        None
    }
}

impl PrunedRange {
    /// Those events that matter still; none where one of them isn't an event.
    pub(crate) fn events(&self) -> Option<Vec<Event>> {
        let event = |text: &String| Event::from_bytes(&BASE64_STANDARD.decode(text).ok()?).ok();
        self.events.iter().map(event).collect()
    }

    /// The tree over what was taken out; none where these aren't its subtrees.
    fn tree(&self) -> Option<Tree> {
        let subtrees = self.subtrees.iter().map(|root| PolicyHash::from_hex(root).map(|PolicyHash(root)| root));
        Tree::from_peaks(self.first_seq, subtrees.collect::<Option<_>>()?)
    }
}

pub(crate) fn path(log: &Path, instance: &str) -> PathBuf {
    log.join(within(instance))
}

/// Where the manifest of an instance lies in a log.
pub(crate) fn within(instance: &str) -> String {
    format!("{DIR}/{instance}.json")
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Waits until nobody else is about to switch a manifest: a process seals while another compacts. Given up
/// when it is dropped.
pub(crate) fn lock(log: &Path) -> Result<File, DiskError> {
    let dir = log.join(DIR);
    disk::create_dir(&dir)?;
    let file = File::open(&dir).map_err(DiskError::at("open", &dir))?;
    file.lock().map_err(DiskError::at("lock", &dir))?;
    Ok(file)
}

/// Instances that have a manifest, sorted.
pub(crate) fn instances(log: &Path) -> Result<Vec<String>, DiskError> {
    Ok(disk::names(&log.join(DIR))?.iter().filter_map(|name| instance_of(name)).map(str::to_owned).collect())
}

/// The instance whose manifest a file of this name is.
pub(crate) fn instance_of(name: &str) -> Option<&str> {
    name.strip_suffix(".json")
}

#[cfg(test)]
mod tests;
