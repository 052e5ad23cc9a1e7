//! Loops in calls as they stream past, in memory that grows with the sessions and not with the calls.
//!
//! [`Runs`] of the engine says how far the calls repeat themselves; this module only remembers where each
//! run began and what came of its calls. A run ends with the call that breaks it. One that lies inside a
//! run of a smaller period is dropped there and then: the other must still have been running, and be no
//! shorter. Calls without a session are in no loop, because nobody knows what stands between them.

use std::hash::BuildHasher;
use std::num::{NonZeroI64, NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use tollbook_engine::run::{CallId, PERIOD_MAX, Runs};

/// Whole repeats from which on a run is a loop.
pub const REPEATS_MIN: u32 = 3;

/// What is remembered of a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<W> {
    /// Place in the instance's order.
    pub seq: i64,
    /// The tool; None where a frame was too broken to tell.
    pub tool: Option<ToolNumber>,
    /// How it went.
    pub went: W,
}

/// How a call went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Went {
    /// When it was made.
    pub at: Option<Instant>,
    /// Hash of the result; None where it isn't known. One of zero is taken for one of one.
    pub result: Option<NonZeroU64>,
    /// Whether it ended in an error.
    pub error: bool,
}

/// How a call went, or nothing: it is most of what is kept of a session, and often nobody asks for it.
pub trait Kept: Copy + Default + Send + Sync + 'static {
    /// As far as it is kept of how a call went.
    fn of(went: impl FnOnce() -> Went) -> Self;
    /// What is known of it.
    fn went(self) -> Went;
}

impl Kept for Went {
    fn of(went: impl FnOnce() -> Went) -> Self {
        went()
    }

    fn went(self) -> Went {
        self
    }
}

impl Kept for () {
    fn of(_: impl FnOnce() -> Went) -> Self {}

    fn went(self) -> Went {
        Went::default()
    }
}

/// Microseconds since 1970, in no more room where there are none: eight are kept of each session. The least of all
/// numbers is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(NonZeroI64);

impl Instant {
    /// A time in microseconds.
    #[must_use]
    pub fn of_us(us: i64) -> Option<Self> {
        NonZeroI64::new(us ^ i64::MIN).map(Self)
    }

    fn us(self) -> i64 {
        self.0.get() ^ i64::MIN
    }
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

/// What stands for a tool's name.
pub type ToolNumber = NonZeroU32;

/// The tools' names by number, for whoever reads calls and for the detector.
#[derive(Debug, Default)]
pub struct Tools(Mutex<ToolNames>);

#[derive(Debug, Default)]
struct ToolNames {
    by_name: HashMap<Box<str>, ToolNumber, RandomState>,
    names: Vec<Box<str>>,
}

impl Tools {
    /// The number of a tool.
    pub fn number(&self, name: &str) -> ToolNumber {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.by_name.get(name) {
            return *number;
        }
        names.names.push(name.into());
        let number = u32::try_from(names.names.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        names.by_name.insert(name.into(), number);
        number
    }

    fn name(&self, number: ToolNumber) -> String {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(number.get() - 1).unwrap_or(usize::MAX);
        names.names.get(place).map_or_else(String::new, |name| name.to_string())
    }
}

/// Looks for loops in calls that come in the order of each instance.
#[derive(Debug, Default)]
pub struct Detector<W> {
    names: Names,
    by_instance: HashMap<Arc<str>, usize, RandomState>,
    /// The places of all sessions, found by instance and name. The hash is kept, so that growing asks no session.
    places: HashTable<(u64, usize)>,
    hasher: RandomState,
    sessions: Sessions<W>,
    found: Vec<Loop>,
}

/// What numbers stand for.
#[derive(Debug, Default)]
struct Names {
    tools: Arc<Tools>,
    instances: Vec<Arc<str>>,
    /// One after the other.
    sessions: String,
}

impl Names {
    fn of<W>(&self, session: &Session<W>) -> &str {
        self.sessions.get(session.name.clone()).unwrap_or("")
    }
}

/// Sessions in pieces, so that none is ever moved.
#[derive(Debug, Default)]
struct Sessions<W>(Vec<Vec<Session<W>>>);

const PIECE: usize = 1024;

impl<W> Sessions<W> {
    fn len(&self) -> usize {
        self.0.len().saturating_sub(1) * PIECE + self.0.last().map_or(0, Vec::len)
    }

