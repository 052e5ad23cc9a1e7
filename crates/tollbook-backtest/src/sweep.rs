//! One clause at many maxima: which clean calls each would refuse, and which bad ones it would stop.
//!
//! Every point is a policy of its own, and what stands beside it is what `backtest` says of that policy.
//! [`Sweep::count`] settles what can be counted on calls in columns, all maxima at once; the rest is judged
//! by the engine that judges live calls, all in one pass over the events.

use std::collections::BTreeSet;

use tollbook_engine::{Body, BodyRef, EventRef, Reads};
use tollbook_policy::policy::{Limit, Scope, Selector};
use tollbook_policy::{Policy, Target};

use crate::candidate::{Candidate, Certainty, refuses};
use crate::columns::{Columns, Refused};
use crate::lineage::{Left, Lineage};

/// What [`Grid::of`] says of every tool.
const ALL_TOOLS: &str = "all tools";

/// Most points of one sweep: each judges every call.
pub const POINTS_MAX: usize = 1_000;

/// What a call was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Work.
    Clean,
    /// What a breaker or a limit had better stopped, such as the repetitions of a loop.
    Bad,
}

/// The clauses to try: limits of every window and scope, and breakers, each with every maximum.
#[derive(Debug, Clone)]
pub struct Grid {
    /// What is limited, as a policy says it: `all tools`, or the selectors of a group such as
    /// `category write` or `create_invoice, send_*`.
    pub of: String,
    /// Windows, as a policy says them: `minute`, `rolling 5m`.
    pub windows: Vec<String>,
    /// Scopes: `session`, `grant`.
    pub scopes: Vec<String>,
    /// What breakers look for, as a policy says it after the number: `identical calls within 10m`.
    pub breakers: Vec<String>,
    /// Maxima of limits, and numbers of repeats of breakers, ascending.
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

/// Tries every clause of a grid.
#[derive(Debug)]
pub struct Sweep {
    points: Vec<Tried>,
}

#[derive(Debug)]
struct Tried {
    policy: Policy,
    candidate: Candidate,
    point: Point,
    /// Whether counting has settled it.
    counted: bool,
    /// Sessions of which it refuses a clean call, and those of which it refuses a bad one, of this instance and those
    /// that it carries on.
    touched: [BTreeSet<String>; 2],
    left: Left<[BTreeSet<String>; 2]>,
}

/// One clause, with what it would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The clause but for its maximum, as in `per minute per session`.
    pub line: String,
    /// The maximum.
    pub max: u64,
    /// The clause.
    pub clause: String,
    /// A policy with this clause alone.
    pub policy: String,
    /// Clean calls that it refuses.
    pub refused_clean: u64,
    /// Bad calls that it refuses.
    pub refused_bad: u64,
    /// Sessions of which it refuses a clean call.
    pub sessions_touched: u64,
    /// Sessions of which it refuses a bad call.
    pub sessions_stopped: u64,
    /// Calls on which it can't be told.
    pub unknown: u64,
    /// Whether it stops bad calls, and no other point stops as many and refuses fewer clean ones, or stops more and
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
        let limits = grid.windows.len().saturating_mul(grid.scopes.len());
        let size = limits.saturating_add(grid.breakers.len()).saturating_mul(grid.maxima.len());
        if size > POINTS_MAX {
            return Err(GridError::TooMany(size));
        }
        let total = if grid.of == ALL_TOOLS { "limit" } else { "limit total" };
        let limits = grid
            .windows
            .iter()
            .flat_map(|window| grid.scopes.iter().map(move |scope| (total, format!("per {window} per {scope}"))));
        let breakers = grid.breakers.iter().map(|breaker| ("break after", breaker.clone()));
        let mut points = Vec::with_capacity(size);
        for (begin, line) in limits.chain(breakers) {
            for max in &grid.maxima {
                points.push(Tried::new(&grid.of, begin, &line, *max)?);
            }
        }
        Ok(Self { points })
    }

    /// Settles by counting what can be, on so many threads, and tells how many points are left to be judged.
    pub fn count(&mut self, columns: &Columns, threads: usize) -> usize {
        for scope in [Scope::Grant, Scope::Session, Scope::Agent, Scope::Server, Scope::Everyone] {
            let lines = self.points.chunk_by_mut(|a, b| a.point.line == b.point.line);
            let mut lines: Vec<&mut [Tried]> =
                lines.filter(|line| limit(line).is_some_and(|l| l.scope == scope)).collect();
            let of = lines.first().and_then(|line| lone_limit(&line.first()?.policy)).map(|(_, of)| of);
            let Some(Ok(layout)) = of.map(|of| columns.lay_out(of, scope)) else { continue };
            let plain = lines.iter().filter_map(|line| limit(line)).filter(|limit| !limit.rolling);
            let lengths_us: Vec<i64> = plain.map(length_us).collect();
            let mut counts = layout.plain(&lengths_us, threads).into_iter();
            for line in &mut lines {
                let Some(limit) = limit(line) else { continue };
                let maxima: Vec<u64> = line.iter().map(|tried| tried.point.max).collect();
                let refused = match limit.rolling {
                    true => layout.rolling(length_us(limit), &maxima),
                    false => {
                        counts.next().map_or(Vec::new(), |counts| maxima.iter().map(|max| counts.at(*max)).collect())
                    }
                };
                line.iter_mut().zip(refused).for_each(|(tried, refused)| tried.settle(refused, layout.unknown));
            }
        }
        self.points.iter().filter(|tried| !tried.counted).count()
    }

    /// Calls of what is limited, by label: clean, and bad.
    #[must_use]
    pub fn calls(&self, columns: &Columns) -> (u64, u64) {
        let policy = self.points.first().map(|tried| &tried.policy);
        columns.labels(policy.and_then(|policy| policy.groups.first()).map_or(&[], |group| &group.of))
    }

    /// What it reads of each call, where there is something left to judge.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let judged = self.points.iter().filter(|tried| !tried.counted);
        judged.fold(Reads::default(), |reads, tried| reads.and(tried.candidate.reads()))
    }

    /// The events of another instance follow, as for a [`Candidate`].
    pub fn begin(&mut self, instance: &str, lineage: &Lineage) {
        for tried in &mut self.points {
            tried.candidate.begin(instance, lineage);
            tried.left.begin(instance, lineage, std::mem::take(&mut tried.touched));
        }
    }

    /// The next event of the instance; `label` is asked for calls alone. What was counted isn't judged again.
    pub fn event(&mut self, event: &EventRef<'_>, label: Label) {
        self.points.iter_mut().filter(|tried| !tried.counted).for_each(|tried| tried.event(event, label));
    }

    /// Every point, by line and then by maximum.
    #[must_use]
    pub fn points(self) -> Vec<Point> {
        let mut points: Vec<Point> = self.points.into_iter().map(|tried| tried.point).collect();
        let figures: Vec<(u64, u64)> = points.iter().map(|point| (point.refused_clean, point.refused_bad)).collect();
        for point in &mut points {
            let (clean, stopped) = (point.refused_clean, point.refused_bad);
            let dominates = |(other_clean, other_stopped): &(u64, u64)| {
                *other_clean <= clean && *other_stopped >= stopped && (*other_clean, *other_stopped) != (clean, stopped)
            };
            // What stops nothing is outdone by no clause at all.
            point.frontier = stopped > 0 && !figures.iter().any(dominates);
        }
        for line in points.chunk_by_mut(|a, b| a.line == b.line) {
            mark_plateau(line);
        }
        points
    }
}

