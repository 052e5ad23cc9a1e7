//! Events as a replay reads them: borrowed from where they stand, be that the rows of a log or [`Event`]s.
//!
//! A replay looks at millions of calls and keeps next to nothing of them, so no text is copied to be looked at,
//! and a reader needn't even decode what nobody asks for: [`Reads`] says what that is.

use std::borrow::Cow;

use crate::cbor;
use crate::codes::Codes;
use crate::record::{Body, Event, Hash128, Judge, Kept, LimitFact, Mode, PolicyHash, Record, RecordedArgs, Verdict};

/// An event, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// See [`Event::seq`].
    pub seq: u64,
    /// See [`Event::ts_us`].
    pub ts_us: Option<i64>,
    /// See [`Event::body`].
    pub body: BodyRef<'a>,
    /// Of a call that is read from a file.
    pub codes: Option<Codes>,
}

/// What happened, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most events are calls, and a box would be made for each")]
pub enum BodyRef<'a> {
    /// A call was judged, or was imported.
    Decision(RecordRef<'a>),
    /// Anything else.
    Other(&'a Body),
}

/// What a replay reads of calls and outcomes beside what every replay does: when a call was made, by whom and
/// of which tool, who judged it, and how it ended. Whatever else isn't asked for is as if it weren't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads {
    /// What was kept of the arguments: their values and their keys.
    pub args: bool,
    /// The hash of the arguments.
    pub args_hash: bool,
    /// What was decided: verdict, reason, rule and approval.
    pub decision: bool,
    /// The hash of an outcome's result.
    pub result_hash: bool,
    /// When a call ended.
    pub ended: bool,
    /// The rest of a record, which no judgement depends on, and of an outcome.
    pub rest: bool,
}

impl Reads {
    /// All there is.
    pub const ALL: Self =
        Self { args: true, args_hash: true, decision: true, result_hash: true, ended: true, rest: true };

    /// What either reads.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            args: self.args || other.args,
            args_hash: self.args_hash || other.args_hash,
            decision: self.decision || other.decision,
            result_hash: self.result_hash || other.result_hash,
            ended: self.ended || other.ended,
            rest: self.rest || other.rest,
        }
    }
}

/// A call with its decision, borrowed; see [`Record`], whose canonical bytes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Record`, which tells what they mean")]
pub struct RecordRef<'a> {
    pub judged_by: Judge,
    pub server: &'a str,
    pub session: Option<&'a str>,
    pub grant: Option<&'a str>,
    pub agent: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub tool: Option<&'a str>,
    pub args: ArgsRef<'a>,
    pub policy: Option<PolicyHash>,
    pub mode: Mode,
    pub verdict: Option<Verdict>,
    pub reason: Option<&'a str>,
    pub rule: Option<&'a str>,
    pub message: Option<&'a str>,
    pub limits: Vec<FactRef<'a>>,
    pub decide_ns: Option<u64>,
    pub trace_id: Option<&'a str>,
    pub label: Option<&'a str>,
    pub shadow_rules: Vec<&'a str>,
    pub loop_period: Option<u32>,
    pub loop_repeats: Option<u32>,
    pub approval: Option<&'a str>,
    pub category: Option<&'a str>,
    pub continues: Option<u64>,
}

/// What was kept of a call's arguments, borrowed; see [`RecordedArgs`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are those of `RecordedArgs`, which tells what they mean")]
pub struct ArgsRef<'a> {
    pub kept: Kept,
    pub json: Option<Cow<'a, str>>,
    pub keys: Option<Vec<&'a str>>,
    pub hash: Option<Hash128>,
    pub bytes: Option<u64>,
}

/// A limit as a call met it, borrowed; see [`LimitFact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `LimitFact`, which tells what they mean")]
pub struct FactRef<'a> {
    pub counter: &'a str,
    pub owner: &'a str,
    pub scope: &'a str,
    pub key: &'a str,
    pub window_s: u64,
    pub rolling: bool,
    pub window_start_us: i64,
    pub used_before_micros: i64,
    pub amount_micros: Option<i64>,
    pub max_micros: i64,
    pub frees_at_us: Option<i64>,
    pub shadow: bool,
}

/// Adds the canonical bytes of an event: those of [`Event::to_bytes`], into memory that was there before.
pub fn encode_event(seq: u64, ts_us: Option<i64>, body: &BodyRef<'_>, bytes: &mut Vec<u8>) {
    match body {
        BodyRef::Decision(record) => cbor::decision(bytes, seq, ts_us, record),
        BodyRef::Other(Body::Decision(record)) => cbor::decision(bytes, seq, ts_us, &RecordRef::from(&**record)),
        BodyRef::Other(Body::Outcome(outcome)) => cbor::outcome(bytes, seq, ts_us, outcome),
        BodyRef::Other(body) => {
            let written = minicbor::encode((seq, ts_us, body), bytes);
            debug_assert!(written.is_ok(), "encoding to memory failed");
        }
    }
}

