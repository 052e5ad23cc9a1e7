//! What a candidate would have changed, as it is added up call by call: by numbers, and without making a text.

use std::collections::BTreeMap;

use tollbook_engine::{Decision, EventRef, Fact, RecordRef};
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
    all: Tally,
    by_rule: BTreeMap<String, Change>,
    by_tool: Named<Tally>,
    /// What the name of each tool says, by its number: an imported record knows nothing else.
    categories: Vec<&'static str>,
    by_category: Named<Tally>,
    by_grant: Named<Tally>,
    by_agent: Named<Tally>,
    by_session: Named<SessionTally>,
    /// By place of the limit in the policy.
    limits: Vec<Option<LimitTally>>,
    pub by_gateway: u64,
    without_time: u64,
}

#[derive(Debug)]
struct LimitTally {
    rule: String,
    headroom: Headroom,
    busiest: Vec<Busiest>,
}

impl Tallies {
    /// The numbers of a call of this tool.
    pub fn numbers(&mut self, tool: &str, record: &RecordRef<'_>) -> Numbers {
        let number = self.by_tool.number(tool);
        if index(number) >= self.categories.len() {
            self.categories.push(Category::by_name(tool).name());
        }
        let by_name = || self.categories.get(index(number)).copied();
        Numbers {
            tool: number,
            category: record.category.or_else(by_name).map(|category| self.by_category.number(category)),
            grant: record.grant.map(|grant| self.by_grant.number(grant)),
            agent: record.agent.map(|agent| self.by_agent.number(agent)),
            session: record.session.map(|session| self.by_session.number(session)),
        }
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
        let change = judged.change();
        let one = Tally {
            calls: 1,
            refused_before: u64::from(refuses(judged.recorded)),
            refused_after: u64::from(refuses(judged.candidate)),
            change,
            unknown: u64::from(judged.certainty == Certainty::Unknown),
            after_divergence: u64::from(judged.certainty == Certainty::Diverged),
        };
        self.all.add(one);
        let tool = self.by_tool.get_mut(of.tool);
        let grant = of.grant.and_then(|grant| self.by_grant.get_mut(grant));
        let agent = of.agent.and_then(|agent| self.by_agent.get_mut(agent));
        let category = of.category.and_then(|category| self.by_category.get_mut(category));
        [tool, category, grant, agent].into_iter().flatten().for_each(|tally| tally.add(one));
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
            headroom: Headroom::default(),
            busiest: Vec::new(),
        });
        let used_micros = fact.used_before_micros.saturating_add(fact.amount_micros.unwrap_or(0));
        tally.headroom.add(used_micros, fact.max_micros());
        busier(&mut tally.busiest, fact, used_micros);
    }

    /// What was found so far.
    pub fn report(&self) -> Report {
        let by_name = |by: &Named<Tally>| by.iter().map(|(name, tally)| (name.to_owned(), *tally)).collect();
        let limits = || self.limits.iter().flatten();
        Report {
            all: self.all,
            by_rule: self.by_rule.clone(),
            by_tool: by_name(&self.by_tool),
            by_category: by_name(&self.by_category),
            by_grant: by_name(&self.by_grant),
            by_agent: by_name(&self.by_agent),
            by_session: self.by_session.iter().map(|(name, tally)| (name.to_owned(), *tally)).collect(),
            headroom: limits().map(|limit| (limit.rule.clone(), limit.headroom.clone())).collect(),
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
fn busier(busiest: &mut Vec<Busiest>, fact: &Fact<'_>, used_micros: i64) {
    let is_full = busiest.len() == BUSIEST_MAX;
    // Whatever its key, it isn't.
    if is_full && busiest.last().is_some_and(|least| least.used_micros >= used_micros) {
        return;
    }
    let known = busiest.iter().position(|busy| busy.key == fact.key);
    if let Some(known) = known {
        if busiest.get(known).is_some_and(|busy| busy.used_micros >= used_micros) {
            return;
        }
        busiest.remove(known);
    } else if is_full {
        busiest.pop();
    }
    let place = busiest.partition_point(|busy| busy.used_micros >= used_micros);
    let (key, window_start_us, max_micros) = (fact.key.to_owned(), fact.window_start_us, fact.max_micros());
    busiest.insert(place, Busiest { key, window_start_us, used_micros, max_micros });
}
