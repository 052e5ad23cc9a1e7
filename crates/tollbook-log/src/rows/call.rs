//! A call's row, as it is read: borrowed from the columns, with the canonical bytes of the call's event.
//!
//! The derived encoding is that of [`Event`], field for field; a property test holds the two together.
//! `verify` makes these bytes for every record of a log, so nothing is allocated for a row.

use arrow::array::{Array, AsArray, BooleanArray, Decimal128Array, ListArray, StringArray};
use minicbor::encode::{Error, Write};
use minicbor::{Encode, Encoder};
use std::ops::Range;
use tollbook_engine::{Body, Event, Hash128, Judge, Kept, LimitFact, Mode, PolicyHash, Record, RecordedArgs, Verdict};

use super::columns::{Table, Texts, Times, Typed, Wholes};
use super::read::{Ends, Seqs, hash128};
use super::{RowsError, hex};
use crate::schema::{calls, limit};

/// An event whose texts stand in columns; see [`Event`].
#[derive(Encode)]
struct RowEvent<'a, 's> {
    #[n(0)]
    seq: u64,
    #[n(1)]
    ts_us: Option<i64>,
    #[n(2)]
    body: RowBody<'a, 's>,
}

/// See [`Body`].
#[derive(Encode)]
enum RowBody<'a, 's> {
    #[n(2)]
    Decision(#[n(0)] RowRecord<'a, 's>),
}

/// See [`Record`].
#[derive(Encode)]
struct RowRecord<'a, 's> {
    #[n(0)]
    judged_by: Judge,
    #[n(1)]
    server: &'a str,
    #[n(2)]
    session: Option<&'a str>,
    #[n(3)]
    grant: Option<&'a str>,
    #[n(4)]
    agent: Option<&'a str>,
    #[n(5)]
    request_id: Option<&'a str>,
    #[n(6)]
    tool: Option<&'a str>,
    #[n(7)]
    args: RowArgs<'a>,
    #[n(8)]
    policy: Option<PolicyHash>,
    #[n(9)]
    mode: Mode,
    #[n(10)]
    verdict: Option<Verdict>,
    #[n(11)]
    reason: Option<&'a str>,
    #[n(12)]
    rule: Option<&'a str>,
    #[n(13)]
    message: Option<&'a str>,
    #[n(14)]
    limits: &'s [RowFact<'a>],
    #[n(15)]
    decide_ns: Option<u64>,
    #[n(16)]
    trace_id: Option<&'a str>,
    #[n(17)]
    label: Option<&'a str>,
    #[n(18)]
    shadow_rules: RowTexts<'a>,
    #[n(19)]
    loop_period: Option<u32>,
    #[n(20)]
    loop_repeats: Option<u32>,
    #[n(21)]
    approval: Option<&'a str>,
    #[n(22)]
    category: Option<&'a str>,
    #[n(23)]
    continues: Option<u64>,
}

/// See [`RecordedArgs`].
#[derive(Encode)]
struct RowArgs<'a> {
    #[n(0)]
    kept: Kept,
    #[n(1)]
    json: Option<&'a str>,
    #[n(2)]
    keys: Option<RowTexts<'a>>,
    #[n(3)]
    hash: Option<Hash128>,
    #[n(4)]
    bytes: Option<u64>,
}

/// See [`LimitFact`].
#[derive(Encode)]
pub(super) struct RowFact<'a> {
    #[n(0)]
    counter: &'a str,
    #[n(1)]
    owner: &'a str,
    #[n(2)]
    scope: &'a str,
    #[n(3)]
    key: &'a str,
    #[n(4)]
    window_s: u64,
    #[n(5)]
    rolling: bool,
    #[n(6)]
    window_start_us: i64,
    #[n(7)]
    used_before_micros: i64,
    #[n(8)]
    amount_micros: Option<i64>,
    #[n(9)]
    max_micros: i64,
    #[n(10)]
    frees_at_us: Option<i64>,
    #[n(11)]
    shadow: bool,
}

