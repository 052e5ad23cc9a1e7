//! Recorded calls in columns, on which a limit that stands alone is counted rather than judged.
//!
//! What a limit lets through depends on the calls of its key alone, so the calls are laid out by key once;
//! every window then takes one pass over times that lie side by side. In a plain window the n-th call is
//! refused by each maximum below n, so one count of places answers for all maxima. In a rolling window only
//! what was let through counts, so each maximum is followed by itself.
//!
//! [`Columns::lay_out`] says where that isn't the whole truth (units were given back, an operator reset a
//! counter, the engine's bounds were in reach): there the events must be replayed.

use std::collections::BTreeSet;
use std::hash::Hash;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::{Equivalent, HashMap};
use tollbook_engine::{Body, BodyRef, Bounds, End, EventRef, Judge, Reads, RecordRef};
use tollbook_policy::Category;
use tollbook_policy::policy::{Scope, Selector};

use crate::named::Named;
use crate::sweep::Label;

/// A name that isn't known.
const NONE: u32 = u32::MAX;
const DAY_US: i64 = 86_400_000_000;
/// A time that isn't known.
const NO_TIME: i64 = i64::MIN;

/// Recorded calls in columns: 33 bytes a call.
#[derive(Debug, Default)]
pub struct Columns {
    at_us: Vec<i64>,
    kind: Vec<u32>,
    grant: Vec<u32>,
    session: Vec<u32>,
    agent: Vec<u32>,
    instance: Vec<u32>,
    label: Vec<Label>,
    kinds: HashMap<Kind, u32, RandomState>,
    grants: Named<()>,
    /// A session of another instance is another one.
    sessions: Named<()>,
    agents: Named<()>,
    instances: u32,
    /// Of the instance that is read: its calls' sequence numbers, from which place on, and the last time.
    seqs: Vec<u64>,
    begins: usize,
    latest_us: i64,
    given_back: BTreeSet<u32>,
    reset: bool,
    unordered: bool,
    continued: bool,
}

/// What a limit's selectors and counters go by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    server: String,
    tool: String,
    category: String,
}

/// A kind, looked up without making one: there is one look-up for each call.
#[derive(Hash)]
struct KindRef<'a> {
    server: &'a str,
    tool: &'a str,
    category: &'a str,
}

impl Equivalent<Kind> for KindRef<'_> {
    fn equivalent(&self, kind: &Kind) -> bool {
        self.tool == kind.tool && self.server == kind.server && self.category == kind.category
    }
}

impl From<&KindRef<'_>> for Kind {
    fn from(kind: &KindRef<'_>) -> Self {
        Self { server: kind.server.to_owned(), tool: kind.tool.to_owned(), category: kind.category.to_owned() }
    }
}

/// Why counting would not give the engine's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inexact {
    /// Calls never reached their tool, and gave their units back.
    GivenBack,
    /// An operator reset counters.
    Reset,
    /// Times go back within an instance.
    Unordered,
    /// Calls are the rest of others, and weren't charged.
    Continued,
    /// The engine's bounds are in reach.
    Bounds,
}

impl Columns {
    /// What is read of each call.
    pub const READS: Reads = Reads { args: false, args_hash: false, decision: false, result_hash: false, rest: false };

    /// The events of another instance follow: it has counters of its own.
    pub fn begin(&mut self) {
        self.instances += 1;
        self.sessions.begin();
        self.seqs.clear();
        self.begins = self.at_us.len();
        self.latest_us = i64::MIN;
    }

    /// The next event of the instance; `label` is asked for calls alone.
    pub fn event(&mut self, event: &EventRef<'_>, label: Label) {
        match &event.body {
            BodyRef::Decision(record) if record.judged_by != Judge::Gateway => self.call(event, record, label),
            BodyRef::Other(Body::Outcome(outcome)) if matches!(outcome.end, End::Unreachable | End::RpcError) => {
                let place = self.seqs.binary_search(&outcome.call_seq).ok();
                self.given_back.extend(place.and_then(|place| self.kind.get(self.begins + place)));
            }
            BodyRef::Other(Body::Reset(_)) => self.reset = true,
            _ => {}
        }
    }