impl Tried {
    fn new(of: &str, begin: &str, line: &str, max: u64) -> Result<Self, GridError> {
        let clause = format!("{begin} {max} {line}");
        let text = match of {
            ALL_TOOLS => format!("default allow\nall tools {{ {clause} }}\n"),
            of => format!("default allow\ngroup swept of {of} {{ {clause} }}\n"),
        };
        let wrong = |message: String| GridError::Clause { text: text.clone(), message };
        let read = tollbook_policy::read("sweep.toll", &text, Target::Native).map(|read| read.policy);
        let policy = read.map_err(|errors| {
            wrong(errors.into_iter().next().map_or_else(String::new, |error| {
                let found = error.labels.into_iter().next().map(|label| label.text).unwrap_or_default();
                format!("{}: {found}", error.message)
            }))
        })?;
        let candidate = Candidate::new(policy.clone()).map_err(|error| wrong(error.to_string()))?;
        let point = Point {
            line: line.to_owned(),
            max,
            // Within a group of one's own there is nothing else to count.
            clause: clause.replacen("limit total", "limit", 1),
            policy: text,
            refused_clean: 0,
            refused_bad: 0,
            sessions_touched: 0,
            sessions_stopped: 0,
            unknown: 0,
            frontier: false,
            plateau: false,
        };
        Ok(Self { policy, candidate, point, counted: false, touched: Default::default(), left: Left::default() })
    }

