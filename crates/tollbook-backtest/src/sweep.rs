//! One limit at many maxima: which clean calls each would refuse, and which calls of loops it would stop.
//!
//! Every point is a policy of its own, judged by the engine that judges live calls, all in one pass over
//! the events. So a point is what `backtest` says of the clause that stands beside it.

use std::collections::BTreeSet;

use tollbook_engine::{Event, Record};
use tollbook_policy::{Policy, Target};

use crate::candidate::{Candidate, Certainty, refuses};

/// Most points of one sweep: each judges every call.
pub const POINTS_MAX: usize = 1_000;

/// What a call was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Work.
    Clean,
    /// A repetition that a breaker or a limit had better stopped.
    Loop,
}

/// The limits to try: every window, with every scope and every maximum.
#[derive(Debug, Clone)]
pub struct Grid {
    /// What is limited, as a policy says it: `all tools`, or the selectors of a group such as
    /// `category write` or `create_invoice, send_*`.
    pub of: String,
    /// Windows, as a policy says them: `minute`, `rolling 5m`.
    pub windows: Vec<String>,
    /// Scopes: `session`, `grant`.
    pub scopes: Vec<String>,
    /// Maxima, ascending.
    pub maxima: Vec<u64>,
}

/// Why a grid can't be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GridError {
    /// It has more points than [`POINTS_MAX`].
    TooMany(usize),
    /// A clause that the language doesn't have.
    Clause {
        /// The policy's text.
        text: String,
        /// What is wrong with it.
        message: String,
    },
}

impl std::fmt::Display for GridError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany(points) => write!(f, "{points} limits to try; {POINTS_MAX} is the most"),
            Self::Clause { text, message } => write!(f, "{message} in `{}`", text.trim_end()),
        }
    }
}

impl std::error::Error for GridError {}

/// Tries every limit of a grid.
#[derive(Debug)]
pub struct Sweep {
    points: Vec<(Candidate, Point)>,
}

/// One limit, with what it would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The window and the scope, as in `per minute per session`.
    pub line: String,
    /// The maximum.
    pub max: u64,
    /// A policy with this limit alone.
    pub policy: String,
    /// Clean calls that it refuses.
    pub refused_clean: u64,
    /// Calls of loops that it refuses.
    pub refused_loop: u64,
    /// Sessions of which it refuses a clean call.
    pub sessions_touched: BTreeSet<String>,
    /// Calls on which it can't be told.
    pub unknown: u64,
    /// Whether no other point stops as many calls of loops and refuses fewer clean ones, or stops more and
    /// refuses as few.
    pub frontier: bool,
    /// Whether it lies on its line's plateau: the widest range of maxima, by ratio, that all refuse the same.
    pub plateau: bool,
}

impl Sweep {
    /// A sweep that hasn't seen an event.
    ///
    /// # Errors
    /// A grid that is too large, or that the language can't say.
    pub fn new(grid: &Grid) -> Result<Self, GridError> {
        let size = grid.windows.len().saturating_mul(grid.scopes.len()).saturating_mul(grid.maxima.len());
        if size > POINTS_MAX {
            return Err(GridError::TooMany(size));
        }
        let mut points = Vec::with_capacity(size);
        for window in &grid.windows {
            for scope in &grid.scopes {
                let line = format!("per {window} per {scope}");
                for max in &grid.maxima {
                    points.push(point(&grid.of, &line, *max)?);
                }
            }
        }
        Ok(Self { points })
    }

    /// The events of another instance follow: it has counters of its own.
    pub fn begin(&mut self) {
        self.points.iter_mut().for_each(|(candidate, _)| candidate.begin());
    }

    /// The next event of the instance; `label` is asked for calls alone.
    pub fn event(&mut self, event: &Event, record: Option<&Record>, label: Label) {
        for (candidate, point) in &mut self.points {
            let Some(judged) = candidate.event(event) else { continue };
            point.unknown += u64::from(judged.certainty == Certainty::Unknown);
            match (refuses(judged.candidate), label) {
                (false, _) => {}
                (true, Label::Loop) => point.refused_loop += 1,
                (true, Label::Clean) => {
                    point.refused_clean += 1;
                    let session = record.and_then(|record| record.session.as_ref());
                    if let Some(session) = session.filter(|session| !point.sessions_touched.contains(*session)) {
                        point.sessions_touched.insert(session.clone());
                    }
                }
            }
        }
    }

    /// Every point, by line and then by maximum.
    #[must_use]
    pub fn points(self) -> Vec<Point> {
        let mut points: Vec<Point> = self.points.into_iter().map(|(_, point)| point).collect();
        let figures: Vec<(u64, u64)> = points.iter().map(|point| (point.refused_clean, point.refused_loop)).collect();
        for point in &mut points {
            let (clean, stopped) = (point.refused_clean, point.refused_loop);
            let dominates = |(other_clean, other_stopped): &(u64, u64)| {
                *other_clean <= clean && *other_stopped >= stopped && (*other_clean, *other_stopped) != (clean, stopped)
            };
            point.frontier = !figures.iter().any(dominates);
        }
        for line in points.chunk_by_mut(|a, b| a.line == b.line) {
            mark_plateau(line);
        }
        points
    }
}

/// Marks the widest run of points that refuse the same, where a limit still does something.
fn mark_plateau(line: &mut [Point]) {
    let same = |a: &Point, b: &Point| (a.refused_clean, a.refused_loop) == (b.refused_clean, b.refused_loop);
    let ratio = |run: &[Point]| match run {
        [first, .., last] if first.refused_loop > 0 => u128::from(last.max) * 1_000_000 / u128::from(first.max.max(1)),
        _ => 0,
    };
    let Some(widest) = line.chunk_by(same).map(ratio).max().filter(|widest| *widest > 0) else { return };
    if let Some(run) = line.chunk_by_mut(same).find(|run| ratio(run) == widest) {
        run.iter_mut().for_each(|point| point.plateau = true);
    }
}

fn point(of: &str, line: &str, max: u64) -> Result<(Candidate, Point), GridError> {
    let policy = match of {
        "all tools" => format!("default allow\nall tools {{ limit {max} {line} }}\n"),
        of => format!("default allow\ngroup swept of {of} {{ limit total {max} {line} }}\n"),
    };
    let wrong = |message: String| GridError::Clause { text: policy.clone(), message };
    let read: Result<Policy, _> = tollbook_policy::read("sweep.toll", &policy, Target::Native).map(|read| read.policy);
    let read = read.map_err(|errors| {
        wrong(errors.into_iter().next().map_or_else(String::new, |error| {
            let found = error.labels.into_iter().next().map(|label| label.text).unwrap_or_default();
            format!("{}: {found}", error.message)
        }))
    })?;
    let candidate = Candidate::new(read).map_err(|error| wrong(error.to_string()))?;
    let point = Point {
        line: line.to_owned(),
        max,
        policy,
        refused_clean: 0,
        refused_loop: 0,
        sessions_touched: BTreeSet::new(),
        unknown: 0,
        frontier: false,
        plateau: false,
    };
    Ok((candidate, point))
}

#[cfg(test)]
mod tests;
