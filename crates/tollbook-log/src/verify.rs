//! Whether a log is as it was when it was signed.
//!
//! For each instance, three things are held against each other: the records, made again from Parquet
//! and from the open segment as the very bytes that were hashed; the last signed head; and the signed
//! manifest with the SHA-256 of each sealed file. A fault says that something was changed. What
//! can't be told apart from a change that nobody made, such as a log without a signature, is *not
//! checked*, which is a different answer and never passes for "intact".
//!
//! What verification can't see by itself: a tail that was cut off together with its head, and the
//! last instance removed with all its files. A head that was kept elsewhere shows both. Nothing here
//! changes the log, so that it can be run on one that is being written, or on a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tollbook_engine::{Body, PolicyHash};

use crate::checkpoint::{self, Head};
use crate::disk::{self, DiskError};
use crate::instance;
use crate::key::{PublicKey, Signer};
use crate::manifest::{self, Manifest, ManifestError, SealedRange};
use crate::note;
use crate::policies;
use crate::reader::{ReadError, Reader};
use crate::recovery;
use crate::store::Store;
use crate::tree::{Hash, Tree};

/// What a log is held against.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Keys whose signatures count. Without one, no signature can be checked.
    pub keys: Vec<PublicKey>,
    /// Heads that were kept elsewhere.
    pub heads: Vec<Head>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// By name.
    pub instances: Vec<VerifiedInstance>,
    /// What isn't as it was signed, the first of each instance first.
    pub faults: Vec<Fault>,
    /// What couldn't be checked.
    pub unchecked: Vec<String>,
}

/// An instance, as far as it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedInstance {
    /// The process that recorded.
    pub instance: String,
    /// Events up to the last that could be read, those that were pruned among them.
    pub events: u64,
    /// The first event that is left: those before it were pruned.
    pub first_seq: u64,
    /// Sealed files whose bytes were checked.
    pub files: u64,
    /// The last head, its signature right.
    pub head: Option<Head>,
}

impl VerifiedInstance {
    /// Events after the last head, which nothing vouches for yet.
    #[must_use]
    pub fn not_covered(&self) -> u64 {
        self.events.saturating_sub(self.head.as_ref().map_or(0, |head| head.size))
    }
}

/// Something that isn't as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The instance, where it is one's.
    pub instance: Option<String>,
    /// The sequence number at which it begins, where it is known.
    pub seq: Option<u64>,
    /// The file, where it is known.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(instance) = &self.instance {
            write!(f, "{instance}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// The answer in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it was signed.
    Intact,
    /// Something isn't.
    Tampered,
    /// Nothing was found, but not everything could be checked.
    Unchecked,
}

impl Verified {
    /// The answer in a word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.faults.is_empty() {
            Verdict::Tampered
        } else if !self.unchecked.is_empty() {
            Verdict::Unchecked
        } else {
            Verdict::Intact
        }
    }
}

/// Holds a log against its signatures.
///
/// # Errors
/// Where there is no log, or its file system refuses. Whatever is wrong with the log itself is told in
/// the answer.
pub fn verify(log: &Path, evidence: &Evidence) -> Result<Verified, ReadError> {
    // The heads before the records, so that a log that is being written is never behind its heads.
    let notes = notes(log)?;
    let mut names: BTreeSet<String> = manifest::instances(log)?.into_iter().chain(notes.keys().cloned()).collect();
    names.extend(instance::segments(log)?.into_iter().map(|segment| segment.instance));
    if names.is_empty() && !log.join(instance::OPEN_DIR).is_dir() {
        return Err(ReadError::NoLog(log.to_owned()));
    }
    let mut verified = Verified::default();
    for head in evidence.heads.iter().filter(|head| !names.contains(&head.instance)) {
        let what = format!("all of it is missing; a head says that it had {} events", head.size);
        verified.faults.push(Fault { instance: Some(head.instance.clone()), seq: None, path: None, what });
    }
    for instance in &names {
        let note = notes.get(instance).map(String::as_str);
        Check { log, evidence, instance, verified: &mut verified }.run(note)?;
    }
    verified.check_numbers(evidence);
    verified.check_policies(log)?;
    verified.check_strays(log)?;
    Ok(verified)
}

