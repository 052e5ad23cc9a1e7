//! The two threads behind a log: one syncs, one seals.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::heads::Heads;
use super::{Durability, SYNC_WITHIN_MS, Shared, State};
use crate::seal;

/// Starts the syncing thread, which ends when the log is closing.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("tollbook-sync".into()).spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let mut state = shared.lock();
    while !state.closing {
        if state.failure.is_some() || state.synced_seq == state.next_seq {
            state.sync_wanted = false;
            state = match state.heads.as_ref().filter(|_| state.failure.is_none()).and_then(Heads::due_in) {
                None => shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => shared.head_due(state),
                Some(within) => shared.wake.wait_timeout(state, within).unwrap_or_else(PoisonError::into_inner).0,
            };
            continue;
        }
        if shared.options.durability != Durability::Fsync {
            let more = |state: &mut State| !state.closing && !state.sync_wanted;
            let within = Duration::from_millis(SYNC_WITHIN_MS);
            let waited = shared.wake.wait_timeout_while(state, within, more);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state = sync_once(shared, state);
        if state.failure.is_none() && state.heads.as_ref().and_then(Heads::due_in) == Some(Duration::ZERO) {
            state = shared.head_due(state);
        }
    }
}

/// One sync for all that was appended by now. Appending goes on meanwhile.
fn sync_once<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.sync_wanted = false;
    // A segment that is full is synced before the next one begins, so this file holds all that isn't.
    if state.hand_over().is_ok() {
        let file = Arc::clone(&state.file);
        let upto = state.next_seq;
        let tree = state.heads.as_ref().map(|heads| heads.appended.clone());
        drop(state);
        let synced = file.sync();
        state = shared.lock();
        match synced {
            Ok(()) => {
                state.synced_seq = state.synced_seq.max(upto);
                if let Some((heads, tree)) = state.heads.as_mut().zip(tree) {
                    heads.synced_to(tree);
                }
            }
            Err(error) => drop(state.fail("sync", &error)),
        }
    }
    let told = shared.told(&mut state);
    drop(state);
    // Whoever is woken appends next, and needs the lock for it.
    told.into_iter().for_each(Waker::wake);
    shared.lock()
}

impl Shared {
    /// Seals the whole segments, oldest first, in a thread of its own. None may be running.
    pub(super) fn start_sealer(self: &Arc<Self>, state: &mut State) {
        // It has nothing left to do but end.
        let _ = state.sealer.take().map(JoinHandle::join);
        let shared = Arc::clone(self);
        let sealer = thread::Builder::new().name("tollbook-seal".into()).spawn(move || shared.seal_whole());
        match sealer {
            Ok(sealer) => {
                state.sealer = Some(sealer);
                state.sealing = true;
            }
            // The segments stay whole on disk; the next one, or closing, seals them.
            Err(error) => tracing::warn!(%error, "no thread to seal with"),
        }
    }

    fn seal_whole(&self) {
        loop {
            let mut state = self.lock();
            let Some(path) = state.unsealed.first().cloned() else {
                state.sealing = false;
                self.progress.notify_all();
                return;
            };
            drop(state);
            let sealed = seal::seal_segment(&self.dir, &path, self.options.signer.as_deref());
            let mut state = self.lock();
            match sealed {
                Ok(events) => {
                    tracing::info!(instance = self.instance, events, "sealed a segment");
                    state.unsealed.retain(|unsealed| *unsealed != path);
                    state.seal_failure = None;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                    tracing::warn!(%error, cause, "cannot seal a segment; it stays open");
                    state.seal_failure = Some(format!("{error}{cause}"));
                    state.sealing = false;
                    self.progress.notify_all();
                    return;
                }
            }
        }
    }
}
