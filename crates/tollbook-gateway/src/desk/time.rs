//! The time of what is done here: the wall clock's, but never earlier than it was.
//!
//! Where the wall clock goes back, time stands still until it has caught up, and the log says so: windows don't move
//! meanwhile, so that nothing is counted twice.

use std::time::Instant;

use tollbook_engine::{Body, ClockBack};

use super::Desk;

/// How far the wall clock has to go back for that to be recorded, in microseconds. Less is within what it is corrected
/// by all the time.
const CLOCK_BACK_US: i64 = 1_000_000;

/// When something is done here. What came together has come at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// By the desk's clock, in microseconds since 1970.
    pub us: i64,
    /// For how long something took.
    pub at: Instant,
}

impl Desk {
    /// Now, by both clocks.
    pub(super) fn now(&mut self) -> Now {
        Now { us: self.now_us(), at: Instant::now() }
    }

    /// Now, never before an earlier now.
    pub(super) fn now_us(&mut self) -> i64 {
        let wall_us = (self.clock)();
        let behind_us = self.latest_us.saturating_sub(wall_us);
        if behind_us <= 0 {
            self.clock_is_back = false;
        } else if behind_us >= CLOCK_BACK_US && !self.clock_is_back {
            self.clock_is_back = true;
            tracing::warn!(behind_us, "the clock went back");
            self.record_clock_back(behind_us);
        }
        self.latest_us = self.latest_us.max(wall_us);
        self.latest_us
    }

    fn record_clock_back(&mut self, behind_us: i64) {
        // A log begins with who judges.
        if self.next_seq == 0 {
            return;
        }
        let behind_us = u64::try_from(behind_us).unwrap_or(0);
        if let Err(error) = self.append(self.latest_us, Body::ClockBack(ClockBack { behind_us })) {
            tracing::warn!(%error, "that the clock went back was not recorded");
        }
    }
}

#[cfg(test)]
mod tests;
