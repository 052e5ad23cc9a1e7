//! What a candidate would have changed, as it is added up call by call: by numbers, and without making a text.

use std::collections::BTreeMap;

use tollbook_engine::{Code, Codes, Decision, EventRef, Fact, RecordRef, Verdict};
use tollbook_policy::Category;

use crate::candidate::{Certainty, Judged, refuses};
use crate::named::{Named, index};
use crate::report::{Busiest, Change, Headroom, Report, SessionTally, Tally, Waits, rule};

/// The numbers of what a call is counted by, where it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub tool: u32,
    pub category: Option<u32>,
    pub grant: Option<u32>,
    pub agent: Option<u32>,
    pub session: Option<u32>,
}

/// What a candidate would have changed, so far; see [`Report`].
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    all: Kinds,
    by_rule: BTreeMap<String, Change>,
    by_tool: Named<Kinds>,
    /// What the name of each tool says, by its number: an imported record knows nothing else.
    categories: Vec<&'static str>,
    by_category: Named<Kinds>,
    by_grant: Named<Kinds>,
    by_agent: Named<Kinds>,
    by_session: Named<SessionTally>,
    /// By place of the limit in the policy.
    limits: Vec<Option<LimitTally>>,
    pub by_gateway: u64,
    without_time: u64,
}

/// Calls by what became of them, so that adding one is adding one to one number: first those that were let through
/// when they were recorded, then those that weren't, each by [`Kinds::NOW`].
#[derive(Debug, Default)]
struct Kinds([u64; 10]);

impl Kinds {
    /// What the candidate says, and how far that can be trusted: unknown, let through or refused.
    const NOW: usize = 5;

    fn of(judged: &Judged) -> usize {
        let now = match (judged.candidate, judged.certainty) {
            (_, Certainty::Unknown) | (Verdict::Unknown, _) => 0,
            (Verdict::Allow, Certainty::Exact) => 1,
            (Verdict::Allow, Certainty::Diverged) => 2,
            (Verdict::Deny | Verdict::Hold, Certainty::Exact) => 3,
            (Verdict::Deny | Verdict::Hold, Certainty::Diverged) => 4,
        };
        if refuses(judged.recorded) { Self::NOW + now } else { now }
    }

    fn add(&mut self, kind: usize) {
        if let Some(calls) = self.0.get_mut(kind) {
            *calls += 1;
        }
    }

    fn tally(&self) -> Tally {
        let [unknown, _, allowed_after, refused, refused_after, before @ ..] = self.0;
        let [unknown_before, freed, freed_after, kept, kept_after] = before;
        Tally {
            calls: self.0.iter().sum(),
            refused_before: before.iter().sum(),
            refused_after: refused + refused_after + kept + kept_after,
            change: Change { newly_refused: refused + refused_after, newly_allowed: freed + freed_after },
            unknown: unknown + unknown_before,
            after_divergence: allowed_after + refused_after + freed_after + kept_after,
        }
    }
}

#[derive(Debug)]
struct LimitTally {
    rule: String,
    max_micros: i64,
    /// Calls by the whole units that their windows held, which nearly all do: the shares that those are of the
    /// maximum are worked out once, for the report.
    by_units: Vec<u64>,
    /// The rest.
    headroom: Headroom,
    busiest: Vec<Busiest>,
}

/// Windows that held more units than this are counted by share at once.
const UNITS_MAX: usize = 100_000;

impl LimitTally {
    #[inline]
    fn add(&mut self, used_micros: i64) {
        let units = usize::try_from(used_micros / 1_000_000).unwrap_or(usize::MAX);
        match self.by_units.get_mut(units) {
            Some(calls) if used_micros % 1_000_000 == 0 => *calls += 1,
            _ => self.add_any(used_micros, units),
        }
    }

    #[inline(never)]
    fn add_any(&mut self, used_micros: i64, units: usize) {
        if used_micros % 1_000_000 != 0 || units > UNITS_MAX {
            self.headroom.add(used_micros, self.max_micros, 1);
            return;
        }
        self.by_units.resize(units + 1, 0);
        self.add(used_micros);
    }

    fn headroom(&self) -> Headroom {
        let mut headroom = self.headroom.clone();
        for (units, calls) in (0_i64..).zip(&self.by_units).filter(|(_, calls)| **calls > 0) {
            headroom.add(units * 1_000_000, self.max_micros, *calls);
        }
        headroom
    }
}

impl Tallies {
    /// The numbers of a call of this tool.
    pub fn numbers(&mut self, tool: &str, record: &RecordRef<'_>, codes: Option<&Codes>) -> Numbers {
        let number = self.by_tool.number(tool, Code::of(codes, |codes| codes.tool));
        if index(number) >= self.categories.len() {
            self.categories.push(Category::by_name(tool).name());
        }
        let category = match record.category {
            Some(category) => Some(self.by_category.number(category, Code::of(codes, |codes| codes.category))),
            None => self.categories.get(index(number)).map(|category| self.by_category.number(category, None)),
        };
        let code = |name: fn(&Codes) -> u32| Code::of(codes, name);
        Numbers {
            tool: number,
            category,
            grant: record.grant.map(|grant| self.by_grant.number(grant, code(|codes| codes.grant))),
            agent: record.agent.map(|agent| self.by_agent.number(agent, code(|codes| codes.agent))),
            session: record.session.map(|session| self.by_session.number(session, code(|codes| codes.session))),
        }
    }

