//! Calls made up from a seed: sessions of a dozen calls over forty tools, two limits over each call, arguments
//! and results that repeat now and then, and nothing kept of the arguments but their hash.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a bench draws from arrays that it knows, and stops where something is wrong"
)]

use tollbook_engine::{Body, End, Hash128, Judge, Kept, LimitFact, Outcome, PolicyHash, Record, RecordedArgs, Verdict};

/// When the first call is made, in microseconds since 1970.
pub const START_US: i64 = 1_795_392_000_000_000;

/// Calls and their outcomes, one after the other.
pub struct Traffic {
    random: fastrand::Rng,
    now_us: i64,
    sessions: Vec<Session>,
    hashes: Vec<Hash128>,
    used: i64,
}

struct Session {
    name: String,
    agent: &'static str,
    calls_left: u32,
    request: u64,
    used: i64,
}

const AGENTS: [&str; 3] = ["claude-code/2.1.4", "support-bot/0.9.0", "codex/1.3.2"];

impl Traffic {
    pub fn new(seed: u64) -> Self {
        let mut traffic = Self {
            random: fastrand::Rng::with_seed(seed),
            now_us: START_US,
            sessions: Vec::new(),
            hashes: Vec::new(),
            used: 0,
        };
        for _ in 0..8 {
            let session = traffic.session();
            traffic.sessions.push(session);
        }
        traffic
    }

    fn session(&mut self) -> Session {
        Session {
            name: format!("{:016x}", self.random.u64(..)),
            agent: AGENTS[self.random.usize(..AGENTS.len())],
            calls_left: self.random.u32(4..20),
            request: 0,
            used: 0,
        }
    }

    /// A hash that was there before in one case of eight.
    pub fn hash(&mut self) -> Hash128 {
        if !self.hashes.is_empty() && self.random.u8(..8) == 0 {
            return self.hashes[self.random.usize(..self.hashes.len())];
        }
        let hash = Hash128(self.random.u128(..).to_le_bytes());
        if self.hashes.len() < 64 {
            self.hashes.push(hash);
        } else {
            let at = self.random.usize(..64);
            self.hashes[at] = hash;
        }
        hash
    }

    fn fact(counter: &str, scope: &str, key: &str, window_s: u64, used: i64, max: i64, now_us: i64) -> LimitFact {
        let window_us = i64::try_from(window_s).unwrap() * 1_000_000;
        LimitFact {
            counter: counter.into(),
            owner: "all tools".into(),
            scope: scope.into(),
            key: key.into(),
            window_s,
            rolling: false,
            window_start_us: now_us - now_us % window_us,
            used_before_micros: used * 1_000_000,
            amount_micros: Some(1_000_000),
            max_micros: max * 1_000_000,
            frees_at_us: None,
            shadow: false,
        }
    }

    /// The record of the next call, and when it is made.
    pub fn record(&mut self) -> (i64, Record) {
        self.now_us += self.random.i64(1_000..900_000);
        let at = self.random.usize(..self.sessions.len());
        if self.sessions[at].calls_left == 0 {
            self.sessions[at] = self.session();
        }
        let (hash, skew) = (self.hash(), self.random.u32(..));
        self.used = if self.now_us % 60_000_000 < 900_000 { 0 } else { self.used + 1 };
        let session = &mut self.sessions[at];
        session.calls_left -= 1;
        session.request += 1;
        session.used += 1;
        let tool = (skew.trailing_zeros() * 3 + skew % 3) % 40;
        let now_us = self.now_us;
        let record = Record {
            session: Some(session.name.clone()),
            grant: Some("support".into()),
            agent: Some(session.agent.into()),
            request_id: Some(session.request.to_string()),
            tool: Some(format!("tool_{tool}")),
            args: RecordedArgs {
                kept: Kept::None,
                json: None,
                keys: Some(vec!["amount".into(), "customer".into()]),
                hash: Some(hash),
                bytes: Some(40 + u64::from(skew % 64)),
            },
            policy: Some(PolicyHash([7; 32])),
            verdict: Some(Verdict::Allow),
            reason: Some("allowed".into()),
            limits: vec![
                Self::fact("all_tools_rate", "grant", "support", 60, self.used, 600, now_us),
                Self::fact("session_hour", "session", &session.name, 3600, session.used, 100, now_us),
            ],
            decide_ns: Some(u64::from(500 + skew % 400)),
            ..Record::new(Judge::Engine, "billing")
        };
        (now_us, record)
    }

    /// How a call ended, and when.
    pub fn outcome(&mut self, call_seq: u64) -> (i64, Body) {
        let upstream_us = self.random.u64(2_000..60_000);
        let outcome = Outcome {
            call_seq,
            end: if self.random.u8(..32) == 0 { End::ToolError } else { End::Ok },
            upstream_us: Some(upstream_us),
            result_bytes: Some(self.random.u64(200..2_000)),
            result_hash: Some(self.hash()),
        };
        self.now_us += i64::try_from(upstream_us).unwrap();
        (self.now_us, Body::Outcome(outcome))
    }
}