/// Signs the head over all that an instance recorded, if that follows from the last head, or from a signed
/// manifest where there is none yet. Says what doesn't fit otherwise. The log's lock must be held, and
/// the instance's.
pub(crate) fn vouch(log: &Path, instance: &str, signer: &Signer) -> Result<Result<(), String>, DiskError> {
    let keys = [signer.public()];
    let note = checkpoint::load(log, instance)?;
    let last = note.as_deref().map(|note| Head::open(note, &keys));
    let number = match &last {
        Some(Some(head)) => head.number,
        Some(None) => return Ok(Err("its last head isn't signed with this key".to_owned())),
        None => match Manifest::load(log, instance) {
            Ok(Some(manifest)) if manifest.is_signed_by(&keys) => checkpoint::next_number(log)?,
            _ => return Ok(Ok(())),
        },
    };
    let last = last.flatten();
    let walked = Reader::open_one(log, instance).map_err(|error| error.to_string()).and_then(|reader| {
        let mut walk = Walk::new(last.iter(), reader.manifests().next());
        // One that never got as far as a segment recorded nothing.
        if reader.instances().next().is_some() {
            walk.all(&reader, instance).map_err(|fault| fault.what)?;
        }
        walk.end().map_or(Ok(walk.tree), |fault| Err(fault.what))
    });
    match walked {
        Ok(tree) if last.is_none_or(|head| head.size < tree.size()) => {
            Head::of(&tree, instance, number).store(log, signer)?;
            Ok(Ok(()))
        }
        Ok(_) => Ok(Ok(())),
        Err(why) => Ok(Err(why)),
    }
}

fn notes(log: &Path) -> Result<BTreeMap<String, String>, DiskError> {
    let mut notes = BTreeMap::new();
    for instance in checkpoint::instances(log)? {
        if let Some(note) = checkpoint::load(log, &instance)? {
            notes.insert(instance, note);
        }
    }
    Ok(notes)
}

/// The check of one instance.
struct Check<'a> {
    log: &'a Path,
    evidence: &'a Evidence,
    instance: &'a str,
    verified: &'a mut Verified,
}

