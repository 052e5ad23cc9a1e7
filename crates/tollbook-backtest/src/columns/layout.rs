//! The calls that a limit counts, those of one key together.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::thread;

use super::counts::{Counting, Counts, Refused};
use crate::named::index;
use crate::sweep::Label;

const DAY_US: i64 = 86_400_000_000;

/// The calls that a limit counts, those of one key together, each key's in order: 13 bytes a call.
#[derive(Debug, Default)]
pub struct Layout {
    at_us: Vec<i64>,
    session: Vec<u32>,
    is_bad: Vec<bool>,
    /// Where each key's calls end.
    ends: Vec<usize>,
    /// Each key's scope value.
    values: Vec<u32>,
    /// How many sessions there are in all.
    sessions: usize,
    /// Calls that can't be counted, for want of a time or of the scope's value.
    pub unknown: u64,
}

/// The calls of one key.
pub(super) struct Calls<'a> {
    pub at_us: &'a [i64],
    pub session: &'a [u32],
    is_bad: &'a [bool],
}

impl<'a> Calls<'a> {
    /// Of so many calls from a place on, whose they are and whether they are bad.
    pub fn who(&self, begin: usize, count: usize) -> impl Iterator<Item = (u32, bool)> + use<'a> {
        let who = self.session.iter().copied().zip(self.is_bad.iter().copied());
        who.skip(begin).take(count)
    }

    fn get(&self, place: usize) -> Option<Laid> {
        let is_bad = *self.is_bad.get(place)?;
        Some(Laid {
            at_us: *self.at_us.get(place)?,
            session: *self.session.get(place)?,
            label: if is_bad { Label::Bad } else { Label::Clean },
        })
    }

    fn iter(&self) -> impl Iterator<Item = Laid> {
        (0..self.at_us.len()).filter_map(|place| self.get(place))
    }

    /// The calls that a maximum of an exact rolling window refuses. `let_through` is room for those that it doesn't.
    fn beyond(&self, length_us: i64, max: u64, let_through: &mut Vec<i64>, mut refused: impl FnMut(Laid)) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        // All are let through before the first that has as many as fit in the window before it.
        let with_before = self.at_us.iter().zip(self.at_us.get(max..).unwrap_or_default());
        let is_full = |(before, at_us): (&i64, &i64)| *before > at_us.saturating_sub(length_us);
        let Some(before) = with_before.into_iter().position(is_full) else { return };
        let_through.clear();
        let_through.extend(self.at_us.iter().skip(before).take(max));
        for call in (before + max..).map_while(|place| self.get(place)) {
            // The call that has to have left the window; none where the maximum is nothing.
            let blocking = let_through.get(let_through.len() - max);
            if blocking.is_some_and(|earliest| *earliest <= call.at_us.saturating_sub(length_us)) {
                let_through.push(call.at_us);
            } else {
                refused(call);
            }
        }
    }

    /// Whether all are clean and of one session.
    fn are_alike(&self) -> bool {
        !self.is_bad.contains(&true) && self.session.iter().all(|session| Some(session) == self.session.first())
    }
}

#[derive(Debug, Clone, Copy)]
struct Laid {
    at_us: i64,
    session: u32,
    label: Label,
}

impl Layout {
    /// A layout of so many calls of each key, of which none is in its place yet.
    pub(super) fn new(values: Vec<u32>, counts: &[usize], sessions: usize, unknown: u64) -> Self {
        let mut end = 0;
        let ends = counts.iter().map(|count| {
            end += count;
            end
        });
        let ends: Vec<usize> = ends.collect();
        let calls = end;
        Self {
            at_us: vec![0; calls],
            session: vec![0; calls],
            is_bad: vec![false; calls],
            ends,
            values,
            sessions,
            unknown,
        }
    }

