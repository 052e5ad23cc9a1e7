//! What another policy would have done.
//!
//! The candidate judges every recorded call, in order, with counters of its own, and what it refuses is
//! not charged. What really would have happened after a first refusal nobody knows: the agent would have
//! acted differently. So each call is exact, after a divergence (an earlier call of its session, or of
//! one of its counters, was decided otherwise than recorded) or unknown (the log lacks what the candidate
//! reads), and all three are counted.

use std::collections::{BTreeMap, BTreeSet};

use tollbook_engine::{Body, Bounds, CompileError, Decision, Engine, Event, Judge, Reason, Record, State, Verdict};
use tollbook_policy::{Category, Policy};

use crate::{parsed_args, recorded_call};

/// A policy that is tried on a log.
#[derive(Debug)]
pub struct Candidate {
    policy: Policy,
    engines: BTreeMap<String, Engine>,
    state: State,
    /// Sessions and counters in which something was decided otherwise, in this instance.
    diverged: BTreeSet<String>,
    /// The candidate's approval for the call of a recorded one: the person's answer goes for both.
    approvals: BTreeMap<String, String>,
    report: Report,
}

/// What a candidate would have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// All calls.
    pub all: Tally,
    /// By the rule that decided: the candidate's for what it newly refuses, the recorded one for what it
    /// newly allows.
    pub by_rule: BTreeMap<String, Change>,
    /// By tool.
    pub by_tool: BTreeMap<String, Tally>,
    /// Sessions with a call that is newly refused or held.
    pub sessions_touched: BTreeSet<String>,
    /// Sessions seen.
    pub sessions: BTreeSet<String>,
    /// Calls that the gateway refused by itself, which no policy changes.
    pub by_gateway: u64,
    /// Calls without a time, which no window can judge.
    pub without_time: u64,
}

/// Calls, counted by what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls judged.
    pub calls: u64,
    /// Refused or held when they were recorded.
    pub refused_before: u64,
    /// Refused or held by the candidate.
    pub refused_after: u64,
    /// What changes.
    pub change: Change,
    /// Calls on which the candidate's verdict can't be told.
    pub unknown: u64,
    /// Calls in a session or on a counter in which something was decided otherwise before.
    pub after_divergence: u64,
}

/// Calls that come out otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Let through then, refused or held now.
    pub newly_refused: u64,
    /// Refused or held then, let through now.
    pub newly_allowed: u64,
}

impl Tally {
    /// Calls whose verdict is exact.
    #[must_use]
    pub fn exact(&self) -> u64 {
        self.calls - self.unknown - self.after_divergence
    }
}

impl Candidate {
    /// A candidate that hasn't seen an event.
    ///
    /// # Errors
    /// A policy that can't be made into an engine.
    pub fn new(policy: Policy) -> Result<Self, CompileError> {
        Engine::compile(&policy, "")?;
        Ok(Self {
            policy,
            engines: BTreeMap::new(),
            state: State::new(Bounds::default(), 0),
            diverged: BTreeSet::new(),
            approvals: BTreeMap::new(),
            report: Report::default(),
        })
    }

    /// The events of another instance follow: it has counters of its own.
    pub fn begin(&mut self) {
        self.state = State::new(Bounds::default(), 0);
        self.diverged.clear();
        self.approvals.clear();
    }

    /// The next event of the instance.
    pub fn event(&mut self, event: &Event) {
        match &event.body {
            Body::Decision(record) if record.judged_by == Judge::Gateway => self.report.by_gateway += 1,
            Body::Decision(record) => self.call(event, record),
            Body::Outcome(outcome) => self.state.settle(outcome.call_seq, outcome.end, outcome.result_hash),
            Body::Answered(answered) => {
                let Some(approval) = self.approvals.remove(&answered.approval) else { return };
                self.state.answer(&approval, answered.approved, event.ts_us.unwrap_or(i64::MIN));
            }
            Body::Reset(reset) => self.state.reset(reset.counter.as_deref(), reset.key.as_deref()),
            Body::Opened(_) | Body::Activated(_) | Body::Gap(_) | Body::Frozen(_) => {}
            Body::Snapshot(_) | Body::Pruned(_) => {}
        }
    }

