//! How an operator reaches a running gateway: a Unix socket that only its owner may open.
//!
//! One request a connection, one line of JSON each way. What an operator does is an event of the log
//! before it takes effect, like a decision, so that a replay does it too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::desk::lock;
use crate::stdio::SharedDesk;

/// Where the sockets of a log's gateways are, below the log's directory.
pub const DIR: &str = "control";

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// How long a slow operator may take over one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an operator asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The calls that wait for an answer.
    Approvals,
    /// Answers one of them.
    Answer {
        /// Its id.
        approval: String,
        /// Whether the call may pass.
        approved: bool,
        /// Who says so.
        by: Option<String>,
    },
    /// What counters hold.
    Counters {
        /// The counter's name; none means every counter.
        counter: Option<String>,
        /// The scope's value; none means every one.
        key: Option<String>,
    },
    /// Empties counters.
    Reset {
        /// The counter's name; none means every counter.
        counter: Option<String>,
        /// The scope's value; none means every one.
        key: Option<String>,
        /// Who does it.
        by: Option<String>,
    },
    /// Stops a grant's calls, or lets them go on.
    Freeze {
        /// The grant.
        grant: String,
        /// Stops them.
        frozen: bool,
        /// Who does it.
        by: Option<String>,
    },
}

/// What an operator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The calls that wait.
    Approvals(Vec<Held>),
    /// What counters hold, at most [`COUNTERS_MAX`] of them.
    Counters(Vec<Counter>),
    /// It was done, and is event `seq` of the log.
    Done {
        /// Its sequence number.
        seq: u64,
    },
    /// It was not done.
    Refused(String),
}

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The approval's id.
    pub approval: String,
    /// The tool.
    pub tool: String,
    /// The arguments as they came, at most [`SHOWN_BYTES_MAX`] of them.
    pub args: String,
    /// The grant.
    pub grant: String,
    /// The conversation.
    pub session: String,
    /// The client program.
    pub agent: Option<String>,
    /// The clause that holds it.
    pub rule: Option<String>,
    /// When it was asked for, in microseconds since 1970.
    pub asked_us: i64,
    /// When it can no longer be answered, in microseconds since 1970.
    pub expires_us: i64,
}

/// What one counter holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The server.
    pub server: String,
    /// The counter's name.
    pub counter: String,
    /// The tool, where tools are counted apart; empty otherwise.
    pub tool: String,
    /// The scope's value: the grant's name, the session's, ….
    pub key: String,
    /// Length of the window, in seconds.
    pub window_s: i64,
    /// Exact rolling window rather than one aligned in UTC.
    pub rolling: bool,
    /// What it holds, in millionths of a call or unit.
    pub used_micros: i64,
}

/// Most counters that an operator is told of at once.
pub const COUNTERS_MAX: usize = 1_000;

/// Most counters that are looked at for one request, because calls wait meanwhile.
pub const COUNTERS_LOOKED_AT_MAX: usize = 1_000_000;

/// Most bytes of arguments that an operator is shown.
pub const SHOWN_BYTES_MAX: usize = 16 << 10;

/// A socket that is open, removed when it is dropped.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever finds a socket that nobody listens on is told so.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens in `log`'s directory, for as long as what it returns lives.
///
/// # Errors
/// Where the socket can't be made, as when the path is longer than the system takes.
pub fn listen(log: &Path, instance: &str, desk: SharedDesk) -> io::Result<Socket> {
    let dir = log.join(DIR);
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = dir.join(format!("{instance}.sock"));
    let listener = UnixListener::bind(&path)?;
    let socket = Socket(path);
    std::fs::set_permissions(&socket.0, std::fs::Permissions::from_mode(0o600))?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(|stream| serve(&desk, &stream)) {
                tracing::warn!(%error, "an operator's request was not answered");
            }
        }
    });
    Ok(socket)
}

fn serve(desk: &SharedDesk, stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => lock(desk).operate(request),
        Err(error) => Response::Refused(format!("the request can't be read: {error}")),
    };
    let mut stream = stream;
    stream.write_all((serde_json::to_string(&response)? + "\n").as_bytes())
}

/// Puts a request to every gateway that writes a log, and returns each one's name with its answer. A socket
/// that nobody listens on is passed over.
///
/// # Errors
/// Where the directory or a socket can't be read.
pub fn ask(log: &Path, request: &Request) -> io::Result<Vec<(String, Response)>> {
    let entries = match std::fs::read_dir(log.join(DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    let mut answers = Vec::new();
    for path in paths {
        let mut stream = match UnixStream::connect(&path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            stream => stream?,
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all((serde_json::to_string(request)? + "\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let instance = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        answers.push((instance, serde_json::from_str(&line)?));
    }
    Ok(answers)
}
