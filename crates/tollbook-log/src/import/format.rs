//! The formats that can be taken in, and how one is told from another.

use tollbook_policy::json::{self, Node};

use super::claude_code::ClaudeCode;
use super::found::Fields;
use super::intercept::Intercept;
use super::mcp::Mcp;
use super::order::Call;
use super::{cloudtrail, trace};
use crate::threads;

/// Lines that are looked at to tell a format by its content.
const PROBED_LINES: usize = 50;
/// Lines that one thread reads at once.
const CHUNK_LINES: usize = 512;

/// A format of recorded calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tollbook's own traces, one call a line.
    Trace,
    /// Intercept's event files.
    Intercept,
    /// AWS CloudTrail.
    CloudTrail,
    /// Transcripts of MCP.
    Mcp,
    /// Session files of Claude Code.
    ClaudeCode,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Intercept, Self::CloudTrail, Self::Mcp, Self::ClaudeCode];

    /// The format's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trace => "jsonl",
            Self::Intercept => "intercept",
            Self::CloudTrail => "cloudtrail",
            Self::Mcp => "mcp",
            Self::ClaudeCode => "claude-code",
        }
    }

    /// The format with this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }

    /// Tells the format by how a file begins: the first line that is of one decides. A file that is of none
    /// is read as a trace, so that its lines are rejected with a reason.
    pub(super) fn of(head: &[u8]) -> Self {
        let start = head.trim_ascii_start();
        let has = |mark: &str| start.windows(mark.len()).any(|window| window == mark.as_bytes());
        if start.starts_with(b"{") && has("\"Records\"") && has("\"eventSource\"") {
            return Self::CloudTrail;
        }
        let lines = head.split(|byte| *byte == b'\n').take(PROBED_LINES);
        lines.filter_map(|line| Self::of_line(&json::parse(line.trim_ascii()).ok()?)).next().unwrap_or(Self::Trace)
    }

    fn of_line(node: &Node<'_>) -> Option<Self> {
        let fields = Fields(node);
        let is = |name: &str| fields.word(name).is_some();
        if Mcp::is_message(node) {
            Some(Self::Mcp)
        } else if is("eventSource") && is("eventName") {
            Some(Self::CloudTrail)
        } else if is("instance") && is("type") {
            Some(Self::Intercept)
        } else if ClaudeCode::is_line(node) {
            Some(Self::ClaudeCode)
        } else if is("tool") {
            Some(Self::Trace)
        } else {
            None
        }
    }
}

/// What reads the records of one file, one after the other.
pub(super) struct Source<'a> {
    grant: &'a str,
    records: Records,
}

enum Records {
    Trace(Vec<Call>),
    Intercept(Intercept, Vec<Call>),
    CloudTrail(Vec<Call>),
    Mcp(Mcp),
    ClaudeCode(ClaudeCode),
}

impl<'a> Source<'a> {
    /// `name` is what sessions are named for that have no name of their own.
    pub fn new(format: Format, grant: &'a str, name: &str) -> Self {
        let records = match format {
            Format::Trace => Records::Trace(Vec::new()),
            Format::Intercept => Records::Intercept(Intercept::default(), Vec::new()),
            Format::CloudTrail => Records::CloudTrail(Vec::new()),
            Format::Mcp => Records::Mcp(Mcp::new(name)),
            Format::ClaudeCode => Records::ClaudeCode(ClaudeCode::default()),
        };
        Self { grant, records }
    }

    /// Reads a record, or says why it isn't one.
    pub fn read(&mut self, record: &[u8]) -> Result<(), String> {
        self.read_node(&json::parse(record).map_err(|error| error.to_string())?)
    }

    pub fn read_node(&mut self, node: &Node<'_>) -> Result<(), String> {
        match &mut self.records {
            Records::Trace(calls) => calls.push(trace::read(node, self.grant)?),
            Records::Intercept(intercept, calls) => calls.extend(intercept.read(node, self.grant)?),
            Records::CloudTrail(calls) => calls.push(cloudtrail::read(node, self.grant)?),
            Records::Mcp(mcp) => mcp.read(node, self.grant)?,
            Records::ClaudeCode(session) => session.read(node, self.grant)?,
        }
        Ok(())
    }

    /// Reads records one after the other; says of each why it isn't one.
    pub fn read_all(&mut self, records: &[&[u8]]) -> Vec<Result<(), String>> {
        let Records::Trace(calls) = &mut self.records else {
            return records.iter().map(|record| self.read(record)).collect();
        };
        // Each of these lines stands for itself, so they are read in any order.
        let grant = self.grant;
        let read = |record: &&[u8]| {
            let node = json::parse(record).map_err(|error| error.to_string())?;
            trace::read(&node, grant)
        };
        let chunks: Vec<&[&[u8]]> = records.chunks(CHUNK_LINES).collect();
        let read = threads::each(&chunks, |chunk| chunk.iter().map(read).collect::<Vec<_>>());
        read.into_iter().flatten().map(|read| read.map(|call| calls.push(call))).collect()
    }

    /// Calls so far.
    pub fn len(&self) -> usize {
        match &self.records {
            Records::Trace(calls) | Records::Intercept(_, calls) | Records::CloudTrail(calls) => calls.len(),
            Records::Mcp(mcp) => mcp.pairs.len(),
            Records::ClaudeCode(session) => session.pairs.len(),
        }
    }

    /// The calls, in the order of the source.
    pub fn into_calls(self) -> Vec<Call> {
        match self.records {
            Records::Trace(calls) | Records::Intercept(_, calls) => calls,
            Records::CloudTrail(mut calls) => {
                calls.sort_by_key(|call| call.ts_us);
                calls
            }
            Records::Mcp(mcp) => mcp.pairs.into_calls(),
            Records::ClaudeCode(session) => session.pairs.into_calls(),
        }
    }
}

#[cfg(test)]
mod tests;
