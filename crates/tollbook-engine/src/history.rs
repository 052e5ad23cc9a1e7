//! What breakers remember of a session: its runs, and when they began.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};
use tollbook_policy::policy::Run;

use crate::compile::{BreakPlan, Engine};
use crate::record::{End, Hash128};
use crate::run::{CallId, PERIOD_MAX, Runs};

/// The recent calls of one session that were let through, in constant memory.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct History {
    #[n(0)]
    runs: Runs,
    #[n(1)]
    times: Times,
    #[n(2)]
    results: Streak,
    #[n(3)]
    failures: Streak,
    #[n(4)]
    matters_until_us: i64,
}

/// When the last calls were made, oldest first, no more of them than a breaker looks back on.
#[derive(Debug, Clone, Default, Encode, Decode)]
struct Times(#[n(0)] VecDeque<i64>);

/// Calls of one tool in a row that ended alike.
#[derive(Debug, Clone, Default, Encode, Decode)]
struct Streak {
    #[n(0)]
    tool: u64,
    #[n(1)]
    result: Option<Hash128>,
    #[n(2)]
    times: Times,
}

impl Times {
    fn push(&mut self, at_us: i64, look_back: usize) {
        self.0.push_back(at_us);
        while self.0.len() > look_back {
            self.0.pop_front();
        }
    }

    /// When the `back`-th last call was made; the last one is the first back.
    fn back(&self, back: usize) -> Option<i64> {
        self.0.get(self.0.len().checked_sub(back)?).copied()
    }
}

impl Streak {
    #[inline]
    fn clear(&mut self) {
        // Most streaks are empty, and emptying one again is work all the same.
        if !self.times.0.is_empty() {
            self.times.0.clear();
        }
    }

    fn push(&mut self, tool: u64, result: Option<Hash128>, at_us: i64) {
        if self.tool != tool || self.result != result {
            self.clear();
            (self.tool, self.result) = (tool, result);
        }
        self.times.push(at_us, crate::compile::LOOK_BACK_MAX);
    }
}

impl History {
    /// Takes in a call that was let through.
    pub fn allowed(&mut self, engine: &Engine, tool: u64, call: Option<CallId>, now_us: i64) {
        self.runs.push(call);
        self.times.push(now_us, engine.look_back);
        for streak in [&mut self.results, &mut self.failures] {
            // A different tool lets a run of one tool go.
            if streak.tool != tool {
                streak.clear();
            }
        }
        self.matters_until_us = self.matters_until_us.max(now_us.saturating_add(engine.within_max_us));
    }

    /// Takes in how a call ended. `at_us` is when it was made.
    pub fn settled(&mut self, tool: u64, at_us: i64, end: End, result: Option<Hash128>) {
        match (end, result) {
            (End::Ok | End::ToolError | End::RpcError, Some(_)) => self.results.push(tool, result, at_us),
            _ => self.results.clear(),
        }
        match end {
            End::ToolError | End::RpcError => self.failures.push(tool, None, at_us),
            _ => self.failures.clear(),
        }
    }

    /// The run that a call would carry on, as calls in the block and its repeats; None where it carries
    /// on none that began within the breaker's time.
    pub fn run(&self, plan: &BreakPlan, tool: u64, call: Option<CallId>, now_us: i64) -> Option<RunFound> {
        let after = usize::try_from(plan.after).unwrap_or(usize::MAX);
        let found = |period: usize, began: Option<i64>| {
            let lets_go_at_us = began?.saturating_add(plan.within_us);
            let period = u32::try_from(period).unwrap_or(u32::MAX);
            (now_us < lets_go_at_us).then_some(RunFound { period, repeats: plan.after, lets_go_at_us })
        };
        let streak = |streak: &Streak| if streak.tool == tool { found(1, streak.times.back(after)) } else { None };
        let repeated = |period: usize| {
            let carried_on = self.runs.carried_on_by(call, period, plan.after);
            if carried_on { found(period, self.times.back(after.saturating_mul(period))) } else { None }
        };
        match plan.on {
            Run::IdenticalCalls => repeated(1),
            Run::Cycle { period_max } => (2..=usize::from(period_max).min(PERIOD_MAX)).find_map(repeated),
            Run::IdenticalResults => streak(&self.results),
            Run::Failures => streak(&self.failures),
        }
    }

    /// From when on no breaker can depend on it.
    pub fn matters_until_us(&self) -> i64 {
        self.matters_until_us
    }
}

/// A run that a breaker refuses to carry on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunFound {
    pub period: u32,
    pub repeats: u32,
    pub lets_go_at_us: i64,
}
