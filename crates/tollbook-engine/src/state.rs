//! What the engine remembers between calls, bounded.
//!
//! Everything a decision depends on besides the policy and the call is here: counters, recent calls of
//! sessions, open approvals, and what each call in flight would give back. The same events in the same
//! order make the same state, so a replay ends where the live engine ended.
//!
//! Time never goes back in here: an event from before the latest one is taken at the latest one's time.
//! That is what lets a window that has passed be forgotten for good.

mod carry;

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use tollbook_policy::policy::Scope;

use crate::approval::{Answer, Approvals};
use crate::codes::Code;
use crate::compile::{Engine, LimitPlan, Owner};
use crate::flight::{Charged, Flight};
use crate::history::History;
use crate::keyed::{Handle, KeyRef, Keyed};
use crate::limit::{Measure, Probe, Usage};
use crate::record::{Bounds, End, Hash128};
use crate::tool_id::ToolIds;

/// What the engine remembers between calls.
#[derive(Debug)]
pub struct State {
    pub(crate) bounds: Bounds,
    pub(crate) latest_us: i64,
    pub(crate) counters: Counters,
    pub(crate) sessions: Keyed<History>,
    pub(crate) sessions_swept: usize,
    pub(crate) approvals: Approvals,
    pub(crate) flight: Flight,
}

/// What one counter holds for one value of its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The server.
    pub server: String,
    /// The counter's name.
    pub counter: String,
    /// The tool, where tools are counted apart; empty otherwise.
    pub tool: String,
    /// The scope's value.
    pub key: String,
    /// Length of the window, in microseconds.
    pub window_us: i64,
    /// Exact rolling window rather than one aligned in UTC.
    pub rolling: bool,
    /// What it holds, in millionths of a call or unit.
    pub used_micros: i64,
}

/// Counters by what names them, and by key.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Counters {
    #[n(0)]
    names: BTreeMap<CounterName, u32>,
    #[n(1)]
    measures: Vec<Measure>,
    /// Found again from the names.
    #[cbor(skip)]
    bindings: Vec<Binding>,
    /// Found again from the tools' names.
    #[cbor(skip)]
    pub tool_ids: ToolIds,
    #[n(2)]
    usages: Keyed<Usage>,
    #[n(3)]
    charges: u64,
    #[n(4)]
    swept: usize,
    /// No key's window ends before this instant, so that a full table isn't searched at each call.
    #[n(5)]
    full_until_us: i64,
}

/// What tells one counter from another, the scope's value aside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
struct CounterName {
    #[n(0)]
    server: Box<str>,
    #[n(1)]
    owner: Owner,
    #[n(2)]
    name: Box<str>,
    #[n(3)]
    window_us: i64,
    #[n(4)]
    rolling: bool,
    #[n(5)]
    scope: u8,
    /// Adds up an argument rather than counting calls.
    #[n(6)]
    amount: bool,
    #[n(7)]
    shadow: bool,
}

/// The counters of one engine's limits, in the order of its limits.
#[derive(Debug)]
struct Binding {
    engine: Hash128,
    counters: Vec<u32>,
}

/// Policies whose counters are looked up at once; beyond it the list is begun anew.
const BINDINGS_MAX: usize = 4_096;

/// Tables smaller than this aren't searched for what can be forgotten.
const SWEEP_FROM: usize = 1_024;

impl State {
    /// An empty state. `seed` shuffles hash tables against chosen keys; it changes no decision.
    #[must_use]
    pub fn new(bounds: Bounds, seed: u64) -> Self {
        Self {
            bounds,
            latest_us: i64::MIN,
            counters: Counters::new(seed),
            sessions: Keyed::new(seed),
            sessions_swept: SWEEP_FROM,
            approvals: Approvals::new(seed),
            flight: Flight::default(),
        }
    }

