//! Calls that were let through and haven't ended, and what each would give back.
//!
//! A call is put here at each decision and taken out soon after, so both are a few stores: calls and their
//! charges stand in two queues of small entries. A call that ended stays until it comes to the front, or
//! until most have ended.

use std::cmp::Ordering;
use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use crate::keyed::Handle;

/// The calls in flight, by growing sequence number.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    calls: VecDeque<InFlight>,
    /// The charges of all calls, in the order of the calls.
    charges: VecDeque<Charged>,
    /// Charges that have left the queue at its front.
    gone: usize,
    /// Calls that ended and aren't forgotten yet.
    pub settled: usize,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    pub seq: u64,
    pub at_us: i64,
    pub session: Option<Handle>,
    pub tool: u64,
    settled: bool,
    /// Number of its first charge, counted from the first that ever was, and how many it has.
    first: usize,
    charges: usize,
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
        self.calls.len() - self.settled
    }

    /// Adds a charge of the call that is put next.
    pub fn charge(&mut self, charge: Charged) {
        self.charges.push_back(charge);
    }

    /// Puts a call in flight, if it has charges or a session. Beyond `calls_max` the oldest is given up.
    pub fn put(&mut self, seq: u64, at_us: i64, session: Option<Handle>, tool: u64, calls_max: u64) {
        let newest = self.calls.back();
        let first = newest.map_or(self.gone, |newest| newest.first + newest.charges);
        let charges = self.gone + self.charges.len() - first;
        if charges == 0 && session.is_none() {
            return;
        }
        // Sequence numbers only grow; one that doesn't would be lost to the search.
        if newest.is_some_and(|newest| newest.seq >= seq) {
            self.charges.truncate(first - self.gone);
            return;
        }
        self.calls.push_back(InFlight { seq, at_us, session, tool, settled: false, first, charges });
        if u64::try_from(self.len()).unwrap_or(u64::MAX) > calls_max {
            self.give_up_oldest(calls_max);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_up_oldest(&mut self, calls_max: u64) {
        while u64::try_from(self.len()).unwrap_or(u64::MAX) > calls_max {
            let Some(oldest) = self.calls.iter_mut().find(|call| !call.settled) else { break };
            oldest.settled = true;
            self.settled += 1;
            self.forget_settled();
        }
    }

    /// The call of this number, which ends now. None where it isn't in flight, or ended before.
    pub fn settle(&mut self, seq: u64) -> Option<InFlight> {
        let place = match self.calls.front() {
            // Most calls end in the order in which they began.
            Some(oldest) if oldest.seq == seq => 0,
            _ => self.place(seq)?,
        };
        let call = self.calls.get_mut(place).filter(|call| !call.settled)?;
        call.settled = true;
        self.settled += 1;
        Some(*call)
    }

    /// The place of a call. What ends most often began lately, and there may be many that never end, as where a
    /// candidate lets through what was refused: so the search steps back from the newest, twice as far each time.
    fn place(&self, seq: u64) -> Option<usize> {
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

    /// The charges of a call that [`Self::forget_settled`] hasn't forgotten.
    pub fn charges(&self, call: &InFlight) -> impl Iterator<Item = Charged> {
        self.charges.iter().skip(call.first - self.gone).take(call.charges).copied()
    }

    /// Forgets calls that ended.
    pub fn forget_settled(&mut self) {
        while let Some(call) = self.calls.pop_front_if(|call| call.settled) {
            self.settled -= 1;
            self.forget_charges(call.charges);
        }
        if self.settled > 64 && self.settled > self.calls.len() / 2 {
            for _ in 0..self.calls.len() {
                let Some(call) = self.calls.pop_front() else { break };
                if call.settled {
                    self.forget_charges(call.charges);
                    continue;
                }
                // Once around: what is kept goes to the back, and in the end stands in order again.
                self.calls.push_back(InFlight { first: self.gone + self.charges.len(), ..call });
                for _ in 0..call.charges {
                    let charge = self.charges.pop_front();
                    self.charges.extend(charge);
                    self.gone += 1;
                }
            }
            self.settled = 0;
        }
    }

    fn forget_charges(&mut self, count: usize) {
        for _ in 0..count {
            self.charges.pop_front();
        }
        self.gone += count;
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
    #[n(5)]
    settled: bool,
}

impl Flight {
    /// The calls for a snapshot. One that ended has nothing to give back any more.
    pub fn written(&self) -> Vec<Written> {
        let written = |call: &InFlight| Written {
            seq: call.seq,
            at_us: call.at_us,
            charged: if call.settled { Vec::new() } else { self.charges(call).collect() },
            session: call.session,
            tool: call.tool,
            settled: call.settled,
        };
        self.calls.iter().map(written).collect()
    }

    /// The calls of a snapshot.
    pub fn read(calls: Vec<Written>) -> Self {
        let mut flight = Self::default();
        for Written { seq, at_us, charged, session, tool, settled } in calls {
            let (first, charges) = (flight.charges.len(), charged.len());
            flight.charges.extend(charged);
            flight.settled += usize::from(settled);
            flight.calls.push_back(InFlight { seq, at_us, session, tool, settled, first, charges });
        }
        flight
    }
}

#[cfg(test)]
mod tests;
