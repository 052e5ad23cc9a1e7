//! Loops in calls as they stream past, in memory that grows with the sessions and not with the calls.
//!
//! [`Runs`] of the engine says how far the calls repeat themselves; this module only remembers where each
//! run began and what came of its calls. A run ends with the call that breaks it. One that lies inside a
//! run of a smaller period is dropped there and then: the other must still have been running, and be no
//! shorter. Calls without a session are in no loop, because nobody knows what stands between them.

use std::num::{NonZeroU32, NonZeroU64};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tollbook_engine::run::{CallId, PERIOD_MAX, Runs};

/// Whole repeats from which on a run is a loop.
pub const REPEATS_MIN: u32 = 3;

/// Calls that are remembered: a block, and the call that breaks its run.
const RECENT: usize = PERIOD_MAX + 1;

/// One call, as far as loops depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Place in the instance's order.
    pub seq: i64,
    /// When it was made, in microseconds.
    pub ts: Option<i64>,
    /// The tool's number in [`Detector::tool`]; None where a frame was too broken to tell.
    pub tool: Option<u32>,
    /// Hash of the canonical arguments; None where they aren't known.
    pub args: Option<u64>,
    /// Whether it ended in an error.
    pub error: bool,
    /// Hash of the result; None where it isn't known.
    pub result: Option<u64>,
}

/// Whether each call had the result of the call a period before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Results {
    /// All of them.
    Same,
    /// Some aren't known, and none is known to differ.
    Unknown,
    /// One at least differs.
    Differ,
}

/// A loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The process that recorded it.
    pub instance: String,
    /// The session.
    pub session: String,
    /// The first call's place in the instance's order.
    pub start_seq: i64,
    /// The first call's place in the session, from 0.
    pub start_in_session: u64,
    /// Calls in the block.
    pub period: u32,
    /// How often the block stands there.
    pub repeats: u32,
    /// The block's tools, sorted.
    pub tools: Vec<String>,
    /// Calls of the loop that ended in an error.
    pub errors: u32,
    /// What came of the calls.
    pub results: Results,
    /// From the first call to the last, in microseconds; None where a time isn't known.
    pub span_us: Option<i64>,
    /// Whether the session's last call is the loop's too.
    pub still_running: bool,
}

/// From this span on, in microseconds, a loop looks like a wait.
const POLLING_SPAN_US: i64 = 3_600_000_000;

/// Whether a loop is a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LooksLike {
    /// The same calls with other results, or spread over an hour or longer: a wait, and not a mistake.
    Polling,
    /// The same calls with the same results.
    Stuck,
    /// Nobody knows what came of the calls.
    Unknown,
}

impl Loop {
    /// What it looks like.
    #[must_use]
    pub fn looks_like(&self) -> LooksLike {
        match self.results {
            Results::Differ => LooksLike::Polling,
            _ if self.span_us.is_some_and(|span| span >= POLLING_SPAN_US) => LooksLike::Polling,
            Results::Same => LooksLike::Stuck,
            Results::Unknown => LooksLike::Unknown,
        }
    }
}

/// Looks for loops in calls that come in the order of each instance.
#[derive(Debug, Default)]
pub struct Detector {
    instances: Names,
    tools: Names,
    /// By instance: its sessions' places in `sessions`.
    by_name: Vec<HashMap<Box<str>, usize, RandomState>>,
    sessions: Vec<Session>,
    found: Vec<Loop>,
}

/// Names by number.
#[derive(Debug, Default)]
struct Names {
    by_name: HashMap<Box<str>, u32, RandomState>,
    names: Vec<Box<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.by_name.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    fn name(&self, number: u32) -> &str {
        usize::try_from(number).ok().and_then(|place| self.names.get(place)).map_or("", |name| name)
    }
}

#[derive(Debug)]
struct Session {
    instance: u32,
    name: Box<str>,
    /// Calls so far.
    calls: u64,
    runs: Runs,
    recent: Recent,
    running: Vec<Running>,
}