    /// Shuffles every hash table anew.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.counters.usages.reseed(seed);
        self.sessions.reseed(seed);
        self.approvals.reseed(seed);
    }

    /// The instant at which something at `at_us` is taken: never before an earlier one.
    pub(crate) fn advance(&mut self, at_us: i64) -> i64 {
        self.latest_us = self.latest_us.max(at_us);
        self.latest_us
    }

    /// Takes in how a call ended. Units go back, to the window that was charged, when the call surely
    /// never reached the tool; runs of results and failures go on. A call that isn't in flight, or was
    /// settled before, changes nothing.
    pub fn settle(&mut self, call_seq: u64, end: End, result: Option<Hash128>) {
        let Some(call) = self.flight.settle(call_seq) else { return };
        if matches!(end, End::RpcError | End::Unreachable) {
            call.charges.iter().for_each(|charge| self.counters.give_back(*charge, call.at_us));
        }
        if let Some(history) = call.session.and_then(|session| self.sessions.get_mut(session)) {
            history.settled(call.tool, call.at_us, end, result);
        }
        self.flight.forget_settled();
    }

    /// The approvals that wait for an answer at `at_us`: id, and the instant at which they are gone.
    #[must_use]
    pub fn waiting(&self, at_us: i64) -> Vec<(String, i64)> {
        self.approvals.waiting(at_us.max(self.latest_us))
    }

    /// When an approval that waits for an answer is gone; none where no such one waits.
    #[must_use]
    pub fn waits_until(&self, approval: &str) -> Option<i64> {
        self.approvals.lasts_until(approval, Answer::Open)
    }

    /// When a call that a person has let pass passes no more; none where it has passed.
    #[must_use]
    pub fn passes_until(&self, approval: &str) -> Option<i64> {
        self.approvals.lasts_until(approval, Answer::Approved)
    }

    /// Takes in what a person said of a held call, at `at_us`. False where no such approval is open.
    pub fn answer(&mut self, approval: &str, approved: bool, at_us: i64) -> bool {
        let now_us = self.advance(at_us);
        self.approvals.answer(approval, if approved { Answer::Approved } else { Answer::Refused }, now_us)
    }

    /// Empties counters: those of this name and this value of their scope, where they are given.
    pub fn reset(&mut self, counter: Option<&str>, key: Option<&str>) {
        let Counters { names, usages, charges, full_until_us, .. } = &mut self.counters;
        let chosen: BTreeSet<u32> = names
            .iter()
            .filter(|(name, _)| counter.is_none_or(|counter| *counter == *name.name))
            .map(|(_, number)| *number)
            .collect();
        usages.retain(|(number, _, held_key), usage| {
            let goes = chosen.contains(&number) && key.is_none_or(|key| key == held_key);
            if goes {
                *charges -= usage.charges();
            }
            !goes
        });
        *full_until_us = i64::MIN;
    }

    /// What counters hold at `at_us`: those of this name and this value of their scope, where they are given.
    /// At most `levels_max` of them, after a look at no more than `looked_at_max`, in no particular order.
    #[must_use]
    pub fn levels(
        &self,
        (counter, key): (Option<&str>, Option<&str>),
        at_us: i64,
        (levels_max, looked_at_max): (usize, usize),
    ) -> Vec<Level> {
        let Counters { names, measures, usages, .. } = &self.counters;
        let named: BTreeMap<u32, &CounterName> = names.iter().map(|(name, number)| (*number, name)).collect();
        let wanted = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted == is);
        let level = |((number, tool, held_key), usage): (KeyRef<'_>, &Usage)| {
            let name = named.get(&number).filter(|name| wanted(counter, &name.name) && wanted(key, held_key))?;
            let measure = usize::try_from(number).ok().and_then(|number| measures.get(number))?;
            let start_us = measure.start_us(at_us.max(self.latest_us));
            let level = Level {
                server: name.server.to_string(),
                counter: name.name.to_string(),
                tool: tool.to_owned(),
                key: held_key.to_owned(),
                window_us: name.window_us,
                rolling: name.rolling,
                used_micros: usage.used_micros(start_us),
            };
            (level.used_micros > 0).then_some(level)
        };
        usages.each_key().take(looked_at_max).filter_map(level).take(levels_max).collect()
    }

    /// Calls that were let through and haven't ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Counters that hold something, and those that haven't been forgotten yet.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.counters.usages.len()
    }

    /// Whether the history of one more session may be kept.
    pub(crate) fn has_room_for_session(&mut self, now_us: i64) -> bool {
        let bound = usize::try_from(self.bounds.sessions_max).unwrap_or(usize::MAX);
        if self.sessions.len() >= self.sessions_swept.min(bound) {
            self.sessions.retain(|_, history| history.matters_until_us() > now_us);
            self.sessions_swept = SWEEP_FROM.max(self.sessions.len().saturating_mul(2));
        }
        self.sessions.len() < bound
    }
}

impl Counters {
    fn new(seed: u64) -> Self {
        Self {
            names: BTreeMap::new(),
            measures: Vec::new(),
            bindings: Vec::new(),
            tool_ids: ToolIds::default(),
            usages: Keyed::new(seed),
            charges: 0,
            swept: SWEEP_FROM,
            full_until_us: i64::MIN,
        }
    }

    /// The place of the numbers of an engine's counters.
    pub fn binding(&mut self, engine: &Engine) -> usize {
        let known = self.bindings.iter().position(|binding| binding.engine == engine.id);
        known.unwrap_or_else(|| self.bind(engine))
    }

    /// The number of the counter of the limit that has this place among its engine's limits.
    #[inline]
    pub fn counter(&self, binding: usize, limit: usize) -> u32 {
        let binding = self.bindings.get(binding);
        binding.and_then(|binding| binding.counters.get(limit)).copied().unwrap_or(u32::MAX)
    }

    #[cold]
    #[inline(never)]
    fn bind(&mut self, engine: &Engine) -> usize {
        if self.bindings.len() >= BINDINGS_MAX {
            self.bindings.clear();
        }
        let limits = &engine.clauses.limits;
        let counters: Vec<u32> = limits.iter().map(|limit| self.named(&engine.server, limit)).collect();
        self.bindings.push(Binding { engine: engine.id, counters });
        self.bindings.len() - 1
    }

