//! The one order of imported calls and outcomes.
//!
//! Within a session the order is the source's: by `seq` where all of the session's calls have one, else
//! as they stand in the file. Sessions are merged by time, ties by the sessions' own order: (first
//! time, name). A call that is said to be earlier than one before it in its session keeps its place,
//! as does one without a time; a session without any time comes after all others. So ordering moves
//! calls, never their times. An outcome comes after its call at the time when it was done,
//! before calls that began at the same time, or directly after its call where the time isn't known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use tollbook_engine::{Body, Event, Outcome};

/// An imported call.
pub(super) struct Call {
    pub session: Option<String>,
    /// Place within the session.
    pub seq: Option<u64>,
    pub ts_us: Option<i64>,
    /// Canonical bytes of the call's event, its sequence number 0: smaller than the record itself.
    pub record: Vec<u8>,
    pub done: Option<Done>,
}

/// What has its place.
pub(super) enum Ordered {
    /// A call's canonical bytes.
    Call {
        ts_us: Option<i64>,
        record: Vec<u8>,
    },
    Outcome(Event),
}

/// How an imported call ended.
pub(super) struct Done {
    pub ts_us: Option<i64>,
    /// The call's sequence number isn't known yet.
    pub outcome: Outcome,
}

/// Imported calls, by session.
#[derive(Default)]
pub(super) struct Calls {
    sessions: BTreeMap<Option<String>, Vec<Call>>,
    count: usize,
}

impl Calls {
    pub fn push(&mut self, mut call: Call) {
        self.count += 1;
        self.sessions.entry(call.session.take()).or_default().push(call);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The records, numbered from `first_seq`.
    pub fn into_records(self, first_seq: u64) -> impl Iterator<Item = Ordered> {
        let mut calls = self.in_order().into_iter().peekable();
        let mut pending: BTreeMap<u64, Done> = BTreeMap::new();
        let mut by_time: BinaryHeap<Reverse<(i64, u64)>> = BinaryHeap::new();
        let mut next_seq = first_seq;
        // The call just given out, where its outcome follows directly.
        let mut direct: Option<u64> = None;
        std::iter::from_fn(move || {
            let seq = next_seq;
            next_seq += 1;
            let call_us = calls.peek().map_or(i64::MAX, |(call_us, _)| *call_us);
            let due = direct.take().or_else(|| {
                let Reverse((time, _)) = by_time.peek()?;
                if *time <= call_us { by_time.pop().map(|Reverse((_, call_seq))| call_seq) } else { None }
            });
            if let Some((call_seq, done)) = due.and_then(|call_seq| Some((call_seq, pending.remove(&call_seq)?))) {
                let outcome = Outcome { call_seq, ..done.outcome };
                return Some(Ordered::Outcome(Event { seq, ts_us: done.ts_us, body: Body::Outcome(outcome) }));
            }
            let (time, call) = calls.next()?;
            if let Some(done) = call.done {
                match done.ts_us {
                    None => direct = Some(seq),
                    Some(done_us) => by_time.push(Reverse((done_us.max(time), seq))),
                }
                pending.insert(seq, done);
            }
            Some(Ordered::Call { ts_us: call.ts_us, record: numbered(&call.record, seq) })
        })
    }

    /// The calls with the times at which they are merged.
    fn in_order(self) -> Vec<(i64, Call)> {
        let mut sessions: Vec<(i64, Vec<Call>)> = Vec::with_capacity(self.sessions.len());
        for mut calls in self.sessions.into_values() {
            if calls.iter().all(|call| call.seq.is_some()) {
                calls.sort_by_key(|call| call.seq);
            }
            let first_us = calls.iter().find_map(|call| call.ts_us).unwrap_or(i64::MAX);
            sessions.push((first_us, calls));
        }
        // Stable, so that equal times leave them in order of name.
        sessions.sort_by_key(|(first_us, _)| *first_us);
        let mut merged = Vec::with_capacity(self.count);
        for (first_us, calls) in sessions {
            let mut time = first_us;
            for call in calls {
                time = time.max(call.ts_us.unwrap_or(time));
                merged.push((time, call));
            }
        }
        // Stable again: at one time, the order of sessions, and of calls within them.
        merged.sort_by_key(|(time, _)| *time);
        merged
    }
}

/// The canonical bytes of an event whose number was 0, with its number. Before it stands only the head of the
/// event's list of fields, and 0 is a byte by itself.
fn numbered(record: &[u8], seq: u64) -> Vec<u8> {
    const SEQ_BYTES_MAX: usize = 9;
    let (head, fields) = record.split_at_checked(2).unwrap_or_default();
    let mut bytes = Vec::with_capacity(record.len() + SEQ_BYTES_MAX);
    bytes.extend(head.first());
    // Writing to memory cannot fail.
    let written = minicbor::encode(seq, &mut bytes);
    debug_assert!(written.is_ok() && head.last() == Some(&0), "a record that was numbered before");
    bytes.extend_from_slice(fields);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::decision;

    #[test]
    fn numbering_gives_the_events_own_bytes() {
        for seq in [0, 1, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            let event = Event { seq, ..decision(0) };
            assert_eq!(numbered(&decision(0).to_bytes(), seq), event.to_bytes());
        }
    }
}
