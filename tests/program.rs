//! What the tests share: the program, directories that go away, and a client of our own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

pub const TOLLBOOK: &str = env!("CARGO_BIN_EXE_tollbook");

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The records and catalogs beside the checkout; None, said aloud, where there are none.
pub fn shared() -> Option<PathBuf> {
    let shared = root().join("../shared");
    if !shared.is_dir() {
        eprintln!("skipped: no ../shared");
        return None;
    }
    Some(shared)
}

pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Ended with 2, an empty answer and an error that says this.
    #[track_caller]
    pub fn cannot(self, says: &str) {
        assert_eq!(self.code, Some(2), "{}{}", self.out, self.err);
        assert!(self.err.starts_with("error: ") || self.err.contains("\nerror: "), "{}", self.err);
        assert!(self.err.contains(says), "expected `{says}` in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// Runs the program to its end, with nothing on its input.
pub fn tollbook(args: &[&str]) -> Ran {
    ran(Command::new(TOLLBOOK).args(args).stdin(Stdio::null()).output().unwrap())
}

pub fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A directory with files in it, gone at the end of the test.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }
}

/// A client at one end of a server, or of the gateway in front of it.
pub struct Client {
    pub child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    pub fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The gateway with this policy, in front of the demo's own server.
    pub fn through_gateway(policy: &str, log: &str) -> Self {
        Self::start(TOLLBOOK, &["run", "--policy", policy, "--log", log, "--", TOLLBOOK, "demo-server"])
    }

    pub fn send(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
    }

    /// Sends lines while what comes back is read, and then hangs up.
    pub fn send_meanwhile(&mut self, lines: Vec<String>) -> std::thread::JoinHandle<()> {
        let mut input = self.input.take().unwrap();
        std::thread::spawn(move || lines.iter().for_each(|line| writeln!(input, "{line}").unwrap()))
    }

    /// The next line, without its end; empty at the end of the output.
    pub fn receive(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line.as_bytes());
        self.receive()
    }

    pub fn call(&mut self, id: u64, tool: &str, args: &str) -> String {
        self.ask(&call(id, tool, args))
    }

    /// Hangs up, and returns what was still said and how it ended.
    pub fn end(mut self) -> Ran {
        drop(self.input.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Ran { code: output.status.code(), out: rest, err: String::from_utf8(output.stderr).unwrap() }
    }
}

pub fn call(id: u64, tool: &str, args: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{args}}}}}"#)
}

/// The answer to a query, one line of comma-separated values a row.
#[track_caller]
pub fn query(log: &str, sql: &str) -> Vec<String> {
    let out = tollbook(&["query", "--log", log, "--format", "csv", sql]).ok();
    out.lines().skip(1).map(str::to_owned).collect()
}
