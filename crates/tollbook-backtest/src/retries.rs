//! The third reading of a refusal: the call is made again when it may fit.
//!
//! From the first newly refused call on, a second state goes its own way. In it a refused call that is told when to come
//! again does so at that instant, before any later call, and uses what it uses then; refused again, it waits again.
//! So what waits pushes back what comes behind it, which the wait of each call by itself wouldn't tell. Each instance
//! is read by itself; once its events are over, what still waits is tried until it passes.

use std::collections::BTreeMap;

use tollbook_engine::{Call, Decision, End, Engine, Event, EventRef, Hash128, RecordRef, State, Verdict};

use crate::candidate::refuses;
use crate::named::Named;
use crate::report::Waits;
use crate::{parsed_args, recorded_call};

/// Most calls that wait at once. One more counts as one that never passes.
const WAITING_MAX: usize = 100_000;
/// Most times that one call is tried. Then it never passes.
const TRIES_MAX: u32 = 1_000;
/// Most calls whose end is awaited. Beyond it the oldest keeps its charge.
const IN_FLIGHT_MAX: usize = 1_000_000;

/// A log in which refused calls are made again.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    running: Option<Running>,
    pub waits: Waits,
}

/// An instance, from its first newly refused call on.
#[derive(Debug)]
struct Running {
    state: State,
    /// The first newly refused call. Those before it have their recorded numbers.
    begun: u64,
    /// The number of the next call, since a call that waits comes behind others.
    seq: u64,
    /// The number of each call in flight by the recorded one.
    numbers: BTreeMap<u64, u64>,
    /// By the instant at which they are tried again, and then by their recorded numbers.
    waiting: BTreeMap<(i64, u64), Waiting>,
    tried_at: BTreeMap<u64, i64>,
    approvals: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    server: u32,
    since_us: i64,
    tries: u32,
    /// How it was recorded to have ended, where that is known.
    ended: Option<(End, Option<Hash128>)>,
}

/// A call as a candidate has judged it.
pub(crate) struct Tried<'a> {
    pub event: &'a EventRef<'a>,
    pub record: &'a RecordRef<'a>,
    pub call: &'a Call<'a>,
    /// The number of its server.
    pub server: u32,
    /// What the candidate made of it, with its own counters.
    pub retry_at_us: Option<i64>,
    pub newly_refused: bool,
}

impl Retries {
    /// The next call. `state` is the candidate's own, which has judged it.
    pub fn call(&mut self, state: &State, engines: &Named<Engine>, tried: &Tried<'_>) {
        let Some(at_us) = tried.event.ts_us else { return };
        let Some(running) = &mut self.running else {
            // Until something waits, both are the same.
            if !tried.newly_refused {
                return;
            }
            match tried.retry_at_us.zip(State::restore(&state.snapshot(), 0).ok()) {
                None => self.waits.never += 1,
                Some((retry_at_us, state)) => {
                    let running = self.running.insert(Running::new(state, tried.event.seq));
                    running.wait(tried, at_us, retry_at_us, &mut self.waits);
                }
            }
            return;
        };
        let Some(engine) = engines.get(tried.server) else { return };
        let number = running.next_number(tried.event.seq);
        let mut decision = Decision::default();
        engine.decide_into(&mut decision, &mut running.state, number, tried.call);
        if let (Some(recorded), Some(own)) = (tried.record.approval, &decision.approval) {
            running.approvals.insert(recorded.to_owned(), own.clone());
        }
        if refuses(decision.verdict) && !tried.record.verdict.is_some_and(refuses) {
            match decision.retry_at_us {
                Some(retry_at_us) => running.wait(tried, at_us, retry_at_us, &mut self.waits),
                None => self.waits.never += 1,
            }
        }
    }

    /// Makes again what was to be by then. To be done before each event.
    pub fn until(&mut self, at_us: i64, engines: &Named<Engine>) {
        if let Some(running) = &mut self.running {
            running.until(at_us, engines, &mut self.waits);
        }
    }

    /// A call has ended.
    pub fn settle(&mut self, seq: u64, end: End, result: Option<Hash128>) {
        let Some(running) = &mut self.running else { return };
        let waiting = running.tried_at.get(&seq).map(|at_us| (*at_us, seq));
        if let Some(waiting) = waiting.and_then(|place| running.waiting.get_mut(&place)) {
            waiting.ended = Some((end, result));
            return;
        }
        // One that never passed has no number here.
        let number = running.numbers.remove(&seq).or((seq < running.begun).then_some(seq));
        if let Some(number) = number {
            running.state.settle(number, end, result);
        }
    }

