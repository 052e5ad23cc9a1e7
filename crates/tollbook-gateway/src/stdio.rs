//! The gateway on standard input and output, in front of a server that it starts.
//!
//! Two threads, one for each direction, because that is what a pipe costs least with: each reads a line,
//! takes it to the desk and writes what becomes of it. Signals are passed on to the server, except the
//! one that asks for the policy to be read anew, and the gateway ends as the server ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tollbook_log::Recorded;

use crate::desk::{Connection, Desk, End, Frame, Step, Ticket, lock};
use crate::headers::Headers;

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

/// Where a client on standard input and output listens; whoever has it may say a whole line.
#[derive(Clone)]
pub struct ClientOut(Arc<Mutex<Box<dyn Write + Send>>>);

impl ClientOut {
    /// Lines go there.
    #[must_use]
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(to))))
    }

    /// Tells the client that it sees other tools now.
    pub fn tools_changed(&self) {
        self.say(&[LIST_CHANGED, b"\n"].concat());
    }

    pub(crate) fn say(&self, line: &[u8]) {
        let mut client = lock(&self.0);
        if let Err(error) = client.write_all(line).and_then(|()| client.flush()) {
            tracing::warn!(%error, "the client no longer listens");
        }
    }
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
    client_in: impl Read + Send + 'static,
    client_out: ClientOut,
) -> Result<ExitStatus, RunError> {
    let shown = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(|source| RunError::Spawn { command: shown, source })?;
    let (server_in, server_out) = pipes(&mut child)?;
    let waits_for_sync = lock(&desk).waits_for_sync();
    let relay = Arc::new(Relay { waits_for_sync, desk, connection: Mutex::new(connection), client_out });
    let upward = Arc::clone(&relay);
    // Reading from a client can't be interrupted, so this thread is never waited for.
    std::thread::spawn(move || upward.client_to_server(BufReader::with_capacity(BATCH_BYTES, client_in), server_in));
    let downward = Arc::clone(&relay);
    let answers =
        std::thread::spawn(move || downward.server_to_client(BufReader::with_capacity(BATCH_BYTES, server_out)));
    let status = wait_and_pass_signals(&mut child).await?;
    // What the server still said before it ended is read to its end.
    if tokio::task::spawn_blocking(move || answers.join()).await.is_err() {
        tracing::error!("the thread that relays answers failed");
    }
    relay.server_gone();
    Ok(status)
}

type Pipes = (Box<dyn Write + Send>, Box<dyn Read + Send>);

fn pipes(child: &mut Child) -> Result<Pipes, RunError> {
    let system = |what| move |source| RunError::System { what, source };
    let missing = || io::Error::other("the pipe is missing");
    let input = child.stdin.take().ok_or_else(missing).and_then(|input| input.into_owned_fd());
    let output = child.stdout.take().ok_or_else(missing).and_then(|output| output.into_owned_fd());
    let input = input.map_err(system("write to the server"))?;
    let output = output.map_err(system("read from the server"))?;
    Ok((Box::new(std::fs::File::from(input)), Box::new(std::fs::File::from(output))))
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

/// Lines that came together are judged and go on together, up to so many bytes: each write to the log costs a call of
/// the system, and under load each write to a pipe wakes somebody.
const BATCH_BYTES: usize = 64 << 10;

/// Lines that came together, as they came.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Reads a line, and those that have come with it. What came last isn't among them where it isn't a line.
    fn read<R: Read>(
        &mut self,
        from: &mut BufReader<R>,
        read_line: impl Fn(&mut BufReader<R>, &mut Vec<u8>) -> io::Result<Line>,
    ) -> io::Result<Line> {
        loop {
            match read_line(from, &mut self.bytes)? {
                Line::Frame => self.ends.push(self.bytes.len()),
                other => return Ok(other),
            }
            if self.bytes.len() >= BATCH_BYTES || !from.buffer().contains(&b'\n') {
                return Ok(Line::Frame);
            }
        }
    }

    fn all(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end)).collect()
    }
}

/// Frames that were judged and are about to go to the server.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The calls among them, each with its place.
    calls: Vec<(Ticket, Range<usize>)>,
}

impl Batch {
    fn push(&mut self, frame: &[u8], call: Option<Ticket>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.calls.extend(call.map(|call| (call, start..self.bytes.len())));
    }
}

struct Relay {
    waits_for_sync: bool,
    desk: SharedDesk,
    connection: Mutex<Connection>,
    client_out: ClientOut,
}

impl Relay {
    fn client_to_server(&self, mut client: BufReader<impl Read>, mut server: Box<dyn Write + Send>) {
        let headers = Headers::default();
        let (mut lines, mut batch) = (Lines::default(), Batch::default());
        loop {
            lines.clear();
            let last = lines.read(&mut client, read_frame);
            let frames = lines.all();
            let read: Vec<_> = frames.iter().map(|frame| Frame::read(frame)).collect();
            let steps = Desk::hear_client_frames(&self.desk, &self.connection, &read, &headers);
            for (frame, step) in frames.into_iter().zip(steps) {
                self.take(step, frame, &mut batch);
            }
            self.forward(&mut server, &mut batch);
            match last {
                Ok(Line::Frame) => {}
                Ok(Line::End) => return,
                Ok(Line::TooLong { bytes }) => {
                    let step = lock(&self.desk).too_large(&lock(&self.connection), bytes, FRAME_BYTES_MAX);
                    self.take(step, &[], &mut batch);
                }
                Err(error) => {
                    tracing::error!(%error, "reading from the client failed");
                    return;
                }
            }
        }
    }

