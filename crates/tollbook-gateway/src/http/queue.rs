//! A queue of lines that is bounded in number and in bytes, whoever is slow at its end.

use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lines that wait in one queue. Whoever has one more waits, or keeps it.
pub(crate) const LINES_MAX: usize = 1_024;

/// Bytes of the lines that wait in one queue; the same holds for them. A longer line waits alone.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// What has a length in bytes.
pub(crate) trait Line {
    fn line(&self) -> &[u8];
}

impl Line for Vec<u8> {
    fn line(&self) -> &[u8] {
        self
    }
}

/// Puts lines into a queue.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    lines: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// Takes them out.
#[derive(Debug)]
pub(crate) struct Receiver<T>(mpsc::Receiver<(T, OwnedSemaphorePermit)>);

/// A queue of at most [`LINES_MAX`] lines and [`BYTES_MAX`] bytes.
pub(crate) fn queue<T: Line>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    (Sender { lines: sender, room: Arc::new(Semaphore::new(BYTES_MAX)) }, Receiver(receiver))
}

impl<T: Line> Sender<T> {
    /// Puts a line in as soon as there is room. False where nobody takes it.
    pub async fn send(&self, line: T) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes(&line)).await else { return false };
        self.lines.send((line, room)).await.is_ok()
    }

    /// Puts a line in where there is room for it, and gives it back where there isn't or where nobody takes it.
    pub fn try_send(&self, line: T) -> Result<(), T> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes(&line)) else { return Err(line) };
        self.lines.try_send((line, room)).map_err(|back| match back {
            TrySendError::Full((line, _)) | TrySendError::Closed((line, _)) => line,
        })
    }

    /// Nobody takes anything any more.
    pub fn is_closed(&self) -> bool {
        self.lines.is_closed()
    }
}

impl<T> Receiver<T> {
    /// The next line, once there is one; none where nobody puts any in.
    pub async fn recv(&mut self) -> Option<T> {
        Some(self.0.recv().await?.0)
    }
}

/// The room that a line takes.
fn bytes(line: &impl Line) -> u32 {
    u32::try_from(line.line().len().min(BYTES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
