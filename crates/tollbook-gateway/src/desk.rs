//! The one decision loop: every call of every connection is judged, numbered and recorded here.
//!
//! Deciding and recording happen under one lock, so that the order of sequence numbers is the order of
//! decisions; that is what a replay follows. No record, no forward: where the log can't take a decision
//! the call is refused, whatever the policy says.

mod connection;
mod ended;
mod engines;
mod heard;
mod operate;
mod questions;
mod reopen;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use tollbook_engine::{
    Activated, Args, ArgsRef, Body, BodyRef, Bounds, Call, Carried, Decision, Engine, Frozen, Hash128, Judge, Kept,
    Mode, Opened, PolicyHash, Reason, Record, RecordRef, State, Verdict,
};
use tollbook_log::redact::Redaction;
use tollbook_log::{AppendError, CloseError, DiskError, Log, PolicyError, Recorded};
use tollbook_policy::Policy;

use crate::frame::{Asked, CallFrame, Refused, RequestId, Said, client, exact_arguments, trace_id};
use crate::headers::Headers;
use crate::metrics::Metrics;
use crate::operator::Held;
use crate::{refusal, spelling};
use engines::Engines;
use questions::{Asked as AskedBack, Questions};
use reopen::{Failed, Gap};

use connection::Pending;
pub use connection::{Connection, Ticket};
pub use ended::{End, Returned};
pub(crate) use heard::Frame;

/// Requests of one connection that wait for an answer. One more is refused with `too_many_in_flight`.
pub const PENDING_MAX: usize = 10_000;

/// Reads the wall clock: microseconds since 1970-01-01T00:00:00Z.
pub type Clock = Box<dyn Fn() -> i64 + Send>;

/// Judges and records the calls of all servers and grants.
pub struct Desk {
    /// None once it is closed.
    log: Option<Arc<Log>>,
    next_seq: u64,
    /// The latest event that may not be handed over yet. None outside of a batch.
    put: Option<u64>,
    state: State,
    engines: Engines,
    manner: Manner,
    clock: Clock,
    latest_us: i64,
    /// The wall clock is behind that, and the log says so.
    clock_is_back: bool,
    /// What an operator is shown of the calls that wait.
    held: BTreeMap<String, Held>,
    /// How many of them there may be until those that no longer wait are forgotten.
    held_swept: usize,
    /// Calls that were let pass and may not have been made yet: until when, by approval.
    let_pass: BTreeMap<String, i64>,
    questions: Questions,
    /// The grants that there are.
    grants: BTreeSet<String>,
    /// Grants whose calls an operator has stopped.
    frozen: BTreeSet<String>,
    /// What is known of the log's failure.
    gap: Gap,
    /// Where it is counted too what is done here.
    metrics: Option<Arc<Metrics>>,
}

/// How often a lock is tried before its holder is waited for. A call holds the desk for some microseconds, and to sleep
/// that long and be woken takes longer.
const TRIES: u32 = 300;

/// A lock that outlives a panic elsewhere: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..TRIES {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a desk works.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Whether refusals are acted upon.
    pub mode: Mode,
    /// How much of the arguments is recorded.
    pub kept: Kept,
    /// Arguments that are never recorded.
    pub redaction: Redaction,
    /// What becomes of calls while the log can't be written.
    pub on_log_failure: OnLogFailure,
    /// Whether a call waits until its record is on the disk, as the log's durability says.
    pub waits_for_sync: bool,
    /// Shuffles hash tables against chosen keys; best random.
    pub seed: u64,
}

impl Manner {
    /// What the demo and tests begin with. Its seed is known to anybody.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            mode: Mode::Enforce,
            kept: Kept::Read,
            redaction: Redaction::default(),
            on_log_failure: OnLogFailure::Refuse,
            waits_for_sync: false,
            seed: 0,
        }
    }
}

/// What becomes of calls while the log can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLogFailure {
    /// They are refused.
    Refuse,
    /// They are judged, and those that the policy lets through go on. How many went by unrecorded is an
    /// event of the log when it is back.
    Allow,
}

/// Why something was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The log can't take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The policy can't be kept in the log.
    #[error("the policy can't be kept in the log")]
    Policy(#[from] PolicyError),
    /// The counters of earlier instances can't be kept in the log.
    #[error("the counters of earlier instances can't be kept in the log")]
    State(#[from] DiskError),
}

/// A policy that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// Its event in the log.
    pub seq: u64,
    /// Whether other tools are hidden now than before.
    pub hides_otherwise: bool,
}

