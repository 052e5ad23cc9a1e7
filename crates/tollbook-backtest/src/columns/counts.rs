//! What every maximum of a plain window refuses, from one count.

use super::layout::Calls;
use crate::named::index;
use crate::sweep::Label;

/// What a maximum refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Clean calls.
    pub clean: u64,
    /// Bad calls.
    pub bad: u64,
    /// Sessions with a clean call among them.
    pub sessions: u64,
    /// Sessions with a bad call among them.
    pub stuck: u64,
}

impl Refused {
    /// Adds a call. `seen` has this bit for the sessions that were counted by a clean call, and by a bad one.
    pub(super) fn add(&mut self, label: Label, session: u32, bit: u64, seen: &mut [Vec<u64>; 2]) {
        let [clean, bad] = seen;
        let (calls, sessions, seen) = match label {
            Label::Clean => (&mut self.clean, &mut self.sessions, clean),
            Label::Bad => (&mut self.bad, &mut self.stuck, bad),
        };
        *calls += 1;
        if let Some(seen) = seen.get_mut(index(session)).filter(|seen| **seen & bit == 0) {
            *seen |= bit;
            *sessions += 1;
        }
    }
}

/// How many calls lie beyond each place of their window: what every maximum refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// By maximum, what it refuses; one past the end refuses nothing.
    clean: Vec<u64>,
    bad: Vec<u64>,
    sessions: Vec<u64>,
    stuck: Vec<u64>,
    /// By session, the highest place of a clean call of it in its window; 0 without one.
    highest: Vec<u32>,
}

impl Counts {
    /// What a maximum refuses.
    #[must_use]
    pub fn at(&self, max: u64) -> Refused {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let at = |by_max: &[u64]| by_max.get(max).copied().unwrap_or(0);
        Refused { clean: at(&self.clean), bad: at(&self.bad), sessions: at(&self.sessions), stuck: at(&self.stuck) }
    }

    /// What is refused, wherever that changes: from each maximum to the next the same.
    #[must_use]
    pub fn steps(&self) -> Vec<(u64, Refused)> {
        let mut steps: Vec<(u64, Refused)> = (0..=self.highest()).map(|max| (max, self.at(max))).collect();
        steps.dedup_by_key(|(_, refused)| *refused);
        steps
    }

    /// The smallest maximum that refuses no call at all.
    #[must_use]
    pub fn highest(&self) -> u64 {
        let longest = self.clean.len().max(self.bad.len()).saturating_sub(1);
        u64::try_from(longest).unwrap_or(u64::MAX)
    }
}

/// Counts in the making, for the windows of one length.
pub(super) struct Counting {
    length: Length,
    /// Windows by the number of their calls.
    windows: Vec<u64>,
    /// Bad calls by their place in the window.
    bad: Vec<u64>,
    /// See [`Counts::highest`].
    highest: Vec<u32>,
    /// The same of bad calls; empty until there is one.
    highest_bad: Vec<u32>,
}

impl Counting {
    pub fn new(length_us: i64, sessions: usize) -> Self {
        let (windows, bad, highest_bad) = (Vec::new(), Vec::new(), Vec::new());
        Self { length: Length::new(length_us), windows, bad, highest: vec![0; sessions], highest_bad }
    }

    /// Counts the calls of a key. `alike` says that all are clean and of one session, whose places needn't be
    /// told apart then.
    pub fn key(&mut self, calls: &Calls<'_>, alike: bool) {
        let (mut begin, mut most) = (0, 0);
        while let Some(first_us) = calls.at_us.get(begin) {
            let end_us = self.length.end_us(*first_us);
            let rest = calls.at_us.get(begin..).unwrap_or_default();
            let count = match rest.last() {
                // Most often the rest of a key lies in one window.
                Some(last_us) if *last_us < end_us => rest.len(),
                _ => rest.iter().take_while(|at_us| **at_us < end_us).count().max(1),
            };
            bump(&mut self.windows, count);
            most = most.max(count);
            if !alike {
                self.places(calls, begin, count);
            }
            begin += count;
        }
        if let (true, Some(session)) = (alike, calls.session.first()) {
            reaches(&mut self.highest, *session, most);
        }
    }