    /// The tools that were called, by name.
    #[must_use]
    pub fn tools(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(|kind| kind.tool.as_str()).collect()
    }

    /// The categories of the tools that were called.
    #[must_use]
    pub fn categories(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(|kind| kind.category.as_str()).collect()
    }

    /// What a key of a layout of this scope is called; nothing for a server or everyone.
    #[must_use]
    pub fn name(&self, scope: Scope, value: u32) -> &str {
        let names = match scope {
            Scope::Grant => &self.grants,
            Scope::Session => &self.sessions,
            Scope::Agent => &self.agents,
            Scope::Server | Scope::Everyone => return "",
        };
        names.name(value).unwrap_or_default()
    }

    /// Sessions so far.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        u64::try_from(self.sessions.len()).unwrap_or(u64::MAX)
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.at_us.len()
    }

    fn call(&mut self, event: &EventRef<'_>, record: &RecordRef<'_>, label: Label) {
        let Some(tool) = record.tool else { return };
        self.continued |= record.continues.is_some();
        let category = record.category.unwrap_or_else(|| Category::by_name(tool).name());
        let kind = KindRef { server: record.server, tool, category };
        let kind = match self.kinds.get(&kind) {
            Some(number) => *number,
            None => {
                let next = u32::try_from(self.kinds.len()).unwrap_or(NONE);
                *self.kinds.entry(Kind::from(&kind)).or_insert(next)
            }
        };
        if let Some(at_us) = event.ts_us {
            self.unordered |= at_us < self.latest_us;
            self.latest_us = at_us;
        }
        self.seqs.push(event.seq);
        self.at_us.push(event.ts_us.unwrap_or(NO_TIME));
        self.kind.push(kind);
        self.grant.push(record.grant.map_or(NONE, |grant| self.grants.number(grant)));
        self.session.push(record.session.map_or(NONE, |session| self.sessions.number(session)));
        self.agent.push(record.agent.map_or(NONE, |agent| self.agents.number(agent)));
        self.instance.push(self.instances);
        self.label.push(label);
    }

    /// Lays out by key the calls that a limit of these tools counts; none means all tools.
    ///
    /// # Errors
    /// Where counting them would not give the engine's answers.
    pub fn lay_out(&self, of: &[Selector], scope: Scope) -> Result<Layout, Inexact> {
        let mut chosen = vec![None; self.kinds.len()];
        let mut servers: HashMap<&str, usize, RandomState> = HashMap::default();
        // In any order: each kind is looked at by itself, and a server's number means nothing.
        for (kind, number) in &self.kinds {
            if !of.is_empty() && !of.iter().any(|selector| selector.chooses(&kind.tool, &kind.category)) {
                continue;
            }
            if self.given_back.contains(number) {
                return Err(Inexact::GivenBack);
            }
            let next = servers.len();
            let server = *servers.entry(kind.server.as_str()).or_insert(next);
            if let Some(chosen) = usize::try_from(*number).ok().and_then(|number| chosen.get_mut(number)) {
                *chosen = u32::try_from(server).ok();
            }
        }
        if self.reset {
            return Err(Inexact::Reset);
        }
        if self.unordered {
            return Err(Inexact::Unordered);
        }
        if self.continued {
            return Err(Inexact::Continued);
        }
        self.by_key(&chosen, scope)
    }

    /// Two passes, as a counting sort does: how many calls each key has, and then where each call goes.
    fn by_key(&self, chosen: &[Option<u32>], scope: Scope) -> Result<Layout, Inexact> {
        let mut layout = Layout { sessions: self.sessions.len(), ..Layout::default() };
        let mut keys: HashMap<(u32, u32, u32), u32, FixedState> = HashMap::default();
        let mut key_of = vec![NONE; self.at_us.len()];
        let mut counts: Vec<usize> = Vec::new();
        let mut last = None;
        let columns = self.kind.iter().zip(&self.instance).zip(&self.at_us).zip(self.values(scope));
        for ((((kind, instance), at_us), value), key_of) in columns.zip(&mut key_of) {
            let Some(server) = usize::try_from(*kind).ok().and_then(|kind| *chosen.get(kind)?) else { continue };
            if value == NONE || *at_us == NO_TIME {
                layout.unknown += 1;
                continue;
            }
            let name = (*instance, server, value);
            // Calls of one key most often follow each other.
            let key = match last.filter(|(last, _)| *last == name) {
                Some((_, key)) => key,
                None => {
                    let next = u32::try_from(keys.len()).unwrap_or(NONE);
                    *keys.entry(name).or_insert(next)
                }
            };
            last = Some((name, key));
            *key_of = key;
            let place = usize::try_from(key).unwrap_or(usize::MAX);
            match counts.get_mut(place) {
                Some(count) => *count += 1,
                None => {
                    counts.push(1);
                    layout.values.push(value);
                }
            }
        }
        let calls: usize = counts.iter().sum();
        let bounds = Bounds::default();
        if exceeds(keys.len(), bounds.keys_max) || exceeds(calls, bounds.rolling_charges_max) {
            return Err(Inexact::Bounds);
        }
        let mut next: Vec<usize> = Vec::with_capacity(counts.len());
        let mut end = 0;
        for count in counts {
            next.push(end);
            end += count;
            layout.ends.push(end);
        }
        layout.calls = vec![Laid { at_us: 0, session: NONE, label: Label::Clean }; calls];
        for (((key, at_us), session), label) in key_of.iter().zip(&self.at_us).zip(&self.session).zip(&self.label) {
            let Some(next) = usize::try_from(*key).ok().and_then(|key| next.get_mut(key)) else { continue };
            if let Some(place) = layout.calls.get_mut(*next) {
                *place = Laid { at_us: *at_us, session: *session, label: *label };
            }
            *next += 1;
        }
        Ok(layout)
    }

    fn values(&self, scope: Scope) -> Box<dyn Iterator<Item = u32> + '_> {
        match scope {
            Scope::Grant => Box::new(self.grant.iter().copied()),
            Scope::Session => Box::new(self.session.iter().copied()),
            Scope::Agent => Box::new(self.agent.iter().copied()),
            Scope::Server | Scope::Everyone => Box::new(std::iter::repeat(0)),
        }
    }
}

