//! What a candidate would have changed, added up.

use std::collections::BTreeMap;

use tollbook_engine::{Decision, Event, Fact, Reason, Record};

use crate::candidate::{Certainty, Judged, refuses};

/// What a candidate would have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// All calls.
    pub all: Tally,
    /// By the rule that decided: the candidate's for what it newly refuses, the recorded one for what it
    /// newly allows.
    pub by_rule: BTreeMap<String, Change>,
    /// By tool.
    pub by_tool: BTreeMap<String, Tally>,
    /// By grant, where it is known.
    pub by_grant: BTreeMap<String, Tally>,
    /// By client program, where it is known.
    pub by_agent: BTreeMap<String, Tally>,
    /// By session, where it is known.
    pub by_session: BTreeMap<String, SessionTally>,
    /// How near calls came to each limit of the candidate, by its rule.
    pub headroom: BTreeMap<String, Headroom>,
    /// The keys that used most of each limit of the candidate, by its rule.
    pub busiest: BTreeMap<String, Vec<Busiest>>,
    /// Newly refused calls that would fit once their limit has room, and how long that takes.
    pub waits: Waits,
    /// Calls that the gateway refused by itself, which no policy changes.
    pub by_gateway: u64,
    /// Calls without a time, which no window can judge.
    pub without_time: u64,
}

/// Calls, counted by what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls judged.
    pub calls: u64,
    /// Refused or held when they were recorded.
    pub refused_before: u64,
    /// Refused or held by the candidate.
    pub refused_after: u64,
    /// What changes.
    pub change: Change,
    /// Calls on which the candidate's verdict can't be told.
    pub unknown: u64,
    /// Calls in a session or on a counter in which something was decided otherwise before.
    pub after_divergence: u64,
}

/// One session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionTally {
    /// Calls judged.
    pub calls: u64,
    /// Those that are newly refused or held.
    pub newly_refused: u64,
    /// Which call of the session, from 1, is the first that is newly refused or held.
    pub first_refused: Option<u64>,
}

impl SessionTally {
    /// Calls that were recorded after the first that is newly refused: nobody knows whether they would
    /// have been made.
    #[must_use]
    pub fn exposed(&self) -> u64 {
        self.first_refused.map_or(0, |first| self.calls - first)
    }
}

/// How near calls came to a limit: the share of its maximum that a window held, each call's own amount
/// included, in hundredths of a per cent, cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headroom {
    shares: BTreeMap<u32, u64>,
    calls: u64,
}

/// Shares beyond this, ten times the maximum, are counted as this.
const SHARE_MAX: u32 = 100_000;

impl Headroom {
    fn add(&mut self, used_micros: i64, max_micros: i64) {
        let share = i128::from(used_micros) * 10_000 / i128::from(max_micros.max(1));
        *self.shares.entry(u32::try_from(share).unwrap_or(SHARE_MAX).min(SHARE_MAX)).or_default() += 1;
        self.calls += 1;
    }

    /// Calls that the limit was looked at for.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The smallest share that at least `per_mille` of a thousand calls stay within, in hundredths of a per
    /// cent of the maximum. None without calls.
    #[must_use]
    pub fn within(&self, per_mille: u64) -> Option<u32> {
        let wanted = (u128::from(self.calls) * u128::from(per_mille)).div_ceil(1_000);
        let mut seen = 0_u128;
        self.shares.iter().find_map(|(share, calls)| {
            seen += u128::from(*calls);
            (seen >= wanted).then_some(*share)
        })
    }
}

/// The window in which a key used most of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busiest {
    /// The scope's value: the grant's name, the session's, ….
    pub key: String,
    /// When the window began, in microseconds since 1970.
    pub window_start_us: i64,
    /// What it held at most, the call that was judged included, in millionths.
    pub used_micros: i64,
    /// What it admits, in millionths.
    pub max_micros: i64,
}

/// Keys of each limit that are remembered as its busiest.
const BUSIEST_MAX: usize = 3;

/// Takes a use in, if it is among the most.
fn busier(busiest: &mut Vec<Busiest>, fact: &Fact<'_>, used_micros: i64) {
    let known = busiest.iter().position(|busy| busy.key == fact.key);
    if let Some(known) = known {
        if busiest.get(known).is_some_and(|busy| busy.used_micros >= used_micros) {
            return;
        }
        busiest.remove(known);
    } else if busiest.len() == BUSIEST_MAX {
        if busiest.last().is_some_and(|least| least.used_micros >= used_micros) {
            return;
        }
        busiest.pop();
    }
    let place = busiest.partition_point(|busy| busy.used_micros >= used_micros);
    let (key, window_start_us, max_micros) = (fact.key.to_owned(), fact.window_start_us, fact.max_micros());
    busiest.insert(place, Busiest { key, window_start_us, used_micros, max_micros });
}

