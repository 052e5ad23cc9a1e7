//! The writing end of a log: one [`Log`] for each process.
//!
//! [`Log::append`] numbers an event, frames it and hands it over in one write, under one lock, so
//! that sequence order is the order of the calls; events that come together are put first and handed over
//! in one write for all of them. One thread syncs for everybody: while it waits for
//! the disk, others append, and the next sync serves them all. Sealing happens in another thread,
//! one segment at a time; meanwhile the log goes on in a new segment.
//!
//! After a write or a sync failed, what the disk holds isn't known, so every later append is refused
//! until the log is opened again.

mod heads;
mod sync;
mod wait;

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;

use tollbook_engine::{Body, BodyRef, PolicyHash};

use crate::disk::{self, DiskError, SegmentFile};
use crate::instance::{self, Claim};
use crate::key::Signer;
use crate::policies::{self, PolicyError};
use crate::recovery::{self, Recovery, RecoveryError};
use crate::seal::{self, SealError};
use crate::{segment, tree};
use heads::Heads;
pub use wait::Recorded;

/// What "recorded" means once [`Log::append`] has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On stable storage once [`Log::recorded`] is ready has returned: survives a power cut.
    Fsync,
    /// Handed to the operating system once [`Log::append`] has returned, and synced within
    /// [`SYNC_WITHIN_MS`]: survives a killed process, and loses that much to a power cut.
    #[default]
    Write,
    /// In this process's memory for up to [`SYNC_WITHIN_MS`] or [`BUFFER_BYTES_MAX`]: a killed process
    /// loses that much.
    Relaxed,
}

/// Longest time between an append and the sync that follows it.
pub const SYNC_WITHIN_MS: u64 = 50;
/// Most bytes that [`Log::put`] and [`Durability::Relaxed`] keep in memory.
pub const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The time, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
/// Stands between the log and the file of each open segment; for tests of failing disks.
pub type FileSeam = Arc<dyn Fn(std::fs::File) -> Arc<dyn SegmentFile> + Send + Sync>;

/// How a log is written.
#[derive(Clone)]
pub struct Options {
    /// What "recorded" means.
    pub durability: Durability,
    /// Events in a segment before it is sealed. While another seal is running, a segment may hold twice
    /// as many; then appending waits for it.
    pub seal_events_max: u64,
    /// Bytes in a segment before it is sealed; the same holds for them. A segment is read into memory
    /// when it is sealed.
    pub seal_bytes_max: u64,
    /// Age of a segment's first record before it is sealed, in seconds.
    pub seal_age_max_s: u64,
    /// Read for the instance's name and for the age of a segment, for nothing else.
    pub clock: Clock,
    /// Called with the file of each new segment.
    pub file_seam: FileSeam,
    /// Signs the tree heads and the manifest. Without it nothing is signed.
    pub signer: Option<Arc<Signer>>,
    /// Longest time that a synced event waits for a signed head, in seconds.
    pub head_within_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            seal_events_max: 1_000_000,
            seal_bytes_max: 256 << 20,
            seal_age_max_s: 3600,
            clock: Arc::new(|| jiff::Timestamp::now().as_microsecond()),
            file_seam: Arc::new(|file| Arc::new(file)),
            signer: None,
            head_within_s: 60,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { durability, seal_events_max, seal_bytes_max, seal_age_max_s, .. } = self;
        write!(f, "Options({durability:?}, {seal_events_max} events, {seal_bytes_max} bytes, {seal_age_max_s} s)")
    }
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is something else where the directory should be.
    #[error("`{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What an earlier process left couldn't be recovered.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The new segment couldn't be begun.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Why an event isn't recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A write, a sync or the start of a new segment failed, now or before. Nothing more is recorded until
    /// the log is opened again.
    #[error("the log failed and must be opened again: {0}")]
    Failed(String),
    /// The event is too large. The log is as before.
    #[error("the record has {bytes} bytes, and at most {} are possible", segment::FRAME_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It was never appended.
    #[error("event {0} was not appended")]
    NotAppended(u64),
}

/// Why a log wasn't closed as it should be. What it holds is recovered when it is opened again.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A write or a sync failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The last segments couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A log that this process writes. Shared by reference between threads.
///
/// Dropped without [`Log::close`], it leaves its segment for recovery.
pub struct Log {
    shared: Arc<Shared>,
    syncer: Mutex<Option<JoinHandle<()>>>,
    claim: Mutex<Option<Claim>>,
}

struct Shared {
    dir: PathBuf,
    instance: String,
    options: Options,
    state: Mutex<State>,
    /// The state's `synced_seq` as last told, for those that wait: they needn't queue for the lock.
    synced: AtomicU64,
    /// There is something to sync, or the log is closing.
    wake: Condvar,
    /// Something was sealed, or the log failed.
    progress: Condvar,
}