/// The last calls. The newest is written over the oldest, so that nothing is moved.
#[derive(Debug, Default)]
struct Recent {
    calls: [Seen; RECENT],
    /// Where the next one goes.
    next: usize,
}

impl Recent {
    /// The last calls, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = &Seen> {
        let (newer, older) = self.calls.split_at_checked(self.next).unwrap_or((&[], &[]));
        newer.iter().rev().chain(older.iter().rev())
    }

    fn push(&mut self, call: Seen) {
        if let Some(oldest) = self.calls.get_mut(self.next) {
            *oldest = call;
        }
        self.next = if self.next + 1 < RECENT { self.next + 1 } else { 0 };
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    seq: i64,
    ts: Option<i64>,
    result: Option<NonZeroU64>,
    tool: Option<NonZeroU32>,
    error: bool,
}

/// A run that goes on.
#[derive(Debug, Clone, Copy)]
struct Running {
    period: usize,
    start: Seen,
    start_in_session: u64,
    now: Tally,
    /// At the end of the last whole repeat.
    whole: Tally,
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    calls: u32,
    errors: u32,
    results: Results,
    last_ts: Option<i64>,
}

impl Detector {
    /// The number of a session, by its instance and name.
    pub fn session(&mut self, instance: &str, name: &str) -> usize {
        let number = self.instances.number(instance);
        let row = usize::try_from(number).unwrap_or(usize::MAX);
        if self.by_name.len() <= row {
            self.by_name.resize_with(row.saturating_add(1), HashMap::default);
        }
        let next = self.sessions.len();
        let Some(names) = self.by_name.get_mut(row) else { return next };
        if let Some(place) = names.get(name) {
            return *place;
        }
        names.insert(name.into(), next);
        self.sessions.push(Session {
            instance: number,
            name: name.into(),
            calls: 0,
            runs: Runs::default(),
            recent: Recent::default(),
            running: Vec::new(),
        });
        next
    }

    /// The number of a tool.
    pub fn tool(&mut self, name: &str) -> u32 {
        self.tools.number(name)
    }

    /// Takes in the next call of a session, by its number.
    pub fn push(&mut self, session: usize, step: Step) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        let tool = step.tool.and_then(|tool| NonZeroU32::new(tool.wrapping_add(1)));
        // A result whose hash is zero is taken for one whose hash is one.
        let result = step.result.map(|result| NonZeroU64::new(result).unwrap_or(NonZeroU64::MIN));
        let seen = Seen { seq: step.seq, ts: step.ts, result, tool, error: step.error };
        let id = step.tool.zip(step.args).map(|(tool, args)| call_id(tool, args));
        for run in session.push(id, seen) {
            let found = session.told(&run, &self.instances, &self.tools, false);
            self.found.push(found);
        }
    }

    /// How many loops ended since [`Self::take`].
    #[must_use]
    pub fn found(&self) -> usize {
        self.found.len()
    }

    /// The loops that ended since this was asked the last time.
    pub fn take(&mut self) -> Vec<Loop> {
        std::mem::take(&mut self.found)
    }

    /// The loops that hadn't ended with the last call.
    #[must_use]
    pub fn finish(mut self) -> Vec<Loop> {
        for session in &self.sessions {
            for run in session.running.iter().filter(|run| session.is_loop(run)) {
                self.found.push(session.told(run, &self.instances, &self.tools, true));
            }
        }
        self.found
    }

    /// About how much memory is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sessions.len() * (size_of::<Session>() + 128) + self.tools.names.len() * 128
    }
}

/// The tool's number is spread over all bits by an odd factor, so that equal arguments of two tools never
/// meet.
fn call_id(tool: u32, args: u64) -> CallId {
    let tool = u64::from(tool).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CallId::new(tool ^ args).unwrap_or(CallId::MIN)
}