/// A list of texts.
#[derive(Clone)]
struct RowTexts<'a> {
    all: &'a StringArray,
    items: Range<usize>,
}

impl<'a> RowTexts<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let all = self.all;
        self.items.clone().map(move |at| if at < all.len() && all.is_valid(at) { all.value(at) } else { "" })
    }

    fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

impl<C> Encode<C> for RowTexts<'_> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        to.array(self.items.len() as u64)?;
        for text in self.iter() {
            to.str(text)?;
        }
        Ok(())
    }
}

/// The columns of a batch of `calls`.
pub(super) struct CallReader<'a> {
    seqs: Seqs<'a>,
    judged_by: Texts<'a>,
    server: Texts<'a>,
    session: Texts<'a>,
    grant: Texts<'a>,
    agent: Texts<'a>,
    request_id: Texts<'a>,
    tool: Texts<'a>,
    args: Texts<'a>,
    args_kept: Texts<'a>,
    args_keys: Typed<'a, ListArray>,
    args_keys_items: &'a StringArray,
    args_hash: Texts<'a>,
    args_bytes: Wholes<'a>,
    policy_hash: Texts<'a>,
    mode: Texts<'a>,
    decision: Texts<'a>,
    reason: Texts<'a>,
    rule: Texts<'a>,
    message: Texts<'a>,
    limits: Typed<'a, ListArray>,
    facts: FactReader<'a>,
    decide_ns: Wholes<'a>,
    ends: Ends<'a>,
    done_ts: Times<'a>,
    done_seq: Wholes<'a>,
    trace_id: Texts<'a>,
    label: Texts<'a>,
    shadow_rules: Typed<'a, ListArray>,
    shadow_rules_items: &'a StringArray,
    loop_period: Wholes<'a>,
    loop_repeats: Wholes<'a>,
    approval: Texts<'a>,
    /// None in files of before it was kept.
    category: Option<Texts<'a>>,
    continues: Option<Wholes<'a>>,
}

impl<'a> CallReader<'a> {
    pub fn new(table: &Table<'a>) -> Result<Self, RowsError> {
        let args_keys = table.lists(&calls::ARGS_KEYS)?;
        let limits = table.lists(&calls::LIMITS)?;
        let shadow_rules = table.lists(&calls::SHADOW_RULES)?;
        Ok(Self {
            seqs: Seqs { seq: table.wholes(&calls::SEQ)?, ts: table.times(&calls::TS)? },
            judged_by: table.texts(&calls::JUDGED_BY)?,
            server: table.texts(&calls::SERVER)?,
            session: table.texts(&calls::SESSION)?,
            grant: table.texts(&calls::GRANT)?,
            agent: table.texts(&calls::AGENT)?,
            request_id: table.texts(&calls::REQUEST_ID)?,
            tool: table.texts(&calls::TOOL)?,
            args: table.texts(&calls::ARGS)?,
            args_kept: table.texts(&calls::ARGS_KEPT)?,
            args_keys_items: args_keys.texts()?,
            args_keys,
            args_hash: table.texts(&calls::ARGS_HASH)?,
            args_bytes: table.wholes(&calls::ARGS_BYTES)?,
            policy_hash: table.texts(&calls::POLICY_HASH)?,
            mode: table.texts(&calls::MODE)?,
            decision: table.texts(&calls::DECISION)?,
            reason: table.texts(&calls::REASON)?,
            rule: table.texts(&calls::RULE)?,
            message: table.texts(&calls::MESSAGE)?,
            facts: FactReader::new(&limits)?,
            limits,
            decide_ns: table.wholes(&calls::DECIDE_NS)?,
            ends: Ends {
                word: table.texts(&calls::OUTCOME)?,
                upstream_us: table.wholes(&calls::UPSTREAM_US)?,
                result_bytes: table.wholes(&calls::RESULT_BYTES)?,
                result_hash: table.texts(&calls::RESULT_HASH)?,
            },
            done_ts: table.times(&calls::DONE_TS)?,
            done_seq: table.wholes(&calls::DONE_SEQ)?,
            trace_id: table.texts(&calls::TRACE_ID)?,
            label: table.texts(&calls::LABEL)?,
            shadow_rules_items: shadow_rules.texts()?,
            shadow_rules,
            loop_period: table.wholes(&calls::LOOP_PERIOD)?,
            loop_repeats: table.wholes(&calls::LOOP_REPEATS)?,
            approval: table.texts(&calls::APPROVAL)?,
            category: table.has(&calls::CATEGORY).then(|| table.texts(&calls::CATEGORY)).transpose()?,
            continues: table.has(&calls::CONTINUES).then(|| table.wholes(&calls::CONTINUES)).transpose()?,
        })
    }