struct State {
    file: Arc<dyn SegmentFile>,
    path: PathBuf,
    number: u64,
    segment_events: u64,
    segment_bytes: u64,
    /// When the segment's first record came.
    begun_us: Option<i64>,
    next_seq: u64,
    last_ts_us: i64,
    /// Framed records that aren't handed over yet; see [`Log::put`] and [`Durability::Relaxed`].
    buffer: Vec<u8>,
    /// All events below are handed over.
    handed_seq: u64,
    /// All events below are on stable storage.
    synced_seq: u64,
    sync_wanted: bool,
    /// Who waits until which event is synced.
    waiting: Vec<(u64, Waker)>,
    failure: Option<String>,
    closing: bool,
    /// None without a signer.
    heads: Option<Heads>,
    /// Whole segments, oldest first.
    unsealed: Vec<PathBuf>,
    sealer: Option<JoinHandle<()>>,
    /// The sealing thread will look at `unsealed` again before it ends.
    sealing: bool,
    seal_failure: Option<String>,
}

impl Log {
    /// Opens the log in `dir`, which is created where it isn't there, after recovering what processes
    /// that died left there. Other live processes may be writing to the same directory.
    ///
    /// # Errors
    /// Where the directory can't be created or written, or what is there can't be recovered.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        if dir.exists() && !dir.is_dir() {
            return Err(OpenError::NotADirectory(dir.to_owned()));
        }
        disk::create_dir(dir)?;
        let opening = instance::lock_log(dir)?;
        let recovery = recovery::recover(dir, options.signer.as_deref())?;
        let (instance, claim) = loop {
            let name = instance::new_name(dir, (options.clock)())?;
            if let Some(claim) = Claim::take(dir, &name)? {
                break (name, claim);
            }
        };
        let heads = Heads::begin(dir, &instance, &options)?;
        drop(opening);
        let (file, path, bytes) = new_segment(dir, &instance, 0, 0, &options)?;
        let state = State {
            file,
            path,
            number: 0,
            segment_events: 0,
            segment_bytes: bytes,
            begun_us: None,
            next_seq: 0,
            last_ts_us: i64::MIN,
            buffer: Vec::new(),
            handed_seq: 0,
            synced_seq: 0,
            sync_wanted: false,
            waiting: Vec::new(),
            failure: None,
            closing: false,
            heads,
            unsealed: Vec::new(),
            sealer: None,
            sealing: false,
            seal_failure: None,
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            instance,
            options,
            state: Mutex::new(state),
            synced: AtomicU64::new(0),
            wake: Condvar::new(),
            progress: Condvar::new(),
        });
        let syncer = sync::start(&shared).map_err(OpenError::Thread)?;
        Ok((Self { shared, syncer: Mutex::new(Some(syncer)), claim: Mutex::new(Some(claim)) }, recovery))
    }

    /// This process's name in the log.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// The log's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Records an event and returns its sequence number. Its time is `ts_us` or that of the event before,
    /// whichever is later. What is durable when this returns is said at [`Durability`].
    ///
    /// # Errors
    /// Where the event isn't recorded; it has no sequence number then.
    pub fn append(&self, ts_us: i64, body: impl Borrow<Body>) -> Result<u64, AppendError> {
        // With `Fsync` too: an event that nobody waits for, such as a refusal, survives a killed process all the same.
        self.add(ts_us, &BodyRef::Other(body.borrow()), self.shared.options.durability != Durability::Relaxed)
    }

    /// [`Log::append`], for events that come together: it may stay in memory until the next append, sync or
    /// [`Log::hand_over`], which hand over everything that was put, in order. Nothing may come of the event before.
    ///
    /// # Errors
    /// Where the event isn't recorded; it has no sequence number then.
    pub fn put(&self, ts_us: i64, body: &BodyRef<'_>) -> Result<u64, AppendError> {
        self.add(ts_us, body, false)
    }

    /// Hands over what was put. The event `seq` is as durable as [`Log::append`] makes it when this returns.
    ///
    /// # Errors
    /// Where the event isn't recorded, because the log failed before it was handed over.
    pub fn hand_over(&self, seq: u64) -> Result<(), AppendError> {
        let mut state = self.shared.lock();
        if seq >= state.next_seq {
            return Err(AppendError::NotAppended(seq));
        }
        if state.handed_seq > seq {
            return Ok(());
        }
        state.usable()?;
        if self.shared.options.durability == Durability::Relaxed {
            return Ok(());
        }
        state.hand_over().inspect_err(|_| self.shared.tell(&mut state))
    }

    fn add(&self, ts_us: i64, body: &BodyRef<'_>, hands_over: bool) -> Result<u64, AppendError> {
        let mut state = self.shared.seal_if_due(self.shared.lock())?;
        let ts_us = ts_us.max(state.last_ts_us);
        let seq = state.next_seq;
        let before = state.buffer.len();
        let write = |buffer: &mut Vec<u8>| tollbook_engine::encode_event(seq, Some(ts_us), body, buffer);
        let place = segment::frame_into(&mut state.buffer, write).map_err(|bytes| AppendError::TooLarge { bytes })?;
        let leaf = state.heads.is_some().then(|| tree::leaf(state.buffer.get(place).unwrap_or_default()));
        state.segment_bytes += (state.buffer.len() - before) as u64;
        if hands_over || state.buffer.len() >= BUFFER_BYTES_MAX {
            state.hand_over().inspect_err(|_| self.shared.tell(&mut state))?;
            state.handed_seq = seq + 1;
        }
        if let (Some(heads), Some(leaf)) = (&mut state.heads, leaf) {
            heads.push(leaf);
        }
        let clean = state.synced_seq == seq;
        state.next_seq += 1;
        state.last_ts_us = ts_us;
        state.segment_events += 1;
        if state.begun_us.is_none() {
            state.begun_us = Some((self.shared.options.clock)());
        }
        drop(state);
        // The syncing thread looks again by itself, as long as there is anything to sync.
        if clean {
            self.shared.wake.notify_one();
        }
        Ok(seq)
    }

    /// Ready once the event is as durable as [`Options::durability`] says: with [`Durability::Fsync`] that means
    /// waiting for the next sync, with the others it is so already. An error where the log failed before, so that
    /// the event may be lost.
    pub fn recorded(&self, seq: u64) -> Recorded {
        Recorded { shared: Arc::clone(&self.shared), seq }
    }

    /// Returns once the event is on stable storage, whatever the durability. One sync serves all that wait.
    /// Blocks.
    ///
    /// # Errors
    /// Where the log failed before, so that the event may be lost.
    pub fn wait_synced(&self, seq: u64) -> Result<(), AppendError> {
        self.shared.wait_synced(seq)
    }

    /// All events with a smaller sequence number are on stable storage. Doesn't block.
    #[must_use]
    pub fn synced_below(&self) -> u64 {
        self.shared.lock().synced_seq
    }

    /// Why the log refuses appends, if it does.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Seals the open segment if it is old or large enough; for a timer to call while no calls come. The
    /// sealing itself happens in a thread of its own.
    ///
    /// # Errors
    /// Where the log failed.
    pub fn maybe_seal(&self) -> Result<(), AppendError> {
        self.shared.seal_if_due(self.shared.lock()).map(drop)
    }

    /// Why the last segment couldn't be sealed, if it couldn't. Its records are safe in the segment, and
    /// sealing is tried again with the next one, on closing and on opening.
    #[must_use]
    pub fn seal_failure(&self) -> Option<String> {
        self.shared.lock().seal_failure.clone()
    }

    /// Why the last head couldn't be written, if it couldn't. It is tried again.
    #[must_use]
    pub fn head_failure(&self) -> Option<String> {
        self.shared.lock().heads.as_ref().and_then(|heads| heads.failure.clone())
    }

    /// Keeps a policy under its hash. It is on stable storage when this returns.
    ///
    /// # Errors
    /// Where the text isn't what the hash names, or can't be written.
    pub fn store_policy(&self, hash: PolicyHash, json: &str) -> Result<(), PolicyError> {
        policies::store(&self.shared.dir, &self.shared.instance, hash, json)
    }

    /// Seals everything and ends the instance. All events are on stable storage when this returns.
    ///
    /// # Errors
    /// Where they can't be sealed. They are recovered when the log is opened again.
    pub fn close(self) -> Result<(), CloseError> {
        self.stop()?;
        self.shared.write_head()?;
        let signer = self.shared.options.signer.as_deref();
        let unsealed = {
            let mut state = self.shared.lock();
            let mut unsealed = std::mem::take(&mut state.unsealed);
            unsealed.push(state.path.clone());
            unsealed
        };
        for path in unsealed {
            seal::seal_segment(&self.shared.dir, &path, signer)?;
        }
        match take(&self.claim) {
            Some(claim) => Ok(claim.end()?),
            None => Ok(()),
        }
    }

    /// Opens the log anew after it failed: this instance is given up and recovered like that of a dead process,
    /// and a new one begins. Whatever went by in between isn't in the log; whoever let it pass appends a
    /// [`tollbook_engine::Gap`] with the number of the calls, after the events with which an instance begins.
    /// This log refuses appends from now on, also where opening fails; then it can be tried again.
    ///
    /// # Errors
    /// As with [`Log::open`].
    pub fn reopen(&self) -> Result<(Self, Recovery), OpenError> {
        self.shared.lock().failure.get_or_insert_with(|| "it was opened anew".to_owned());
        // What couldn't be written is told by the failure that is known already.
        let _ = self.stop();
        drop(take(&self.claim));
        Self::open(&self.shared.dir, self.shared.options.clone())
    }

    /// Ends the threads and syncs what there is.
    fn stop(&self) -> Result<(), AppendError> {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
        // A thread that panicked has nothing left to say.
        let _ = take(&self.syncer).map(JoinHandle::join);
        let sealer = self.shared.lock().sealer.take();
        let _ = sealer.map(JoinHandle::join);
        let mut state = self.shared.lock();
        let synced = state.usable().and_then(|()| state.hand_over()).and_then(|()| state.sync());
        self.shared.tell(&mut state);
        synced
    }
}

