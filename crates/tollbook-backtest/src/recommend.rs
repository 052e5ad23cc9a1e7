//! A limit that the log supports, or why it supports none.
//!
//! Healthy use is what the sessions' clean calls need: for each session, the most of them in one window. The
//! knee is the maximum that at least `1 - touched_share` of the sessions stay within. How far it can be known
//! is told by the order statistics of the sessions, which assume nothing of their distribution: the chance
//! that the k-th highest of n sessions lies below the quantile is binomial. Where the log is too small for an
//! upper end, the highest use seen stands in, and what is left is the rule of three: of n sessions of which
//! none was touched, at most 3/n would have been, with 95 %. (Drawing the sessions again would put the upper end
//! at the highest use seen: of 200 logs of 150 sessions it covers the planted knee in fewer than 180, which the
//! tests show.) What share of the bad calls the limit stops is told with a [bootstrap](crate::bootstrap) by session.
//!
//! A recommended limit leaves a quarter of room above that, is a number that a person would write, and must
//! still stop something; where it can't, the answer is that the log supports none.

use tollbook_policy::policy::{Scope, Selector};

use crate::bootstrap::{self, Interval};
use crate::columns::{Columns, Inexact, Layout, Refused};

/// What a recommendation has to fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Largest share of sessions that may lose a clean call, in thousandths.
    pub touched_per_mille: u32,
    /// Fewest sessions with clean calls.
    pub sessions_min: u64,
    /// Fewest days of UTC with calls.
    pub days_min: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { touched_per_mille: 10, sessions_min: 100, days_min: 3 }
    }
}

/// Windows that are tried, as the language says them, and their lengths in microseconds. They roll: a plain
/// window lets twice its maximum through at its edge.
const WINDOWS: [(&str, i64); 3] =
    [("rolling minute", 60_000_000), ("rolling hour", 3_600_000_000), ("rolling day", 86_400_000_000)];

/// Share of the sessions, in hundredths, by which walk-forward chooses; it judges by the rest.
const CHOSEN_ON: usize = 70;

/// A limit, and what speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The window, as the language says it.
    pub window: &'static str,
    /// The maximum.
    pub max: u64,
    /// What was looked at.
    pub evidence: Evidence,
    /// The knee, and the ends between which it lies with 95 %.
    pub knee: Knee,
    /// What the maximum refuses.
    pub refused: Refused,
    /// What share of the bad calls it stops, by a bootstrap over the sessions. None where fewer than ten have any.
    pub stops: Option<Interval>,
    /// The smallest and the largest maximum tried that refuse as few clean calls and still stop a bad one.
    pub plateau: (u64, u64),
    /// Chosen on the first sessions, judged on the rest; none where the first don't support a limit.
    pub forward: Option<Forward>,
}

/// What a recommendation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Clean calls.
    pub clean: u64,
    /// Bad calls.
    pub bad: u64,
    /// Sessions with clean calls.
    pub sessions: u64,
    /// Sessions with bad calls.
    pub stuck: u64,
    /// Days of UTC with calls.
    pub days: u64,
    /// Calls that can't be counted.
    pub unknown: u64,
}

/// The smallest maximum that all but the allowed share of sessions stay within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knee {
    /// As these sessions say it.
    pub at: u64,
    /// With 97.5 % it is no lower.
    pub low: u64,
    /// With 97.5 % it is no higher. None where there are too few sessions to say.
    pub high: Option<u64>,
    /// The highest use that was seen.
    pub highest: u64,
}

/// Walk-forward: a maximum chosen on the first sessions, judged on those that began later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Sessions it was chosen on.
    pub chosen_on: u64,
    /// The maximum.
    pub max: u64,
    /// Sessions it was judged on.
    pub judged_on: u64,
    /// What it refuses of those.
    pub refused: Refused,
    /// Their clean and bad calls.
    pub calls: (u64, u64),
}

