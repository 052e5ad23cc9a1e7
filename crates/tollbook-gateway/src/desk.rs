//! The one decision loop: every call of every connection is judged, numbered and recorded here.
//!
//! Deciding and recording happen under one lock, so that the order of sequence numbers is the order of
//! decisions; that is what a replay follows. No record, no forward: where the log can't take a decision
//! the call is refused, whatever the policy says.

mod operate;
mod reopen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tollbook_engine::{
    Activated, Args, Body, Bounds, Call, Decision, Engine, Hash128, Judge, Kept, Mode, Opened, Outcome, PolicyHash,
    Reason, Record, RecordedArgs, State, Verdict,
};
use tollbook_log::redact::Redaction;
use tollbook_log::{AppendError, CloseError, Log, PolicyError};
use tollbook_policy::json::Node;
use tollbook_policy::{Catalog, Category, Policy};

use crate::catalog::without_hidden;
use crate::frame::{Asked, CallFrame, Refused, RequestId, answered_id, ask, exact_arguments, read};
use crate::operator::Held;
use crate::refusal;
use reopen::Gap;

/// Requests of one connection that wait for an answer. One more is refused with `too_many_in_flight`.
pub const PENDING_MAX: usize = 10_000;

/// Reads the wall clock: microseconds since 1970-01-01T00:00:00Z.
pub type Clock = Box<dyn Fn() -> i64 + Send>;

/// Judges and records the calls of a server.
pub struct Desk {
    /// None once it is closed.
    log: Option<Arc<Log>>,
    next_seq: u64,
    state: State,
    engine: Arc<Engine>,
    manner: Manner,
    clock: Clock,
    latest_us: i64,
    /// What the server's lists of tools say of them, and their names where no list was seen.
    categories: BTreeMap<String, Category>,
    /// What an operator is shown of the calls that wait.
    held: BTreeMap<String, Held>,
    /// Grants whose calls an operator has stopped.
    frozen: BTreeSet<String>,
    /// What is known of the log's failure.
    gap: Gap,
}

/// A lock that outlives a panic elsewhere: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most tools whose categories are remembered. Beyond it, a tool's name alone tells.
const CATEGORIES_MAX: usize = 10_000;

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
    /// Shuffles hash tables against chosen keys; best random.
    pub seed: u64,
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
}

/// One client's side of the gateway: who it is and what it waits for.
#[derive(Debug)]
pub struct Connection {
    session: String,
    grant: String,
    agent: Option<String>,
    pending: BTreeMap<String, Pending>,
}

/// A request whose answer is looked at on its way back.
#[derive(Debug)]
enum Pending {
    /// `opening` says which log has its decision: after a failure another one is begun.
    Call {
        id: RequestId,
        seq: u64,
        opening: u64,
        sent: Instant,
    },
    List,
}

/// What becomes of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes to the server as it came, once the record is as durable as was asked for.
    Forward {
        /// The call's sequence number, where it is a call.
        seq: Option<u64>,
    },
    /// It goes no further, and this is the answer.
    Answer(Vec<u8>),
    /// It goes no further, and nobody waits for an answer.
    Drop,
}

/// How a call came to an end other than by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Not a byte of it reached the server.
    Unreachable,
    /// The server went away.
    Lost,
}

impl Connection {
    /// A client of a grant, in a session of its own.
    #[must_use]
    pub fn new(session: &str, grant: &str) -> Self {
        Self { session: session.to_owned(), grant: grant.to_owned(), agent: None, pending: BTreeMap::new() }
    }

    /// Refuses a request whose answer couldn't be told from another's, or one too many.
    fn check_free(&self, id: Option<&RequestId>) -> Result<(), Refused> {
        if id.is_some_and(|id| self.pending.contains_key(&id.key)) {
            return Err(Refused {
                code: "id_in_flight",
                why: "the id is that of a request which is still open".to_owned(),
            });
        }
        if self.pending.len() >= PENDING_MAX {
            let why = format!("{PENDING_MAX} calls are open on this connection, which is the most");
            return Err(Refused { code: "too_many_in_flight", why });
        }
        Ok(())
    }
}