    fn places(&mut self, calls: &Calls<'_>, begin: usize, count: usize) {
        for (place, (session, is_bad)) in (1..).zip(calls.who(begin, count)) {
            if is_bad {
                bump(&mut self.bad, place);
                self.highest_bad.resize(self.highest.len(), 0);
                reaches(&mut self.highest_bad, session, place);
            } else {
                reaches(&mut self.highest, session, place);
            }
        }
    }

    /// Adds what was counted of other keys.
    pub fn add(&mut self, other: Self) {
        for (counts, others) in [(&mut self.windows, other.windows), (&mut self.bad, other.bad)] {
            counts.resize(counts.len().max(others.len()), 0);
            counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
        }
        self.highest_bad.resize(self.highest_bad.len().max(other.highest_bad.len()), 0);
        for (highest, others) in [(&mut self.highest, other.highest), (&mut self.highest_bad, other.highest_bad)] {
            highest.iter_mut().zip(others).for_each(|(highest, other)| *highest = other.max(*highest));
        }
    }

    pub fn finish(self) -> Counts {
        let (mut clean, mut bad, mut sessions, mut stuck) = (self.windows, self.bad, Vec::new(), Vec::new());
        for (highest, sessions) in [(&self.highest, &mut sessions), (&self.highest_bad, &mut stuck)] {
            highest.iter().filter(|highest| **highest > 0).for_each(|highest| bump(sessions, index(*highest)));
        }
        // From "how many windows of so many calls" to "how many calls at this place".
        let mut reaching = 0;
        for windows in clean.iter_mut().skip(1).rev() {
            reaching += *windows;
            *windows = reaching;
        }
        clean.iter_mut().zip(&bad).for_each(|(all, bad)| *all -= bad);
        for by_place in [&mut clean, &mut bad, &mut sessions, &mut stuck] {
            // From "how many at this place" to "how many beyond it".
            let mut beyond = 0;
            for count in by_place.iter_mut().rev() {
                beyond += std::mem::replace(count, beyond);
            }
        }
        Counts { clean, bad, sessions, stuck, highest: self.highest }
    }
}

/// A call of a session stands at a place.
fn reaches(highest: &mut [u32], session: u32, place: usize) {
    if let Some(highest) = highest.get_mut(index(session)) {
        *highest = u32::try_from(place).unwrap_or(u32::MAX).max(*highest);
    }
}

fn bump(counts: &mut Vec<u64>, place: usize) {
    if place >= counts.len() {
        counts.resize(place + 1, 0);
    }
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

/// The length of a window, made ready to divide by: a multiplication is a fraction of a division.
struct Length {
    us: u64,
    /// 2^64 divided by the length, cut: a product's upper half is the quotient or one less.
    inverse: u64,
}

impl Length {
    fn new(us: i64) -> Self {
        let us = us.max(1).cast_unsigned();
        Self { us, inverse: u64::MAX / us }
    }

    /// The end of the window that holds an instant: windows are half-open and aligned in UTC.
    fn end_us(&self, at_us: i64) -> i64 {
        let length_us = self.us.cast_signed();
        let Ok(at) = u64::try_from(at_us) else { return at_us - at_us.rem_euclid(length_us) + length_us };
        let quotient = u64::try_from((u128::from(at) * u128::from(self.inverse)) >> 64).unwrap_or(0);
        let mut into = at - quotient * self.us;
        if into >= self.us {
            into -= self.us;
        }
        at_us - into.cast_signed() + length_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_window_is_that_of_a_division() {
        let lengths = [1, 2, 3, 7, 10_000_000, 60_000_000, 86_400_000_000, 3_155_760_000_000_000];
        for length_us in lengths {
            let length = Length::new(length_us);
            for begin in [0, 1, 12_345, 29_923_200, 1_795_392_000] {
                let Some(edge_us) = i64::checked_mul(begin, length_us).filter(|edge_us| *edge_us < 1 << 61) else {
                    continue;
                };
                for at_us in [edge_us - 1, edge_us, edge_us + 1, begin * 1_000_003] {
                    let expected = at_us - at_us.rem_euclid(length_us) + length_us;
                    assert_eq!(length.end_us(at_us), expected, "{at_us} by {length_us}");
                }
            }
        }
    }
}