    /// See [`Named::forget_codes`].
    pub fn forget_codes(&mut self) {
        let Self { by_tool, by_category, by_grant, by_agent, by_session, .. } = self;
        [by_tool, by_category, by_grant, by_agent].into_iter().for_each(Named::forget_codes);
        by_session.forget_codes();
    }

    /// Adds a call, counted by these numbers.
    pub fn add(
        &mut self,
        event: &EventRef<'_>,
        record: &RecordRef<'_>,
        decision: &Decision<'_>,
        judged: &Judged,
        of: Numbers,
    ) {
        let (change, kind) = (judged.change(), Kinds::of(judged));
        self.all.add(kind);
        self.by_tool.get_mut(of.tool).into_iter().for_each(|kinds| kinds.add(kind));
        of.category.and_then(|number| self.by_category.get_mut(number)).into_iter().for_each(|kinds| kinds.add(kind));
        of.grant.and_then(|number| self.by_grant.get_mut(number)).into_iter().for_each(|kinds| kinds.add(kind));
        of.agent.and_then(|number| self.by_agent.get_mut(number)).into_iter().for_each(|kinds| kinds.add(kind));
        if change != Change::default() {
            let rule = rule(record, judged);
            match self.by_rule.get_mut(rule) {
                Some(by_rule) => by_rule.add(change),
                None => drop(self.by_rule.insert(rule.to_owned(), change)),
            }
        }
        if let Some(tally) = of.session.and_then(|session| self.by_session.get_mut(session)) {
            tally.calls += 1;
            tally.newly_refused += change.newly_refused;
            tally.newly_allowed += change.newly_allowed;
            if change.newly_refused > 0 {
                tally.first_refused.get_or_insert(tally.calls);
            }
        }
        decision.limits.iter().for_each(|fact| self.limit(fact));
        self.without_time += u64::from(event.ts_us.is_none());
    }

    fn limit(&mut self, fact: &Fact<'_>) {
        if fact.limit() >= self.limits.len() {
            self.limits.resize_with(fact.limit() + 1, || None);
        }
        let Some(tally) = self.limits.get_mut(fact.limit()) else { return };
        let tally = tally.get_or_insert_with(|| LimitTally {
            rule: fact.rule().to_owned(),
            max_micros: fact.max_micros(),
            by_units: Vec::new(),
            headroom: Headroom::default(),
            busiest: Vec::new(),
        });
        let used_micros = fact.used_before_micros.saturating_add(fact.amount_micros.unwrap_or(0));
        tally.add(used_micros);
        busier(&mut tally.busiest, fact, used_micros);
    }

    /// What was found so far.
    pub fn report(&self) -> Report {
        let by_name = |by: &Named<Kinds>| by.iter().map(|(name, kinds)| (name.to_owned(), kinds.tally())).collect();
        let limits = || self.limits.iter().flatten();
        let changed = self.by_session.iter().filter(|(_, tally)| tally.changes() > 0);
        Report {
            all: self.all.tally(),
            by_rule: self.by_rule.clone(),
            by_tool: by_name(&self.by_tool),
            by_category: by_name(&self.by_category),
            by_grant: by_name(&self.by_grant),
            by_agent: by_name(&self.by_agent),
            sessions: u64::try_from(self.by_session.len()).unwrap_or(u64::MAX),
            by_session: changed.map(|(name, tally)| (name.to_owned(), *tally)).collect(),
            headroom: limits().map(|limit| (limit.rule.clone(), limit.headroom())).collect(),
            busiest: limits().map(|limit| (limit.rule.clone(), limit.busiest.clone())).collect(),
            waits: Waits::default(),
            by_gateway: self.by_gateway,
            without_time: self.without_time,
        }
    }
}

/// Keys of each limit that are remembered as its busiest.
const BUSIEST_MAX: usize = 3;

/// Takes a use in, if it is among the most.
#[inline]
fn busier(busiest: &mut Vec<Busiest>, fact: &Fact<'_>, used_micros: i64) {
    // Whatever its key, it isn't.
    if busiest.len() == BUSIEST_MAX && busiest.last().is_some_and(|least| least.used_micros >= used_micros) {
        return;
    }
    take_in(busiest, fact, used_micros);
}

#[inline(never)]
fn take_in(busiest: &mut Vec<Busiest>, fact: &Fact<'_>, used_micros: i64) {
    let (window_start_us, max_micros) = (fact.window_start_us, fact.max_micros());
    let mut place = match busiest.iter().position(|busy| busy.key == fact.key) {
        Some(known) => known,
        None => {
            busiest.truncate(BUSIEST_MAX - 1);
            busiest.push(Busiest { key: fact.key.to_owned(), window_start_us, used_micros: i64::MIN, max_micros });
            busiest.len() - 1
        }
    };
    // A counter that fills up is the busiest with each call, and stays where it stands.
    match busiest.get_mut(place) {
        Some(busy) if busy.used_micros < used_micros => {
            (busy.window_start_us, busy.used_micros, busy.max_micros) = (window_start_us, used_micros, max_micros);
        }
        _ => return,
    }
    while let Some(before) = place.checked_sub(1)
        && busiest.get(before).is_some_and(|before| before.used_micros < used_micros)
    {
        busiest.swap(before, place);
        place = before;
    }
}

#[cfg(test)]
mod tests;