impl Desk {
    /// A desk that has opened its log: the log's first events say who judges, and by what.
    ///
    /// # Errors
    /// Where the log can't be written.
    pub fn open(log: Log, engine: Engine, manner: Manner, clock: Clock) -> Result<Self, Unrecorded> {
        let bounds = Bounds::default();
        let mut desk = Self {
            log: Some(Arc::new(log)),
            next_seq: 0,
            state: State::new(bounds, manner.seed),
            engine: Arc::new(engine),
            manner,
            clock,
            latest_us: i64::MIN,
            categories: BTreeMap::new(),
            held: BTreeMap::new(),
            frozen: BTreeSet::new(),
            gap: Gap::default(),
        };
        desk.begin()?;
        Ok(desk)
    }

    /// From the next call on, another policy judges. Counters are kept where they mean the same.
    ///
    /// # Errors
    /// Where the log can't keep the policy or record it: then the one in force stays.
    pub fn activate(&mut self, engine: Engine, policy: &Policy) -> Result<u64, Unrecorded> {
        let log = self.log.as_ref().ok_or(Unrecorded::Closed)?;
        log.store_policy(engine.policy(), &policy.to_json())?;
        let now_us = self.now_us();
        let (server, policy) = (engine.server().to_owned(), engine.policy());
        let seq = self.append(now_us, Body::Activated(Activated { server, grant: None, policy }))?;
        self.engine = Arc::new(engine);
        Ok(seq)
    }

    /// Hash of the policy in force.
    #[must_use]
    pub fn policy(&self) -> PolicyHash {
        self.engine.policy()
    }

    /// Waits until a record is what the log's durability promises. Not to be called under a lock: that is
    /// what lets one sync serve many calls.
    pub(crate) fn recorded(&self, seq: u64) -> impl FnOnce() -> Result<(), AppendError> + use<> {
        let log = self.log.clone();
        move || log.map_or(Ok(()), |log| log.wait_recorded(seq))
    }

    /// Seals the log. Every call that still comes is refused.
    ///
    /// # Errors
    /// Where sealing fails; what was recorded stays in the open segment.
    pub fn close(&mut self) -> Result<(), CloseError> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
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

    /// The first events of a log: who judges, with an empty state, and by what.
    fn begin(&mut self) -> Result<(), Unrecorded> {
        let now_us = self.now_us();
        let (engine, bounds) = (env!("CARGO_PKG_VERSION").to_owned(), Bounds::default());
        self.append(now_us, Body::Opened(Opened { engine, bounds, imported_from: None }))?;
        let (server, policy) = (self.engine.server().to_owned(), self.engine.policy());
        self.append(now_us, Body::Activated(Activated { server, grant: None, policy }))?;
        Ok(())
    }

    /// Now, never before an earlier now.
    fn now_us(&mut self) -> i64 {
        let wall_us = (self.clock)();
        if wall_us < self.latest_us {
            tracing::warn!(behind_us = self.latest_us - wall_us, "the clock went back");
        }
        self.latest_us = self.latest_us.max(wall_us);
        self.latest_us
    }

    /// Takes one frame of a client.
    pub fn from_client(&mut self, connection: &mut Connection, frame: &[u8]) -> Step {
        if frame.trim_ascii().is_empty() {
            return Step::Forward { seq: None };
        }
        let asked = read(frame).and_then(|node| match ask(&node)? {
            Asked::Call(call) => Ok(self.call(connection, &call)),
            Asked::List(Some(id)) => {
                connection.check_free(Some(&id))?;
                connection.pending.insert(id.key, Pending::List);
                Ok(Step::Forward { seq: None })
            }
            Asked::Initialize { agent } => {
                connection.agent = agent;
                Ok(Step::Forward { seq: None })
            }
            Asked::Cancelled(id) => {
                self.cancelled(connection, &id);
                Ok(Step::Forward { seq: None })
            }
            Asked::List(_) | Asked::Other => Ok(Step::Forward { seq: None }),
        });
        asked.unwrap_or_else(|refused| self.refuse_frame(connection, frame.len(), &refused))
    }

