//! The gateway on standard input and output, in front of a server that it starts.
//!
//! One thread for both directions, which takes turns: it waits until either side has said something, takes that to the
//! desk and passes on what becomes of it. Two threads would wake each other, and wait for each other at the desk.
//! Signals are passed on to the server, except the one that asks for the policy to be read anew, and the gateway ends
//! as the server ends.

mod out;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tollbook_log::Recorded;

use crate::desk::{Connection, Desk, End, Frame, Step, Ticket, lock};
use crate::headers::Headers;
use crate::lines::{Line, Lines};
pub use out::ClientOut;
use out::ServerIn;

/// Longest line that is taken from a client, in bytes. A longer one is refused and recorded.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Longest line that is taken from a server, in bytes. One that says more at once isn't listened to any more, and what
/// it owes is lost.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why the gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server's command could not be started.
    #[error("cannot start the server `{command}`")]
    Spawn {
        /// The command as it was given.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system refused something that the gateway can't do without.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a client is told whose tools are others now.
pub(crate) const LIST_CHANGED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// A desk that several connections share.
pub type SharedDesk = Arc<Mutex<Desk>>;

/// Starts the server and relays until it ends. Returns how it ended.
///
/// # Errors
/// Where the server can't be started.
pub async fn run(
    desk: SharedDesk,
    connection: Connection,
    mut command: Command,
    client_in: impl AsFd + Send + 'static,
    client_out: ClientOut,
) -> Result<ExitStatus, RunError> {
    let shown = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(|source| RunError::Spawn { command: shown, source })?;
    let (server_in, server_out) = pipes(&mut child)?;
    let waits_for_sync = lock(&desk).waits_for_sync();
    let relay = Arc::new(Relay { waits_for_sync, desk, connection: Mutex::new(connection), client_out });
    let relaying = Arc::clone(&relay);
    let (over, all_is_told) = oneshot::channel();
    // It reads from the client for as long as that goes on, so this thread is never waited for.
    std::thread::spawn(move || relaying.relay(client_in, server_in, server_out, over));
    let status = wait_and_pass_signals(&mut child).await?;
    // What the server still said before it ended is read to its end.
    if all_is_told.await.is_err() {
        tracing::error!("the thread that relays failed");
    }
    relay.server_gone();
    Ok(status)
}

fn pipes(child: &mut Child) -> Result<(ServerIn, OwnedFd), RunError> {
    let system = |what| move |source| RunError::System { what, source };
    let missing = || io::Error::other("the pipe is missing");
    let input = child.stdin.take().ok_or_else(missing).and_then(|input| input.into_owned_fd());
    let output = child.stdout.take().ok_or_else(missing).and_then(|output| output.into_owned_fd());
    let input = input.and_then(ServerIn::new).map_err(system("write to the server"))?;
    Ok((input, output.map_err(system("read from the server"))?))
}

async fn wait_and_pass_signals(child: &mut Child) -> Result<ExitStatus, RunError> {
    let listen = |kind| signal(kind).map_err(|source| RunError::System { what: "listen for signals", source });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut quit = listen(SignalKind::quit())?;
    loop {
        let passed = tokio::select! {
            status = child.wait() => return status.map_err(|source| RunError::System { what: "wait for the server", source }),
            _ = interrupt.recv() => rustix::process::Signal::INT,
            _ = terminate.recv() => rustix::process::Signal::TERM,
            _ = quit.recv() => rustix::process::Signal::QUIT,
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| rustix::process::kill_process(pid, passed)) {
            tracing::warn!(%error, "a signal was not passed on");
        }
    }
}

/// What a client has not taken yet, at most, before nothing more is heard from it, in bytes.
const UNSAID_BYTES_MAX: usize = 64 << 10;

/// A side that is listened to.
struct Speaker<F> {
    who: &'static str,
    /// None once it has said all.
    from: Option<F>,
    said: Lines,
}

impl<F: AsFd> Speaker<F> {
    fn new(who: &'static str, from: F, line_bytes_max: usize) -> Self {
        Self { who, from: Some(from), said: Lines::new(line_bytes_max) }
    }

    /// To wait until it says more.
    fn poll(&self) -> Option<PollFd<'_>> {
        self.from.as_ref().map(|from| PollFd::new(from, PollFlags::IN))
    }

    fn hear(&mut self) {
        let Some(from) = &self.from else { return };
        let goes_on = self.said.fill(from).unwrap_or_else(|error| {
            tracing::error!(%error, "reading from the {} failed", self.who);
            false
        });
        if !goes_on {
            self.from = None;
        }
    }
}

struct Relay {
    waits_for_sync: bool,
    desk: SharedDesk,
    connection: Mutex<Connection>,
    client_out: ClientOut,
}