    fn take(&self, step: Step, frame: &[u8], batch: &mut Batch) {
        match step {
            Step::Forward { call, .. } => batch.push(frame, call),
            Step::Answer(answer) | Step::Refuse(answer) => self.tell_client(&answer),
            Step::Drop => {}
        }
    }

    /// Sends what was judged, once the records are as durable as was asked for: one sync serves all of them.
    fn forward(&self, server: &mut impl Write, batch: &mut Batch) {
        if self.waits_for_sync {
            self.wait_recorded(batch);
        }
        let mut written = 0;
        let sent = write_counted(server, &batch.bytes, &mut written).and_then(|()| server.flush());
        if let Err(error) = sent {
            for (call, place) in batch.calls.iter().filter(|(_, place)| place.end > written) {
                tracing::warn!(%error, seq = call.seq, "a call did not reach the server");
                self.not_forwarded(*call, if place.start >= written { End::Unreachable } else { End::Lost });
            }
        }
        batch.bytes.clear();
        batch.calls.clear();
    }

    /// Takes out of a batch the calls whose records are not safe.
    fn wait_recorded(&self, batch: &mut Batch) {
        // With the last one, those before it are on the disk as well.
        let calls = std::mem::take(&mut batch.calls);
        let mut unsafe_ones = Vec::new();
        for (call, place) in calls.iter().rev() {
            let recorded = lock(&self.desk).recorded(*call);
            if let Some(Err(error)) = recorded.map(|recorded| recorded.and_then(Recorded::wait))
                && !lock(&self.desk).goes_on_unrecorded()
            {
                tracing::error!(%error, seq = call.seq, "a call was not forwarded because its record is not safe");
                self.not_forwarded(*call, End::Unreachable);
                unsafe_ones.push(place.clone());
            }
        }
        if unsafe_ones.is_empty() {
            batch.calls = calls;
            return;
        }
        let all = std::mem::take(&mut batch.bytes);
        let mut from = 0;
        for (call, place) in calls {
            batch.bytes.extend_from_slice(all.get(from..place.start).unwrap_or_default());
            if !unsafe_ones.contains(&place) {
                batch.push(all.get(place.clone()).unwrap_or_default(), Some(call));
            }
            from = place.end;
        }
        batch.bytes.extend_from_slice(all.get(from..).unwrap_or_default());
    }

    fn not_forwarded(&self, call: Ticket, end: End) {
        let answer = lock(&self.desk).not_forwarded(&mut lock(&self.connection), call, end);
        if let Some(answer) = answer {
            self.tell_client(&answer);
        }
    }

    fn server_to_client(&self, mut server: BufReader<impl Read>) {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        loop {
            lines.clear();
            let last = lines.read(&mut server, read_answer);
            for returned in Desk::hear_server_frames(&self.desk, &self.connection, &lines.all()) {
                told.extend_from_slice(&returned.bytes);
                if !told.ends_with(b"\n") {
                    told.push(b'\n');
                }
            }
            if !told.is_empty() {
                self.tell_client(&told);
                told.clear();
            }
            match last {
                Ok(Line::End) => return,
                Ok(Line::Frame | Line::TooLong { .. }) => {}
                Err(error) => {
                    tracing::error!(%error, "reading from the server failed");
                    return;
                }
            }
        }
    }

    fn server_gone(&self) {
        let answers = lock(&self.desk).server_gone(&mut lock(&self.connection));
        answers.iter().for_each(|answer| self.tell_client(answer));
    }

    fn tell_client(&self, line: &[u8]) {
        self.client_out.say(line);
    }
}

/// Whether a last line broke off. What is told behind it must not become a part of it.
pub(crate) fn is_half(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && tollbook_policy::json::parse(line).is_err()
}

pub(crate) enum Line {
    Frame,
    /// More than may be; it was read to its end and dropped.
    TooLong {
        bytes: usize,
    },
    End,
}

/// Adds one line of a client to `frame`, its end included.
pub(crate) fn read_frame(client: &mut impl BufRead, frame: &mut Vec<u8>) -> io::Result<Line> {
    read_line(client, frame, FRAME_BYTES_MAX)
}

/// Adds one line of at most `bytes_max` bytes to `frame`, its end included.
pub(crate) fn read_line(client: &mut impl BufRead, frame: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
    let start = frame.len();
    let most = u64::try_from(bytes_max.saturating_add(1)).unwrap_or(u64::MAX);
    let read = client.by_ref().take(most).read_until(b'\n', frame)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if read <= bytes_max || frame.ends_with(b"\n") {
        return Ok(Line::Frame);
    }
    frame.truncate(start);
    Ok(Line::TooLong { bytes: read + client.skip_until(b'\n')? })
}

/// Adds one line of the server.
fn read_answer(server: &mut impl BufRead, frame: &mut Vec<u8>) -> io::Result<Line> {
    let start = frame.len();
    let most = u64::try_from(ANSWER_BYTES_MAX.saturating_add(1)).unwrap_or(u64::MAX);
    let read = server.by_ref().take(most).read_until(b'\n', frame)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if read > ANSWER_BYTES_MAX {
        tracing::warn!(ANSWER_BYTES_MAX, "a line of the server was longer than may be");
        // It may have no end, so nothing behind it is waited for.
        frame.truncate(start);
        return Ok(Line::End);
    }
    if is_half(frame.get(start..).unwrap_or_default()) {
        tracing::warn!("the server ended in the middle of a line");
        return Ok(Line::End);
    }
    Ok(Line::Frame)
}

fn write_counted(to: &mut impl Write, mut bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                *written += count;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