fn exceeds(count: usize, bound: u64) -> bool {
    u64::try_from(count).map_or(true, |count| count > bound)
}

/// The calls that a limit counts, those of one key together, each key's in order.
#[derive(Debug, Default)]
pub struct Layout {
    calls: Vec<Laid>,
    /// Where each key's calls end.
    ends: Vec<usize>,
    /// Each key's scope value.
    values: Vec<u32>,
    /// How many sessions there are in all.
    sessions: usize,
    /// Calls that can't be counted, for want of a time or of the scope's value.
    pub unknown: u64,
}

#[derive(Debug, Clone, Copy)]
struct Laid {
    at_us: i64,
    session: u32,
    label: Label,
}

/// What a maximum refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Clean calls.
    pub clean: u64,
    /// Bad calls.
    pub bad: u64,
    /// Sessions with a clean call among them.
    pub sessions: u64,
}

impl Layout {
    fn by_keys(&self) -> impl Iterator<Item = &[Laid]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| self.calls.get(begin..*end).unwrap_or_default())
    }

    /// Keys with a call.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.ends.len()
    }

    /// Calls that are counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        u64::try_from(self.calls.len()).unwrap_or(u64::MAX)
    }

    /// The calls of some sessions alone; `keep` by the session's number.
    #[must_use]
    pub fn only(&self, keep: &[bool]) -> Self {
        let kept = |call: &&Laid| usize::try_from(call.session).ok().and_then(|s| keep.get(s)) == Some(&true);
        let mut only = Self { sessions: self.sessions, values: self.values.clone(), ..Self::default() };
        for calls in self.by_keys() {
            only.calls.extend(calls.iter().filter(kept));
            only.ends.push(only.calls.len());
        }
        only
    }

    /// When each session makes its first counted call; none where it makes none.
    #[must_use]
    pub fn first_us(&self) -> Vec<Option<i64>> {
        let mut first: Vec<Option<i64>> = vec![None; self.sessions];
        for call in &self.calls {
            if let Some(first) = usize::try_from(call.session).ok().and_then(|session| first.get_mut(session)) {
                *first = Some(first.map_or(call.at_us, |first| first.min(call.at_us)));
            }
        }
        first
    }

    /// Days of UTC on which calls are counted.
    #[must_use]
    pub fn days(&self) -> u64 {
        let days: BTreeSet<i64> = self.calls.iter().map(|call| call.at_us.div_euclid(DAY_US)).collect();
        u64::try_from(days.len()).unwrap_or(u64::MAX)
    }

    /// Counted calls by label: clean, and bad.
    #[must_use]
    pub fn labels(&self) -> (u64, u64) {
        let bad = self.calls.iter().filter(|call| call.label == Label::Bad).count();
        let bad = u64::try_from(bad).unwrap_or(u64::MAX);
        (self.calls() - bad, bad)
    }

    /// Healthy use: by session, the most clean calls that a rolling window of this length holds with one of
    /// its own as the last; 0 without one.
    #[must_use]
    pub fn healthy(&self, length_us: i64) -> Vec<u32> {
        let mut most = vec![0_u32; self.sessions];
        for calls in self.by_keys() {
            let mut clean = std::collections::VecDeque::new();
            for call in calls.iter().filter(|call| call.label == Label::Clean) {
                clean.push_back(call.at_us);
                while clean.front().is_some_and(|first| *first <= call.at_us.saturating_sub(length_us)) {
                    clean.pop_front();
                }
                if let Some(most) = usize::try_from(call.session).ok().and_then(|session| most.get_mut(session)) {
                    *most = (*most).max(u32::try_from(clean.len()).unwrap_or(u32::MAX));
                }
            }
        }
        most
    }

    /// The busiest plain window of each key, the busiest first, and of equals the first key.
    #[must_use]
    pub fn busiest(&self, length_us: i64) -> Vec<Busy> {
        let length_us = length_us.max(1);
        let of_key = |(calls, value): (&[Laid], &u32)| {
            let window = |call: &Laid| call.at_us.div_euclid(length_us);
            let windows = calls.chunk_by(|a, b| window(a) == window(b)).filter_map(|calls| {
                let clean = calls.iter().filter(|call| call.label == Label::Clean).count();
                let count = |calls: usize| u64::try_from(calls).unwrap_or(u64::MAX);
                let start_us = window(calls.first()?) * length_us;
                Some(Busy { value: *value, start_us, clean: count(clean), calls: count(calls.len()) })
            });
            windows.max_by_key(|busy| (busy.calls, std::cmp::Reverse(busy.start_us)))
        };
        let mut busiest: Vec<Busy> = self.by_keys().zip(&self.values).filter_map(of_key).collect();
        busiest.sort_by_key(|busy| std::cmp::Reverse(busy.calls));
        busiest
    }

    /// Counts for every maximum of a plain window of this length.
    #[must_use]
    pub fn plain(&self, length_us: i64) -> Counts {
        let length_us = length_us.max(1);
        let mut counts = Counts { highest: vec![0; self.sessions], ..Counts::default() };
        for calls in self.by_keys() {
            let (mut end_us, mut place) = (i64::MIN, 0_u32);
            for call in calls {
                if call.at_us >= end_us {
                    end_us = call.at_us - call.at_us.rem_euclid(length_us) + length_us;
                    place = 0;
                }
                place = place.saturating_add(1);
                match call.label {
                    Label::Bad => bump(&mut counts.bad, place),
                    Label::Clean => {
                        bump(&mut counts.clean, place);
                        let highest = usize::try_from(call.session).ok().and_then(|s| counts.highest.get_mut(s));
                        if let Some(highest) = highest {
                            *highest = place.max(*highest);
                        }
                    }
                }
            }
        }
        counts.finish();
        counts
    }

    /// What each maximum of an exact rolling window of this length refuses.
    #[must_use]
    pub fn rolling(&self, length_us: i64, maxima: &[u64]) -> Vec<Refused> {
        let mut let_through: Vec<i64> = Vec::new();
        let mut touched = vec![0_u32; self.sessions];
        let each = maxima.iter().zip(1_u32..).map(|(max, mark)| {
            let max = usize::try_from(*max).unwrap_or(usize::MAX);
            let mut refused = Refused::default();
            for calls in self.by_keys() {
                let_through.clear();
                for call in calls {
                    // The call that has to have left the window, if there are so many.
                    let blocking = let_through.len().checked_sub(max).map(|place| let_through.get(place));
                    let fits = match blocking {
                        None => true,
                        Some(Some(earliest)) => *earliest <= call.at_us.saturating_sub(length_us),
                        // A maximum of nothing.
                        Some(None) => false,
                    };
                    if fits {
                        let_through.push(call.at_us);
                    } else {
                        refused.add(call, mark, &mut touched);
                    }
                }
            }
            refused
        });
        each.collect()
    }
}