/// Why no limit is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// Too few sessions have clean calls.
    Sessions {
        /// How many have.
        found: u64,
        /// How many have to.
        needed: u64,
    },
    /// The calls lie on too few days.
    Days {
        /// On how many.
        found: u64,
        /// On how many they have to.
        needed: u64,
    },
    /// No call is bad: whatever the maximum, it would stop nothing.
    NothingBad {
        /// The highest healthy use in a minute.
        highest: u64,
    },
    /// The bad calls come no faster than the healthy ones.
    NoRoom {
        /// Bad calls.
        bad: u64,
    },
    /// Counting isn't exact on these calls.
    Inexact(Inexact),
}

/// Recommends a limit per session for these tools, counted together; none means all tools.
///
/// # Errors
/// Why the log supports none.
pub fn recommend(columns: &Columns, of: &[Selector], terms: &Terms) -> Result<Advice, Declined> {
    let layout = columns.lay_out(of, Scope::Session).map_err(Declined::Inexact)?;
    let (clean, bad) = layout.labels();
    let by_minute = used(&layout, 60_000_000);
    let sessions = u64::try_from(by_minute.len()).unwrap_or(u64::MAX);
    let mut evidence = Evidence { clean, bad, sessions, stuck: 0, days: layout.days(), unknown: layout.unknown };
    if sessions < terms.sessions_min {
        return Err(Declined::Sessions { found: sessions, needed: terms.sessions_min });
    }
    if evidence.days < terms.days_min {
        return Err(Declined::Days { found: evidence.days, needed: terms.days_min });
    }
    if bad == 0 {
        return Err(Declined::NothingBad { highest: by_minute.last().copied().map_or(0, u64::from) });
    }
    let best = WINDOWS
        .iter()
        .filter_map(|(window, length_us)| {
            chosen(&layout, *length_us, terms).map(|chosen| (*window, *length_us, chosen))
        })
        // The first of equals, which has the shortest window.
        .min_by_key(|(_, _, (_, _, refused))| (std::cmp::Reverse(refused.bad), refused.sessions));
    let (window, length_us, (max, knee, refused)) = best.ok_or(Declined::NoRoom { bad })?;
    let plateau = plateau(&layout, length_us, max, refused);
    let forward = forward(&layout, length_us, terms);
    let bad = layout.bad_by_key(length_us, max);
    evidence.stuck = u64::try_from(bad.len()).unwrap_or(u64::MAX);
    let stops = bootstrap::interval(&bad, sessions.max(evidence.stuck));
    Ok(Advice { window, max, evidence, knee, refused, stops, plateau, forward })
}

/// The sessions' healthy use, ascending.
fn used(layout: &Layout, length_us: i64) -> Vec<u32> {
    let mut used: Vec<u32> = layout.healthy(length_us).into_iter().filter(|used| *used > 0).collect();
    used.sort_unstable();
    used
}

/// The maximum for a window, where one stops something and touches no more sessions than it may.
fn chosen(layout: &Layout, length_us: i64, terms: &Terms) -> Option<(u64, Knee, Refused)> {
    let used = used(layout, length_us);
    let knee = knee(&used, terms.touched_per_mille)?;
    let base = knee.high.unwrap_or(knee.highest);
    let max = round_up(base + base.div_ceil(4));
    let refused = layout.rolling(length_us, &[max]).into_iter().next()?;
    let allowed = u64::try_from(used.len()).unwrap_or(u64::MAX).saturating_mul(u64::from(terms.touched_per_mille));
    // What hits clean calls as often as bad ones is no way to tell them apart.
    let stops = refused.bad > refused.clean && refused.sessions.saturating_mul(1_000) <= allowed;
    stops.then_some((max, knee, refused))
}

/// The knee of the sessions' healthy use, which is ascending. None without sessions.
fn knee(used: &[u32], touched_per_mille: u32) -> Option<Knee> {
    let share = f64::from(touched_per_mille.min(1_000)) / 1_000.0;
    // The k-th highest, from 1.
    let highest = |k: usize| used.len().checked_sub(k).and_then(|place| used.get(place)).copied().map(u64::from);
    let beyond = usize::try_from(u64::try_from(used.len()).ok()? * u64::from(touched_per_mille) / 1_000).ok()?;
    let (over_low, over_high) = binomial_ends(used.len(), share);
    Some(Knee {
        at: highest(beyond + 1).unwrap_or(0),
        low: highest(over_low + 1).unwrap_or(0),
        high: if over_high == 0 { None } else { highest(over_high) },
        highest: highest(1)?,
    })
}

