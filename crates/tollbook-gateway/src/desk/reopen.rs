//! A log that failed is begun anew, and tells how many calls it has missed.
//!
//! The new log is an instance of its own, which carries on what was counted by then, the calls that were missed among
//! it. Calls in flight and those that wait for a person are let go, as after a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollbook_engine::{Body, State};

use super::Desk;

/// How long a log that could not be opened anew is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of the log's failure.
#[derive(Debug, Default)]
pub(super) struct Gap {
    /// Calls that were judged and not recorded.
    pub calls: u64,
    /// Goes up with each log that is begun.
    pub opening: u64,
    tried: Option<Instant>,
}

/// What a log that failed has left.
pub(super) struct Failed {
    pub instance: String,
    pub state: State,
}

impl Desk {
    /// Begins a new log where this one has failed. Nothing happens where it can't be begun either.
    pub(super) fn mend_log(&mut self) {
        let Some(log) = &self.log else { return };
        let Some(cause) = log.failure() else { return };
        if self.gap.tried.is_some_and(|tried| tried.elapsed() < RETRY_AFTER) {
            return;
        }
        self.gap.tried = Some(Instant::now());
        let instance = log.instance().to_owned();
        match log.reopen() {
            Ok((log, _)) => {
                self.log = Some(Arc::new(log));
                let begun = State::new(super::Bounds::default(), self.manner.seed);
                let failed = Failed { instance, state: std::mem::replace(&mut self.state, begun) };
                self.held.clear();
                self.questions.clear();
                self.gap.opening += 1;
                if let Err(error) = self.begin(Some(failed)).and_then(|()| self.tell_gap(cause)) {
                    tracing::error!(%error, "the new log failed as well");
                }
            }
            Err(error) => tracing::error!(%error, "the log could not be begun anew"),
        }
    }

    fn tell_gap(&mut self, cause: String) -> Result<(), super::Unrecorded> {
        let now_us = self.now_us();
        let gap = tollbook_engine::Gap { calls: Some(self.gap.calls), cause };
        self.append(now_us, Body::Gap(gap))?;
        self.gap.calls = 0;
        tracing::warn!("the log is back");
        Ok(())
    }

    /// A call goes on though its record may not be safe.
    pub(crate) fn goes_on_unrecorded(&mut self) -> bool {
        let allowed = self.manner.on_log_failure == super::OnLogFailure::Allow;
        self.gap.calls += u64::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests;