    /// A frame longer than `frame_bytes_max`, of which no more was read.
    pub fn too_large(&mut self, connection: &Connection, frame_bytes: usize, frame_bytes_max: usize) -> Step {
        let why = format!("{frame_bytes} bytes; at most {frame_bytes_max} are taken");
        self.refuse_frame(connection, frame_bytes, &Refused { code: "frame_too_large", why })
    }

    fn call(&mut self, connection: &mut Connection, frame: &CallFrame<'_>) -> Step {
        self.mend_log();
        let engine = Arc::clone(&self.engine);
        let category = self.category_of_call(frame.tool).name();
        let reads = engine.reads(frame.tool, Some(category));
        let args = self.manner.redaction.apply(RecordedArgs::keep(self.manner.kept, frame.args, &reads));
        let clean = exact_arguments(frame.args, &reads).and_then(|()| connection.check_free(frame.id.as_ref()));
        if let Err(refused) = clean {
            return self.refuse_call(connection, frame, args, &refused);
        }
        if self.frozen.contains(&connection.grant) {
            let why = "an operator has stopped this grant's calls".to_owned();
            return self.refuse_call(connection, frame, args, &Refused { code: "frozen", why });
        }
        let now_us = self.now_us();
        let seq = self.next_seq;
        let call = Call {
            at_us: Some(now_us),
            session: Some(&connection.session),
            grant: Some(&connection.grant),
            agent: connection.agent.as_deref(),
            tool: frame.tool,
            category: Some(category),
            args: Args::whole(frame.args, args.hash.unwrap_or(Hash128([0; 16]))),
        };
        let began = Instant::now();
        let decision = engine.decide(&mut self.state, seq, &call);
        let decide_ns = u64::try_from(began.elapsed().as_nanos()).ok();
        let record = Record {
            request_id: frame.id.as_ref().map(|id| id.text.clone()),
            mode: self.manner.mode,
            decide_ns,
            ..decision.to_record(&engine, &call, args)
        };
        if let Err(error) = self.append(now_us, Body::Decision(Box::new(record))) {
            self.gap.calls += 1;
            let goes_on = decision.verdict == Verdict::Allow || self.manner.mode == Mode::Shadow;
            return match self.manner.on_log_failure {
                OnLogFailure::Refuse => log_unavailable(frame, &error),
                OnLogFailure::Allow if goes_on => {
                    tracing::error!(%error, "a call went on unrecorded");
                    Step::Forward { seq: None }
                }
                OnLogFailure::Allow => answer_denied(frame, &decision, now_us),
            };
        }
        if decision.verdict == Verdict::Allow || self.manner.mode == Mode::Shadow {
            if let Some(id) = &frame.id {
                let pending = Pending::Call { id: id.clone(), seq, opening: self.gap.opening, sent: Instant::now() };
                connection.pending.insert(id.key.clone(), pending);
            }
            return Step::Forward { seq: Some(seq) };
        }
        if let (Verdict::Hold, Some(approval)) = (decision.verdict, &decision.approval) {
            self.hold(connection, frame, approval, decision.rule, now_us);
        }
        answer_denied(frame, &decision, now_us)
    }

