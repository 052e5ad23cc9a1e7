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

use crate::lineage::{Left, Lineage};
use crate::report::{Change, Report};
use crate::{parsed_args, recorded_call};

/// A policy that is tried on a log.
#[derive(Debug)]
pub struct Candidate {
    policy: Policy,
    engines: BTreeMap<String, Engine>,
    state: State,
    /// Sessions and counters in which something was decided otherwise, in this instance or one that it carries on.
    diverged: BTreeSet<String>,
    left: Left<(State, BTreeSet<String>)>,
    /// The candidate's approval for the call of a recorded one: the person's answer goes for both.
    approvals: BTreeMap<String, String>,
    report: Report,
}

/// What the candidate makes of one recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The recorded verdict; an imported call was let through.
    pub recorded: Verdict,
    /// The candidate's.
    pub candidate: Verdict,
    /// How far the candidate's verdict can be trusted.
    pub certainty: Certainty,
    /// The rule of the candidate that decided.
    pub rule: Option<String>,
    /// The candidate's reason.
    pub reason: Reason,
}

impl Judged {
    /// What changes.
    #[must_use]
    pub fn change(&self) -> Change {
        let (before, after) = (refuses(self.recorded), refuses(self.candidate));
        Change {
            newly_refused: u64::from(!before && after),
            newly_allowed: u64::from(before && self.candidate == Verdict::Allow),
        }
    }
}

/// How far a replayed verdict can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It is what would have happened.
    Exact,
    /// An earlier call of its session, or of one of its counters, was decided otherwise than recorded.
    Diverged,
    /// The log lacks what the candidate reads.
    Unknown,
}

impl Certainty {
    /// The word in columns and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Diverged => "diverged",
            Self::Unknown => "unknown",
        }
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
            left: Left::default(),
            approvals: BTreeMap::new(),
            report: Report::default(),
        })
    }

    /// The events of another instance follow. Its counters begin empty, unless it carries others on: then the
    /// candidate carries on what it has counted there itself.
    pub fn begin(&mut self, instance: &str, lineage: &Lineage) {
        let state = std::mem::replace(&mut self.state, State::new(Bounds::default(), 0));
        self.left.begin(instance, lineage, (state, std::mem::take(&mut self.diverged)));
        self.approvals.clear();
    }

    /// The next event of the instance; for a call that a policy judges, what the candidate makes of it.
    pub fn event(&mut self, event: &Event) -> Option<Judged> {
        match &event.body {
            Body::Decision(record) if record.judged_by == Judge::Gateway => self.report.by_gateway += 1,
            Body::Decision(record) => return self.call(event, record),
            Body::Outcome(outcome) => self.state.settle(outcome.call_seq, outcome.end, outcome.result_hash),
            Body::Answered(answered) => {
                let approval = self.approvals.remove(&answered.approval)?;
                self.state.answer(&approval, answered.approved, event.ts_us.unwrap_or(i64::MIN));
            }
            Body::Reset(reset) => self.state.reset(reset.counter.as_deref(), reset.key.as_deref()),
            Body::Carried(carried) => {
                for (state, diverged) in self.left.of(&carried.from) {
                    self.state.carry(state, carried.server.as_deref(), event.ts_us.unwrap_or(i64::MIN));
                    self.diverged.extend(diverged.iter().cloned());
                }
            }
            Body::Opened(_) | Body::Activated(_) | Body::Gap(_) | Body::Frozen(_) | Body::Pruned(_) => {}
        }
        None
    }

    /// What was found.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn call(&mut self, event: &Event, record: &Record) -> Option<Judged> {
        let parsed = parsed_args(record);
        let mut call = recorded_call(event, record, parsed.as_ref())?;
        if !self.engines.contains_key(&record.server) {
            // It compiled before, and a server's name changes nothing in that.
            let engine = Engine::compile(&self.policy, &record.server).ok()?;
            self.engines.insert(record.server.clone(), engine);
        }
        let engine = self.engines.get(&record.server)?;
        if engine.judges_by_category() && call.category.is_none() {
            // An imported record knows the name alone.
            call.category = Some(Category::by_name(call.tool).name());
        }
        let mut decision = Decision::default();
        engine.decide_into(&mut decision, &mut self.state, event.seq, &call);
        if let (Some(recorded), Some(own)) = (&record.approval, &decision.approval) {
            self.approvals.insert(recorded.clone(), own.clone());
        }
        let keys = diverging_keys(record, &decision);
        let certainty = match decision.verdict {
            Verdict::Unknown => Certainty::Unknown,
            _ if keys.iter().any(|key| self.diverged.contains(key)) => Certainty::Diverged,
            _ => Certainty::Exact,
        };
        let judged = Judged {
            recorded: record.verdict.unwrap_or(Verdict::Allow),
            candidate: decision.verdict,
            certainty,
            rule: decision.rule.map(str::to_owned),
            reason: decision.reason,
        };
        if judged.change() != Change::default() {
            self.diverged.extend(keys);
        }
        self.report.add(event, record, &decision, &judged);
        Some(judged)
    }
}

pub(crate) fn refuses(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Deny | Verdict::Hold)
}

/// The session and the counters through which a call bears on later ones.
fn diverging_keys(record: &Record, decision: &Decision<'_>) -> Vec<String> {
    let session = record.session.iter().map(|session| format!("session {session}"));
    let counters = decision.limits.iter().map(|fact| format!("{} {} {}", record.server, fact.rule(), fact.key));
    session.chain(counters).collect()
}