    /// Where each key's calls begin.
    pub(super) fn begins(&self) -> Vec<usize> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.take(self.ends.len()).collect()
    }

    /// Puts a call into its place.
    pub(super) fn put(&mut self, place: usize, at_us: i64, session: u32, label: Label) {
        let columns = (self.at_us.get_mut(place), self.session.get_mut(place), self.is_bad.get_mut(place));
        if let (Some(at), Some(of), Some(is_bad)) = columns {
            (*at, *of, *is_bad) = (at_us, session, label == Label::Bad);
        }
    }

    fn by_keys(&self) -> impl Iterator<Item = Calls<'_>> {
        self.some_keys(0..self.ends.len())
    }

    /// The keys of these places.
    fn some_keys(&self, keys: Range<usize>) -> impl Iterator<Item = Calls<'_>> {
        let begin = keys.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let ends = self.ends.get(keys).unwrap_or_default();
        let begins = std::iter::once(begin).chain(ends.iter().copied());
        begins.zip(ends).map(|(begin, end)| Calls {
            at_us: self.at_us.get(begin..*end).unwrap_or_default(),
            session: self.session.get(begin..*end).unwrap_or_default(),
            is_bad: self.is_bad.get(begin..*end).unwrap_or_default(),
        })
    }

    /// The keys in so many parts, of about as many calls each.
    fn parts(&self, count: usize) -> Vec<Range<usize>> {
        let calls = self.at_us.len();
        let edge = |part: usize| self.ends.partition_point(|end| *end <= calls / count * part);
        let edges: Vec<usize> = (1..count).map(edge).chain([self.ends.len()]).collect();
        let begins = std::iter::once(0).chain(edges.iter().copied());
        begins.zip(&edges).map(|(begin, end)| begin..*end).collect()
    }

    /// Keys with a call.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.ends.len()
    }

    /// Calls that are counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        u64::try_from(self.at_us.len()).unwrap_or(u64::MAX)
    }

    /// The calls of some sessions alone; `keep` by the session's number.
    #[must_use]
    pub fn only(&self, keep: &[bool]) -> Self {
        let mut only = Self { sessions: self.sessions, values: self.values.clone(), ..Self::default() };
        for calls in self.by_keys() {
            for call in calls.iter().filter(|call| keep.get(index(call.session)) == Some(&true)) {
                only.at_us.push(call.at_us);
                only.session.push(call.session);
                only.is_bad.push(call.label == Label::Bad);
            }
            only.ends.push(only.at_us.len());
        }
        only
    }

    /// When each session makes its first counted call; none where it makes none.
    #[must_use]
    pub fn first_us(&self) -> Vec<Option<i64>> {
        let mut first: Vec<Option<i64>> = vec![None; self.sessions];
        for (at_us, session) in self.at_us.iter().zip(&self.session) {
            if let Some(first) = first.get_mut(index(*session)) {
                *first = Some(first.map_or(*at_us, |first| first.min(*at_us)));
            }
        }
        first
    }

    /// Days of UTC on which calls are counted.
    #[must_use]
    pub fn days(&self) -> u64 {
        let days: BTreeSet<i64> = self.at_us.iter().map(|at_us| at_us.div_euclid(DAY_US)).collect();
        u64::try_from(days.len()).unwrap_or(u64::MAX)
    }

    /// Counted calls by label: clean, and bad.
    #[must_use]
    pub fn labels(&self) -> (u64, u64) {
        let bad = self.is_bad.iter().filter(|is_bad| **is_bad).count();
        let bad = u64::try_from(bad).unwrap_or(u64::MAX);
        (self.calls() - bad, bad)
    }

    /// Healthy use: by session, the most clean calls that a rolling window of this length holds with one of
    /// its own as the last; 0 without one.
    #[must_use]
    pub fn healthy(&self, length_us: i64) -> Vec<u32> {
        let mut most = vec![0_u32; self.sessions];
        let mut clean = VecDeque::new();
        for calls in self.by_keys() {
            clean.clear();
            for call in calls.iter().filter(|call| call.label == Label::Clean) {
                clean.push_back(call.at_us);
                while clean.front().is_some_and(|first| *first <= call.at_us.saturating_sub(length_us)) {
                    clean.pop_front();
                }
                if let Some(most) = most.get_mut(index(call.session)) {
                    *most = (*most).max(u32::try_from(clean.len()).unwrap_or(u32::MAX));
                }
            }
        }
        most
    }

    /// The busiest plain window of each key, the busiest first, and of equals the first key.
    #[must_use]
    pub fn busiest(&self, length_us: i64) -> Vec<Busy> {
        let length_us = length_us.max(1);
        let of_key = |(calls, value): (Calls<'_>, &u32)| {
            let calls: Vec<Laid> = calls.iter().collect();
            let window = |call: &Laid| call.at_us.div_euclid(length_us);
            let windows = calls.chunk_by(|a, b| window(a) == window(b)).filter_map(|calls| {
                let clean = calls.iter().filter(|call| call.label == Label::Clean).count();
                let count = |calls: usize| u64::try_from(calls).unwrap_or(u64::MAX);
                let start_us = window(calls.first()?) * length_us;
                Some(Busy { value: *value, start_us, clean: count(clean), calls: count(calls.len()) })
            });
            windows.max_by_key(|busy| (busy.calls, std::cmp::Reverse(busy.start_us)))
        };
        let mut busiest: Vec<Busy> = self.by_keys().zip(&self.values).filter_map(of_key).collect();
        busiest.sort_by_key(|busy| std::cmp::Reverse(busy.calls));
        busiest
    }

    /// Counts for every maximum of plain windows of each of these lengths, in one pass over the calls. On how many
    /// threads changes nothing in them.
    #[must_use]
    pub fn plain(&self, lengths_us: &[i64], threads: usize) -> Vec<Counts> {
        let count = |keys: Range<usize>| -> Vec<Counting> {
            let new = |length_us: &i64| Counting::new(*length_us, self.sessions);
            let mut counting: Vec<Counting> = lengths_us.iter().map(new).collect();
            for calls in self.some_keys(keys) {
                let alike = calls.are_alike();
                counting.iter_mut().for_each(|counting| counting.key(&calls, alike));
            }
            counting
        };
        let mut parts = self.parts(threads.max(1));
        let last = parts.pop().unwrap_or_default();
        let counting = thread::scope(|scope| {
            let others: Vec<_> = parts.into_iter().map(|keys| scope.spawn(|| count(keys))).collect();
            others.into_iter().fold(count(last), |mut counting, other| {
                // A panic goes on where it would have been without the thread.
                let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                counting.iter_mut().zip(other).for_each(|(counting, other)| counting.add(other));
                counting
            })
        });
        counting.into_iter().map(Counting::finish).collect()
    }

    /// What each maximum of an exact rolling window of this length refuses.
    #[must_use]
    pub fn rolling(&self, length_us: i64, maxima: &[u64]) -> Vec<Refused> {
        // A bit for each maximum tells which sessions it has touched.
        maxima.chunks(64).flat_map(|maxima| self.roll(length_us, maxima)).collect()
    }

    /// By key with a bad call: how many of its bad calls a maximum of an exact rolling window of this length refuses,
    /// and how many it has.
    #[must_use]
    pub fn bad_by_key(&self, length_us: i64, max: u64) -> Vec<(u64, u64)> {
        let count = |calls: usize| u64::try_from(calls).unwrap_or(u64::MAX);
        let of_key = |calls: Calls<'_>| {
            let bad = calls.is_bad.iter().filter(|is_bad| **is_bad).count();
            let mut refused = 0;
            let is_bad = |call: &Laid| call.label == Label::Bad;
            calls.beyond(length_us, max, &mut Vec::new(), |call| refused += u64::from(is_bad(&call)));
            (bad > 0).then_some((refused, count(bad)))
        };
        self.by_keys().filter_map(of_key).collect()
    }

    fn roll(&self, length_us: i64, maxima: &[u64]) -> Vec<Refused> {
        let mut let_through: Vec<i64> = Vec::new();
        let mut seen = [vec![0_u64; self.sessions], vec![0_u64; self.sessions]];
        let mut refused = vec![Refused::default(); maxima.len()];
        for calls in self.by_keys() {
            for ((max, refused), place) in maxima.iter().zip(&mut refused).zip(0_u32..) {
                calls.beyond(length_us, *max, &mut let_through, |call| {
                    refused.add(call.label, call.session, 1 << place, &mut seen);
                });
            }
        }
        refused
    }
}

/// The busiest window of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// The key's scope value, which [`super::Columns::name`] names.
    pub value: u32,
    /// When the window begins.
    pub start_us: i64,
    /// Clean calls in it.
    pub clean: u64,
    /// Calls in it.
    pub calls: u64,
}
