//! What another policy would have done.
//!
//! The candidate judges every recorded call, in order, with counters of its own, and what it refuses is
//! not charged. What really would have happened after a first refusal nobody knows: the agent would have
//! acted differently. So each call is exact, after a divergence (an earlier call of its session, or of
//! one of its counters, was decided otherwise than recorded) or unknown (the log lacks what the candidate
//! reads), and all three are counted.

use std::collections::BTreeMap;

use tollbook_engine::{
    Body, BodyRef, Bounds, Code, CompileError, Decision, Engine, EventRef, Fact, Judge, Reads, Reason, RecordRef,
    State, Verdict,
};
use tollbook_policy::policy::Scope;
use tollbook_policy::{Category, Policy};

use crate::lineage::{Left, Lineage};
use crate::named::{Named, index};
use crate::report::{Change, Report};
use crate::retries::{Retries, Tried};
use crate::tallies::{Numbers, Tallies};
use crate::{parsed_args, recorded_call};

/// A policy that is tried on a log.
#[derive(Debug)]
pub struct Candidate {
    policy: Policy,
    reads: Reads,
    /// By server.
    engines: Named<Engine>,
    state: State,
    /// In this instance or one that it carries on.
    diverged: Diverged,
    left: Left<(State, Diverged)>,
    /// The candidate's approval for the call of a recorded one: the person's answer goes for both.
    approvals: BTreeMap<String, String>,
    tallies: Tallies,
    /// Where it is asked for.
    retries: Option<Retries>,
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
        let reads = Engine::compile(&policy, "")?.replay_reads();
        Ok(Self {
            policy,
            reads: Reads { decision: true, ..reads },
            engines: Named::default(),
            state: State::new(Bounds::default(), 0),
            diverged: Diverged::default(),
            left: Left::default(),
            approvals: BTreeMap::new(),
            tallies: Tallies::default(),
            retries: None,
        })
    }

    /// The same, which also finds out what becomes of refused calls that are made again whenever they may fit. From
    /// the first newly refused call on it judges each call twice.
    #[must_use]
    pub fn retrying(self) -> Self {
        let reads = Reads { ended: true, ..self.reads };
        Self { retries: Some(Retries::default()), reads, ..self }
    }

    /// What it reads of each call.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// The events of another instance follow. Its counters begin empty, unless it carries others on: then the
    /// candidate carries on what it has counted there itself.
    pub fn begin(&mut self, instance: &str, lineage: &Lineage) {
        let state = std::mem::replace(&mut self.state, State::new(Bounds::default(), 0));
        self.end();
        self.left.begin(instance, lineage, (state, std::mem::take(&mut self.diverged)));
        self.approvals.clear();
        self.engines.forget_codes();
        self.tallies.forget_codes();
    }

    /// The events of the instance are over: calls that wait are made again until they pass. Another instance that
    /// begins says so too.
    pub fn end(&mut self) {
        if let Some(retries) = &mut self.retries {
            retries.end(&self.engines);
        }
    }

    /// The next event of the instance; for a call that a policy judges, what the candidate makes of it.
    pub fn event(&mut self, event: &EventRef<'_>) -> Option<Judged> {
        if let (Some(retries), Some(at_us)) = (&mut self.retries, event.ts_us) {
            retries.until(at_us, &self.engines);
        }
        let body = match &event.body {
            BodyRef::Decision(record) if record.judged_by != Judge::Gateway => return self.call(event, record),
            BodyRef::Decision(_) => {
                self.tallies.by_gateway += 1;
                return None;
            }
            BodyRef::Other(body) => body,
        };
        match body {
            Body::Outcome(outcome) => {
                self.state.settle(outcome.call_seq, outcome.end, outcome.result_hash);
                if let Some(retries) = &mut self.retries {
                    retries.settle(outcome.call_seq, outcome.end, outcome.result_hash);
                }
            }
            Body::Answered(answered) => {
                if let Some(retries) = &mut self.retries {
                    retries.answer(&answered.approval, answered.approved, event.ts_us.unwrap_or(i64::MIN));
                }
                let approval = self.approvals.remove(&answered.approval)?;
                self.state.answer(&approval, answered.approved, event.ts_us.unwrap_or(i64::MIN));
            }
            Body::Reset(reset) => {
                self.state.reset(reset.counter.as_deref(), reset.key.as_deref());
                if let Some(retries) = &mut self.retries {
                    retries.reset(reset.counter.as_deref(), reset.key.as_deref());
                }
            }
            Body::Carried(carried) => {
                for (state, diverged) in self.left.of(&carried.from) {
                    self.state.carry(state, carried.server.as_deref(), event.ts_us.unwrap_or(i64::MIN));
                    self.diverged.carry(diverged);
                }
            }
            Body::Opened(_) | Body::Activated(_) | Body::Gap(_) | Body::Frozen(_) => {}
            Body::Pruned(_) | Body::ClockBack(_) | Body::Expired(_) | Body::Decision(_) => {}
        }
        None
    }

    /// What was found.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            waits: self.retries.as_ref().map(|retries| retries.waits).unwrap_or_default(),
            ..self.tallies.report()
        }
    }

    fn call(&mut self, event: &EventRef<'_>, record: &RecordRef<'_>) -> Option<Judged> {
        let parsed = parsed_args(record);
        let mut call = recorded_call(event, record, parsed.as_ref())?;
        let code = Code::of(event.codes.as_ref(), |codes| codes.server);
        let server = match self.engines.find(record.server, code) {
            Some(server) => server,
            // It compiled before, and a server's name changes nothing in that.
            None => self.engines.add(record.server, code, Engine::compile(&self.policy, record.server).ok()?),
        };
        let engine = self.engines.get(server)?;
        if engine.judges_by_category() && call.category.is_none() {
            // An imported record knows the name alone.
            call.category = Some(Category::by_name(call.tool).name());
        }
        let mut decision = Decision::default();
        engine.decide_into(&mut decision, &mut self.state, event.seq, &call);
        if let (Some(recorded), Some(own)) = (record.approval, &decision.approval) {
            self.approvals.insert(recorded.to_owned(), own.clone());
        }
        let numbers = self.tallies.numbers(call.tool, record, event.codes.as_ref());
        let certainty = match decision.verdict {
            Verdict::Unknown => Certainty::Unknown,
            _ if self.diverged.concern(server, numbers, &decision) => Certainty::Diverged,
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
            self.diverged.add(server, numbers, &decision);
        }
        self.tallies.add(event, record, &decision, &judged, numbers);
        if let Some(retries) = &mut self.retries {
            let (retry_at_us, newly_refused) = (decision.retry_at_us, judged.change().newly_refused > 0);
            let tried = Tried { event, record, call: &call, server, retry_at_us, newly_refused };
            retries.call(&self.state, &self.engines, &tried);
        }
        Some(judged)
    }
}

