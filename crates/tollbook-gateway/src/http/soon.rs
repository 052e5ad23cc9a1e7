//! Looking for an answer before it is waited for.
//!
//! Whoever waits sleeps and has to be woken, which takes longer than all that the gateway does with a call: on a virtual
//! machine some twenty microseconds. So the answer of a server that answers at once is looked for, where the lane has
//! nothing else to do for it, and only while that is how it answers. Most servers take milliseconds, and are waited for.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long an answer is looked for, where the last one took no longer.
pub(super) const SOON: Duration = Duration::from_micros(150);

/// How a server answers on one lane.
#[derive(Debug)]
pub(super) struct Soon {
    within: Duration,
    /// Requests that it owes an answer.
    owes: AtomicUsize,
    /// Whether its last answer came soon.
    came_soon: AtomicBool,
}

impl Soon {
    /// Nothing is known yet. An answer that comes within this time came soon.
    pub fn new(within: Duration) -> Self {
        Self { within, owes: AtomicUsize::new(0), came_soon: AtomicBool::new(false) }
    }

    /// The answer, once it is there.
    pub async fn answer<F: Future>(&self, answer: F) -> F::Output {
        let owed = Owed::new(&self.owes);
        let (began, mut answer) = (Instant::now(), pin!(answer));
        let mut looks = self.came_soon.load(Ordering::Relaxed);
        let answered = loop {
            looks &= owed.alone() && began.elapsed() < self.within;
            if !looks {
                break answer.await;
            }
            if let Poll::Ready(answered) = poll_fn(|task| Poll::Ready(answer.as_mut().poll(task))).await {
                break answered;
            }
            // The server may need this very processor.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        };
        self.came_soon.store(began.elapsed() < self.within, Ordering::Relaxed);
        answered
    }
}

/// Counted for as long as it is there.
struct Owed<'c>(&'c AtomicUsize);

impl<'c> Owed<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    fn alone(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