impl EventRef<'_> {
    /// The same with texts of its own.
    #[must_use]
    pub fn to_event(&self) -> Event {
        let body = match &self.body {
            BodyRef::Decision(record) => Body::Decision(Box::new(record.to_record())),
            BodyRef::Other(body) => (*body).clone(),
        };
        Event { seq: self.seq, ts_us: self.ts_us, body }
    }

    /// The call, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<&RecordRef<'_>> {
        match &self.body {
            BodyRef::Decision(record) => Some(record),
            BodyRef::Other(_) => None,
        }
    }
}

impl<'a> From<&'a Event> for EventRef<'a> {
    fn from(event: &'a Event) -> Self {
        let body = match &event.body {
            Body::Decision(record) => BodyRef::Decision(RecordRef::from(&**record)),
            other => BodyRef::Other(other),
        };
        Self { seq: event.seq, ts_us: event.ts_us, body, codes: None }
    }
}

impl RecordRef<'_> {
    /// The same with texts of its own.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Record {
            judged_by: self.judged_by,
            server: self.server.to_owned(),
            session: owned(self.session),
            grant: owned(self.grant),
            agent: owned(self.agent),
            request_id: owned(self.request_id),
            tool: owned(self.tool),
            args: self.args.to_recorded(),
            policy: self.policy,
            mode: self.mode,
            verdict: self.verdict,
            reason: owned(self.reason),
            rule: owned(self.rule),
            message: owned(self.message),
            limits: self.limits.iter().map(|fact| fact.to_fact()).collect(),
            decide_ns: self.decide_ns,
            trace_id: owned(self.trace_id),
            label: owned(self.label),
            shadow_rules: self.shadow_rules.iter().map(|rule| (*rule).to_owned()).collect(),
            loop_period: self.loop_period,
            loop_repeats: self.loop_repeats,
            approval: owned(self.approval),
            category: owned(self.category),
            continues: self.continues,
        }
    }
}

impl<'a> From<&'a Record> for RecordRef<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            judged_by: record.judged_by,
            server: &record.server,
            session: record.session.as_deref(),
            grant: record.grant.as_deref(),
            agent: record.agent.as_deref(),
            request_id: record.request_id.as_deref(),
            tool: record.tool.as_deref(),
            args: ArgsRef::from(&record.args),
            policy: record.policy,
            mode: record.mode,
            verdict: record.verdict,
            reason: record.reason.as_deref(),
            rule: record.rule.as_deref(),
            message: record.message.as_deref(),
            limits: record.limits.iter().map(FactRef::from).collect(),
            decide_ns: record.decide_ns,
            trace_id: record.trace_id.as_deref(),
            label: record.label.as_deref(),
            shadow_rules: record.shadow_rules.iter().map(String::as_str).collect(),
            loop_period: record.loop_period,
            loop_repeats: record.loop_repeats,
            approval: record.approval.as_deref(),
            category: record.category.as_deref(),
            continues: record.continues,
        }
    }
}

impl ArgsRef<'_> {
    /// The same with texts of its own.
    #[must_use]
    pub fn to_recorded(&self) -> RecordedArgs {
        RecordedArgs {
            kept: self.kept,
            json: self.json.as_deref().map(str::to_owned),
            keys: self.keys.as_ref().map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
            hash: self.hash,
            bytes: self.bytes,
        }
    }
}

impl<'a> From<&'a RecordedArgs> for ArgsRef<'a> {
    fn from(args: &'a RecordedArgs) -> Self {
        Self {
            kept: args.kept,
            json: args.json.as_deref().map(Cow::Borrowed),
            keys: args.keys.as_ref().map(|keys| keys.iter().map(String::as_str).collect()),
            hash: args.hash,
            bytes: args.bytes,
        }
    }
}

impl FactRef<'_> {
    fn to_fact(self) -> LimitFact {
        LimitFact {
            counter: self.counter.to_owned(),
            owner: self.owner.to_owned(),
            scope: self.scope.to_owned(),
            key: self.key.to_owned(),
            window_s: self.window_s,
            rolling: self.rolling,
            window_start_us: self.window_start_us,
            used_before_micros: self.used_before_micros,
            amount_micros: self.amount_micros,
            max_micros: self.max_micros,
            frees_at_us: self.frees_at_us,
            shadow: self.shadow,
        }
    }
}

impl<'a> From<&'a LimitFact> for FactRef<'a> {
    fn from(fact: &'a LimitFact) -> Self {
        Self {
            counter: &fact.counter,
            owner: &fact.owner,
            scope: &fact.scope,
            key: &fact.key,
            window_s: fact.window_s,
            rolling: fact.rolling,
            window_start_us: fact.window_start_us,
            used_before_micros: fact.used_before_micros,
            amount_micros: fact.amount_micros,
            max_micros: fact.max_micros,
            frees_at_us: fact.frees_at_us,
            shadow: fact.shadow,
        }
    }
}