    /// What was found.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn call(&mut self, event: &Event, record: &Record) {
        let parsed = parsed_args(record);
        let Some(mut call) = recorded_call(event, record, parsed.as_ref()) else { return };
        if !self.engines.contains_key(&record.server) {
            // It compiled before, and a server's name changes nothing in that.
            let Ok(engine) = Engine::compile(&self.policy, &record.server) else { return };
            self.engines.insert(record.server.clone(), engine);
        }
        let Some(engine) = self.engines.get(&record.server) else { return };
        if engine.judges_by_category() && call.category.is_none() {
            // An imported record knows the name alone.
            call.category = Some(Category::by_name(call.tool).name());
        }
        let decision = engine.decide(&mut self.state, event.seq, &call);
        if let (Some(recorded), Some(own)) = (&record.approval, &decision.approval) {
            self.approvals.insert(recorded.clone(), own.clone());
        }

        let before = refuses(record.verdict.unwrap_or(Verdict::Allow));
        let after = refuses(decision.verdict);
        let unknown = decision.verdict == Verdict::Unknown;
        let change = Change {
            newly_refused: u64::from(!before && after),
            newly_allowed: u64::from(before && !after && !unknown),
        };
        let keys = diverging_keys(record, &decision);
        let diverged = !unknown && keys.iter().any(|key| self.diverged.contains(key));
        if change != Change::default() {
            self.diverged.extend(keys);
        }
        let one = Tally {
            calls: 1,
            refused_before: u64::from(before),
            refused_after: u64::from(after),
            change,
            unknown: u64::from(unknown),
            after_divergence: u64::from(diverged),
        };
        self.report.add(record, call.tool, one, rule(record, &decision, after));
        self.report.without_time += u64::from(event.ts_us.is_none());
    }
}

impl Report {
    fn add(&mut self, record: &Record, tool: &str, one: Tally, rule: &str) {
        self.all.add(one);
        self.by_tool.entry(tool.to_owned()).or_default().add(one);
        if one.change != Change::default() {
            self.by_rule.entry(rule.to_owned()).or_default().add(one.change);
        }
        if let Some(session) = &record.session {
            if one.change.newly_refused > 0 {
                self.sessions_touched.insert(session.clone());
            }
            if !self.sessions.contains(session) {
                self.sessions.insert(session.clone());
            }
        }
    }
}

impl Tally {
    fn add(&mut self, one: Self) {
        self.calls += one.calls;
        self.refused_before += one.refused_before;
        self.refused_after += one.refused_after;
        self.change.add(one.change);
        self.unknown += one.unknown;
        self.after_divergence += one.after_divergence;
    }
}

impl Change {
    fn add(&mut self, one: Self) {
        self.newly_refused += one.newly_refused;
        self.newly_allowed += one.newly_allowed;
    }
}

fn refuses(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Deny | Verdict::Hold)
}

fn rule<'r>(record: &'r Record, decision: &Decision<'r>, after: bool) -> &'r str {
    let (rule, reason) = if after {
        (decision.rule, Some(decision.reason.code()))
    } else {
        (record.rule.as_deref(), record.reason.as_deref())
    };
    rule.or(reason).unwrap_or(Reason::Allowed.code())
}

/// The session and the counters through which a call bears on later ones.
fn diverging_keys(record: &Record, decision: &Decision<'_>) -> Vec<String> {
    let session = record.session.iter().map(|session| format!("session {session}"));
    let counters = decision.limits.iter().map(|fact| format!("{} {} {}", record.server, fact.rule(), fact.key));
    session.chain(counters).collect()
}
