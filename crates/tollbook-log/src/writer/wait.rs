//! Waiting for the sync that serves everybody, as a thread or as a task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::{AppendError, Durability, Shared, State};

/// An event on its way to stable storage; see [`super::Log::recorded`].
#[must_use = "an event is recorded whether it is waited for or not"]
pub struct Recorded {
    pub(super) shared: Arc<Shared>,
    pub(super) seq: u64,
}

impl Recorded {
    /// Waits for it. Blocks.
    ///
    /// # Errors
    /// Where the log failed before, so that the event may be lost.
    pub fn wait(self) -> Result<(), AppendError> {
        match self.shared.options.durability {
            Durability::Fsync => self.shared.wait_synced(self.seq),
            Durability::Write | Durability::Relaxed => Ok(()),
        }
    }
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorded({})", self.seq)
    }
}

impl Future for Recorded {
    type Output = Result<(), AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shared.options.durability {
            Durability::Fsync => self.shared.poll_synced(self.seq, context.waker()),
            Durability::Write | Durability::Relaxed => Poll::Ready(Ok(())),
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Shared {
    pub(super) fn wait_synced(&self, seq: u64) -> Result<(), AppendError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match self.poll_synced(seq, &waker) {
                Poll::Ready(synced) => return synced,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Whether an event is on stable storage. Where it isn't yet, the waker is woken once it is, or the log has
    /// failed.
    fn poll_synced(&self, seq: u64, waker: &Waker) -> Poll<Result<(), AppendError>> {
        if self.synced.load(Ordering::Acquire) > seq {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.lock();
        if seq >= state.next_seq {
            return Poll::Ready(Err(AppendError::NotAppended(seq)));
        }
        if state.synced_seq > seq {
            return Poll::Ready(Ok(()));
        }
        state.usable()?;
        // Whoever looks again without having been woken waits once more; being woken twice does no harm.
        state.waiting.push((seq, waker.clone()));
        if !std::mem::replace(&mut state.sync_wanted, true) {
            self.wake.notify_one();
        }
        Poll::Pending
    }

    /// Tells those that wait what was synced, or that the log has failed.
    pub(super) fn tell(&self, state: &mut State) {
        self.told(state).into_iter().for_each(Waker::wake);
    }

    /// Those that need wait no longer, once they are woken.
    pub(super) fn told(&self, state: &mut State) -> Vec<Waker> {
        let (failed, synced) = (state.failure.is_some(), state.synced_seq);
        self.synced.store(synced, Ordering::Release);
        self.progress.notify_all();
        let waiting = state.waiting.extract_if(.., |(seq, _)| failed || *seq < synced);
        waiting.map(|(_, waker)| waker).collect()
    }
}
