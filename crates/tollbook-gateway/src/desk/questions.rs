//! Questions that servers have asked back, by which the rest of a call is known.
//!
//! Since 2026-07-28 a server answers a call that lacks something with `input_required` and a `requestState`, and the
//! client makes the call again with both. That is one call to whoever counts, so the second try is charged nothing,
//! but only where the state is one that this very server gave to this grant and session for this tool and these
//! arguments, not long ago, and that nobody has used. All that is kept of it is a hash.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tollbook_engine::Hash128;
use tollbook_policy::json::Node;

use super::Connection;

/// Questions that are open. Beyond it the oldest is forgotten, and the rest of its call is charged as a call.
pub const QUESTIONS_MAX: usize = 10_000;

/// How long a question is open, in microseconds.
const OPEN_US: i64 = 3_600_000_000;

/// What a call has to be to be the rest of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub tool: String,
    pub args: Option<Hash128>,
}

type Key = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<Key, Question>,
    /// By the call that was answered with it.
    by_seq: BTreeMap<u64, Key>,
}

#[derive(Debug)]
struct Question {
    seq: u64,
    until_us: i64,
}

impl Questions {
    /// The server answered the call `seq`: remembers what it asked, if it did.
    pub fn hear(&mut self, connection: &Connection, asked: &Asked, seq: u64, result: &Node<'_>, now_us: i64) {
        if result.get("resultType").and_then(Node::as_str) != Some("input_required") {
            return;
        }
        let Some(state) = result.get("requestState").and_then(Node::as_str) else { return };
        if self.by_seq.len() >= QUESTIONS_MAX
            && let Some((_, oldest)) = self.by_seq.pop_first()
        {
            self.open.remove(&oldest);
        }
        let key = key(connection, asked, state);
        let question = Question { seq, until_us: now_us.saturating_add(OPEN_US) };
        if let Some(before) = self.open.insert(key, question) {
            self.by_seq.remove(&before.seq);
        }
        self.by_seq.insert(seq, key);
    }

    /// The call of which this one is the rest.
    pub fn begun_by(&self, connection: &Connection, asked: &Asked, state: &str, now_us: i64) -> Option<u64> {
        let question = self.open.get(&key(connection, asked, state))?;
        (now_us < question.until_us).then_some(question.seq)
    }

    /// A question has its answer, and has no other.
    pub fn answered(&mut self, seq: u64) {
        if let Some(key) = self.by_seq.remove(&seq) {
            self.open.remove(&key);
        }
    }

    /// Forgets everything, because what they are about is in another log.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn key(connection: &Connection, asked: &Asked, state: &str) -> Key {
    let args = asked.args.map(|hash| hash.to_string());
    let parts = [
        Some(connection.server.as_str()),
        connection.grant.as_deref(),
        connection.session.as_deref(),
        Some(asked.tool.as_str()),
        args.as_deref(),
        Some(state),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths first, so that no two lists of parts read the same.
        let part = part.unwrap_or_default();
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
