//! Calls that were let through and haven't ended, and what each would give back.
//!
//! A call is put here at each decision and taken out soon after, so both are a few stores: calls stand in a queue,
//! with their charges. A call that ended stays until it comes to the front. One that doesn't end, while those after it
//! do, is moved out of their way once.

use std::cmp::Ordering;
use std::collections::VecDeque;

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use crate::keyed::Handle;

/// The calls in flight, by growing sequence number.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    recent: Queue,
    /// Calls from before all of those, which may never end.
    old: Queue,
}

/// Calls by growing sequence number.
#[derive(Debug, Default)]
struct Queue {
    calls: VecDeque<InFlight>,
    /// Calls that ended and aren't forgotten yet.
    settled: usize,
}

/// So many calls that ended may stand behind one that hasn't.
const BEHIND_MAX: usize = 64;

/// What a call was charged; few calls are under more than three limits.
pub(crate) type Charges = SmallVec<[Charged; 3]>;

/// A call that was let through.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub seq: u64,
    pub at_us: i64,
    pub session: Option<Handle>,
    pub tool: u64,
    pub charges: Charges,
    settled: bool,
}

/// A charge that may be given back.
#[derive(Debug, Clone, Copy, Encode, Decode)]
pub(crate) struct Charged {
    #[n(0)]
    pub counter: Handle,
    #[n(1)]
    pub start_us: i64,
    #[n(2)]
    pub micros: i64,
}

impl Flight {
    /// Calls that haven't ended.
    pub fn len(&self) -> usize {
        self.recent.len() + self.old.len()
    }

    /// Calls that ended and aren't forgotten yet.
    pub fn settled(&self) -> usize {
        self.recent.settled + self.old.settled
    }

    /// Puts a call in flight and returns its charges, to be filled where they stand: a call is large, and moving it
    /// just after it was written stalls. None where its number doesn't grow: the search would lose it.
    #[inline]
    pub fn put(&mut self, seq: u64, at_us: i64, session: Option<Handle>, tool: u64) -> Option<&mut Charges> {
        let newest = self.recent.calls.back().or_else(|| self.old.calls.back());
        if newest.is_some_and(|newest| newest.seq >= seq) {
            return None;
        }
        let charges = Charges::new();
        self.recent.calls.push_back(InFlight { seq, at_us, session, tool, charges, settled: false });
        self.recent.calls.back_mut().map(|call| &mut call.charges)
    }

    /// Once the charges of the last call are filled. A call without any and without a session is no matter any more.
    /// Beyond `calls_max` the oldest is given up.
    #[inline]
    pub fn keep(&mut self, calls_max: u64) {
        self.recent.calls.pop_back_if(|call| call.charges.is_empty() && call.session.is_none());
        if u64::try_from(self.len()).unwrap_or(u64::MAX) > calls_max {
            self.give_up_oldest(calls_max);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_up_oldest(&mut self, calls_max: u64) {
        while u64::try_from(self.len()).unwrap_or(u64::MAX) > calls_max {
            let queue = if self.old.len() > 0 { &mut self.old } else { &mut self.recent };
            let Some(oldest) = queue.calls.iter_mut().find(|call| !call.settled) else { break };
            oldest.settled = true;
            queue.settled += 1;
            self.forget_settled();
        }
    }

    /// The call of this number, which ends now. None where it isn't in flight, or ended before.
    pub fn settle(&mut self, seq: u64) -> Option<&InFlight> {
        let is_recent = self.recent.calls.front().is_some_and(|oldest| oldest.seq <= seq);
        let queue = if is_recent { &mut self.recent } else { &mut self.old };
        let place = queue.place(seq)?;
        let call = queue.calls.get_mut(place).filter(|call| !call.settled)?;
        call.settled = true;
        queue.settled += 1;
        Some(call)
    }

    /// Forgets calls that ended.
    pub fn forget_settled(&mut self) {
        self.recent.forget_first();
        while self.recent.settled > BEHIND_MAX {
            self.old.calls.extend(self.recent.calls.pop_front());
            self.recent.forget_first();
        }
        if self.old.settled > 0 {
            self.old.forget();
        }
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.calls.len() - self.settled
    }

    /// The place of a call. What ends most often began lately, so the search steps back from the newest, twice as
    /// far each time.
    fn place(&self, seq: u64) -> Option<usize> {
        // Most calls end in the order in which they began.
        if self.calls.front()?.seq == seq {
            return Some(0);
        }
        let (mut from, mut to, mut step) = (self.calls.len(), self.calls.len(), 1);
        while from > 0 && self.calls.get(from).is_none_or(|call| call.seq > seq) {
            (to, from) = (from, from.saturating_sub(step));
            step *= 2;
        }
        while from < to {
            let middle = from.midpoint(to);
            match self.calls.get(middle)?.seq.cmp(&seq) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// Forgets the calls at the front that ended.
    fn forget_first(&mut self) {
        while self.calls.front().is_some_and(|call| call.settled) {
            self.calls.pop_front();
            self.settled -= 1;
        }
    }

    /// Forgets calls that ended: those at the front, and all of them where they are most.
    #[inline(never)]
    fn forget(&mut self) {
        self.forget_first();
        if self.settled > BEHIND_MAX && self.settled > self.calls.len() / 2 {
            self.calls.retain(|call| !call.settled);
            self.settled = 0;
        }
    }
}

/// A call in flight as a snapshot has it, its charges with it.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Written {
    #[n(0)]
    seq: u64,
    #[n(1)]
    at_us: i64,
    #[n(2)]
    charged: Vec<Charged>,
    #[n(3)]
    session: Option<Handle>,
    #[n(4)]
    tool: u64,
    /// Earlier snapshots have calls that ended, too.
    #[n(5)]
    settled: bool,
}

impl Flight {
    /// The calls for a snapshot. Of those that ended nothing more can come, and when they are forgotten is nobody's
    /// business, so they aren't in it.
    pub fn written(&self) -> Vec<Written> {
        let written = |call: &InFlight| Written {
            seq: call.seq,
            at_us: call.at_us,
            charged: call.charges.to_vec(),
            session: call.session,
            tool: call.tool,
            settled: false,
        };
        self.old.calls.iter().chain(&self.recent.calls).filter(|call| !call.settled).map(written).collect()
    }

    /// The calls of a snapshot.
    pub fn read(calls: Vec<Written>) -> Self {
        let mut recent = Queue::default();
        for Written { seq, at_us, charged, session, tool, settled } in calls {
            recent.settled += usize::from(settled);
            recent.calls.push_back(InFlight { seq, at_us, session, tool, charges: charged.into(), settled });
        }
        Self { recent, old: Queue::default() }
    }
}

#[cfg(test)]
mod tests;
