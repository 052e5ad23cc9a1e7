//! How far a share of calls can be known, by drawing the sessions again.
//!
//! Calls of one session are no witnesses of their own: a stuck agent makes a hundred bad calls at once. So what is
//! drawn again, with replacement and as many as there are, is sessions (the cluster bootstrap of Davison and Hinkley,
//! *Bootstrap Methods and their Application*, 1997, 3.8), and the interval is between two percentiles of what they say.
//! The 2.5th and the 97.5th would be too near to each other where few sessions count, so they are moved apart as far as
//! Student's distribution says (the expanded percentile interval of Hesterberg, *What Teachers Should Know About the
//! Bootstrap*, 2015, 4.3). The draws come from a fixed seed, so that the same log has the same interval.
//!
//! It is no way to the ends of a high quantile: no draw holds more than the highest use that was seen. The knee of a
//! recommendation has the order statistics of the sessions instead.

/// Draws of all sessions.
const DRAWS_MAX: usize = 1_000;
/// Fewest of them, where there are many sessions to draw.
const DRAWS_MIN: usize = 200;
/// Sessions that are drawn in all, unless the fewest draws take more.
const SESSIONS_MAX: usize = 4_000_000;
/// Sessions with a bad call of which fewer say nothing of others.
const CLUSTERS_MIN: usize = 10;

/// A share, in hundredths of a per cent: with 95 % it lies between these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The lower end.
    pub low: u64,
    /// The upper end.
    pub high: u64,
}

/// The interval of a share: `parts` has the counted and all calls of each session that has any, of so many sessions.
/// None where fewer than ten have.
pub(crate) fn interval(parts: &[(u64, u64)], sessions: u64) -> Option<Interval> {
    if parts.len() < CLUSTERS_MIN {
        return None;
    }
    let mut random = Random(0x7011_B00C);
    let draws = (SESSIONS_MAX / parts.len()).clamp(DRAWS_MIN, DRAWS_MAX);
    let mut shares: Vec<u64> = (0..draws).filter_map(|_| drawn(parts, sessions, &mut random)).collect();
    shares.sort_unstable();
    let beyond = beyond(parts.len(), shares.len());
    Some(Interval { low: *shares.get(beyond)?, high: *shares.get(shares.len().checked_sub(beyond + 1)?)? })
}

/// Draws that lie beyond either end of an interval of 95 %, of so many.
fn beyond(clusters: usize, draws: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "sessions and draws are few beside 2^52")]
    let (clusters, draws) = (clusters as f64, draws as f64);
    // Student's 97.5th percentile, by the first terms of its expansion (Abramowitz and Stegun, 26.7.5).
    let free = clusters - 1.0;
    let student = 1.959_964 + 2.372_27 / free + 2.822_5 / (free * free);
    let share = above(student * (clusters / free).sqrt());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the draws")]
    let beyond = (share * draws).floor() as usize;
    beyond
}

/// The chance that a normal value lies so many standard deviations above its mean, or more (Abramowitz and Stegun,
/// 26.2.17: right to 10^-7).
fn above(deviations: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations);
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = series.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    sum * (-deviations * deviations / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The share in one draw of all sessions. None where none of those that count is drawn.
fn drawn(parts: &[(u64, u64)], sessions: u64, random: &mut Random) -> Option<u64> {
    let (mut counted, mut all) = (0_u128, 0_u128);
    for _ in 0..hits(sessions, parts.len(), random) {
        let (part, whole) = random.one_of(parts)?;
        counted += u128::from(*part);
        all += u128::from(*whole);
    }
    u64::try_from((counted * 10_000).checked_div(all)?).ok()
}

/// How many of so many draws hit one of the `parts` sessions that count: binomial, and found by going through its
/// chances from none up, so that it takes about as many steps as there are hits.
fn hits(sessions: u64, parts: usize, random: &mut Random) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "sessions are few beside 2^52")]
    let (n, p) = (sessions as f64, parts as f64 / sessions.max(1) as f64);
    if p >= 1.0 {
        return parts;
    }
    let wanted = random.unit();
    // Logarithms, because the chance of no hit at all is soon too small for a float.
    let (odds, mut log_chance, mut below, mut hits) = (p.ln() - (1.0 - p).ln(), n * (1.0 - p).ln(), 0.0, 0.0);
    let mut count = 0;
    loop {
        below += log_chance.exp();
        if below >= wanted || hits >= n {
            return count;
        }
        log_chance += odds + f64::ln((n - hits) / (hits + 1.0));
        hits += 1.0;
        count += 1;
    }
}

/// Random numbers by a seed (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just below 1.
    fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
        let bits = (self.next() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok()?;
        // The high half of a product, which is even but for one part in 2^64.
        let place = (u128::from(self.next()) * u128::from(count)) >> 64;
        all.get(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests;
