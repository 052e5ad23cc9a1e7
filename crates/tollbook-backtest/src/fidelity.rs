//! Does the replay give back every decision?

use std::collections::BTreeMap;

use tollbook_engine::{
    Activated, Body, BodyRef, Bounds, Carried, Decision, Engine, EventRef, Judge, PolicyHash, RecordRef, SnapshotError,
    State, Verdict,
};
use tollbook_policy::Policy;

use crate::lineage::{Left, Lineage};
use crate::{parsed_args, recorded_call};

/// Most differences that are kept to be shown; all are counted.
pub const DIFFERENCES_MAX: usize = 20;

/// The replay of the recorded policies over the recorded events.
#[derive(Debug)]
pub struct Fidelity {
    policies: BTreeMap<PolicyHash, Policy>,
    left: Left<State>,
    /// What is carried on at the next event.
    carried: Option<State>,
    state: State,
    /// By server.
    active: BTreeMap<String, ActiveOn>,
    /// Decisions of the engine that came out as recorded.
    pub same: u64,
    /// Decisions of the engine that came out otherwise.
    pub different: u64,
    /// Decisions of the engine that can't be replayed: the log lacks the policy, or what it reads.
    pub unknown: u64,
    /// Calls that the gateway refused by itself, which no policy was asked about.
    pub by_gateway: u64,
    /// Calls that nobody's engine judged.
    pub imported: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
}

/// The policies in force on one server.
#[derive(Debug, Default)]
struct ActiveOn {
    every_grant: Option<Active>,
    by_grant: BTreeMap<String, Active>,
}

impl ActiveOn {
    /// The grant's own policy, or that of every grant.
    fn over(&self, grant: Option<&str>) -> Option<&Active> {
        grant.and_then(|grant| self.by_grant.get(grant)).or(self.every_grant.as_ref())
    }
}

/// A policy in force, with its engine where the policy is known.
#[derive(Debug)]
struct Active {
    policy: PolicyHash,
    engine: Option<Engine>,
}

/// A decision, or a state that is carried on, that the replay didn't give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The instance.
    pub instance: String,
    /// The event.
    pub seq: u64,
    /// What was recorded.
    pub recorded: String,
    /// What the replay says.
    pub replayed: String,
}

impl Default for Fidelity {
    fn default() -> Self {
        Self {
            policies: BTreeMap::new(),
            left: Left::default(),
            carried: None,
            state: State::new(Bounds::default(), 0),
            active: BTreeMap::new(),
            same: 0,
            different: 0,
            unknown: 0,
            by_gateway: 0,
            imported: 0,
            differences: Vec::new(),
        }
    }
}

impl Fidelity {
    /// The policy that an event is about to put in force, where it isn't known yet. Unless it is given
    /// beforehand, by [`Fidelity::policy`], the calls that it judged can't be replayed.
    #[must_use]
    pub fn lacks(&self, event: &EventRef<'_>) -> Option<PolicyHash> {
        let BodyRef::Other(Body::Activated(activated)) = &event.body else { return None };
        (!self.policies.contains_key(&activated.policy)).then_some(activated.policy)
    }

    /// Takes a policy that judged calls of the log.
    pub fn policy(&mut self, hash: PolicyHash, policy: Policy) {
        self.policies.insert(hash, policy);
    }

    /// Takes the state that an event carries on. Unless it is given beforehand, what the earlier instances have
    /// counted in this replay is carried on; [`Fidelity::lacks_state`] says whether that is known.
    pub fn carried(&mut self, state: State) {
        self.carried = Some(state);
    }

    /// Whether an event carries on a state that this replay can't tell by itself.
    #[must_use]
    pub fn lacks_state(&self, event: &EventRef<'_>) -> bool {
        let BodyRef::Other(Body::Carried(carried)) = &event.body else { return false };
        !carried.replays || self.left.all_of(&carried.from).is_none()
    }

    /// The events of another instance follow. Its counters begin empty, unless it carries others on.
    pub fn begin(&mut self, instance: &str, lineage: &Lineage) {
        let ended = std::mem::replace(&mut self.state, State::new(Bounds::default(), 0));
        self.left.begin(instance, lineage, ended);
        self.carried = None;
        self.active.clear();
    }

    /// What the instance has counted so far.
    #[must_use]
    pub fn into_state(self) -> State {
        self.state
    }

    /// The next event of the instance.
    pub fn event(&mut self, event: &EventRef<'_>) {
        let body = match &event.body {
            BodyRef::Decision(record) => return self.call(event, record),
            BodyRef::Other(body) => body,
        };
        match body {
            Body::Opened(opened) => self.state = State::new(opened.bounds, 0),
            Body::Carried(carried) => self.carry(event, carried),
            Body::Activated(activated) => {
                self.activate(activated);
            }
            Body::Outcome(outcome) => self.state.settle(outcome.call_seq, outcome.end, outcome.result_hash),
            Body::Answered(answered) => {
                let at_us = event.ts_us.unwrap_or(i64::MIN);
                self.state.answer(&answered.approval, answered.approved, at_us);
            }
            Body::Reset(reset) => self.state.reset(reset.counter.as_deref(), reset.key.as_deref()),
            Body::Gap(_) | Body::Frozen(_) | Body::Pruned(_) | Body::ClockBack(_) => {}
            Body::Expired(_) | Body::Decision(_) => {}
        }
    }