impl Session {
    /// Takes in a call, and returns the loops that it ended.
    fn push(&mut self, id: Option<CallId>, seen: Seen) -> Vec<Running> {
        let mut ended = Vec::new();
        let before = if self.running.is_empty() { None } else { Some(self.runs.clone()) };
        self.runs.push(id);
        if let Some(before) = before {
            for run in &self.running {
                if self.runs.length(run.period) == 0 && is_loop(&before, run) {
                    ended.push(*run);
                }
            }
            let runs = &self.runs;
            self.running.retain(|run| runs.length(run.period) > 0);
        }
        for period in 1..=PERIOD_MAX {
            let length = self.runs.length(period);
            if length == 0 {
                continue;
            }
            let Some(first) = self.recent.newest_first().nth(period - 1).copied() else { continue };
            if usize::try_from(length).is_ok_and(|length| length == period + 1) {
                self.begin(period, first);
            }
            if let Some(run) = self.running.iter_mut().find(|run| run.period == period) {
                run.take(&seen, &first);
            }
        }
        self.recent.push(seen);
        self.calls += 1;
        ended
    }

    /// A run begins with the last `period` calls, the first of which is `first`.
    fn begin(&mut self, period: usize, first: Seen) {
        let block = self.recent.newest_first().take(period);
        let errors = block.filter(|call| call.error).count();
        let calls = u32::try_from(period).unwrap_or(u32::MAX);
        let tally = Tally {
            calls,
            errors: u32::try_from(errors).unwrap_or(u32::MAX),
            results: Results::Same,
            last_ts: self.recent.newest_first().next().and_then(|call| call.ts),
        };
        let start_in_session = self.calls.saturating_sub(u64::from(calls));
        self.running.push(Running { period, start: first, start_in_session, now: tally, whole: tally });
    }

    fn is_loop(&self, run: &Running) -> bool {
        is_loop(&self.runs, run)
    }

    fn told(&self, run: &Running, instances: &Names, tools: &Names, still_running: bool) -> Loop {
        let period = u32::try_from(run.period).unwrap_or(u32::MAX);
        // The call that broke the run, if one did, is the newest.
        let block = self.recent.newest_first().skip(usize::from(!still_running)).take(run.period);
        let mut tools: Vec<String> =
            block.filter_map(|call| Some(tools.name(call.tool?.get() - 1).to_owned())).collect();
        tools.sort_unstable();
        tools.dedup();
        Loop {
            instance: instances.name(self.instance).to_owned(),
            session: self.name.to_string(),
            start_seq: run.start.seq,
            start_in_session: run.start_in_session,
            period,
            repeats: run.whole.calls.checked_div(period).unwrap_or(0),
            tools,
            errors: run.whole.errors,
            results: run.whole.results,
            span_us: run.whole.last_ts.zip(run.start.ts).map(|(last, first)| last.saturating_sub(first)),
            still_running,
        }
    }
}

/// Long enough, and not inside a run of a smaller period, which would still be running and be no shorter.
fn is_loop(runs: &Runs, run: &Running) -> bool {
    let length = runs.length(run.period);
    let calls_min = u32::try_from(run.period).unwrap_or(u32::MAX).saturating_mul(REPEATS_MIN);
    length >= calls_min && !(1..run.period).any(|smaller| runs.length(smaller) >= length)
}

impl Running {
    /// The run goes on with a call; `before` is the call a period before it.
    fn take(&mut self, call: &Seen, before: &Seen) {
        let results = match (call.result, before.result) {
            (Some(now), Some(then)) if now == then => Results::Same,
            (Some(_), Some(_)) => Results::Differ,
            _ => Results::Unknown,
        };
        self.now.calls = self.now.calls.saturating_add(1);
        self.now.errors = self.now.errors.saturating_add(u32::from(call.error));
        self.now.results = self.now.results.max(results);
        self.now.last_ts = call.ts;
        if usize::try_from(self.now.calls).is_ok_and(|calls| calls.is_multiple_of(self.period)) {
            self.whole = self.now;
        }
    }
}

#[cfg(test)]
mod tests;