impl Check<'_> {
    fn run(mut self, note: Option<&str>) -> Result<(), DiskError> {
        let head = self.head(note);
        let reader = match Reader::open_one(self.log, self.instance) {
            Ok(reader) => Some(reader),
            Err(ReadError::Manifest(error @ ManifestError::Newer { .. })) => {
                self.unchecked(&error.to_string());
                None
            }
            Err(error) => {
                self.fault(fault_of(&error));
                None
            }
        };
        let manifest = reader.as_ref().and_then(|reader| reader.manifests().next());
        let (mut files, mut whole) = (0, reader.is_some());
        if let Some(manifest) = manifest.filter(|manifest| !manifest.ranges.is_empty()) {
            self.manifest(manifest)?;
            files = self.files(manifest);
            whole = files == manifest.files().count() as u64;
        }
        let kept = self.evidence.heads.iter().filter(|head| head.instance == self.instance);
        let mut walk = Walk::new(head.iter().chain(kept), manifest);
        for size in std::mem::take(&mut walk.passed) {
            self.unchecked(&format!("a head of {size} events lies within what was pruned"));
        }
        // Of files that aren't as they were written, the records say nothing more.
        if whole {
            let reader = reader.as_ref().filter(|reader| reader.instances().next().is_some());
            let walked = reader.map_or(Ok(()), |reader| walk.all(reader, self.instance));
            walked.err().or_else(|| walk.end()).into_iter().for_each(|fault| self.fault(fault));
        }
        let (instance, events) = (self.instance.to_owned(), walk.tree.size());
        let first_seq = manifest.map_or(0, Manifest::first_seq);
        self.states(reader.as_ref(), manifest);
        self.verified.instances.push(VerifiedInstance { instance, events, first_seq, files, head });
        Ok(())
    }

    /// The last head, if its signature is right.
    fn head(&mut self, note: Option<&str>) -> Option<Head> {
        let Some(note) = note else {
            self.unchecked("it has no signed head");
            return None;
        };
        let head = Head::peek(note).filter(|head| head.instance == self.instance);
        if self.evidence.keys.is_empty() {
            self.unchecked("without a key, no signature can be checked");
        } else if Head::open(note, &self.evidence.keys).is_none() {
            let path = checkpoint::path(self.log, self.instance);
            let name = Head::origin(self.instance);
            // A head of another key is no sign of a change; bytes that aren't a head are.
            let what = match (&head, note::is_by(note, &name, &self.evidence.keys)) {
                (Some(_), false) => {
                    self.unchecked("its head is signed with another key");
                    return None;
                }
                _ => format!("its head, `{}`, isn't as it was signed", path.display()),
            };
            self.fault(Fault { instance: None, seq: None, path: Some(path), what });
            return None;
        }
        head
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), DiskError> {
        let path = manifest::path(self.log, self.instance);
        let as_written = disk::read_if_there(&path)?;
        let what = match &manifest.signature {
            None => {
                self.unchecked("the list of its files isn't signed");
                return Ok(());
            }
            Some(_) if self.evidence.keys.is_empty() => return Ok(()),
            Some(note) if !note::is_by(note, &Head::origin(self.instance), &self.evidence.keys) => {
                self.unchecked("the list of its files is signed with another key");
                return Ok(());
            }
            Some(_) if !manifest.is_signed_by(&self.evidence.keys) => "isn't as it was signed",
            // Another manifest may have been switched in since; then the snapshot's was whole.
            Some(_) if as_written.is_some_and(|bytes| !manifest.is_written(&bytes)) => "has bytes that nobody signed",
            Some(_) => return Ok(()),
        };
        let what = format!("the list of its files, `{}`, {what}", path.display());
        self.fault(Fault { instance: None, seq: None, path: Some(path), what });
        Ok(())
    }

    /// Compares each sealed file with the SHA-256 that the manifest has; says how many are as they were.
    fn files(&mut self, manifest: &Manifest) -> u64 {
        let mut good = 0;
        for range in &manifest.ranges {
            for file in &range.files {
                let path = self.log.join(&file.path);
                let what = match disk::sha256(&path) {
                    Ok(sum) if sum == file.sha256 => {
                        good += 1;
                        continue;
                    }
                    Ok(_) => format!("the sealed file `{}` isn't as it was written", path.display()),
                    Err(error) => format!("the sealed file `{}` cannot be read: {error}", path.display()),
                };
                self.fault(Fault { instance: None, seq: Some(range.first_seq), path: Some(path), what });
            }
        }
        good
    }

    /// The state that a replay of the rest begins with, and those that are carried on.
    fn states(&mut self, reader: Option<&Reader>, manifest: Option<&Manifest>) {
        let (Some(reader), Some(manifest)) = (reader, manifest) else { return };
        if let Err(error) = reader.snapshot(&manifest.instance) {
            self.fault(Fault { seq: Some(manifest.first_seq()), ..fault_of(&error) });
        }
        // Where events can't be read, that is told already.
        for (instance, event) in reader.other_events().unwrap_or_default() {
            let Body::Carried(carried) = &event.body else { continue };
            if let Err(error) = reader.carried(&instance, event.seq, carried) {
                self.fault(Fault { seq: Some(event.seq), ..fault_of(&error) });
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.verified.faults.push(Fault { instance: Some(self.instance.to_owned()), ..fault });
    }

    fn unchecked(&mut self, what: &str) {
        self.verified.unchecked.push(format!("{}: {what}", self.instance));
    }
}

fn fault_of(error: &ReadError) -> Fault {
    let (seq, path) = match error {
        ReadError::Sequence { seq, .. } => (Some(*seq), None),
        ReadError::Segment { path, .. }
        | ReadError::DamagedFile { path, .. }
        | ReadError::Parquet { path, .. }
        | ReadError::Rows { path, .. } => (None, Some(path.clone())),
        ReadError::MissingFile(path) => (None, Some(path.clone())),
        _ => (None, None),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Fault { instance: None, seq, path, what: format!("{error}{cause}") }
}

/// The records of one instance in order, their tree, and what it must be where.
struct Walk<'a> {
    tree: Tree,
    /// Heads that the tree still has to meet, the smallest last.
    heads: Vec<&'a Head>,
    /// Sizes of those that end before the first event that is left.
    passed: Vec<u64>,
    /// The last of them that was met.
    met: u64,
    ranges: std::slice::Iter<'a, SealedRange>,
    range: Option<(&'a SealedRange, Tree)>,
    failed: bool,
}

impl<'a> Walk<'a> {
    /// The walk begins behind what was pruned.
    fn new(heads: impl Iterator<Item = &'a Head>, manifest: Option<&'a Manifest>) -> Self {
        let tree = manifest.map(Manifest::pruned_tree).unwrap_or_default();
        let (mut heads, passed): (Vec<&Head>, Vec<&Head>) = heads.partition(|head| head.size >= tree.size());
        heads.sort_by_key(|head| std::cmp::Reverse(head.size));
        // A head over nothing says nothing that could be wrong.
        let passed = passed.iter().map(|head| head.size).filter(|size| *size > 0).collect();
        let ranges = manifest.map_or(&[][..], |manifest| &manifest.ranges).iter();
        Self { met: tree.size(), tree, heads, passed, ranges, range: None, failed: false }
    }

    /// Reads all records, up to the first that isn't as it should be.
    fn all(&mut self, reader: &Reader, instance: &str) -> Result<(), Fault> {
        let walked = self.records(reader, instance);
        self.failed = walked.is_err();
        walked
    }

    fn records(&mut self, reader: &Reader, instance: &str) -> Result<(), Fault> {
        self.meet()?;
        for leaf in reader.leaves(instance).map_err(|error| fault_of(&error))? {
            let (found, leaf) = leaf.map_err(|error| {
                let fault = fault_of(&error);
                Fault { seq: fault.seq.or(Some(self.tree.size())), ..fault }
            })?;
            let seq = self.tree.size();
            if found != seq {
                let what = format!("event {seq} is missing; event {found} follows");
                return Err(Fault { instance: None, seq: Some(seq), path: None, what });
            }
            self.tree.push(leaf);
            self.range(seq, leaf)?;
            self.meet()?;
        }
        Ok(())
    }

    fn range(&mut self, seq: u64, leaf: Hash) -> Result<(), Fault> {
        if self.range.is_none() {
            self.range = self.ranges.next().map(|range| (range, Tree::default()));
        }
        let Some((range, tree)) = &mut self.range else { return Ok(()) };
        tree.push(leaf);
        if seq < range.last_seq {
            return Ok(());
        }
        let (range, tree) = (*range, std::mem::take(tree));
        self.range = None;
        if range.root.as_ref().is_some_and(|root| *root != disk::hex(&tree.root())) {
            return Err(changed(range.first_seq, range.last_seq, "the list of files"));
        }
        Ok(())
    }

    /// Compares the tree with the heads of its size.
    fn meet(&mut self) -> Result<(), Fault> {
        while let Some(head) = self.heads.pop_if(|head| head.size == self.tree.size()) {
            if head.root != self.tree.root() {
                return Err(changed(self.met, head.size.saturating_sub(1), "a signed head"));
            }
            self.met = head.size;
        }
        Ok(())
    }

    /// What is missing at the end.
    fn end(&self) -> Option<Fault> {
        let last = self.heads.first().filter(|head| !self.failed && head.size > self.tree.size())?;
        let (seq, size) = (self.tree.size(), last.size);
        let what = format!("event {seq} is missing: the log ends there, and a signed head covers {size} events");
        Some(Fault { instance: None, seq: Some(seq), path: None, what })
    }
}

fn changed(first_seq: u64, last_seq: u64, against: &str) -> Fault {
    let which = if first_seq >= last_seq {
        format!("event {first_seq} isn't")
    } else {
        format!("the events {first_seq} to {last_seq} aren't all")
    };
    let what = format!("{which} as recorded: they differ from {against}");
    Fault { instance: None, seq: Some(first_seq), path: None, what }
}

impl Verified {
    /// Instances are numbered without holes.
    fn check_numbers(&mut self, evidence: &Evidence) {
        let mut numbers: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for head in self.instances.iter().filter_map(|instance| instance.head.as_ref()).chain(&evidence.heads) {
            numbers.entry(head.number).or_default().insert(&head.instance);
        }
        let mut faults = Vec::new();
        let mut next = 1;
        for (number, names) in &numbers {
            if *number > next {
                let which = if *number == next + 1 { format!("{next}") } else { format!("{next} to {}", number - 1) };
                faults.push(format!("of the log's instances, number {which} is missing"));
            }
            if names.len() > 1 {
                let names: Vec<&str> = names.iter().copied().collect();
                faults.push(format!("several instances have the number {number}: {}", names.join(", ")));
            }
            next = number.saturating_add(1);
        }
        // Heads that couldn't be read leave holes of their own.
        if self.instances.iter().all(|instance| instance.head.is_some()) || !self.faults.is_empty() {
            self.faults.extend(faults.into_iter().map(|what| Fault { instance: None, seq: None, path: None, what }));
        } else {
            self.unchecked.extend(faults);
        }
    }

    /// Each policy is what its name says.
    fn check_policies(&mut self, log: &Path) -> Result<(), DiskError> {
        let (store, dir) = (Store::local(log)?, log.join("policies"));
        for name in disk::names(&dir)? {
            let Some(hash) = name.strip_suffix(".json").and_then(PolicyHash::from_hex) else { continue };
            if let Err(error) = policies::read(&store, hash) {
                let path = Some(dir.join(&name));
                self.faults.push(Fault { instance: None, seq: None, path, what: error.to_string() });
            }
        }
        Ok(())
    }

    /// Files that stand among the sealed ones and that no manifest names: whoever reads the directory with
    /// another tool takes them for part of the log.
    fn check_strays(&mut self, log: &Path) -> Result<(), DiskError> {
        for (path, owner) in recovery::strays(log)? {
            if owner.is_none_or(|owner| !instance::is_alive(log, &owner)) {
                self.unchecked.push(format!("`{}` is no part of the log: no manifest names it", path.display()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
