//! Limits, as pure state transitions.
//!
//! A limit reads no clock and keeps no counter. It is handed what its window holds and the time of the
//! call, and tells whether the call fits. The gateway and the backtest drive the same functions, so a
//! replayed log reaches the decisions that were enforced.
//!
//! Amounts are millionths of a call or of a unit, whole numbers all the way: a counter is never a float.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

/// A limit's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Measure {
    /// Length of the window in microseconds, at least 1.
    #[n(0)]
    pub length_us: i64,
    /// Exact rolling window rather than one aligned in UTC.
    #[n(1)]
    pub rolling: bool,
    /// What a window admits.
    #[n(2)]
    pub max_micros: i64,
}

/// What one counter holds for one key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Usage {
    /// Charges in the UTC-aligned window that began at `start_us`.
    #[n(0)]
    Plain {
        #[n(0)]
        start_us: i64,
        #[n(1)]
        used_micros: i64,
    },
    /// Each charge that may still be in the window, oldest first, and their sum. Boxed, because most keys
    /// are plain and there may be millions.
    #[n(1)]
    Rolling {
        #[n(0)]
        #[expect(clippy::box_collection, reason = "a plain usage is a third of the size that way")]
        charges: Box<VecDeque<Charge>>,
        #[n(1)]
        used_micros: i64,
    },
}