    /// Takes what counting found.
    fn settle(&mut self, refused: Refused, unknown: u64) {
        self.counted = true;
        self.point.refused_clean = refused.clean;
        self.point.refused_bad = refused.bad;
        self.point.sessions_touched = refused.sessions;
        self.point.sessions_stopped = refused.stuck;
        self.point.unknown = unknown;
    }

    fn event(&mut self, event: &EventRef<'_>, label: Label) {
        if let BodyRef::Other(Body::Carried(carried)) = &event.body {
            for earlier in self.left.of(&carried.from) {
                self.touched
                    .iter_mut()
                    .zip(earlier)
                    .for_each(|(touched, earlier)| touched.extend(earlier.iter().cloned()));
            }
        }
        let Some(judged) = self.candidate.event(event) else { return };
        self.point.unknown += u64::from(judged.certainty == Certainty::Unknown);
        if !refuses(judged.candidate) {
            return;
        }
        let [clean, bad] = &mut self.touched;
        let point = &mut self.point;
        let (calls, sessions, touched) = match label {
            Label::Clean => (&mut point.refused_clean, &mut point.sessions_touched, clean),
            Label::Bad => (&mut point.refused_bad, &mut point.sessions_stopped, bad),
        };
        *calls += 1;
        let session = event.record().and_then(|record| record.session);
        if let Some(session) = session.filter(|session| !touched.contains(*session)) {
            touched.insert(session.to_owned());
            *sessions += 1;
        }
    }
}

/// The limit of a policy that is nothing else, and the tools that it counts; none means all tools.
fn lone_limit(policy: &Policy) -> Option<(&Limit, &[Selector])> {
    match (&policy.all_tools.limits[..], &policy.groups[..]) {
        ([limit], []) => Some((limit, &[])),
        ([], [group]) => Some((group.rules.limits.first()?, &group.of)),
        _ => None,
    }
}

/// The limit of a line whose policies are nothing else.
fn limit(line: &[Tried]) -> Option<&Limit> {
    lone_limit(&line.first()?.policy).map(|(limit, _)| limit)
}

fn length_us(limit: &Limit) -> i64 {
    i64::try_from(limit.window.seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

/// Marks the widest run of points that refuse the same, where a limit still does something.
fn mark_plateau(line: &mut [Point]) {
    let same = |a: &Point, b: &Point| (a.refused_clean, a.refused_bad) == (b.refused_clean, b.refused_bad);
    let ratio = |run: &[Point]| match run {
        [first, .., last] if first.refused_bad > 0 => u128::from(last.max) * 1_000_000 / u128::from(first.max.max(1)),
        _ => 0,
    };
    let Some(widest) = line.chunk_by(same).map(ratio).max().filter(|widest| *widest > 0) else { return };
    if let Some(run) = line.chunk_by_mut(same).find(|run| ratio(run) == widest) {
        run.iter_mut().for_each(|point| point.plateau = true);
    }
}

#[cfg(test)]
mod tests;