impl Refused {
    fn add(&mut self, call: &Laid, mark: u32, touched: &mut [u32]) {
        match call.label {
            Label::Bad => self.bad += 1,
            Label::Clean => {
                self.clean += 1;
                let touched = usize::try_from(call.session).ok().and_then(|session| touched.get_mut(session));
                if let Some(touched) = touched.filter(|touched| **touched != mark) {
                    *touched = mark;
                    self.sessions += 1;
                }
            }
        }
    }
}

/// The busiest window of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// The key's scope value, which [`Columns::name`] names.
    pub value: u32,
    /// When the window begins.
    pub start_us: i64,
    /// Clean calls in it.
    pub clean: u64,
    /// Calls in it.
    pub calls: u64,
}

fn bump(by_place: &mut Vec<u64>, place: u32) {
    let Ok(place) = usize::try_from(place) else { return };
    if place >= by_place.len() {
        by_place.resize(place + 1, 0);
    }
    if let Some(count) = by_place.get_mut(place) {
        *count += 1;
    }
}

/// How many calls lie beyond each place of their window: what every maximum refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// By maximum, what it refuses; one past the end refuses nothing.
    clean: Vec<u64>,
    bad: Vec<u64>,
    sessions: Vec<u64>,
    /// By session, the highest place of a clean call of it in its window; 0 without one.
    highest: Vec<u32>,
}

