//! What one state has counted goes on in another, as after a restart.
//!
//! Counters and the runs of sessions are carried on. Calls in flight aren't: how they ended nobody will tell, so
//! what they were charged stays. Neither are approvals, since their calls went with the process that held them: an
//! agent that asks again is held again.

use super::{CounterName, Counters, State};
use crate::keyed::{KeyRef, UNCODED};
use crate::limit::Usage;
use crate::record::Bounds;

impl State {
    /// The bounds of its memory.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What earlier states have counted, as one that goes on at `at_us`; see [`State::carry`].
    #[must_use]
    pub fn carried<'a>(
        bounds: Bounds,
        earlier: impl IntoIterator<Item = &'a Self>,
        server: Option<&str>,
        at_us: i64,
    ) -> Self {
        let mut carried = Self::new(bounds, 0);
        earlier.into_iter().for_each(|state| carried.carry(state, server, at_us));
        carried
    }

    /// Adds what an earlier state has counted, for one server or for every one, to what this one has. `at_us` is
    /// now, in microseconds since 1970: windows that have passed are left out, and what was counted after it, by
    /// a clock that has been set back, counts as now. More keys than the bounds allow are taken all the same; no
    /// other is until some have passed.
    ///
    /// The same states carried in the same order give the same state.
    pub fn carry(&mut self, earlier: &Self, server: Option<&str>, at_us: i64) {
        let now_us = self.advance(at_us);
        self.counters.carry(&earlier.counters, server, now_us);
        for (key, history) in earlier.sessions.each_key() {
            let (_, of, _) = key;
            if server.is_some_and(|server| server != of) || history.matters_until_us() <= now_us {
                continue;
            }
            match self.sessions.find_mut(key, UNCODED) {
                Some((_, held)) => *held = history.clone(),
                None => drop(self.sessions.insert(key, history.clone())),
            }
        }
    }
}

impl Counters {
    fn carry(&mut self, earlier: &Self, server: Option<&str>, now_us: i64) {
        let chosen = |name: &CounterName| server.is_none_or(|server| *name.server == *server);
        let mut numbers = vec![None; earlier.measures.len()];
        for (name, was) in earlier.names.iter().filter(|(name, _)| chosen(name)) {
            let place = usize::try_from(*was).ok();
            let (Some(measure), Some(number)) =
                (place.and_then(|place| earlier.measures.get(place)), place.and_then(|place| numbers.get_mut(place)))
            else {
                continue;
            };
            *number = Some(self.number(name.clone(), *measure));
        }
        for ((was, tool, key), usage) in earlier.usages.each_key() {
            let number = usize::try_from(was).ok().and_then(|was| *numbers.get(was)?);
            if let Some(number) = number {
                self.add((number, tool, key), usage, now_us);
            }
        }
        self.full_until_us = i64::MIN;
    }

    fn add(&mut self, key: KeyRef<'_>, earlier: &Usage, now_us: i64) {
        let measure = usize::try_from(key.0).ok().and_then(|number| self.measures.get(number).copied());
        let Some(measure) = measure else { return };
        let start_us = measure.start_us(now_us);
        let carried = earlier.carried(start_us, now_us);
        if carried.is_empty() {
            return;
        }
        self.charges += carried.charges();
        let Some((_, held)) = self.usages.find_mut(key, UNCODED) else {
            self.usages.insert(key, carried);
            return;
        };
        self.charges -= held.advance(start_us);
        held.merge(carried);
    }
}

#[cfg(test)]
mod tests;