/// Of `n` draws that each hit with `share`: the smallest `a` with at most `a` hits in 97.5 % of cases, and the
/// largest `b` with at least `b` hits in 97.5 % (0 says nothing).
fn binomial_ends(n: usize, share: f64) -> (usize, usize) {
    #[expect(clippy::cast_precision_loss, reason = "sessions are few beside 2^52")]
    let draws = n as f64;
    // Logarithms, because the chance of no hit at all is soon too small for a float.
    let (hit, miss) = (share.ln(), (1.0 - share).ln());
    let mut log_chance = draws * miss;
    let (mut at_most, mut at_least) = (0.0, 0);
    for hits in 0..=n {
        // So far the chance of fewer hits.
        if at_most <= 0.025 {
            at_least = hits;
        }
        at_most += log_chance.exp();
        if at_most >= 0.975 {
            return (hits, at_least);
        }
        #[expect(clippy::cast_precision_loss, reason = "sessions are few beside 2^52")]
        let (done, left) = (hits as f64 + 1.0, (n - hits) as f64);
        log_chance += left.ln() - done.ln() + hit - miss;
    }
    (n, at_least)
}

/// The smallest and the largest maximum, of those that a person would write, with the same cost and some use.
fn plateau(layout: &Layout, length_us: i64, max: u64, refused: Refused) -> (u64, u64) {
    let tried = a_person_would_write(1, max.saturating_mul(100));
    let found = layout.rolling(length_us, &tried);
    let same = |(_, found): &(u64, Refused)| found.clean == refused.clean && found.bad > 0;
    let same: Vec<u64> = tried.into_iter().zip(found).filter(same).map(|(max, _)| max).collect();
    (same.first().copied().unwrap_or(max).min(max), same.last().copied().unwrap_or(max).max(max))
}

/// Every number up to 10, and from there on those that a person would write, from `first` to `last`.
#[must_use]
pub fn a_person_would_write(first: u64, last: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (1..=10).collect();
    let mut ten = 10_u64;
    while ten <= last {
        numbers.extend([12, 15, 20, 25, 30, 40, 50, 60, 80, 100].map(|step| ten.saturating_mul(step) / 10));
        ten = ten.saturating_mul(10);
    }
    numbers.retain(|number| (first..=last).contains(number));
    numbers
}

/// The smallest number that a person would write and that isn't smaller.
fn round_up(least: u64) -> u64 {
    let found = a_person_would_write(least, least.saturating_mul(2).max(10));
    found.first().copied().unwrap_or(least)
}

fn forward(layout: &Layout, length_us: i64, terms: &Terms) -> Option<Forward> {
    let first_us = layout.first_us();
    let mut by_time: Vec<(i64, usize)> =
        first_us.iter().enumerate().filter_map(|(session, first_us)| Some(((*first_us)?, session))).collect();
    by_time.sort_unstable();
    let (before, after) = by_time.split_at(by_time.len() * CHOSEN_ON / 100);
    let only = |sessions: &[(i64, usize)]| {
        let mut keep = vec![false; first_us.len()];
        for (_, session) in sessions {
            if let Some(keep) = keep.get_mut(*session) {
                *keep = true;
            }
        }
        layout.only(&keep)
    };
    let (max, _, _) = chosen(&only(before), length_us, terms)?;
    let judged = only(after);
    let refused = judged.rolling(length_us, &[max]).into_iter().next()?;
    let count = |sessions: &[(i64, usize)]| u64::try_from(sessions.len()).unwrap_or(u64::MAX);
    Some(Forward { chosen_on: count(before), max, judged_on: count(after), refused, calls: judged.labels() })
}

#[cfg(test)]
mod tests;