    fn carry(&mut self, event: &EventRef<'_>, carried: &Carried) {
        let at_us = event.ts_us.unwrap_or(i64::MIN);
        let counted = self.left.all_of(&carried.from).filter(|_| carried.replays).map(|left| {
            let server = carried.server.as_deref();
            State::carried(self.state.bounds(), left, server, at_us)
        });
        let given = self.carried.take();
        if let (Some(counted), Some(given)) = (&counted, &given)
            && counted.snapshot() != given.snapshot()
        {
            let from = carried.from.join(", ");
            self.differs(
                event.seq,
                format!("other counters carried on from {from}"),
                "what they had counted".to_owned(),
            );
        }
        if let Some(state) = given.or(counted) {
            self.state.carry(&state, None, at_us);
        }
    }

    fn call(&mut self, event: &EventRef<'_>, record: &RecordRef<'_>) {
        match record.judged_by {
            Judge::Engine => self.decision(event, record),
            Judge::Gateway => self.by_gateway += 1,
            Judge::Import => self.imported += 1,
        }
    }

    fn activate(&mut self, activated: &Activated) {
        let policy = self.policies.get(&activated.policy);
        let engine = policy.and_then(|policy| Engine::compile(policy, &activated.server).ok());
        let active = Active { policy: activated.policy, engine };
        let on = self.active.entry(activated.server.clone()).or_default();
        match &activated.grant {
            None => on.every_grant = Some(active),
            Some(grant) => drop(on.by_grant.insert(grant.clone(), active)),
        }
    }

    /// Where the replay stands, as bytes: the policies in force and the engine's state. A replay that
    /// restores them goes on as this one would, so that the events before can be removed from the log.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let active = self.active.iter().flat_map(|(server, on)| {
            let every_grant = on.every_grant.iter().map(|active| (None, active));
            let by_grant = on.by_grant.iter().map(|(grant, active)| (Some(grant.clone()), active));
            let activated = |(grant, active): (_, &Active)| (server.clone(), grant, active.policy);
            every_grant.chain(by_grant).map(activated)
        });
        let active = active.map(|(server, grant, policy)| Activated { server, grant, policy });
        let mut bytes = Vec::new();
        let state = self.state.snapshot();
        let written = minicbor::encode((active.collect::<Vec<_>>(), minicbor::bytes::ByteVec::from(state)), &mut bytes);
        debug_assert!(written.is_ok(), "encoding to memory failed");
        bytes
    }

    /// The policies in force where a snapshot was taken, to be given by [`Fidelity::policy`] before it is
    /// restored.
    ///
    /// # Errors
    /// Bytes that aren't such a snapshot.
    pub fn snapshot_policies(bytes: &[u8]) -> Result<Vec<PolicyHash>, SnapshotError> {
        Ok(read_snapshot(bytes)?.0.iter().map(|activated| activated.policy).collect())
    }

    /// The events of another instance follow, from where a snapshot was taken.
    ///
    /// # Errors
    /// Bytes that aren't such a snapshot.
    pub fn restore(&mut self, instance: &str, lineage: &Lineage, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (active, state) = read_snapshot(bytes)?;
        self.begin(instance, lineage);
        self.state = State::restore(&state, 0)?;
        active.iter().for_each(|activated| self.activate(activated));
        Ok(())
    }

    /// Share of the engine's decisions that came out as recorded, of those that could be replayed. None
    /// where there was none.
    #[must_use]
    pub fn share(&self) -> Option<(u64, u64)> {
        let judged = self.same + self.different;
        (judged > 0).then_some((self.same, judged))
    }

    /// Whether the engine judged anything at all in this log.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.same + self.different + self.unknown > 0
    }

    fn decision(&mut self, event: &EventRef<'_>, record: &RecordRef<'_>) {
        let parsed = parsed_args(record);
        let engine = self.active.get(record.server).and_then(|active| active.over(record.grant)?.engine.as_ref());
        let (Some(engine), Some(call)) = (engine, recorded_call(event, record, parsed.as_ref())) else {
            self.unknown += 1;
            return;
        };
        let mut decision = Decision::default();
        engine.decide_into(&mut decision, &mut self.state, event.seq, &call);
        // A call that couldn't be judged then, as one without an agent by a limit per agent, can't be now.
        if decision.verdict == Verdict::Unknown && record.verdict != Some(Verdict::Unknown) {
            self.unknown += 1;
            return;
        }
        let replayed = RecordRef {
            request_id: record.request_id,
            args: record.args.clone(),
            mode: record.mode,
            decide_ns: record.decide_ns,
            trace_id: record.trace_id,
            label: record.label,
            continues: record.continues,
            ..decision.record(engine, &call)
        };
        let differs = (replayed != *record).then(|| (told(record), told(&replayed)));
        // It borrows the engine that judged.
        drop(decision);
        match differs {
            None => self.same += 1,
            Some((recorded, replayed)) => self.differs(event.seq, recorded, replayed),
        }
    }

    fn differs(&mut self, seq: u64, recorded: String, replayed: String) {
        self.different += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            let instance = self.left.instance().to_owned();
            self.differences.push(Difference { instance, seq, recorded, replayed });
        }
    }
}

fn read_snapshot(bytes: &[u8]) -> Result<(Vec<Activated>, Vec<u8>), SnapshotError> {
    let read: Result<(Vec<Activated>, minicbor::bytes::ByteVec), _> = minicbor::decode(bytes);
    let (active, state) = read.map_err(|error| SnapshotError::new(error.to_string()))?;
    Ok((active, state.into()))
}

/// A decision in one line.
fn told(record: &RecordRef<'_>) -> String {
    let verdict = record.verdict.map_or("none", Verdict::as_str);
    let mut told = format!("{verdict} by {}", record.rule.or(record.reason).unwrap_or("nothing"));
    for limit in &record.limits {
        let (used, max) = (limit.used_before_micros / 1_000_000, limit.max_micros / 1_000_000);
        told.push_str(&format!(", {}[{}] {used} of {max}", limit.counter, limit.key));
    }
    told
}

#[cfg(test)]
mod tests;