    fn get(&self, place: usize) -> Option<&Session<W>> {
        self.0.get(place / PIECE)?.get(place % PIECE)
    }

    fn get_mut(&mut self, place: usize) -> Option<&mut Session<W>> {
        self.0.get_mut(place / PIECE)?.get_mut(place % PIECE)
    }

    fn push(&mut self, session: Session<W>) {
        match self.0.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(session),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(session);
                self.0.push(piece);
            }
        }
    }
}

#[derive(Debug)]
struct Session<W> {
    instance: usize,
    /// Where its name stands.
    name: Range<usize>,
    /// Calls so far.
    calls: u64,
    runs: Runs,
    recent: Recent<W>,
    /// One for each period with which the last calls repeat.
    running: Vec<Running>,
}

/// The last calls. The newest is written over the oldest, so that nothing is moved.
#[derive(Debug, Default)]
struct Recent<W> {
    calls: [Seen<W>; PERIOD_MAX],
    /// Where the next one goes.
    next: usize,
}

impl<W: Kept> Recent<W> {
    /// The last calls, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = &Seen<W>> {
        let (newer, older) = self.calls.split_at_checked(self.next).unwrap_or((&[], &[]));
        newer.iter().rev().chain(older.iter().rev())
    }

    /// Those that aren't among the last aren't looked at.
    fn push(&mut self, calls: &[Seen<W>]) {
        for call in calls.get(calls.len().saturating_sub(PERIOD_MAX)..).unwrap_or_default() {
            if let Some(oldest) = self.calls.get_mut(self.next) {
                *oldest = *call;
            }
            self.next = (self.next + 1) % PERIOD_MAX;
        }
    }
}

/// A run that goes on.
#[derive(Debug, Clone, Copy)]
struct Running {
    period: usize,
    start_seq: i64,
    start_at: Option<Instant>,
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
    last: Option<Instant>,
}

impl<W: Kept> Detector<W> {
    /// A detector of calls whose tools are numbered by `tools`.
    pub fn new(tools: Arc<Tools>) -> Self {
        Self { names: Names { tools, ..Names::default() }, ..Self::default() }
    }

    /// The number of an instance.
    pub fn instance(&mut self, name: &Arc<str>) -> usize {
        let next = self.names.instances.len();
        let number = *self.by_instance.entry_ref(name).or_insert(next);
        if number == next {
            self.names.instances.push(Arc::clone(name));
        }
        number
    }

    /// The number of a session, by its instance and name.
    pub fn session(&mut self, instance: usize, name: &str) -> usize {
        let Self { names, places, hasher, sessions, .. } = self;
        let hash = hasher.hash_one((instance, name));
        let is_it = |(known_hash, place): &(u64, usize)| {
            let known = if *known_hash == hash { sessions.get(*place) } else { None };
            known.is_some_and(|known| known.instance == instance && names.of(known) == name)
        };
        if let Some((_, place)) = places.find(hash, is_it) {
            return *place;
        }
        let place = sessions.len();
        places.insert_unique(hash, (hash, place), |(hash, _)| *hash);
        let start = names.sessions.len();
        names.sessions.push_str(name);
        sessions.push(Session {
            instance,
            name: start..names.sessions.len(),
            calls: 0,
            runs: Runs::default(),
            recent: Recent::default(),
            running: Vec::new(),
        });
        place
    }

    /// Takes in the next calls of a session, by its number: what each was, which is tool and arguments and None where
    /// either isn't known, and what is to be remembered of it.
    pub fn push(&mut self, session: usize, ids: &[Option<CallId>], seen: &[Seen<W>]) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.push(ids, seen, |session, run| self.found.push(session.told(run, &self.names, false)));
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
        for session in self.sessions.0.iter().flatten() {
            for run in session.running.iter().filter(|run| session.is_loop(run)) {
                self.found.push(session.told(run, &self.names, true));
            }
        }
        self.found
    }

    /// About how much memory is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sessions.0.len() * PIECE * size_of::<Session<W>>()
            + self.names.sessions.capacity()
            + self.places.capacity() * size_of::<(u64, usize)>()
    }
}

