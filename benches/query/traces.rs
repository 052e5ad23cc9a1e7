//! Calls made up from a seed in the shape of the real traces: the lengths of their sessions, their ties and
//! their loops, several calls in flight at once, refusals, and a category with each call.
//!
//! Of tau2-bench's sessions one in seventy is stuck, most often with one call that it repeats some eighty times;
//! a neighbouring pair in eight has equal times; a coding agent's sessions are five times as long.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a bench draws from arrays that it knows, and stops where something is wrong"
)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use tollbook_engine::{Body, End, Hash128, Outcome, Record, Verdict};
use tollbook_log::{Durability, Log, Options};

use crate::traffic::Traffic;

/// Calls of a session, by tenths of the sessions: of tau2_runs, and of entire_dev.
const SHORT: [u32; 10] = [1, 4, 5, 6, 8, 10, 12, 14, 18, 23];
const LONG: [u32; 10] = [1, 5, 9, 14, 19, 31, 49, 66, 111, 206];
/// The seed of a log's first instance.
pub const FIRST_SEED: u64 = 7;
/// Calls of a log, unless another number is asked for.
const CALLS: u64 = 10_000_000;
const SESSIONS: usize = 12;
const IN_FLIGHT: usize = 11;
const CATEGORIES: [&str; 10] =
    ["read", "write", "read", "execute", "read", "read", "destructive", "read", "financial", "read"];

/// Calls and their outcomes in the order of one gateway.
pub struct Traces {
    random: fastrand::Rng,
    traffic: Traffic,
    live: Vec<Live>,
    in_flight: VecDeque<(u64, Option<Hash128>)>,
    /// How much later than the first instance's the calls are, in microseconds.
    later_us: i64,
    now_us: i64,
    seq: u64,
}

struct Live {
    name: String,
    grant: String,
    calls_left: u32,
    loops: Option<Loops>,
}

struct Loops {
    /// Calls before it.
    after: u32,
    period: usize,
    calls_left: u32,
    block: Vec<(Option<String>, Option<Hash128>)>,
    result: Hash128,
}

impl Traces {
    fn new(seed: u64, later_us: i64) -> Self {
        let (random, traffic) = (fastrand::Rng::with_seed(seed), Traffic::new(seed));
        let mut traces =
            Self { random, traffic, live: Vec::new(), in_flight: VecDeque::new(), later_us, now_us: 0, seq: 0 };
        for _ in 0..SESSIONS {
            let live = traces.session();
            traces.live.push(live);
        }
        traces
    }

    fn session(&mut self) -> Live {
        let lengths = if self.random.u8(..5) == 0 { LONG } else { SHORT };
        let calls = lengths[self.random.usize(..10)];
        let loops = (self.random.u8(..70) == 0).then(|| Loops {
            after: self.random.u32(..calls),
            period: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4][self.random.usize(..20)],
            calls_left: self.random.u32(64..97),
            block: Vec::new(),
            result: Hash128(self.random.u128(..).to_le_bytes()),
        });
        let calls_left = calls + loops.as_ref().map_or(0, |one| one.calls_left);
        Live {
            name: format!("{:016x}", self.random.u64(..)),
            grant: format!("team-{}", self.random.u8(..5)),
            calls_left,
            loops,
        }
    }

    /// The next event.
    fn next(&mut self) -> (i64, Body) {
        let full = self.in_flight.len() >= IN_FLIGHT;
        if full || !self.in_flight.is_empty() && self.random.bool() {
            return self.outcome();
        }
        let (ts_us, mut record) = self.traffic.record();
        if self.random.u8(..8) != 0 {
            self.now_us = self.now_us.max(ts_us + self.later_us);
        }
        let place = self.random.usize(..SESSIONS);
        if self.live[place].calls_left == 0 {
            self.live[place] = self.session();
        }
        let live = &mut self.live[place];
        live.calls_left -= 1;
        record.session = Some(live.name.clone());
        record.grant = Some(live.grant.clone());
        record.limits[0].key.clone_from(&live.grant);
        record.limits[1].key.clone_from(&live.name);
        let result = live.repeat(&mut record);
        let number =
            record.tool.as_deref().and_then(|tool| tool.strip_prefix("tool_")).map_or(0, |n| n.parse().unwrap());
        record.category = Some(CATEGORIES[number % CATEGORIES.len()].to_owned());
        if self.random.u8(..50) == 0 {
            record.verdict = Some(Verdict::Deny);
            record.reason = Some("limit".to_owned());
            record.rule = Some(format!("/tools/tool_{number}/limits/calls-per-minute"));
        } else {
            self.in_flight.push_back((self.seq, result));
        }
        self.seq += 1;
        (self.now_us, Body::Decision(Box::new(record)))
    }

    /// One of the calls in flight ends.
    fn outcome(&mut self) -> (i64, Body) {
        let (call_seq, same) = self.in_flight.remove(self.random.usize(..self.in_flight.len())).unwrap();
        let (_, mut body) = self.traffic.outcome(call_seq);
        if let (Body::Outcome(Outcome { result_hash, end, .. }), Some(same)) = (&mut body, same) {
            *result_hash = Some(same);
            *end = End::Ok;
        }
        self.seq += 1;
        (self.now_us, body)
    }
}

impl Live {
    /// Where the session is stuck, the call is one of its block; says what comes of it.
    fn repeat(&mut self, record: &mut Record) -> Option<Hash128> {
        let loops = self.loops.as_mut()?;
        if loops.after > 0 {
            loops.after -= 1;
            return None;
        }
        if loops.block.len() < loops.period {
            loops.block.push((record.tool.clone(), record.args.hash));
        }
        let call = loops.block.remove(0);
        (record.tool, record.args.hash) = call.clone();
        loops.block.push(call);
        loops.calls_left -= 1;
        let result = loops.result;
        if loops.calls_left == 0 {
            self.loops = None;
        }
        Some(result)
    }
}

/// The log of `TOLLBOOK_BENCH_LOG`, or else one among the temporary files; made where it isn't there, of
/// `TOLLBOOK_BENCH_CALLS` calls.
pub fn log() -> (PathBuf, Option<tempfile::TempDir>) {
    let calls = std::env::var("TOLLBOOK_BENCH_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
    let (dir, kept) = match std::env::var_os("TOLLBOOK_BENCH_LOG") {
        Some(dir) => (PathBuf::from(dir), None),
        None => {
            let dir = tempfile::tempdir().unwrap();
            (dir.path().to_owned(), Some(dir))
        }
    };
    if !dir.join("manifests").is_dir() {
        record(&dir, FIRST_SEED, calls);
    }
    (dir, kept)
}

/// Writes a sealed log of so many calls, as one instance more of what the directory holds.
pub fn record(dir: &Path, seed: u64, calls: u64) {
    let options = Options { durability: Durability::Relaxed, ..Options::default() };
    let (log, _) = Log::open(dir, options).unwrap();
    let later_days = i64::try_from((seed - FIRST_SEED) * calls.div_ceil(150_000)).unwrap();
    let mut traces = Traces::new(seed, later_days * 86_400_000_000);
    let mut left = calls;
    while left > 0 || !traces.in_flight.is_empty() {
        let (ts_us, body) = if left > 0 { traces.next() } else { traces.outcome() };
        left -= u64::from(matches!(body, Body::Decision(_)));
        log.append(ts_us, body).unwrap();
    }
    log.close().unwrap();
}