impl Relay {
    /// Relays until both sides have said all. `over` is told once the server has, and the client has taken it.
    fn relay(&self, client_in: impl AsFd, server_in: ServerIn, server_out: OwnedFd, over: oneshot::Sender<()>) {
        let mut client = Speaker::new("client", client_in, FRAME_BYTES_MAX);
        let mut server = Speaker::new("server", server_out, ANSWER_BYTES_MAX);
        let (mut server_in, mut over) = (Some(server_in), Some(over));
        loop {
            let unsaid_bytes = self.client_out.unsaid_bytes();
            if server.from.is_none() && unsaid_bytes == 0 {
                over.take().map(|over| over.send(()));
            }
            // A server whose input has ended is about to end.
            server_in = server_in.filter(|server_in| client.from.is_some() || !server_in.is_empty());
            // Nobody is listened to while the other side doesn't take what it is told, so what is held is bounded.
            let server_takes = server_in.as_ref().is_none_or(ServerIn::is_empty);
            let waits = [
                client.poll().filter(|_| server_takes && unsaid_bytes < UNSAID_BYTES_MAX),
                server.poll().filter(|_| unsaid_bytes == 0),
                server_in.as_ref().filter(|_| !server_takes).map(ServerIn::poll),
                (unsaid_bytes > 0).then(|| self.client_out.poll()),
            ];
            let [client_speaks, server_speaks, ..] = match out::wait(waits) {
                Ok(Some(ready)) => ready,
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "neither client nor server can be waited for"),
            };
            if client_speaks {
                client.hear();
            }
            if server_speaks {
                server.hear();
            }
            self.turn(&mut client.said, &mut server, server_in.as_mut());
        }
    }

    /// What was said meanwhile is judged together, with one write to the log, and goes on together.
    fn turn(&self, client: &mut Lines, server: &mut Speaker<OwnedFd>, mut server_in: Option<&mut ServerIn>) {
        let (lines, replies) = (client.whole(), server.said.whole());
        let frames: Vec<_> = lines.iter().map(read).collect();
        // Behind a line that is too long nothing is waited for: it may have no end.
        let too_long =
            server.said.goes_on_too_long() || replies.iter().any(|reply| matches!(reply, Line::TooLong { .. }));
        let whole =
            replies.into_iter().map_while(|reply| if let Line::Frame(reply) = reply { Some(reply) } else { None });
        let replies: Vec<_> = whole.filter(|reply| !is_half(reply)).collect();
        let (returned, steps) = Desk::hear(&self.desk, &self.connection, &replies, &frames, &Headers::default());
        let mut told = Vec::with_capacity(returned.iter().map(|returned| returned.bytes.len() + 1).sum());
        for returned in returned {
            told.extend_from_slice(&returned.bytes);
            if !told.ends_with(b"\n") {
                told.push(b'\n');
            }
        }
        for (line, step) in lines.iter().zip(steps) {
            match (step, line, &mut server_in) {
                (Step::Forward { call, .. }, Line::Frame(frame), Some(server_in)) => server_in.push(frame, call),
                (Step::Answer(answer) | Step::Refuse(answer), ..) => told.extend(answer),
                _ => {}
            }
        }
        let heard = !lines.is_empty();
        client.take();
        server.said.take();
        if too_long {
            tracing::warn!(ANSWER_BYTES_MAX, "a line of the server was longer than may be");
            server.from = None;
        }
        self.client_out.offer(&told);
        if let Some(server_in) = server_in {
            if heard && self.waits_for_sync {
                self.wait_recorded(server_in);
            }
            self.send(server_in);
        }
    }

    fn send(&self, server_in: &mut ServerIn) {
        if let Err((error, lost)) = server_in.send() {
            for (call, partly) in lost {
                tracing::warn!(%error, seq = call.seq, "a call did not reach the server");
                self.not_forwarded(call, if partly { End::Lost } else { End::Unreachable });
            }
        }
    }

    /// Waits until the records of what was just judged are as durable as was asked for, and takes back the calls whose
    /// records are not. One sync serves all of them.
    fn wait_recorded(&self, server_in: &mut ServerIn) {
        let mut unsafe_ones = Vec::new();
        // With the last one, those before it are on the disk as well.
        for call in server_in.calls().rev() {
            let recorded = lock(&self.desk).recorded(call);
            if let Some(Err(error)) = recorded.map(|recorded| recorded.and_then(Recorded::wait))
                && !lock(&self.desk).goes_on_unrecorded()
            {
                tracing::error!(%error, seq = call.seq, "a call was not forwarded because its record is not safe");
                self.not_forwarded(call, End::Unreachable);
                unsafe_ones.push(call);
            }
        }
        if !unsafe_ones.is_empty() {
            server_in.take_back(&unsafe_ones);
        }
    }

    fn not_forwarded(&self, call: Ticket, end: End) {
        let answer = lock(&self.desk).not_forwarded(&mut lock(&self.connection), call, end);
        if let Some(answer) = answer {
            self.client_out.offer(&answer);
        }
    }

    fn server_gone(&self) {
        let answers = lock(&self.desk).server_gone(&mut lock(&self.connection));
        answers.iter().for_each(|answer| self.client_out.say(answer));
    }
}

/// A line of a client as it was read.
fn read<'l>(line: &Line<'l>) -> Frame<'l> {
    match *line {
        Line::Frame(frame) => Frame::read(frame),
        Line::TooLong { bytes } => Frame::too_long(bytes, FRAME_BYTES_MAX),
    }
}

/// Whether a last line broke off. What is told behind it must not become a part of it.
pub(crate) fn is_half(line: &[u8]) -> bool {
    let half = !line.ends_with(b"\n") && tollbook_policy::json::parse(line).is_err();
    if half {
        tracing::warn!("the server ended in the middle of a line");
    }
    half
}

#[cfg(test)]
mod tests;