/// The identity of a call. The tool's number is spread over all bits by an odd factor, so that equal arguments of
/// two tools never meet.
pub fn call_id(tool: ToolNumber, args: u64) -> CallId {
    let tool = u64::from(tool.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CallId::new(tool ^ args).unwrap_or(CallId::MIN)
}

impl<W: Kept> Session<W> {
    /// Takes in calls, and tells of the loops that they end, before it goes on.
    fn push(&mut self, ids: &[Option<CallId>], seen: &[Seen<W>], mut ended: impl FnMut(&Self, &Running)) {
        let (mut ids, mut seen) = (ids, seen);
        loop {
            // Most calls repeat none.
            let new = self.runs.push_new(ids);
            let (Some((new, rest)), Some((_, rest_of_ids))) = (seen.split_at_checked(new), ids.split_at_checked(new))
            else {
                return;
            };
            self.recent.push(new);
            self.calls = self.calls.saturating_add(u64::try_from(new.len()).unwrap_or(u64::MAX));
            let (Some((id, rest_of_ids)), Some((call, rest))) = (rest_of_ids.split_first(), rest.split_first()) else {
                return;
            };
            self.go_on(*id, call, &mut ended);
            (ids, seen) = (rest_of_ids, rest);
        }
    }

    /// Takes in a call that repeats some, or that comes after one.
    fn go_on(&mut self, id: Option<CallId>, call: &Seen<W>, mut ended: impl FnMut(&Self, &Running)) {
        let before = self.runs.clone();
        self.runs.push(id);
        for run in &self.running {
            if self.runs.length(run.period) == 0 && is_loop(&before, run) {
                ended(self, run);
            }
        }
        let runs = &self.runs;
        self.running.retain(|run| runs.length(run.period) > 0);
        for period in 1..=PERIOD_MAX {
            let length = self.runs.length(period);
            if length == 0 {
                continue;
            }
            let Some(first) = self.recent.newest_first().nth(period - 1).copied() else { continue };
            if usize::try_from(length).is_ok_and(|length| length == period + 1) {
                self.begin(period, &first);
            }
            if let Some(run) = self.running.iter_mut().find(|run| run.period == period) {
                run.take(call.went.went(), first.went.went());
            }
        }
        self.recent.push(std::slice::from_ref(call));
        self.calls = self.calls.saturating_add(1);
    }

    /// A run begins with the last `period` calls, the first of which is `first`.
    fn begin(&mut self, period: usize, first: &Seen<W>) {
        let block = self.recent.newest_first().take(period);
        let errors = block.filter(|call| call.went.went().error).count();
        let calls = u32::try_from(period).unwrap_or(u32::MAX);
        let tally = Tally {
            calls,
            errors: u32::try_from(errors).unwrap_or(u32::MAX),
            results: Results::Same,
            last: self.recent.newest_first().next().and_then(|call| call.went.went().at),
        };
        let start_in_session = self.calls.saturating_sub(u64::from(calls));
        let (start_seq, start_at) = (first.seq, first.went.went().at);
        self.running.push(Running { period, start_seq, start_at, start_in_session, now: tally, whole: tally });
    }

    fn is_loop(&self, run: &Running) -> bool {
        is_loop(&self.runs, run)
    }

    /// A loop whose last call is the newest one.
    fn told(&self, run: &Running, names: &Names, still_running: bool) -> Loop {
        let period = u32::try_from(run.period).unwrap_or(u32::MAX);
        let block = self.recent.newest_first().take(run.period);
        let mut tools: Vec<String> = block.filter_map(|call| Some(names.tools.name(call.tool?))).collect();
        tools.sort_unstable();
        tools.dedup();
        Loop {
            instance: names.instances.get(self.instance).map_or_else(String::new, |name| name.to_string()),
            session: names.of(self).to_owned(),
            start_seq: run.start_seq,
            start_in_session: run.start_in_session,
            period,
            repeats: run.whole.calls.checked_div(period).unwrap_or(0),
            tools,
            errors: run.whole.errors,
            results: run.whole.results,
            span_us: run.whole.last.zip(run.start_at).map(|(last, first)| last.us().saturating_sub(first.us())),
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
    fn take(&mut self, call: Went, before: Went) {
        let results = match (call.result, before.result) {
            (Some(now), Some(then)) if now == then => Results::Same,
            (Some(_), Some(_)) => Results::Differ,
            _ => Results::Unknown,
        };
        self.now.calls = self.now.calls.saturating_add(1);
        self.now.errors = self.now.errors.saturating_add(u32::from(call.error));
        self.now.results = self.now.results.max(results);
        self.now.last = call.at;
        if usize::try_from(self.now.calls).is_ok_and(|calls| calls.is_multiple_of(self.period)) {
            self.whole = self.now;
        }
    }
}

#[cfg(test)]
mod tests;
