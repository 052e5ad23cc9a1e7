//! Frames of a client that came together: all of them are read, then judged, then handed over to the log in one write.
//!
//! Only what goes on waits for that write. What is refused is written at once, with all that was judged before it,
//! because its answer may be told at once.

use std::sync::Mutex;

use tollbook_engine::BodyRef;
use tollbook_policy::json::Node;

use super::{Connection, Desk, OnLogFailure, Step, Ticket, Unrecorded, lock, log_unavailable};
use crate::frame::{Asked, Refused, Said, read, said};
use crate::headers::Headers;

impl Desk {
    /// Takes one frame of a client, with what HTTP says of it.
    pub fn from_client(&mut self, connection: &mut Connection, frame: &[u8], headers: &Headers) -> Step {
        heard(&[Frame::read(frame)], headers, |heard| only(self.take(connection, heard, headers)))
    }

    /// [`Desk::from_client`], at a desk that others share: the frame was read before anything is locked.
    pub(crate) fn hear_client(
        desk: &Mutex<Self>,
        connection: &Mutex<Connection>,
        frame: Frame<'_>,
        headers: &Headers,
    ) -> Step {
        only(Self::hear_client_frames(desk, connection, &[frame], headers))
    }

    /// [`Desk::hear_client`] of frames that came together: one write to the log for all the calls among them that go
    /// on. Nothing may be done with any before this returns.
    pub(crate) fn hear_client_frames(
        desk: &Mutex<Self>,
        connection: &Mutex<Connection>,
        frames: &[Frame<'_>],
        headers: &Headers,
    ) -> Vec<Step> {
        heard(frames, headers, |heard| lock(desk).take(&mut lock(connection), heard, headers))
    }

    fn take(&mut self, connection: &mut Connection, heard: &[Heard<'_>], headers: &Headers) -> Vec<Step> {
        // Not between them: those that were put are in the log that was there.
        self.mend_log();
        let mut steps = Vec::with_capacity(heard.len());
        for Heard { frame_bytes, said } in heard {
            let step = said.as_ref().map_err(Refused::clone).and_then(|said| match said {
                Some(said) => self.judge(connection, said, headers),
                None => Ok(Step::Forward { call: None, request: None }),
            });
            steps.push(step.unwrap_or_else(|refused| self.refuse_frame(connection, *frame_bytes, &refused)));
        }
        if let Err(error) = self.hand_over() {
            self.take_back(connection, heard, &mut steps, &error);
        }
        steps
    }

    /// Calls that were to go on and aren't recorded after all become what they would have been, had that been known
    /// when they were judged.
    fn take_back(&mut self, connection: &mut Connection, heard: &[Heard<'_>], steps: &mut [Step], error: &Unrecorded) {
        for (Heard { said, .. }, step) in heard.iter().zip(steps) {
            let (Step::Forward { call: Some(ticket), .. }, Ok(Some(said))) = (&mut *step, said) else { continue };
            let Asked::Call(frame) = &said.asked else { continue };
            // Some of them may have been handed over with what was refused in between.
            if !ticket.recorded || self.write(ticket.seq).is_ok() {
                continue;
            }
            self.gap.calls += 1;
            let unrecorded = Ticket { recorded: false, ..*ticket };
            if self.manner.on_log_failure == OnLogFailure::Allow {
                tracing::error!(%error, "a call was judged and not recorded");
                connection.call_unrecorded(*ticket);
                *ticket = unrecorded;
                continue;
            }
            self.state.settle(ticket.seq, tollbook_engine::End::Unreachable, None);
            connection.take_call(*ticket);
            *step = log_unavailable(frame, error);
        }
    }

    /// [`Desk::append`], for one of several events that are handed over together.
    pub(super) fn put(&mut self, ts_us: i64, body: &BodyRef<'_>) -> Result<u64, Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        let seq = log.put(ts_us, body)?;
        self.next_seq = seq + 1;
        self.put = Some(seq);
        Ok(seq)
    }

    /// Hands over what was put.
    pub(super) fn hand_over(&mut self) -> Result<(), Unrecorded> {
        self.put.take().map_or(Ok(()), |seq| self.write(seq))
    }

    /// Hands over the event `seq` and those before it.
    pub(super) fn write(&self, seq: u64) -> Result<(), Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        Ok(log.hand_over(seq)?)
    }
}

/// A frame of a client as it was read.
pub(crate) struct Frame<'n> {
    bytes: usize,
    /// None where there is nothing but space.
    node: Result<Option<Node<'n>>, Refused>,
}

impl<'n> Frame<'n> {
    pub(crate) fn read(frame: &'n [u8]) -> Self {
        let node = if frame.trim_ascii().is_empty() { Ok(None) } else { read(frame).map(Some) };
        Self { bytes: frame.len(), node }
    }

    /// None where it can't be read.
    pub(crate) fn node(&self) -> Option<&Node<'n>> {
        self.node.as_ref().ok()?.as_ref()
    }
}

/// What a frame says, if it says anything.
struct Heard<'n> {
    frame_bytes: usize,
    said: Result<Option<Said<'n>>, Refused>,
}

/// Tells what frames say, and has them taken.
fn heard<T>(frames: &[Frame<'_>], headers: &Headers, take: impl FnOnce(&[Heard<'_>]) -> T) -> T {
    let said = |node| said(node).and_then(|said| headers.agree(node).map(|()| said));
    let heard = frames.iter().map(|Frame { bytes, node }| Heard {
        frame_bytes: *bytes,
        said: node.as_ref().map_err(Refused::clone).and_then(|node| node.as_ref().map(said).transpose()),
    });
    take(&heard.collect::<Vec<_>>())
}

/// What becomes of the one frame that was taken.
fn only(steps: Vec<Step>) -> Step {
    steps.into_iter().next().unwrap_or(Step::Drop)
}

#[cfg(test)]
mod tests;