/// What becomes of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes to the server as it came, once the record is as durable as was asked for.
    Forward {
        /// The call's place in the log, where it is a call.
        call: Option<Ticket>,
        /// The request that waits for an answer, where it is one.
        request: Option<RequestId>,
    },
    /// It goes no further, and this is the answer.
    Answer(Vec<u8>),
    /// It goes no further, because it isn't one clean frame or nobody may send it, and this is the answer.
    Refuse(Vec<u8>),
    /// It goes no further, and nobody waits for an answer.
    Drop,
}

impl Desk {
    /// A desk that has opened its log and refuses everything, until policies are put in force.
    ///
    /// # Errors
    /// Where the log can't be written.
    pub fn open(log: Log, manner: Manner, clock: Clock) -> Result<Self, Unrecorded> {
        let mut desk = Self {
            log: Some(Arc::new(log)),
            next_seq: 0,
            put: None,
            state: State::new(Bounds::default(), manner.seed),
            engines: Engines::default(),
            manner,
            clock,
            latest_us: i64::MIN,
            clock_is_back: false,
            held: BTreeMap::new(),
            held_swept: 0,
            let_pass: BTreeMap::new(),
            questions: Questions::default(),
            grants: BTreeSet::new(),
            frozen: BTreeSet::new(),
            gap: Gap::default(),
            metrics: None,
        };
        desk.begin(None)?;
        Ok(desk)
    }