fn take<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.syncer.get_mut().is_ok_and(|syncer| syncer.is_none()) {
            return;
        }
        if let Err(error) = self.stop() {
            tracing::error!(instance = self.instance(), %error, "closed a log that failed");
        } else if let Err(error) = self.shared.write_head() {
            tracing::warn!(instance = self.instance(), %error, "cannot write the last head");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on in a new segment where the open one is full or old.
    fn seal_if_due<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, AppendError> {
        state.usable()?;
        let Options { seal_events_max, seal_bytes_max, seal_age_max_s, clock, .. } = &self.options;
        let full = |state: &State, times: u64| {
            state.segment_events / times >= *seal_events_max || state.segment_bytes / times >= *seal_bytes_max
        };
        let Some(begun_us) = state.begun_us else { return Ok(state) };
        let age_max_us = i64::try_from(seal_age_max_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        // What comes together is of one age, so the clock is read for the first of it.
        let old = state.buffer.is_empty() && clock().saturating_sub(begun_us) >= age_max_us;
        if !full(&state, 1) && !old {
            return Ok(state);
        }
        while state.sealing {
            if !full(&state, 2) {
                return Ok(state);
            }
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.usable()?;
        }
        match self.rotate(&mut state) {
            Ok(()) => Ok(state),
            Err(error) => {
                state.failure.get_or_insert_with(|| error.to_string());
                self.tell(&mut state);
                Err(error)
            }
        }
    }

    fn rotate(self: &Arc<Self>, state: &mut State) -> Result<(), AppendError> {
        state.hand_over()?;
        state.sync()?;
        self.tell(state);
        let number = state.number + 1;
        let (file, path, bytes) = new_segment(&self.dir, &self.instance, number, state.next_seq, &self.options)?;
        let whole = std::mem::replace(&mut state.path, path);
        state.unsealed.push(whole);
        state.file = file;
        state.number = number;
        state.segment_bytes = bytes;
        state.segment_events = 0;
        state.begun_us = None;
        if let Some(heads) = &mut state.heads {
            heads.wanted = true;
            self.wake.notify_one();
        }
        self.start_sealer(state);
        Ok(())
    }
}

impl State {
    fn usable(&self) -> Result<(), AppendError> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(AppendError::Failed(failure.clone())))
    }

    /// Hands the buffer to the operating system.
    fn hand_over(&mut self) -> Result<(), AppendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.append(&self.buffer);
        self.buffer.clear();
        // What a very long record took isn't kept.
        self.buffer.shrink_to(2 * BUFFER_BYTES_MAX);
        written.map_err(|error| self.fail("write", &error))?;
        self.handed_seq = self.next_seq;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        self.file.sync().map_err(|error| self.fail("sync", &error))?;
        self.synced_seq = self.next_seq;
        if let Some(heads) = &mut self.heads {
            heads.synced = heads.appended.clone();
        }
        Ok(())
    }

    fn fail(&mut self, act: &str, error: &std::io::Error) -> AppendError {
        let failure = format!("cannot {act} `{}`: {error}", self.path.display());
        tracing::error!(%failure, "the log failed");
        AppendError::Failed(self.failure.get_or_insert(failure).clone())
    }
}

/// Begins a segment: header written and synced, directory synced.
fn new_segment(
    log: &Path,
    instance: &str,
    number: u64,
    first_seq: u64,
    options: &Options,
) -> Result<(Arc<dyn SegmentFile>, PathBuf, u64), AppendError> {
    let path = instance::segment_path(log, instance, number);
    let header = segment::header(instance, first_seq);
    let failed = |error: DiskError| AppendError::Failed(format!("{error}: {}", error.source));
    let file = (options.file_seam)(disk::create_new(&path).map_err(failed)?);
    file.append(&header).map_err(DiskError::at("write", &path)).map_err(failed)?;
    file.sync().map_err(DiskError::at("sync", &path)).map_err(failed)?;
    path.parent().map_or(Ok(()), disk::sync_dir).map_err(failed)?;
    Ok((file, path, header.len() as u64))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod kill_test;
