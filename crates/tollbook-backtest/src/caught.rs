//! The loops of a log that a candidate cuts short, and how long they went on for.
//!
//! What a loop is isn't told here: whoever knows the loops of a log says where they lie. A candidate stops a loop
//! with the first of its calls that it newly refuses; what was recorded of the loop after that call was wasted.

use std::collections::BTreeMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tollbook_engine::EventRef;

use crate::candidate::Judged;

/// A loop of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The instance that recorded it.
    pub instance: String,
    /// Its session.
    pub session: String,
    /// Its calls, by their place in the session, from 0.
    pub calls: Range<u64>,
    /// Whether it looks like polling, which may be wanted.
    pub polls: bool,
}

/// The loops of a log, while its events go by. Memory grows with the loops, and with nothing else.
#[derive(Debug, Clone, Default)]
pub struct Loops {
    by_instance: BTreeMap<String, Vec<(String, InSession)>>,
    /// Those of the instance that is read.
    sessions: HashMap<String, Session, RandomState>,
    all: u64,
}

/// A loop in its session, with its number.
#[derive(Debug, Clone)]
struct InSession {
    number: usize,
    calls: Range<u64>,
    polls: bool,
}

#[derive(Debug, Clone, Default)]
struct Session {
    /// Calls so far.
    calls: u64,
    loops: Vec<InSession>,
}

/// The loops that a candidate stops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caught {
    /// How many it stops.
    pub loops: u64,
    /// Of those, how many look like polling.
    pub polls: u64,
    /// Calls that were recorded of those loops after the first that it refuses.
    pub wasted: u64,
    /// By number, whether it is stopped.
    stopped: Vec<bool>,
}

impl Loops {
    /// These loops, in any order.
    pub fn of(loops: impl IntoIterator<Item = Loop>) -> Self {
        let mut found = Self::default();
        for (number, one) in loops.into_iter().enumerate() {
            let place = InSession { number, calls: one.calls, polls: one.polls };
            found.by_instance.entry(one.instance).or_default().push((one.session, place));
            found.all += 1;
        }
        found
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.all
    }

    /// The events of another instance follow.
    pub fn begin(&mut self, instance: &str) {
        self.sessions.clear();
        for (session, one) in self.by_instance.remove(instance).into_iter().flatten() {
            self.sessions.entry(session).or_default().loops.push(one);
        }
    }

    /// The next event of the instance: the call's loops.
    pub fn event(&mut self, event: &EventRef<'_>) -> InLoops<'_> {
        // A frame that was too broken to name a tool is a call like any other, as `loops()` counts them.
        let session = event.record().and_then(|record| record.session);
        let Some(session) = session.and_then(|session| self.sessions.get_mut(session)) else {
            return InLoops { at: 0, loops: &[] };
        };
        session.calls += 1;
        InLoops { at: session.calls - 1, loops: &session.loops }
    }
}

/// Where a call stands, and the loops of its session.
#[derive(Debug, Clone, Copy)]
pub struct InLoops<'a> {
    at: u64,
    loops: &'a [InSession],
}

impl Caught {
    /// What a candidate made of a call.
    pub fn add(&mut self, place: InLoops<'_>, judged: &Judged) {
        if judged.change().newly_refused == 0 {
            return;
        }
        for one in place.loops.iter().filter(|one| one.calls.contains(&place.at)) {
            if one.number >= self.stopped.len() {
                self.stopped.resize(one.number + 1, false);
            }
            let Some(stopped) = self.stopped.get_mut(one.number).filter(|stopped| !**stopped) else { continue };
            *stopped = true;
            self.loops += 1;
            self.polls += u64::from(one.polls);
            self.wasted += one.calls.end - place.at - 1;
        }
    }
}

#[cfg(test)]
mod tests;