    /// The call's event and its outcome's. Of the bytes of the call's event only `bytes` is made.
    pub fn bytes(
        &self,
        row: usize,
        facts: &mut Vec<RowFact<'a>>,
        bytes: &mut Vec<u8>,
    ) -> Result<(u64, Option<Event>), RowsError> {
        let seq = self.seqs.seq(row)?;
        let record = self.record(row, seq, facts)?;
        let event = RowEvent { seq, ts_us: self.seqs.ts.get(row), body: RowBody::Decision(record) };
        // Writing to memory cannot fail.
        let written = minicbor::encode(&event, bytes);
        debug_assert!(written.is_ok(), "encoding to memory failed");
        Ok((seq, self.done(row, seq)?))
    }

    /// The call's event and its outcome's.
    pub fn events(&self, row: usize) -> Result<(Event, Option<Event>), RowsError> {
        let seq = self.seqs.seq(row)?;
        let record = self.record(row, seq, &mut Vec::new())?.to_record();
        let call = Event { seq, ts_us: self.seqs.ts.get(row), body: Body::Decision(Box::new(record)) };
        Ok((call, self.done(row, seq)?))
    }

    fn done(&self, row: usize, seq: u64) -> Result<Option<Event>, RowsError> {
        let Some(done_seq) = self.done_seq.unsigned(row) else { return Ok(None) };
        let outcome = self.ends.outcome(row, seq, seq)?;
        Ok(Some(Event { seq: done_seq, ts_us: self.done_ts.get(row), body: Body::Outcome(outcome) }))
    }

    fn record<'s>(
        &self,
        row: usize,
        seq: u64,
        facts: &'s mut Vec<RowFact<'a>>,
    ) -> Result<RowRecord<'a, 's>, RowsError> {
        facts.clear();
        for at in self.limits.items(row).unwrap_or_default() {
            facts.push(self.facts.fact(at, seq)?);
        }
        let shadow_rules = self.shadow_rules.items(row).ok_or_else(|| self.shadow_rules.null(seq))?;
        Ok(RowRecord {
            judged_by: self.judged_by.word(row, seq, Judge::from_word)?,
            server: self.server.required(row, seq)?,
            session: self.session.get(row),
            grant: self.grant.get(row),
            agent: self.agent.get(row),
            request_id: self.request_id.get(row),
            tool: self.tool.get(row),
            args: RowArgs {
                kept: self.args_kept.word(row, seq, Kept::from_word)?,
                json: self.args.get(row),
                keys: self.args_keys.items(row).map(|items| RowTexts { all: self.args_keys_items, items }),
                hash: self.args_hash.parsed(row, seq, hash128)?,
                bytes: self.args_bytes.unsigned(row),
            },
            policy: self.policy_hash.parsed(row, seq, |text| hex(text).map(PolicyHash))?,
            mode: self.mode.word(row, seq, Mode::from_word)?,
            verdict: self.decision.parsed(row, seq, Verdict::from_word)?,
            reason: self.reason.get(row),
            rule: self.rule.get(row),
            message: self.message.get(row),
            limits: facts,
            decide_ns: self.decide_ns.unsigned(row),
            trace_id: self.trace_id.get(row),
            label: self.label.get(row),
            shadow_rules: RowTexts { all: self.shadow_rules_items, items: shadow_rules },
            loop_period: self.loop_period.small(row, seq)?,
            loop_repeats: self.loop_repeats.small(row, seq)?,
            approval: self.approval.get(row),
            category: self.category.as_ref().and_then(|category| category.get(row)),
            continues: self.continues.as_ref().and_then(|continues| continues.unsigned(row)),
        })
    }
}