    fn named(&mut self, server: &str, limit: &LimitPlan) -> u32 {
        let name = CounterName {
            server: server.into(),
            owner: limit.owner.clone(),
            name: limit.counter.clone(),
            window_us: limit.measure.length_us,
            rolling: limit.measure.rolling,
            scope: scope_number(limit.scope),
            amount: limit.of.is_some(),
            shadow: limit.shadow,
        };
        if let (Some(owner), false) = (limit.owner.earlier(), self.names.contains_key(&name)) {
            let earlier = CounterName { owner, ..name.clone() };
            let counted = self.names.remove(&earlier);
            self.names.extend(counted.map(|counter| (name.clone(), counter)));
        }
        self.number(name, limit.measure)
    }

    /// The number of a counter, which is a new one where nobody has named it yet.
    fn number(&mut self, name: CounterName, measure: Measure) -> u32 {
        let next = u32::try_from(self.measures.len()).unwrap_or(u32::MAX);
        let counter = *self.names.entry(name).or_insert(next);
        if counter == next {
            self.measures.push(measure);
        }
        counter
    }

    /// Whether `amount` more fits into a key's window; what has left that is forgotten.
    pub fn probe(
        &mut self,
        (key, code): (KeyRef<'_>, Option<Code>),
        measure: &Measure,
        now_us: i64,
        amount: i64,
    ) -> (Option<Handle>, Probe) {
        let Some((handle, usage)) = self.usages.find_mut(key, (key.0, code)) else {
            return (None, measure.probe(None, measure.start_us(now_us), amount));
        };
        let start_us = match measure.current_us(usage, now_us) {
            Some(start_us) => start_us,
            None => {
                let start_us = measure.start_us(now_us);
                self.charges -= usage.advance(start_us);
                start_us
            }
        };
        (Some(handle), measure.probe(Some(usage), start_us, amount))
    }

    /// Whether so many more keys and charges may be held that nobody needs to look closer.
    #[inline]
    pub fn has_plenty(&self, more: usize, bounds: &Bounds) -> bool {
        let keys = self.usages.len() + more;
        let (more, all) = (u64::try_from(more).unwrap_or(u64::MAX), u64::try_from(keys).unwrap_or(u64::MAX));
        keys < self.swept && all <= bounds.keys_max && self.charges.saturating_add(more) <= bounds.rolling_charges_max
    }

    /// Whether `keys` more keys and `charges` more charges of rolling windows may be held.
    pub fn has_room(&mut self, keys: usize, charges: u64, bounds: &Bounds, now_us: i64) -> bool {
        let bound = usize::try_from(bounds.keys_max).unwrap_or(usize::MAX);
        let full = |counters: &Self| {
            counters.usages.len() + keys > bound || counters.charges + charges > bounds.rolling_charges_max
        };
        if full(self) && now_us >= self.full_until_us {
            self.full_until_us = self.forget_idle(now_us);
        } else if keys > 0 && self.usages.len() >= self.swept {
            self.forget_idle(now_us);
        }
        !full(self)
    }

    /// Drops the keys whose windows have passed, which changes no answer. Returns when the next one will
    /// have.
    fn forget_idle(&mut self, now_us: i64) -> i64 {
        let (measures, charges) = (&self.measures, &mut self.charges);
        let mut next_end_us = i64::MAX;
        self.usages.retain(|(counter, ..), usage| {
            let Some(measure) = usize::try_from(counter).ok().and_then(|index| measures.get(index)) else {
                return false;
            };
            *charges -= usage.advance(measure.start_us(now_us));
            if !usage.is_empty() {
                next_end_us = next_end_us.min(usage.next_change_us(measure.length_us));
            }
            !usage.is_empty()
        });
        self.swept = SWEEP_FROM.max(self.usages.len().saturating_mul(2));
        next_end_us
    }

    /// Adds a charge that was probed and fits to the key's usage. False where the key has gone: it was idle, and made
    /// room for another.
    #[inline]
    pub fn charge(&mut self, held: Handle, measure: &Measure, now_us: i64, micros: i64) -> bool {
        let Some(usage) = self.usages.get_mut(held) else { return false };
        usage.charge(now_us, micros);
        self.charges += u64::from(measure.rolling);
        true
    }

    /// Adds such a charge to a new key, and names that.
    #[inline(never)]
    pub fn charge_new(
        &mut self,
        key: KeyRef<'_>,
        measure: &Measure,
        (start_us, now_us): (i64, i64),
        micros: i64,
    ) -> Option<Handle> {
        let held = self.usages.insert(key, measure.usage(start_us))?;
        self.charge(held, measure, now_us, micros).then_some(held)
    }

    fn give_back(&mut self, charge: Charged, at_us: i64) {
        let Some(usage) = self.usages.get_mut(charge.counter) else { return };
        let before = usage.charges();
        usage.give_back(charge.start_us, at_us, charge.micros);
        self.charges -= before - usage.charges();
        if usage.is_empty() {
            self.usages.remove(charge.counter);
            // A key has gone, so there is room again.
            self.full_until_us = i64::MIN;
        }
    }
}

fn scope_number(scope: Scope) -> u8 {
    match scope {
        Scope::Grant => 0,
        Scope::Session => 1,
        Scope::Agent => 2,
        Scope::Server => 3,
        Scope::Everyone => 4,
    }
}
