//! Calls and their outcomes, put into one order.
//!
//! Outcomes that stand in their calls' rows have places of their own, later than the calls', and wait here for their
//! turn. Most come within a few calls, so they are found by their place alone, without a comparison.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use tollbook_engine::{Body, BodyRef, EventRef};

use crate::rows::{self, CallReader, Done, RowsError};

/// Outcomes that come within as many events as this are found by their place.
const NEAR: usize = 1024;

/// Outcomes whose calls were handed over, and which weren't yet.
#[derive(Default)]
pub(super) struct Waiting {
    /// Those of this batch that are near: by the last digits of their own place, 1 and the row.
    near: Vec<u32>,
    /// Those of this batch that aren't, or that claim a place which another has: place and row.
    far: BinaryHeap<Reverse<(u64, usize)>>,
    /// Those of batches before, the next one last.
    earlier: Vec<Done>,
}

/// An outcome whose turn has come.
enum Turn {
    /// It stands in this row of the batch.
    Row(usize),
    Earlier(Done),
}

impl Waiting {
    /// Hands over the calls of a batch from row `taken` on, and the outcomes between them, as far as they follow one
    /// another from `next_seq` on and until `take` has enough.
    pub fn run<T>(
        &mut self,
        calls: &CallReader,
        taken: &mut usize,
        (next_seq, last_seq): (&mut u64, u64),
        take: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<T>,
    ) -> Result<ControlFlow<T>, RowsError> {
        // Written over from call to call: what a replay doesn't read stays as it is.
        let mut call = CallReader::blank();
        let row_seq = |row: usize| if row < calls.rows() { calls.seq(row).map(Some) } else { Ok(None) };
        let mut row = row_seq(*taken)?;
        let mut ended = Body::Outcome(rows::UNREAD);
        while *next_seq <= last_seq {
            let seq = *next_seq;
            if row == Some(seq) {
                calls.fill(*taken, seq, &mut call)?;
                if let Some(done_seq) = calls.done_seq(*taken) {
                    self.put(seq, done_seq, *taken);
                }
                *taken += 1;
                row = row_seq(*taken)?;
                *next_seq += 1;
                match take(&call) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(enough) => return Ok(ControlFlow::Break(enough)),
                }
            } else if let Some(turn) = self.turn(seq, calls) {
                let Body::Outcome(outcome) = &mut ended else { break };
                let ts_us = match turn {
                    Turn::Row(row) => calls.fill_outcome(row, outcome)?,
                    Turn::Earlier(done) => {
                        *outcome = done.outcome;
                        done.ts_us
                    }
                };
                *next_seq += 1;
                match take(&EventRef { seq, ts_us, body: BodyRef::Other(&ended), codes: None }) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(enough) => return Ok(ControlFlow::Break(enough)),
                }
            } else {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Puts the outcome of a row whose call has the place `seq`, and the outcome itself the place `done_seq`.
    #[inline]
    fn put(&mut self, seq: u64, done_seq: u64, row: usize) {
        if self.near.is_empty() {
            self.near.resize(NEAR, 0);
        }
        let is_near = done_seq > seq && done_seq - seq < NEAR as u64;
        match (self.near.get_mut(place(done_seq)), u32::try_from(row + 1)) {
            (Some(near), Ok(row)) if is_near && *near == 0 => *near = row,
            _ => self.far.push(Reverse((done_seq, row))),
        }
    }

    /// The outcome of this place, which waits no more, if it is here.
    #[inline]
    fn turn(&mut self, seq: u64, calls: &CallReader) -> Option<Turn> {
        if let Some(row) = self.near(seq, calls) {
            if let Some(near) = self.near.get_mut(place(seq)) {
                *near = 0;
            }
            return Some(Turn::Row(row));
        }
        if let Some(done) = self.earlier.pop_if(|done| done.seq == seq) {
            return Some(Turn::Earlier(done));
        }
        let is_next = self.far.peek().is_some_and(|Reverse((far, _))| *far == seq);
        if is_next { self.far.pop().map(|Reverse((_, row))| Turn::Row(row)) } else { None }
    }

    /// The row whose outcome has this place and is near.
    #[inline]
    fn near(&self, seq: u64, calls: &CallReader) -> Option<usize> {
        let row = usize::try_from(*self.near.get(place(seq))?).ok()?.checked_sub(1)?;
        // It is another's place where a file that nobody wrote like that has one place twice.
        (calls.done_seq(row) == Some(seq)).then_some(row)
    }

    /// Whether the outcome of this place waits here.
    pub fn has(&self, seq: u64, calls: &CallReader) -> bool {
        self.near(seq, calls).is_some()
            || self.earlier.last().is_some_and(|done| done.seq == seq)
            || self.far.peek().is_some_and(|Reverse((far, _))| *far == seq)
    }

    /// The first place of all that wait here.
    pub fn next_seq(&self, calls: &CallReader) -> Option<u64> {
        let here = self.rows().filter_map(|row| calls.done_seq(row)).min();
        here.into_iter().chain(self.earlier.last().map(|done| done.seq)).min()
    }

    /// The batch goes: what waits of it is kept with values of its own.
    pub fn leave(&mut self, calls: &CallReader) -> Result<(), RowsError> {
        let left: Vec<usize> = self.rows().collect();
        for row in left {
            self.earlier.extend(calls.done(row)?);
        }
        self.near.fill(0);
        self.far.clear();
        self.earlier.sort_unstable_by_key(|done| Reverse(done.seq));
        Ok(())
    }

    /// The rows of this batch whose outcomes wait.
    fn rows(&self) -> impl Iterator<Item = usize> {
        let near = self.near.iter().filter_map(|row| usize::try_from(*row).ok()?.checked_sub(1));
        near.chain(self.far.iter().map(|Reverse((_, row))| *row))
    }
}

/// Where an outcome that is near stands.
fn place(seq: u64) -> usize {
    usize::try_from(seq % NEAR as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
