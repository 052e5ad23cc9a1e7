//! Frames that came together: all of them are read, then judged, then handed over to the log in one write.
//!
//! Only what goes on waits for that write. What is refused is written at once, with all that was judged before it.

use std::sync::Mutex;

use tollbook_engine::BodyRef;
use tollbook_policy::json::Node;

use super::ended::Reply;
use super::{Connection, Desk, OnLogFailure, Returned, Step, Ticket, Unrecorded, lock, log_unavailable};
use crate::frame::{Asked, Refused, Said, read, said};
use crate::headers::Headers;

impl Desk {
    /// Takes one frame of a client, with what HTTP says of it.
    pub fn from_client(&mut self, connection: &mut Connection, frame: &[u8], headers: &Headers) -> Step {
        let steps = heard(&[Frame::read(frame)], headers, |heard| self.turn(connection, Vec::new(), heard, headers).1);
        only(steps, Step::Drop)
    }

    /// Takes one frame of the server, and returns what the client is to get.
    pub fn from_server<'f>(&mut self, connection: &mut Connection, frame: &'f [u8]) -> Returned<'f> {
        let (returned, _) = self.turn(connection, vec![Reply::read(frame)], &[], &Headers::default());
        only(returned, Returned { bytes: frame.into(), answers: None })
    }

    /// [`Desk::from_client`], at a desk that others share: the frame was read before anything is locked.
    pub(crate) fn hear_client(
        desk: &Mutex<Self>,
        connection: &Mutex<Connection>,
        frame: Frame<'_>,
        headers: &Headers,
    ) -> Step {
        let (_, steps) = Self::hear(desk, connection, &[], &[frame], headers);
        only(steps, Step::Drop)
    }

    /// [`Desk::from_server`], at a desk that others share: the frame is read before anything is locked.
    pub(crate) fn hear_server<'f>(desk: &Mutex<Self>, connection: &Mutex<Connection>, frame: &'f [u8]) -> Returned<'f> {
        let (returned, _) = Self::hear(desk, connection, &[frame], &[], &Headers::default());
        only(returned, Returned { bytes: frame.into(), answers: None })
    }

    /// Takes what a server and its client have said meanwhile: one write to the log for all the calls that end, and all
    /// that go on. Nothing may be done with any before this returns.
    pub(crate) fn hear<'f>(
        desk: &Mutex<Self>,
        connection: &Mutex<Connection>,
        replies: &[&'f [u8]],
        frames: &[Frame<'_>],
        headers: &Headers,
    ) -> (Vec<Returned<'f>>, Vec<Step>) {
        let replies = replies.iter().map(|frame| Reply::read(frame)).collect();
        heard(frames, headers, |heard| lock(desk).turn(&mut lock(connection), replies, heard, headers))
    }

    fn turn<'f>(
        &mut self,
        connection: &mut Connection,
        replies: Vec<Reply<'f>>,
        heard: &[Heard<'_>],
        headers: &Headers,
    ) -> (Vec<Returned<'f>>, Vec<Step>) {
        if !heard.is_empty() {
            // Not between them: those that were put are in the log that was there.
            self.mend_log();
        }
        let (now, ends) = (self.now(), !replies.is_empty());
        let returned = replies.into_iter().map(|reply| self.returned(connection, reply, now)).collect();
        let mut steps = Vec::with_capacity(heard.len());
        for Heard { frame_bytes, said } in heard {
            let step = said.as_ref().map_err(Refused::clone).and_then(|said| match said {
                Some(said) => self.judge(connection, said, headers, now.us),
                None => Ok(Step::Forward { call: None, request: None }),
            });
            steps.push(step.unwrap_or_else(|refused| self.refuse_frame(connection, *frame_bytes, &refused, now.us)));
        }
        if let Err(error) = self.hand_over() {
            if ends {
                // The log takes nothing more, so that nothing that it has was judged with them.
                tracing::error!(%error, "the end of a call was not recorded");
            }
            self.take_back(connection, heard, &mut steps, &error);
        }
        (returned, steps)
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
            *step = log_unavailable(said, frame, error);
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

    /// One of so many bytes, of which no more was kept.
    pub(crate) fn too_long(bytes: usize, bytes_max: usize) -> Self {
        let why = format!("{bytes} bytes; at most {bytes_max} are taken");
        Self { bytes, node: Err(Refused { code: "frame_too_large", why }) }
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
fn only<T>(all: Vec<T>, none: T) -> T {
    all.into_iter().next().unwrap_or(none)
}

#[cfg(test)]
mod tests;