    /// Records what the gateway refuses without asking the policy.
    fn record_refusal(
        &mut self,
        connection: &Connection,
        call: Option<&CallFrame<'_>>,
        args: RecordedArgs,
        refused: &Refused,
    ) -> Result<u64, Unrecorded> {
        let now_us = self.now_us();
        let record = Record {
            judged_by: Judge::Gateway,
            server: self.engine.server().to_owned(),
            session: Some(connection.session.clone()),
            grant: Some(connection.grant.clone()),
            agent: connection.agent.clone(),
            request_id: call.and_then(|call| call.id.as_ref()).map(|id| id.text.clone()),
            tool: call.map(|call| call.tool.to_owned()),
            args,
            policy: Some(self.engine.policy()),
            mode: Mode::Enforce,
            verdict: Some(Verdict::Deny),
            reason: Some(refused.code.to_owned()),
            rule: None,
            message: Some(refused.why.clone()),
            limits: Vec::new(),
            decide_ns: None,
            trace_id: None,
            label: None,
            shadow_rules: Vec::new(),
            loop_period: None,
            loop_repeats: None,
            approval: None,
            category: None,
        };
        self.append(now_us, Body::Decision(Box::new(record)))
    }

    fn refuse_frame(&mut self, connection: &Connection, bytes: usize, refused: &Refused) -> Step {
        let args = RecordedArgs { bytes: u64::try_from(bytes).ok(), ..RecordedArgs::default() };
        if let Err(error) = self.record_refusal(connection, None, args, refused) {
            tracing::error!(%error, "a refused frame was not recorded");
        }
        Step::Answer(refusal::refused_frame(refused))
    }

    fn refuse_call(
        &mut self,
        connection: &Connection,
        frame: &CallFrame<'_>,
        args: RecordedArgs,
        refused: &Refused,
    ) -> Step {
        if let Err(error) = self.record_refusal(connection, Some(frame), args, refused) {
            tracing::error!(%error, "a refused call was not recorded");
        }
        answer(frame, |id| refusal::refused_call(id, refused.code, &format!("The call was refused: {}.", refused.why)))
    }

    /// Takes one frame of the server, and returns what the client is to get.
    pub fn from_server(&mut self, connection: &mut Connection, frame: &[u8]) -> Vec<u8> {
        let Ok(node) = read(frame) else {
            // What can't be read may be the list that was asked for.
            let open = connection
                .pending
                .iter()
                .find(|(_, pending)| matches!(pending, Pending::List))
                .map(|(key, _)| key.clone());
            return match open {
                Some(key) => {
                    connection.pending.remove(&key);
                    tracing::warn!("an answer that cannot be read was withheld, because a list of tools is awaited");
                    refusal::withheld_list(&RequestId { text: key.clone(), key })
                }
                None => frame.to_vec(),
            };
        };
        let Some(id) = answered_id(&node) else { return frame.to_vec() };
        match connection.pending.remove(&id.key) {
            Some(Pending::Call { seq, opening, sent, .. }) => {
                if opening == self.gap.opening {
                    self.answered(seq, sent, frame, &node);
                }
                frame.to_vec()
            }
            Some(Pending::List) => {
                self.learn(&node);
                let shows = |tool: &str| !self.engine.hides(tool, Some(self.category(tool).name()));
                without_hidden(frame, &node, shows).unwrap_or_else(|| refusal::withheld_list(&id))
            }
            None => frame.to_vec(),
        }
    }

    /// Takes in what the server says of its tools.
    fn learn(&mut self, list: &Node<'_>) {
        for (name, tool) in Catalog::of(list).map(|catalog| catalog.tools).unwrap_or_default() {
            if self.categories.len() < CATEGORIES_MAX || self.categories.contains_key(&name) {
                self.categories.insert(name, tool.class().category);
            }
        }
    }

    fn category(&self, tool: &str) -> Category {
        self.categories.get(tool).copied().unwrap_or_else(|| Category::by_name(tool))
    }

    /// The category of a tool that is called, worked out from its name once.
    fn category_of_call(&mut self, tool: &str) -> Category {
        let category = self.category(tool);
        if self.categories.len() < CATEGORIES_MAX && !self.categories.contains_key(tool) {
            self.categories.insert(tool.to_owned(), category);
        }
        category
    }