impl Default for Usage {
    fn default() -> Self {
        Self::Plain { start_us: 0, used_micros: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Charge {
    #[n(0)]
    pub at_us: i64,
    #[n(1)]
    pub micros: i64,
}

/// How a call meets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Where the window begins.
    pub start_us: i64,
    /// What the window holds before the call.
    pub used_micros: i64,
    /// Whether the call fits.
    pub fits: bool,
    /// When a call of this amount fits again. None where it fits now, or never will.
    pub frees_at_us: Option<i64>,
}

impl Measure {
    /// Start of the window that holds `at_us`: plain windows are half-open and aligned in UTC.
    pub fn start_us(&self, at_us: i64) -> i64 {
        if self.rolling { at_us.saturating_sub(self.length_us) } else { at_us - at_us.rem_euclid(self.length_us) }
    }

    /// The window that `usage` was last advanced to, if `at_us` still falls into it. Most calls do, and have
    /// nothing to advance and no division to make.
    pub fn current_us(&self, usage: &Usage, at_us: i64) -> Option<i64> {
        let Usage::Plain { start_us, .. } = *usage else { return None };
        let ends = start_us.checked_add(self.length_us);
        (at_us >= start_us && ends.is_none_or(|end_us| at_us < end_us)).then_some(start_us)
    }

    /// An empty window that begins at `start_us`.
    pub fn usage(&self, start_us: i64) -> Usage {
        if self.rolling {
            Usage::Rolling { charges: Box::default(), used_micros: 0 }
        } else {
            Usage::Plain { start_us, used_micros: 0 }
        }
    }

    /// Whether `amount` more fits into the window that begins at `start_us`. None for a key that holds
    /// nothing.
    pub fn probe(&self, usage: Option<&Usage>, start_us: i64, amount: i64) -> Probe {
        let used_micros = match usage {
            Some(Usage::Plain { used_micros, .. } | Usage::Rolling { used_micros, .. }) => *used_micros,
            None => 0,
        };
        let fits = used_micros.checked_add(amount).is_some_and(|used_micros| used_micros <= self.max_micros);
        let frees_at_us = if fits { None } else { self.frees_at_us(usage, start_us, amount) };
        Probe { start_us, used_micros, fits, frees_at_us }
    }

    #[inline(never)]
    fn frees_at_us(&self, usage: Option<&Usage>, start_us: i64, amount: i64) -> Option<i64> {
        if amount > self.max_micros {
            return None;
        }
        match usage? {
            Usage::Plain { .. } => Some(start_us.saturating_add(self.length_us)),
            Usage::Rolling { charges, used_micros } => {
                let mut left = *used_micros;
                charges.iter().find_map(|charge| {
                    left -= charge.micros;
                    (amount <= self.max_micros - left).then(|| charge.at_us.saturating_add(self.length_us))
                })
            }
        }
    }
}

impl Usage {
    /// What the window that begins at `start_us` holds.
    pub fn used_micros(&self, start_us: i64) -> i64 {
        match self {
            Self::Plain { start_us: current, used_micros } if *current == start_us => *used_micros,
            Self::Plain { .. } => 0,
            Self::Rolling { charges, .. } => {
                charges.iter().filter(|charge| charge.at_us > start_us).map(|charge| charge.micros).sum()
            }
        }
    }

    /// Forgets what lies before the window that begins at `start_us`, which no later answer can depend on.
    /// Returns how many charges that it remembered one by one are gone.
    pub fn advance(&mut self, start_us: i64) -> u64 {
        let mut gone = 0;
        match self {
            Self::Plain { start_us: current, used_micros } => {
                if *current != start_us {
                    (*current, *used_micros) = (start_us, 0);
                }
            }
            Self::Rolling { charges, used_micros } => {
                // Two calls exactly one length apart never share a half-open span of that length.
                while let Some(oldest) = charges.pop_front_if(|charge| charge.at_us <= start_us) {
                    *used_micros -= oldest.micros;
                    gone += 1;
                }
            }
        }
        gone
    }

    /// Adds a charge that fitted.
    pub fn charge(&mut self, at_us: i64, micros: i64) {
        match self {
            Self::Plain { used_micros, .. } => *used_micros = used_micros.saturating_add(micros),
            Self::Rolling { charges, used_micros } => {
                *used_micros = used_micros.saturating_add(micros);
                charges.push_back(Charge { at_us, micros });
            }
        }
    }

    /// Takes back a charge made at `at_us` in the window that began at `start_us`. A window that has
    /// passed stays as it is.
    pub fn give_back(&mut self, start_us: i64, at_us: i64, micros: i64) {
        match self {
            Self::Plain { start_us: current, used_micros } if *current == start_us => {
                *used_micros = used_micros.saturating_sub(micros).max(0);
            }
            Self::Plain { .. } => {}
            Self::Rolling { charges, used_micros } => {
                let charge = Charge { at_us, micros };
                if let Some(index) = charges.iter().rposition(|held| *held == charge) {
                    charges.remove(index);
                    *used_micros -= micros;
                }
            }
        }
    }

    /// What is left of it in the window that begins at `start_us`, where now is `now_us`. What it was charged after
    /// now, by a clock that was ahead, counts as now.
    pub fn carried(&self, start_us: i64, now_us: i64) -> Self {
        match self {
            Self::Plain { start_us: current, used_micros } => {
                Self::Plain { start_us, used_micros: if *current < start_us { 0 } else { *used_micros } }
            }
            Self::Rolling { charges, .. } => {
                let left = charges.iter().filter(|charge| charge.at_us > start_us);
                let charges: VecDeque<Charge> =
                    left.map(|charge| Charge { at_us: charge.at_us.min(now_us), ..*charge }).collect();
                let used_micros = charges.iter().fold(0, |used: i64, charge| used.saturating_add(charge.micros));
                Self::Rolling { charges: Box::new(charges), used_micros }
            }
        }
    }

    /// Adds what another state has counted in the same window.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Plain { used_micros, .. }, Self::Plain { used_micros: more, .. }) => {
                *used_micros = used_micros.saturating_add(more);
            }
            (Self::Rolling { charges, used_micros }, Self::Rolling { charges: more, used_micros: used_more }) => {
                charges.extend(*more);
                charges.make_contiguous().sort_by_key(|charge| charge.at_us);
                *used_micros = used_micros.saturating_add(used_more);
            }
            // One counter's usages are all of one kind.
            (Self::Plain { .. }, Self::Rolling { .. }) | (Self::Rolling { .. }, Self::Plain { .. }) => {}
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Plain { used_micros, .. } => *used_micros == 0,
            Self::Rolling { charges, .. } => charges.is_empty(),
        }
    }

    /// How many charges it remembers one by one.
    pub fn charges(&self) -> u64 {
        match self {
            Self::Plain { .. } => 0,
            Self::Rolling { charges, .. } => u64::try_from(charges.len()).unwrap_or(u64::MAX),
        }
    }

    /// When something will leave the window.
    pub fn next_change_us(&self, length_us: i64) -> i64 {
        match self {
            Self::Plain { start_us, .. } => start_us.saturating_add(length_us),
            Self::Rolling { charges, .. } => {
                charges.front().map_or(i64::MIN, |charge| charge.at_us.saturating_add(length_us))
            }
        }
    }
}

#[cfg(test)]
mod tests;
