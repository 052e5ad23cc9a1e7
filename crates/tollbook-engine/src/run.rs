//! Runs of calls that repeat themselves: the one definition of a loop.
//!
//! A counter for each lag p tells how many calls in a row equalled the call p before them. That is all
//! it takes: calls repeat with period p for `n` calls exactly when the counter stands at `n - p` (Main
//! and Lorentz; Kolpakov and Kucherov). Sixteen bytes a lag and no list of calls, whatever the length
//! of the run. The breaker drives it call by call over what was let through, `loops()` over whatever
//! was attempted.

use minicbor::{Decode, Encode};

/// Longest period that is looked for.
pub const PERIOD_MAX: usize = 8;

/// A call's identity: tool and canonical arguments, hashed. Equal calls have equal identities, and two
/// different ones that are compared have the same with a chance of 2^-64.
pub type CallId = std::num::NonZeroU64;

/// The recent calls of one session, as far as loops depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Runs {
    /// The last calls, newest first; None for one whose arguments aren't known, which equals nothing.
    #[n(0)]
    recent: [Option<CallId>; PERIOD_MAX],
    /// For each lag from 1 on: how many calls in a row, up to now, equalled the call that lag before.
    #[n(1)]
    matches: [u32; PERIOD_MAX],
}

impl Runs {
    /// Takes in the next call.
    #[inline]
    pub fn push(&mut self, call: Option<CallId>) {
        for (matches, before) in self.matches.iter_mut().zip(self.recent) {
            *matches = if call.is_some() && call == before { matches.saturating_add(1) } else { 0 };
        }
        let [a, b, c, d, e, f, g, _] = self.recent;
        self.recent = [call, a, b, c, d, e, f, g];
    }

    /// Takes in calls, up to the first that equals one that it is compared with, and returns how many those are: none
    /// where the newest one does. Most calls equal none, and so they cost a fraction of what [`Runs::push`] takes.
    pub fn push_new(&mut self, calls: &[Option<CallId>]) -> usize {
        if self.matches.iter().any(|matches| *matches > 0) {
            return 0;
        }
        // The oldest is written over, wherever it stands: a call is compared with all of them.
        let mut recent = self.recent;
        recent.reverse();
        let mut taken = 0;
        for call in calls {
            if call.is_some() && recent.contains(call) {
                break;
            }
            if let Some(oldest) = recent.get_mut(taken % PERIOD_MAX) {
                *oldest = *call;
            }
            taken += 1;
        }
        recent.rotate_left(taken % PERIOD_MAX);
        recent.reverse();
        self.recent = recent;
        taken
    }

    /// How many calls, up to now, repeat with this period (1 to 8): their last `period` calls and all
    /// before that equalled the call a period later. Zero where not one did.
    #[must_use]
    pub fn length(&self, period: usize) -> u32 {
        let matches = period.checked_sub(1).and_then(|lag| self.matches.get(lag)).copied().unwrap_or(0);
        if matches == 0 { 0 } else { matches.saturating_add(u32::try_from(period).unwrap_or(u32::MAX)) }
    }

    /// Whether `call` would carry on `repeats` whole repeats of a block of exactly `period` calls that
    /// isn't itself made of a shorter one.
    #[must_use]
    pub fn carried_on_by(&self, call: Option<CallId>, period: usize, repeats: u32) -> bool {
        let Some(before) = period.checked_sub(1).and_then(|lag| self.recent.get(lag)) else { return false };
        if call.is_none() || call != *before {
            return false;
        }
        let calls = u32::try_from(period).unwrap_or(u32::MAX).saturating_mul(repeats);
        let repeated = if repeats <= 1 { true } else { self.length(period) >= calls };
        // In two periods or more, a shorter period can only be one that divides (Fine and Wilf).
        let shorter =
            (1..period).filter(|shorter| period.is_multiple_of(*shorter)).any(|shorter| self.length(shorter) >= calls);
        repeated && !shorter
    }
}

#[cfg(test)]
mod tests;