    fn answered(&mut self, seq: u64, sent: Instant, frame: &[u8], answer: &Node<'_>) {
        let result = answer.get("result").and_then(|result| frame.get(result.span.clone()));
        let is_error = answer.get("result").and_then(|result| result.get("isError"));
        let end = match (result, is_error.map(|node| &node.value)) {
            (None, _) => tollbook_engine::End::RpcError,
            (Some(_), Some(tollbook_policy::json::Value::Bool(true))) => tollbook_engine::End::ToolError,
            (Some(_), _) => tollbook_engine::End::Ok,
        };
        self.record_end(Outcome {
            call_seq: seq,
            end,
            upstream_us: u64::try_from(sent.elapsed().as_micros()).ok(),
            result_bytes: result.and_then(|result| u64::try_from(result.len()).ok()),
            result_hash: result.map(tollbook_engine::hash128),
        });
    }

    fn cancelled(&mut self, connection: &mut Connection, id: &RequestId) {
        if !matches!(connection.pending.get(&id.key), Some(Pending::Call { .. })) {
            return;
        }
        let ended_call = connection.pending.remove(&id.key);
        if let Some(Pending::Call { seq, opening, .. }) = ended_call
            && opening == self.gap.opening
        {
            self.record_end(ended(seq, tollbook_engine::End::Cancelled));
        }
    }

    /// A call that was to be forwarded didn't get through. Returns what the client is to be told.
    pub fn not_forwarded(&mut self, connection: &mut Connection, call_seq: u64, end: End) -> Option<Vec<u8>> {
        let key = connection.pending.iter().find_map(|(key, pending)| match pending {
            Pending::Call { seq, .. } if *seq == call_seq => Some(key.clone()),
            _ => None,
        });
        self.record_end(ended(call_seq, end.recorded()));
        match connection.pending.remove(&key?)? {
            Pending::Call { id, .. } => Some(refusal::server_gone(&id)),
            Pending::List => None,
        }
    }

    /// The server has gone: every call that it owed an answer is lost. Returns what the client is to be
    /// told.
    pub fn server_gone(&mut self, connection: &mut Connection) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for pending in std::mem::take(&mut connection.pending).into_values() {
            if let Pending::Call { id, seq, opening, .. } = pending {
                if opening == self.gap.opening {
                    self.record_end(ended(seq, tollbook_engine::End::Lost));
                }
                answers.push(refusal::server_gone(&id));
            }
        }
        answers
    }

    fn record_end(&mut self, outcome: Outcome) {
        let now_us = self.now_us();
        let (call_seq, end, result) = (outcome.call_seq, outcome.end, outcome.result_hash);
        if let Err(error) = self.append(now_us, Body::Outcome(outcome)) {
            tracing::error!(%error, call_seq, "the end of a call was not recorded");
            // A replay won't see it, so the state doesn't either.
            return;
        }
        self.state.settle(call_seq, end, result);
    }
}

impl End {
    fn recorded(self) -> tollbook_engine::End {
        match self {
            Self::Unreachable => tollbook_engine::End::Unreachable,
            Self::Lost => tollbook_engine::End::Lost,
        }
    }
}

fn ended(call_seq: u64, end: tollbook_engine::End) -> Outcome {
    Outcome { call_seq, end, upstream_us: None, result_bytes: None, result_hash: None }
}

fn answer(frame: &CallFrame<'_>, text: impl Fn(&RequestId) -> Vec<u8>) -> Step {
    frame.id.as_ref().map_or(Step::Drop, |id| Step::Answer(text(id)))
}

fn answer_denied(frame: &CallFrame<'_>, decision: &Decision<'_>, now_us: i64) -> Step {
    debug_assert!(decision.reason != Reason::Allowed, "an allowed call is forwarded");
    answer(frame, |id| refusal::denied(id, frame.tool, decision, now_us))
}

fn log_unavailable(frame: &CallFrame<'_>, error: &Unrecorded) -> Step {
    tracing::error!(%error, "a call was refused because it could not be recorded");
    answer(frame, |id| {
        refusal::refused_call(id, "log_unavailable", "The call could not be recorded, so it was not made.")
    })
}