/// Newly refused calls that would fit later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub calls: u64,
    /// How long they would wait, all together, in microseconds.
    pub total_us: u64,
    /// How long the longest would wait, in microseconds.
    pub longest_us: u64,
}

/// Calls that come out otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Let through then, refused or held now.
    pub newly_refused: u64,
    /// Refused or held then, let through now.
    pub newly_allowed: u64,
}

impl Tally {
    /// Calls whose verdict is exact.
    #[must_use]
    pub fn exact(&self) -> u64 {
        self.calls - self.unknown - self.after_divergence
    }
}

impl Report {
    pub(crate) fn add(&mut self, event: &Event, record: &Record, decision: &Decision<'_>, judged: &Judged) {
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
        for (by, name) in [
            (&mut self.by_tool, &record.tool),
            (&mut self.by_grant, &record.grant),
            (&mut self.by_agent, &record.agent),
        ] {
            if let Some(name) = name {
                entry(by, name).add(one);
            }
        }
        if change != Change::default() {
            self.by_rule.entry(rule(record, judged).to_owned()).or_default().add(change);
        }
        if let Some(session) = &record.session {
            let tally = entry(&mut self.by_session, session);
            tally.calls += 1;
            tally.newly_refused += change.newly_refused;
            if change.newly_refused > 0 {
                tally.first_refused.get_or_insert(tally.calls);
            }
        }
        for fact in &decision.limits {
            let used = fact.used_before_micros.saturating_add(fact.amount_micros.unwrap_or(0));
            entry(&mut self.headroom, fact.rule()).add(used, fact.max_micros());
            busier(entry(&mut self.busiest, fact.rule()), fact, used);
        }
        if let (1, Some(retry_at_us), Some(at_us)) = (change.newly_refused, decision.retry_at_us, event.ts_us) {
            let wait_us = u64::try_from(retry_at_us.saturating_sub(at_us)).unwrap_or(0);
            self.waits.calls += 1;
            self.waits.total_us = self.waits.total_us.saturating_add(wait_us);
            self.waits.longest_us = self.waits.longest_us.max(wait_us);
        }
        self.without_time += u64::from(event.ts_us.is_none());
    }

    /// Sessions with a call that is newly refused or held.
    #[must_use]
    pub fn sessions_touched(&self) -> u64 {
        let touched = self.by_session.values().filter(|session| session.newly_refused > 0);
        u64::try_from(touched.count()).unwrap_or(u64::MAX)
    }

    /// Of the touched sessions, those whose first newly refused call was their last call.
    #[must_use]
    pub fn ended_there(&self) -> u64 {
        let last = self.by_session.values().filter(|session| session.first_refused == Some(session.calls));
        u64::try_from(last.count()).unwrap_or(u64::MAX)
    }

    /// Calls that come after the first newly refused call of their session: had the session stopped there,
    /// they would not have been made.
    #[must_use]
    pub fn exposed(&self) -> u64 {
        self.by_session.values().map(SessionTally::exposed).sum()
    }

    /// How many of the newly refused calls the most concerned sessions have, for each of these numbers of
    /// sessions.
    #[must_use]
    pub fn concentration<const N: usize>(&self, top: [usize; N]) -> [u64; N] {
        let mut refused: Vec<u64> = self.by_session.values().map(|session| session.newly_refused).collect();
        refused.sort_unstable_by(|a, b| b.cmp(a));
        top.map(|top| refused.iter().take(top).sum())
    }
}

fn entry<'m, V: Default>(by: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    by.entry(name.to_owned()).or_default()
}

fn rule<'r>(record: &'r Record, judged: &'r Judged) -> &'r str {
    let (rule, reason) = if refuses(judged.candidate) {
        (judged.rule.as_deref(), Some(judged.reason.code()))
    } else {
        (record.rule.as_deref(), record.reason.as_deref())
    };
    rule.or(reason).unwrap_or(Reason::Allowed.code())
}

impl Tally {
    fn add(&mut self, one: Self) {
        self.calls += one.calls;
        self.refused_before += one.refused_before;
        self.refused_after += one.refused_after;
        self.change.add(one.change);
        self.unknown += one.unknown;
        self.after_divergence += one.after_divergence;
    }
}

impl Change {
    fn add(&mut self, one: Self) {
        self.newly_refused += one.newly_refused;
        self.newly_allowed += one.newly_allowed;
    }
}

#[cfg(test)]
mod tests;
