//! What a candidate would have changed, added up.

use std::collections::BTreeMap;

use tollbook_engine::{Reason, RecordRef};

use crate::candidate::{Judged, refuses};

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
    /// By category, as it was recorded, or else as the tool's name says.
    pub by_category: BTreeMap<String, Tally>,
    /// By grant, where it is known.
    pub by_grant: BTreeMap<String, Tally>,
    /// By client program, where it is known.
    pub by_agent: BTreeMap<String, Tally>,
    /// How many sessions there are.
    pub sessions: u64,
    /// By session, where it is known and something changes in it, in the order in which they came.
    pub by_session: Vec<(String, SessionTally)>,
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
    /// Those that are newly allowed.
    pub newly_allowed: u64,
    /// Which call of the session, from 1, is the first that is newly refused or held.
    pub first_refused: Option<u64>,
}

impl SessionTally {
    /// Calls that come out otherwise.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.newly_refused + self.newly_allowed
    }

    /// Calls that were recorded after the first that is newly refused: nobody knows whether they would
    /// have been made.
    #[must_use]
    pub fn exposed(&self) -> u64 {
        self.first_refused.map_or(0, |first| self.calls - first)
    }

    /// In which quarter of the session, from 0, its first newly refused call lies.
    #[must_use]
    pub fn quarter(&self) -> Option<u64> {
        let before = self.first_refused?.checked_sub(1)?;
        u64::try_from(u128::from(before) * 4 / u128::from(self.calls.max(1))).ok()
    }
}

/// How near calls came to a limit: the share of its maximum that a window held, each call's own amount
/// included, in hundredths of a per cent, cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headroom {
    /// Calls by share.
    shares: Vec<u64>,
    calls: u64,
}

/// Shares beyond this, ten times the maximum, are counted as this.
const SHARE_MAX: usize = 100_000;

impl Headroom {
    /// Adds calls whose windows held this much of so much.
    pub(crate) fn add(&mut self, used_micros: i64, max_micros: i64, calls: u64) {
        let max_micros = max_micros.max(1);
        let share = match used_micros.checked_mul(10_000) {
            Some(parts) => usize::try_from(parts / max_micros),
            None => usize::try_from(i128::from(used_micros) * 10_000 / i128::from(max_micros)),
        };
        let share = share.unwrap_or(SHARE_MAX).min(SHARE_MAX);
        if share >= self.shares.len() {
            self.shares.resize(share + 1, 0);
        }
        if let Some(before) = self.shares.get_mut(share) {
            *before += calls;
        }
        self.calls += calls;
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
        (0_u32..).zip(&self.shares).find_map(|(share, calls)| {
            seen += u128::from(*calls);
            (seen >= wanted && seen > 0).then_some(share)
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

/// What becomes of refused calls that are made again whenever they may fit; see
/// [`crate::Candidate::retrying`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many pass in the end.
    pub calls: u64,
    /// How long they wait, all together, in microseconds.
    pub total_us: u64,
    /// How long the longest waits, in microseconds.
    pub longest_us: u64,
    /// How many never pass, or are told of no time at which they might.
    pub never: u64,
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
    fn changed_sessions(&self) -> impl Iterator<Item = &SessionTally> {
        self.by_session.iter().map(|(_, session)| session)
    }

    /// Sessions with a call that is newly refused or held.
    #[must_use]
    pub fn sessions_touched(&self) -> u64 {
        let touched = self.changed_sessions().filter(|session| session.newly_refused > 0);
        u64::try_from(touched.count()).unwrap_or(u64::MAX)
    }

    /// Of the touched sessions, those whose first newly refused call was their last call.
    #[must_use]
    pub fn ended_there(&self) -> u64 {
        let last = self.changed_sessions().filter(|session| session.first_refused == Some(session.calls));
        u64::try_from(last.count()).unwrap_or(u64::MAX)
    }

    /// Of the touched sessions, how many are refused for the first time in each quarter of their calls.
    #[must_use]
    pub fn by_quarter(&self) -> [u64; 4] {
        let mut quarters = [0; 4];
        for quarter in self.changed_sessions().filter_map(SessionTally::quarter) {
            if let Some(sessions) = usize::try_from(quarter).ok().and_then(|quarter| quarters.get_mut(quarter)) {
                *sessions += 1;
            }
        }
        quarters
    }

    /// Calls that come after the first newly refused call of their session: had the session stopped there,
    /// they would not have been made.
    #[must_use]
    pub fn exposed(&self) -> u64 {
        self.changed_sessions().map(SessionTally::exposed).sum()
    }

    /// How many of the newly refused calls the most concerned sessions have, for each of these numbers of
    /// sessions.
    #[must_use]
    pub fn concentration<const N: usize>(&self, top: [usize; N]) -> [u64; N] {
        let mut refused: Vec<u64> = self.changed_sessions().map(|session| session.newly_refused).collect();
        refused.sort_unstable_by(|a, b| b.cmp(a));
        top.map(|top| refused.iter().take(top).sum())
    }
}

/// The rule that decided: the candidate's for what it refuses, or else the recorded one.
pub(crate) fn rule<'r>(record: &'r RecordRef<'_>, judged: &'r Judged) -> &'r str {
    let (rule, reason) = if refuses(judged.candidate) {
        (judged.rule.as_deref(), Some(judged.reason.code()))
    } else {
        (record.rule, record.reason)
    };
    rule.or(reason).unwrap_or(Reason::Allowed.code())
}

impl Change {
    pub(crate) fn add(&mut self, one: Self) {
        self.newly_refused += one.newly_refused;
        self.newly_allowed += one.newly_allowed;
    }
}

#[cfg(test)]
mod tests;