    /// A person has answered a recorded call.
    pub fn answer(&mut self, approval: &str, approved: bool, at_us: i64) {
        let Some(running) = &mut self.running else { return };
        if let Some(own) = running.approvals.remove(approval) {
            running.state.answer(&own, approved, at_us);
        }
    }

    /// An operator has emptied counters.
    pub fn reset(&mut self, counter: Option<&str>, key: Option<&str>) {
        if let Some(running) = &mut self.running {
            running.state.reset(counter, key);
        }
    }

    /// The instance's events are over.
    pub fn end(&mut self, engines: &Named<Engine>) {
        if let Some(mut running) = self.running.take() {
            running.until(i64::MAX, engines, &mut self.waits);
        }
    }
}

impl Running {
    fn new(state: State, seq: u64) -> Self {
        Self {
            state,
            begun: seq,
            seq: seq.saturating_add(1),
            numbers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            tried_at: BTreeMap::new(),
            approvals: BTreeMap::new(),
        }
    }

    /// The number of a call that is made now.
    fn next_number(&mut self, recorded: u64) -> u64 {
        let number = self.seq;
        self.seq = self.seq.saturating_add(1);
        self.numbers.insert(recorded, number);
        if self.numbers.len() > IN_FLIGHT_MAX {
            self.numbers.pop_first();
        }
        number
    }

    fn wait(&mut self, tried: &Tried<'_>, since_us: i64, retry_at_us: i64, waits: &mut Waits) {
        self.numbers.remove(&tried.event.seq);
        let mut event = tried.event.to_event();
        if let tollbook_engine::Body::Decision(record) = &mut event.body {
            // As it was judged: an imported record knows the name alone.
            record.category = tried.call.category.map(str::to_owned);
        }
        let waiting = Waiting { event, server: tried.server, since_us, tries: 1, ended: None };
        self.put(waiting, since_us, retry_at_us, waits);
    }

    /// Puts a call where it is tried again, unless that is no later than now.
    fn put(&mut self, waiting: Waiting, now_us: i64, retry_at_us: i64, waits: &mut Waits) {
        if self.waiting.len() >= WAITING_MAX || waiting.tries >= TRIES_MAX || retry_at_us <= now_us {
            waits.never += 1;
            return;
        }
        let seq = waiting.event.seq;
        self.tried_at.insert(seq, retry_at_us);
        self.waiting.insert((retry_at_us, seq), waiting);
    }

    /// Makes again what was to be by then.
    fn until(&mut self, at_us: i64, engines: &Named<Engine>, waits: &mut Waits) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= at_us) {
            let ((now_us, seq), waiting) = entry.remove_entry();
            self.tried_at.remove(&seq);
            self.again(waiting, now_us, engines, waits);
        }
    }

    fn again(&mut self, mut waiting: Waiting, now_us: i64, engines: &Named<Engine>, waits: &mut Waits) {
        let seq = waiting.event.seq;
        let number = self.next_number(seq);
        let retry_at_us = {
            let event = EventRef::from(&waiting.event);
            let Some((engine, record)) = engines.get(waiting.server).zip(event.record()) else { return };
            let parsed = parsed_args(record);
            let Some(mut call) = recorded_call(&event, record, parsed.as_ref()) else { return };
            call.at_us = Some(now_us);
            let mut decision = Decision::default();
            engine.decide_into(&mut decision, &mut self.state, number, &call);
            match decision.verdict {
                Verdict::Allow => None,
                _ => Some(decision.retry_at_us.unwrap_or(now_us)),
            }
        };
        let Some(retry_at_us) = retry_at_us else {
            let wait_us = u64::try_from(now_us.saturating_sub(waiting.since_us)).unwrap_or(0);
            waits.calls += 1;
            waits.total_us = waits.total_us.saturating_add(wait_us);
            waits.longest_us = waits.longest_us.max(wait_us);
            if let Some((end, result)) = waiting.ended {
                self.numbers.remove(&seq);
                self.state.settle(number, end, result);
            }
            return;
        };
        self.numbers.remove(&seq);
        waiting.tries += 1;
        self.put(waiting, now_us, retry_at_us, waits);
    }
}

#[cfg(test)]
mod tests;