impl RowRecord<'_, '_> {
    fn to_record(&self) -> Record {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Record {
            judged_by: self.judged_by,
            server: self.server.to_owned(),
            session: owned(self.session),
            grant: owned(self.grant),
            agent: owned(self.agent),
            request_id: owned(self.request_id),
            tool: owned(self.tool),
            args: RecordedArgs {
                kept: self.args.kept,
                json: owned(self.args.json),
                keys: self.args.keys.as_ref().map(RowTexts::to_vec),
                hash: self.args.hash,
                bytes: self.args.bytes,
            },
            policy: self.policy,
            mode: self.mode,
            verdict: self.verdict,
            reason: owned(self.reason),
            rule: owned(self.rule),
            message: owned(self.message),
            limits: self.limits.iter().map(RowFact::to_fact).collect(),
            decide_ns: self.decide_ns,
            trace_id: owned(self.trace_id),
            label: owned(self.label),
            shadow_rules: self.shadow_rules.to_vec(),
            loop_period: self.loop_period,
            loop_repeats: self.loop_repeats,
            approval: owned(self.approval),
            category: owned(self.category),
            continues: self.continues,
        }
    }
}

impl RowFact<'_> {
    fn to_fact(&self) -> LimitFact {
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

/// The columns of the limit facts of a batch.
struct FactReader<'a> {
    counter: Texts<'a>,
    owner: Texts<'a>,
    scope: Texts<'a>,
    key: Texts<'a>,
    window_s: Wholes<'a>,
    rolling: Typed<'a, BooleanArray>,
    window_start: Times<'a>,
    used_before: Typed<'a, Decimal128Array>,
    amount: Typed<'a, Decimal128Array>,
    max: Typed<'a, Decimal128Array>,
    frees_at: Times<'a>,
    shadow: Typed<'a, BooleanArray>,
}

impl<'a> FactReader<'a> {
    fn new(limits: &Typed<'a, ListArray>) -> Result<Self, RowsError> {
        let items = limits.array.values().as_struct_opt().ok_or_else(|| limits.mistyped())?;
        let table = Table::Items(items);
        Ok(Self {
            counter: table.texts(&limit::COUNTER)?,
            owner: table.texts(&limit::OWNER)?,
            scope: table.texts(&limit::SCOPE)?,
            key: table.texts(&limit::KEY)?,
            window_s: table.wholes(&limit::WINDOW_S)?,
            rolling: table.flags(&limit::ROLLING)?,
            window_start: table.times(&limit::WINDOW_START)?,
            used_before: table.amounts(&limit::USED_BEFORE)?,
            amount: table.amounts(&limit::AMOUNT)?,
            max: table.amounts(&limit::MAX)?,
            frees_at: table.times(&limit::FREES_AT)?,
            shadow: table.flags(&limit::SHADOW)?,
        })
    }

    fn fact(&self, at: usize, seq: u64) -> Result<RowFact<'a>, RowsError> {
        Ok(RowFact {
            counter: self.counter.required(at, seq)?,
            owner: self.owner.required(at, seq)?,
            scope: self.scope.required(at, seq)?,
            key: self.key.required(at, seq)?,
            window_s: self.window_s.required(at, seq)?.cast_unsigned(),
            rolling: self.rolling.required(at, seq)?,
            window_start_us: self.window_start.required(at, seq)?,
            used_before_micros: self.used_before.required(at, seq)?,
            amount_micros: self.amount.micros(at, seq)?,
            max_micros: self.max.required(at, seq)?,
            frees_at_us: self.frees_at.get(at),
            shadow: self.shadow.required(at, seq)?,
        })
    }
}