pub(crate) fn refuses(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Deny | Verdict::Hold)
}

/// Sessions and counters in which something was decided otherwise: through them a call bears on later ones.
#[derive(Debug, Default)]
struct Diverged {
    sessions: Marks,
    /// By number of the server, and by place of the limit in the policy: the values of its scope.
    counters: Vec<Vec<Marks>>,
}

/// Which numbers are marked.
#[derive(Debug, Clone, Default)]
struct Marks(Vec<bool>);

impl Marks {
    fn has(&self, number: u32) -> bool {
        self.0.get(index(number)).copied().unwrap_or(false)
    }

    fn add(&mut self, number: u32) {
        *at(&mut self.0, index(number)) = true;
    }

    fn also(&mut self, other: &Self) {
        for (place, marked) in other.0.iter().enumerate() {
            *at(&mut self.0, place) |= marked;
        }
    }
}

impl Diverged {
    fn concern(&self, server: u32, of: Numbers, decision: &Decision<'_>) -> bool {
        if of.session.is_some_and(|session| self.sessions.has(session)) {
            return true;
        }
        let Some(counters) = self.counters.get(index(server)) else { return false };
        decision.limits.iter().any(|fact| {
            let marks = counters.get(fact.limit());
            marks.is_some_and(|marks| scope_number(of, fact).is_some_and(|number| marks.has(number)))
        })
    }

    fn carry(&mut self, earlier: &Self) {
        self.sessions.also(&earlier.sessions);
        for (server, limits) in earlier.counters.iter().enumerate() {
            for (limit, marks) in limits.iter().enumerate() {
                at(at(&mut self.counters, server), limit).also(marks);
            }
        }
    }

    fn add(&mut self, server: u32, of: Numbers, decision: &Decision<'_>) {
        of.session.iter().for_each(|session| self.sessions.add(*session));
        for fact in &decision.limits {
            let Some(number) = scope_number(of, fact) else { continue };
            at(at(&mut self.counters, index(server)), fact.limit()).add(number);
        }
    }
}

/// The place in a list, which grows where it isn't as long.
#[expect(clippy::indexing_slicing, reason = "the list was just made as long")]
fn at<T: Clone + Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if place >= list.len() {
        list.resize(place + 1, T::default());
    }
    &mut list[place]
}

/// The number of the scope's value that a limit counts a call by.
fn scope_number(of: Numbers, fact: &Fact<'_>) -> Option<u32> {
    match fact.scope() {
        Scope::Grant => of.grant,
        Scope::Session => of.session,
        Scope::Agent => of.agent,
        Scope::Server | Scope::Everyone => Some(0),
    }
}

#[cfg(test)]
mod tests;
