//! What is on its way to either side. It goes as far as it is taken, and the rest waits: while somebody doesn't listen,
//! the other one must be heard all the same.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::LIST_CHANGED;
use crate::desk::{Ticket, lock};

/// Where a client on standard input and output listens; whoever has it may say a whole line.
#[derive(Clone)]
pub struct ClientOut {
    to: Arc<dyn AsFd + Send + Sync>,
    unsaid: Arc<Mutex<Unsaid>>,
}

/// What the client has not taken yet.
#[derive(Default)]
struct Unsaid {
    bytes: Vec<u8>,
    /// How much of it is said. It goes once that is half of all: a long answer that is taken in small parts would
    /// otherwise be moved with each of them.
    said: usize,
}

impl Unsaid {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.said..).unwrap_or_default()
    }

    fn is_said(&mut self, bytes: usize) {
        self.said += bytes;
        if self.said >= self.bytes.len() / 2 {
            self.bytes.drain(..self.said);
            self.said = 0;
        }
    }
}

impl ClientOut {
    /// Lines go there.
    #[must_use]
    pub fn new(to: impl AsFd + Send + Sync + 'static) -> Self {
        Self { to: Arc::new(to), unsaid: Arc::default() }
    }

    /// Tells the client that it sees other tools now.
    pub fn tools_changed(&self) {
        self.say(&[LIST_CHANGED, b"\n"].concat());
    }

    /// Says a line, and waits until it is taken.
    pub(crate) fn say(&self, line: &[u8]) {
        self.offer(line);
        while self.unsaid_bytes() > 0 {
            let waited = rustix::event::poll(&mut [self.poll()], None);
            if let Err(error) = waited.or_else(again) {
                return tracing::warn!(%error, "the client cannot be waited for");
            }
            self.offer(&[]);
        }
    }

    /// Says lines, as far as the client takes them at once. The rest is said with what is offered next.
    pub(crate) fn offer(&self, lines: &[u8]) {
        let mut unsaid = lock(&self.unsaid);
        let offered = if unsaid.bytes.is_empty() {
            self.write(lines).map(|said| unsaid.bytes.extend_from_slice(lines.get(said..).unwrap_or_default()))
        } else {
            unsaid.bytes.extend_from_slice(lines);
            self.write(unsaid.rest()).map(|said| unsaid.is_said(said))
        };
        if let Err(error) = offered {
            tracing::warn!(%error, "the client no longer listens");
            *unsaid = Unsaid::default();
        }
    }

    /// How much the client has not taken yet, in bytes.
    pub(crate) fn unsaid_bytes(&self) -> usize {
        lock(&self.unsaid).rest().len()
    }

    /// To wait until it takes more.
    pub(super) fn poll(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.to.as_fd(), PollFlags::OUT)
    }

    /// Others may write there too, as to a terminal, so it is never put into a mode in which writing doesn't wait.
    /// What can be written to takes this much without waiting, be it a pipe or a socket.
    fn write(&self, lines: &[u8]) -> io::Result<usize> {
        let mut written = self.write_now(lines);
        while let Some(part @ [_, ..]) = lines.get(written..) {
            if rustix::event::poll(&mut [self.poll()], Some(&Timespec::default())).or_else(again)? == 0 {
                break;
            }
            let part = part.get(..rustix::pipe::PIPE_BUF).unwrap_or(part);
            written += rustix::io::write(&self.to, part).or_else(again)?;
        }
        Ok(written)
    }

    /// Where a write can be asked not to wait, there is nothing to find out first. How much was taken; whatever stands in
    /// the way of more is met again by whoever goes on.
    fn write_now(&self, lines: &[u8]) -> usize {
        #[cfg(target_os = "linux")]
        if !lines.is_empty() {
            let (lines, nowhere) = ([io::IoSlice::new(lines)], u64::MAX);
            return rustix::io::pwritev2(&self.to, &lines, nowhere, rustix::io::ReadWriteFlags::NOWAIT).unwrap_or(0);
        }
        0
    }
}

/// Waits for any of these, and tells which are ready; none where there is nothing to wait for.
pub(super) fn wait<const N: usize>(waits: [Option<PollFd<'_>>; N]) -> io::Result<Option<[bool; N]>> {
    let awaited = waits.each_ref().map(Option::is_some);
    let mut fds: Vec<PollFd<'_>> = waits.into_iter().flatten().collect();
    if fds.is_empty() {
        return Ok(None);
    }
    rustix::event::poll(&mut fds, None).or_else(again)?;
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(Some(awaited.map(|awaited| awaited && ready.next() == Some(true))))
}

fn again(error: Errno) -> Result<usize, Errno> {
    if matches!(error, Errno::INTR | Errno::AGAIN) { Ok(0) } else { Err(error) }
}

/// A server's input, and the frames that were judged and are on their way there.
pub(super) struct ServerIn {
    to: OwnedFd,
    bytes: Vec<u8>,
    sent: usize,
    /// The calls among them, each with its place.
    calls: Vec<(Ticket, Range<usize>)>,
}

impl ServerIn {
    /// Nobody else has this end of the pipe, so writing to it need not wait.
    pub fn new(to: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&to, true)?;
        Ok(Self { to, bytes: Vec::new(), sent: 0, calls: Vec::new() })
    }

    pub fn push(&mut self, frame: &[u8], call: Option<Ticket>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.calls.extend(call.map(|call| (call, start..self.bytes.len())));
    }

    /// Whether the server has taken all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// To wait until it takes more.
    pub fn poll(&self) -> PollFd<'_> {
        PollFd::new(&self.to, PollFlags::OUT)
    }

    /// The calls that wait.
    pub fn calls(&self) -> impl DoubleEndedIterator<Item = Ticket> {
        self.calls.iter().map(|(call, _)| *call)
    }

    /// Takes back calls, before anything was sent.
    pub fn take_back(&mut self, taken_back: &[Ticket]) {
        debug_assert_eq!(self.sent, 0, "what the server has in part cannot be taken back");
        let (all, calls) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.calls));
        let mut from = 0;
        for (call, place) in calls {
            self.push(all.get(from..place.start).unwrap_or_default(), None);
            if !taken_back.contains(&call) {
                self.push(all.get(place.clone()).unwrap_or_default(), Some(call));
            }
            from = place.end;
        }
        self.push(all.get(from..).unwrap_or_default(), None);
    }

    /// Sends what the server takes at once.
    ///
    /// # Errors
    /// Where it takes nothing any more: with each call that did not get there, and whether a part of it did.
    pub fn send(&mut self) -> Result<(), (io::Error, Vec<(Ticket, bool)>)> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.sent..) {
            match rustix::io::write(&self.to, rest) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    let lost = self.calls.iter().filter(|(_, place)| place.end > self.sent);
                    let lost = lost.map(|(call, place)| (*call, place.start < self.sent)).collect();
                    self.clear();
                    return Err((error.into(), lost));
                }
            }
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.calls.clear();
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests;