impl Counts {
    fn finish(&mut self) {
        for highest in &self.highest {
            if *highest > 0 {
                bump(&mut self.sessions, *highest);
            }
        }
        for by_place in [&mut self.clean, &mut self.bad, &mut self.sessions] {
            // From "how many at this place" to "how many beyond it".
            let mut beyond = 0;
            for count in by_place.iter_mut().rev() {
                beyond += std::mem::replace(count, beyond);
            }
        }
    }

    /// What a maximum refuses.
    #[must_use]
    pub fn at(&self, max: u64) -> Refused {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let at = |by_max: &[u64]| by_max.get(max).copied().unwrap_or(0);
        Refused { clean: at(&self.clean), bad: at(&self.bad), sessions: at(&self.sessions) }
    }

    /// What is refused, wherever that changes: from each maximum to the next the same.
    #[must_use]
    pub fn steps(&self) -> Vec<(u64, Refused)> {
        let mut steps: Vec<(u64, Refused)> = (0..=self.highest()).map(|max| (max, self.at(max))).collect();
        steps.dedup_by_key(|(_, refused)| *refused);
        steps
    }

    /// The smallest maximum that refuses no call at all.
    #[must_use]
    pub fn highest(&self) -> u64 {
        let longest = self.clean.len().max(self.bad.len()).saturating_sub(1);
        u64::try_from(longest).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