    /// From the next call on, a policy judges the calls of its server, or only those of one grant on it.
    /// Counters are kept where they mean the same.
    ///
    /// # Errors
    /// Where the log can't keep the policy or record it: then the one in force stays.
    pub fn activate(&mut self, engine: Engine, grant: Option<&str>, policy: &Policy) -> Result<InForce, Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        log.store_policy(engine.policy(), &policy.to_json())?;
        let now_us = self.now_us();
        let (server, policy) = (engine.server().to_owned(), engine.policy());
        let seq =
            self.append(now_us, Body::Activated(Activated { server, grant: grant.map(str::to_owned), policy }))?;
        Ok(InForce { seq, hides_otherwise: self.engines.put(Arc::new(engine), grant) })
    }

    /// From the next call on, the server's policy judges the grant's calls again, as where the grant never had
    /// one of its own.
    ///
    /// # Errors
    /// Where the log can't record it: then the grant's policy stays.
    pub fn deactivate(&mut self, server: &str, grant: &str) -> Result<(), Unrecorded> {
        // A replay takes the latest policy of a grant for its own, so it is told which one that is now.
        if let Some(engine) = self.engines.exactly(server, None) {
            let (server, policy) = (server.to_owned(), engine.policy());
            let now_us = self.now_us();
            self.append(now_us, Body::Activated(Activated { server, grant: Some(grant.to_owned()), policy }))?;
        }
        self.engines.remove(server, grant);
        Ok(())
    }

    /// Takes up what earlier instances of this log had counted for a server. It is to be done before a policy judges
    /// the server's calls.
    ///
    /// # Errors
    /// Where the log can't record it; then the counters begin empty.
    pub fn carry_on(&mut self, server: &str, earlier: &[(&str, &State)]) -> Result<(), Unrecorded> {
        if earlier.is_empty() {
            return Ok(());
        }
        let now_us = self.now_us();
        let states = earlier.iter().map(|(_, state)| *state);
        let state = State::carried(self.state.bounds(), states, Some(server), now_us);
        let from = earlier.iter().map(|(instance, _)| (*instance).to_owned()).collect();
        self.carry(now_us, Some(server.to_owned()), from, &state, true)
    }

    fn carry(
        &mut self,
        now_us: i64,
        server: Option<String>,
        from: Vec<String>,
        state: &State,
        replays: bool,
    ) -> Result<(), Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        let sha256 = log.keep_carried(self.next_seq, &state.snapshot())?;
        self.append(now_us, Body::Carried(Carried { server, from, sha256, replays }))?;
        self.state.carry(state, None, now_us);
        Ok(())
    }

    /// Grants whose calls were stopped under an earlier process of this log stay stopped under this one.
    ///
    /// # Errors
    /// Where the log can't record it.
    pub fn keep_frozen(&mut self, grants: BTreeSet<String>) -> Result<(), Unrecorded> {
        self.frozen.extend(grants.iter().cloned());
        for grant in grants {
            let now_us = self.now_us();
            self.append(now_us, Body::Frozen(Frozen { grant, frozen: true, by: None }))?;
        }
        Ok(())
    }

    /// From here on, these are the grants that there are: an operator who stops another has mistyped its name, and
    /// would think that it is stopped.
    pub fn knows_grants(&mut self, grants: BTreeSet<String>) {
        self.grants = grants;
    }

    /// Hash of the policy in force for exactly this server and grant.
    #[must_use]
    pub fn policy(&self, server: &str, grant: Option<&str>) -> Option<PolicyHash> {
        self.engines.exactly(server, grant).map(|engine| engine.policy())
    }

    /// From here on, what is done here is counted there too.
    pub(crate) fn count_in(&mut self, metrics: Arc<Metrics>) {
        self.metrics = Some(metrics);
    }

    /// Whether the log takes records.
    pub(crate) fn takes_records(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.failure().is_none())
    }

    /// Events that aren't on stable storage yet.
    pub(crate) fn unsynced(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| self.next_seq.saturating_sub(log.synced_below()))
    }

    /// Whether there is anything to wait for once a record was taken.
    pub(crate) fn waits_for_sync(&self) -> bool {
        self.manner.waits_for_sync
    }

    /// A record on its way to what the log's durability promises; none where there is nothing to wait for. Not to be
    /// waited for under a lock: that is what lets one sync serve many calls.
    pub(crate) fn recorded(&self, call: Ticket) -> Option<Result<Recorded, AppendError>> {
        let log = self.log.as_ref().filter(|_| self.manner.waits_for_sync && call.recorded)?;
        Some(match call.opening == self.gap.opening {
            true => Ok(log.recorded(call.seq)),
            false => Err(AppendError::Failed("the log that has the record failed".to_owned())),
        })
    }

    /// Seals the log. Every call that still comes is refused.
    ///
    /// # Errors
    /// Where sealing fails; what was recorded stays in the open segment.
    pub fn close(&mut self) -> Result<(), CloseError> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        // Where calls went by unrecorded the log doesn't give what was counted.
        if log.failure().is_none()
            && self.gap.calls == 0
            && let Err(error) = log.leave(self.next_seq, &self.state.snapshot())
        {
            tracing::warn!(%error, "the next gateway will replay this one's log for what it has counted");
        }
        loop {
            match Arc::try_unwrap(log) {
                Ok(log) => return log.close(),
                // A call is waiting for its record, which takes no longer than a sync.
                Err(shared) => log = shared,
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn append(&mut self, ts_us: i64, body: Body) -> Result<u64, Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        let seq = log.append(ts_us, body)?;
        self.next_seq = seq + 1;
        Ok(seq)
    }

    /// The first events of a log: who judges, by what, and what goes on from the log that failed.
    fn begin(&mut self, failed: Option<Failed>) -> Result<(), Unrecorded> {
        let now_us = self.now_us();
        let (engine, bounds) = (env!("CARGO_PKG_VERSION").to_owned(), Bounds::default());
        self.append(now_us, Body::Opened(Opened { engine, bounds, imported_from: None }))?;
        if let Some(Failed { instance, state }) = failed {
            let state = State::carried(bounds, [&state], None, now_us);
            if let Err(error) = self.carry(now_us, None, vec![instance], &state, false) {
                tracing::error!(%error, "counters begin empty in the new log");
            }
        }
        for activated in self.engines.activated() {
            self.append(now_us, Body::Activated(activated))?;
        }
        // As after a restart, where the log was begun anew.
        self.keep_frozen(self.frozen.clone())
    }

    fn judge(
        &mut self,
        connection: &mut Connection,
        said: &Said<'_>,
        headers: &Headers,
        now_us: i64,
    ) -> Result<Step, Refused> {
        if let Some(agent) = said.client.and_then(client) {
            connection.agent = Some(agent);
        }
        if let Asked::Call(frame) = &said.asked {
            let trace_id = said.trace_id.or_else(|| headers.traceparent.as_deref().and_then(trace_id));
            return Ok(self.call(connection, &Asking { said, frame, trace_id }, now_us));
        }
        if self.engines.judge(&connection.server, connection.grant.as_deref()).is_none() {
            return Err(no_policy());
        }
        match (&said.asked, &said.id) {
            (Asked::List, Some(id)) => {
                connection.check_free(Some(id))?;
                connection.pending.insert(id.key.clone(), Pending::List);
            }
            (Asked::Cancelled(id), _) => self.cancelled_at(connection, id, now_us),
            _ => {}
        }
        Ok(Step::Forward { call: None, request: said.id.clone() })
    }

    /// Records something that never came to be a frame, such as a request from a host that may not.
    pub(crate) fn refuse(&mut self, connection: &Connection, bytes: usize, code: &'static str, why: String) -> Vec<u8> {
        let now_us = self.now_us();
        match self.refuse_frame(connection, bytes, &Refused { code, why }, now_us) {
            Step::Answer(answer) | Step::Refuse(answer) => answer,
            Step::Forward { .. } | Step::Drop => Vec::new(),
        }
    }

    fn call(&mut self, connection: &mut Connection, asking: &Asking<'_>, now_us: i64) -> Step {
        let Asking { said, frame, trace_id } = *asking;
        let server = connection.server.as_str();
        let engine = self.engines.judge(server, connection.grant.as_deref()).map(Arc::clone);
        let category = self.engines.category_of_call(server, frame.tool).name();
        let reads = engine.as_ref().map(|engine| engine.reads(frame.tool, Some(category))).unwrap_or_default();
        let args = self.manner.redaction.apply(ArgsRef::keep(self.manner.kept, frame.args, &reads));
        let clean = exact_arguments(frame.args, &reads)
            .and_then(|()| spelling::listed(frame.tool, || self.engines.lists(server, frame.tool)))
            .and_then(|()| connection.check_free(said.id.as_ref()))
            .and_then(|()| self.check_not_frozen(connection))
            .and_then(|()| engine.as_deref().ok_or_else(no_policy));
        let engine = match clean {
            Ok(engine) => engine,
            Err(refused) => {
                let hidden = self.manner.mode == Mode::Enforce
                    && engine.as_deref().is_some_and(|engine| engine.hides(frame.tool, Some(category)));
                let told = self.refuse_call(connection, asking, args, &refused, now_us);
                // What is wrong with a call would tell that there is such a tool, and what its policy reads.
                return if hidden { answer(said, |id| refusal::unknown_tool(id, frame)) } else { told };
            }
        };
        let seq = self.next_seq;
        let asked = frame.stands_alone.then(|| AskedBack { tool: frame.tool.to_owned(), args: args.hash });
        let continues = frame.request_state.zip(asked.as_ref());
        let continues = continues.and_then(|(state, asked)| self.questions.begun_by(connection, asked, state, now_us));
        let call = Call {
            at_us: Some(now_us),
            session: connection.session.as_deref(),
            grant: connection.grant.as_deref(),
            agent: connection.agent.as_deref(),
            tool: frame.tool,
            category: Some(category),
            args: Args::whole(frame.args, args.hash.unwrap_or(Hash128([0; 16]))),
            continues: continues.is_some(),
            codes: None,
        };
        let began = Instant::now();
        let mut decision = Decision::default();
        engine.decide_into(&mut decision, &mut self.state, seq, &call);
        let decided = Instant::now();
        let decide_ns = u64::try_from(decided.duration_since(began).as_nanos()).ok();
        if let Some(metrics) = &self.metrics {
            let rule = decision.rule.unwrap_or(decision.reason.code());
            metrics.decided(&connection.server, frame.tool, decision.verdict.as_str(), rule);
        }
        let record = RecordRef {
            request_id: said.id_text(),
            args,
            mode: self.manner.mode,
            decide_ns,
            trace_id,
            continues,
            ..decision.record(engine, &call)
        };
        let goes_on = decision.verdict == Verdict::Allow || self.manner.mode == Mode::Shadow;
        let record = BodyRef::Decision(record);
        // Nothing comes of a call that goes on before it is handed over; a refusal is told as soon as it is recorded.
        let put = self.put(now_us, &record);
        let appended = put.and_then(|seq| if goes_on { Ok(seq) } else { self.write(seq).map(|()| seq) });
        let recorded = appended.is_ok();
        if let Err(error) = appended {
            self.gap.calls += 1;
            // The next one is another call all the same.
            self.next_seq = seq + 1;
            if self.manner.on_log_failure == OnLogFailure::Refuse {
                // Nothing was forwarded, so nothing was used.
                self.state.settle(seq, tollbook_engine::End::Unreachable, None);
                return log_unavailable(said, frame, &error);
            }
            tracing::error!(%error, "a call was judged and not recorded");
        }
        if goes_on {
            let ticket = Ticket { seq, opening: self.gap.opening, recorded };
            if let Some(begun_by) = continues {
                self.questions.answered(begun_by);
            }
            if let Some(id) = &said.id {
                let asked = asked.map(Box::new);
                let pending = Pending::Call { id: id.clone(), ticket, sent: decided, asked };
                connection.pending.insert(id.key.clone(), pending);
            }
            return Step::Forward { call: Some(ticket), request: said.id.clone() };
        }
        // While the log is down nobody can answer, because an answer is an event.
        if let (Verdict::Hold, Some(approval), true) = (decision.verdict, &decision.approval, recorded) {
            self.hold(connection, frame, approval, decision.rule, now_us);
        }
        answer_denied(said, frame, &decision, now_us)
    }

    fn check_not_frozen(&self, connection: &Connection) -> Result<(), Refused> {
        match connection.grant.as_ref().is_some_and(|grant| self.frozen.contains(grant)) {
            true => Err(Refused { code: "frozen", why: "an operator has stopped this grant's calls".to_owned() }),
            false => Ok(()),
        }
    }

    /// Records what the gateway refuses without asking the policy.
    fn record_refusal(
        &mut self,
        connection: &Connection,
        asking: Option<&Asking<'_>>,
        args: ArgsRef<'_>,
        refused: &Refused,
        now_us: i64,
    ) -> Result<u64, Unrecorded> {
        let (server, call) = (&connection.server, asking.map(|asking| asking.frame));
        if let Some(metrics) = &self.metrics {
            metrics.decided(server, call.map_or("", |call| call.tool), Verdict::Deny.as_str(), refused.code);
        }
        let record = Record {
            session: connection.session.clone(),
            grant: connection.grant.clone(),
            agent: connection.agent.clone(),
            request_id: asking.and_then(|asking| asking.said.id_text()).map(str::to_owned),
            tool: call.map(|call| call.tool.to_owned()),
            args: args.to_recorded(),
            policy: self.engines.judge(server, connection.grant.as_deref()).map(|engine| engine.policy()),
            verdict: Some(Verdict::Deny),
            reason: Some(refused.code.to_owned()),
            message: Some(refused.why.clone()),
            trace_id: asking.and_then(|asking| asking.trace_id).map(str::to_owned),
            category: call.map(|call| self.engines.category(server, call.tool).name().to_owned()),
            ..Record::new(Judge::Gateway, server.clone())
        };
        self.append(now_us, Body::Decision(Box::new(record)))
    }

    fn refuse_frame(&mut self, connection: &Connection, bytes: usize, refused: &Refused, now_us: i64) -> Step {
        let args = ArgsRef { bytes: u64::try_from(bytes).ok(), ..ArgsRef::default() };
        if let Err(error) = self.record_refusal(connection, None, args, refused, now_us) {
            tracing::error!(%error, "a refused frame was not recorded");
        }
        Step::Refuse(refusal::refused_frame(refused))
    }

    fn refuse_call(
        &mut self,
        connection: &Connection,
        asking: &Asking<'_>,
        args: ArgsRef<'_>,
        refused: &Refused,
        now_us: i64,
    ) -> Step {
        if let Err(error) = self.record_refusal(connection, Some(asking), args, refused, now_us) {
            tracing::error!(%error, "a refused call was not recorded");
        }
        answer(asking.said, |id| {
            refusal::refused_call(id, asking.frame, refused.code, &format!("The call was refused: {}.", refused.why))
        })
    }
}

/// A call as it is asked for.
#[derive(Clone, Copy)]
struct Asking<'s> {
    said: &'s Said<'s>,
    frame: &'s CallFrame<'s>,
    trace_id: Option<&'s str>,
}

fn no_policy() -> Refused {
    Refused { code: "no_policy", why: "no policy stands for this grant on this server".to_owned() }
}

fn answer(said: &Said<'_>, text: impl Fn(&RequestId) -> Vec<u8>) -> Step {
    said.id.as_ref().map_or(Step::Drop, |id| Step::Answer(text(id)))
}

fn answer_denied(said: &Said<'_>, frame: &CallFrame<'_>, decision: &Decision<'_>, now_us: i64) -> Step {
    debug_assert!(decision.reason != Reason::Allowed, "an allowed call is forwarded");
    answer(said, |id| refusal::denied(id, frame, decision, now_us))
}

fn log_unavailable(said: &Said<'_>, frame: &CallFrame<'_>, error: &Unrecorded) -> Step {
    tracing::error!(%error, "a call was refused because it could not be recorded");
    answer(said, |id| {
        refusal::refused_call(id, frame, "log_unavailable", "The call could not be recorded, so it was not made.")
    })
}
