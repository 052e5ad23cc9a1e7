//! A call's row, as it is read: borrowed from the columns.
//!
//! `verify` makes the canonical bytes of every record of a log from what is read here, and a replay judges it,
//! so next to nothing is allocated for a row. A replay asks for some of the columns alone.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Decimal128Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use tollbook_engine::{
    ArgsRef, Body, BodyRef, Codes, End, Event, EventRef, FactRef, Judge, Kept, Mode, Outcome, PolicyHash, Reads,
    RecordRef, Verdict, from_hex,
};

use super::RowsError;
use super::columns::{Hashes, Table, Texts, Times, Typed, Wholes, Words, item};
use super::read::{Ends, Seqs, UNREAD};
use crate::schema::{Column, Kind, calls, limit};

/// Whether a column is read by a replay that reads this.
pub(crate) fn reads(kind: Kind, reads: Reads, column: &str) -> bool {
    let is_one_of = |columns: &[Column]| columns.iter().any(|known| known.name == column);
    // The manifest has the instance's name.
    column != calls::INSTANCE.name
        && (kind != Kind::Calls
            || (reads.args || !is_one_of(&[calls::ARGS, calls::ARGS_KEPT, calls::ARGS_KEYS]))
                && (reads.args_hash || !is_one_of(&[calls::ARGS_HASH]))
                && (reads.decision || !is_one_of(&[calls::DECISION, calls::REASON, calls::RULE, calls::APPROVAL]))
                && (reads.result_hash || !is_one_of(&[calls::RESULT_HASH]))
                && (reads.ended || !is_one_of(&[calls::DONE_TS]))
                && (reads.rest || !is_one_of(&REST)))
}

/// What no replay depends on.
const REST: [Column; 14] = [
    calls::REQUEST_ID,
    calls::ARGS_BYTES,
    calls::POLICY_HASH,
    calls::MODE,
    calls::MESSAGE,
    calls::LIMITS,
    calls::DECIDE_NS,
    calls::UPSTREAM_US,
    calls::RESULT_BYTES,
    calls::TRACE_ID,
    calls::LABEL,
    calls::SHADOW_RULES,
    calls::LOOP_PERIOD,
    calls::LOOP_REPEATS,
];

/// The schema that calls are read with: columns that hold few texts, again and again, as numbers of those texts,
/// which is how they lie in the file. So no text is copied for each row.
pub(crate) fn read_schema(schema: &Schema) -> SchemaRef {
    let text_of_few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let field = |field: &FieldRef| match FEW.iter().any(|few| few.name == field.name()) {
        true => Arc::new(field.as_ref().clone().with_data_type(text_of_few.clone())),
        false => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Columns that hold few texts.
const FEW: [Column; 14] = [
    calls::JUDGED_BY,
    calls::SERVER,
    calls::SESSION,
    calls::GRANT,
    calls::AGENT,
    calls::TOOL,
    calls::ARGS_KEPT,
    calls::POLICY_HASH,
    calls::MODE,
    calls::DECISION,
    calls::REASON,
    calls::RULE,
    calls::OUTCOME,
    calls::CATEGORY,
];

/// An outcome that stands in its call's row, and has a place of its own among events.
pub(crate) struct Done {
    pub seq: u64,
    pub ts_us: Option<i64>,
    pub outcome: Outcome,
}

impl Done {
    pub fn event(self) -> Event {
        Event { seq: self.seq, ts_us: self.ts_us, body: Body::Outcome(self.outcome) }
    }
}

/// The columns of a batch of `calls`, as far as they are read.
pub(crate) struct CallReader {
    rows: usize,
    seqs: Seqs,
    /// See [`Codes`]. None where the names aren't numbered.
    coded_since_seq: Option<u64>,
    judged_by: Words<Judge>,
    server: Texts,
    session: Texts,
    grant: Texts,
    agent: Texts,
    tool: Texts,
    args: Option<ArgsColumns>,
    args_hash: Option<Hashes>,
    decision: Option<DecisionColumns>,
    ends: Ends,
    /// See [`Reads::ended`].
    done_ts: Option<Times>,
    done_seq: Wholes,
    /// None in files of before it was kept.
    category: Option<Texts>,
    /// None there too, and where no row has one.
    continues: Option<Wholes>,
    rest: Option<RestColumns>,
}

/// See [`Reads::args`].
struct ArgsColumns {
    json: Texts,
    kept: Words<Kept>,
    keys: TextLists,
}

/// See [`Reads::decision`].
struct DecisionColumns {
    verdict: Words<Verdict>,
    reason: Texts,
    /// None where no row has one.
    rule: Option<Texts>,
    approval: Option<Texts>,
}

/// See [`Reads::rest`].
struct RestColumns {
    request_id: Texts,
    args_bytes: Wholes,
    policy_hash: Texts,
    mode: Words<Mode>,
    message: Texts,
    limits: Typed<ListArray>,
    facts: FactReader,
    decide_ns: Wholes,
    trace_id: Texts,
    label: Texts,
    shadow_rules: TextLists,
    loop_period: Wholes,
    loop_repeats: Wholes,
}

impl CallReader {
    pub fn new(batch: &RecordBatch, reads: Reads) -> Result<Self, RowsError> {
        let table = &Table::Batch(batch);
        let mut read = Self {
            rows: batch.num_rows(),
            seqs: Seqs { seq: table.wholes(&calls::SEQ)?, ts: table.times(&calls::TS)? },
            coded_since_seq: None,
            judged_by: table.words(&calls::JUDGED_BY, Judge::from_word)?,
            server: table.texts(&calls::SERVER)?,
            session: table.texts(&calls::SESSION)?,
            grant: table.texts(&calls::GRANT)?,
            agent: table.texts(&calls::AGENT)?,
            tool: table.texts(&calls::TOOL)?,
            args: reads.args.then(|| ArgsColumns::new(table)).transpose()?,
            args_hash: reads.args_hash.then(|| table.hashes(&calls::ARGS_HASH)).transpose()?,
            decision: reads.decision.then(|| DecisionColumns::new(table)).transpose()?,
            ends: Ends {
                word: table.words(&calls::OUTCOME, End::from_word)?,
                result_hash: reads.result_hash.then(|| table.hashes(&calls::RESULT_HASH)).transpose()?,
                rest: match reads.rest {
                    true => Some((table.wholes(&calls::UPSTREAM_US)?, table.wholes(&calls::RESULT_BYTES)?)),
                    false => None,
                },
            },
            done_ts: reads.ended.then(|| table.times(&calls::DONE_TS)).transpose()?,
            done_seq: table.wholes(&calls::DONE_SEQ)?,
            category: table.has(&calls::CATEGORY).then(|| table.texts(&calls::CATEGORY)).transpose()?,
            continues: match table.has(&calls::CONTINUES) {
                true => Some(table.wholes(&calls::CONTINUES)?).filter(|continues| !continues.are_null()),
                false => None,
            },
            rest: reads.rest.then(|| RestColumns::new(table)).transpose()?,
        };
        if read.rows > 0 && read.names().all(Texts::are_coded) {
            read.coded_since_seq = Some(read.seq(0)?);
        }
        Ok(read)
    }

    /// The rows follow those of another batch of the same file.
    pub fn follow(&mut self, before: &Self) {
        if self.names().zip(before.names()).all(|(names, before)| names.are_coded_as(before)) {
            self.coded_since_seq = before.coded_since_seq;
        }
    }

    /// The columns that [`Codes`] number.
    fn names(&self) -> impl Iterator<Item = &Texts> {
        [&self.server, &self.session, &self.grant, &self.agent, &self.tool].into_iter().chain(&self.category)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The place of a row's call.
    pub fn seq(&self, row: usize) -> Result<u64, RowsError> {
        self.seqs.seq(row)
    }

    /// The call's event.
    pub fn event(&self, row: usize) -> Result<EventRef<'_>, RowsError> {
        let mut event = Self::blank();
        self.fill(row, self.seqs.seq(row)?, &mut event)?;
        Ok(event)
    }

    /// The event of a call of which nothing is known, to be [filled](Self::fill).
    pub fn blank<'a>() -> EventRef<'a> {
        let record = RecordRef {
            judged_by: Judge::Import,
            server: "",
            session: None,
            grant: None,
            agent: None,
            request_id: None,
            tool: None,
            args: ArgsRef::default(),
            policy: None,
            mode: Mode::Enforce,
            verdict: None,
            reason: None,
            rule: None,
            message: None,
            limits: Vec::new(),
            decide_ns: None,
            trace_id: None,
            label: None,
            shadow_rules: Vec::new(),
            loop_period: None,
            loop_repeats: None,
            approval: None,
            category: None,
            continues: None,
        };
        EventRef { seq: 0, ts_us: None, body: BodyRef::Decision(record), codes: None }
    }

    /// Writes a row's call, whose place is `seq`, over an event of these columns, or a [blank](Self::blank) one.
    #[inline]
    pub fn fill<'a>(&'a self, row: usize, seq: u64, event: &mut EventRef<'a>) -> Result<(), RowsError> {
        event.seq = seq;
        event.ts_us = self.seqs.ts.get(row);
        let BodyRef::Decision(record) = &mut event.body else { return Ok(()) };
        record.judged_by = self.judged_by.required(row, seq)?;
        let since_seq = self.coded_since_seq.unwrap_or_default();
        let mut codes = Codes { since_seq, server: 0, session: 0, grant: 0, agent: 0, tool: 0, category: 0 };
        let server;
        (server, codes.server) = self.server.coded(row);
        record.server = server.ok_or_else(|| self.server.null(seq))?;
        (record.session, codes.session) = self.session.coded(row);
        (record.grant, codes.grant) = self.grant.coded(row);
        (record.agent, codes.agent) = self.agent.coded(row);
        (record.tool, codes.tool) = self.tool.coded(row);
        (record.category, codes.category) = self.category.as_ref().map_or((None, 0), |category| category.coded(row));
        event.codes = self.coded_since_seq.map(|_| codes);
        record.continues = self.continues.as_ref().and_then(|continues| continues.unsigned(row));
        if let Some(hashes) = &self.args_hash {
            hashes.fill(row, seq, &mut record.args.hash)?;
        }
        match &self.args {
            Some(args) => args.fill(row, seq, &mut record.args)?,
            None => record.args.keys = None,
        }
        if let Some(decision) = &self.decision {
            record.verdict = decision.verdict.get(row, seq)?;
            record.reason = decision.reason.get(row);
            record.rule = decision.rule.as_ref().and_then(|rule| rule.get(row));
            record.approval = decision.approval.as_ref().and_then(|approval| approval.get(row));
        }
        self.rest.as_ref().map_or(Ok(()), |rest| rest.fill(row, seq, record))
    }

    /// The place of the call's outcome, where that stands in the same row.
    #[inline]
    pub fn done_seq(&self, row: usize) -> Option<u64> {
        self.done_seq.unsigned(row)
    }

    /// The call's outcome, where that stands in the same row.
    pub fn done(&self, row: usize) -> Result<Option<Done>, RowsError> {
        let Some(seq) = self.done_seq(row) else { return Ok(None) };
        let mut outcome = UNREAD;
        let ts_us = self.fill_outcome(row, &mut outcome)?;
        Ok(Some(Done { seq, ts_us, outcome }))
    }

    /// Writes how a call ended whose outcome stands in its row over [`UNREAD`], or one that was read before, and tells
    /// when.
    #[inline]
    pub fn fill_outcome(&self, row: usize, outcome: &mut Outcome) -> Result<Option<i64>, RowsError> {
        let seq = self.seqs.seq(row)?;
        self.ends.fill(row, seq, seq, outcome)?;
        Ok(self.done_ts.as_ref().and_then(|done_ts| done_ts.get(row)))
    }
}

/// A column in which any row has a value.
fn some(texts: Texts) -> Option<Texts> {
    if texts.are_null() { None } else { Some(texts) }
}

impl ArgsColumns {
    fn new(table: &Table<'_>) -> Result<Self, RowsError> {
        Ok(Self {
            json: table.texts(&calls::ARGS)?,
            kept: table.words(&calls::ARGS_KEPT, Kept::from_word)?,
            keys: TextLists::new(table.lists(&calls::ARGS_KEYS)?)?,
        })
    }

    fn fill<'a>(&'a self, row: usize, seq: u64, args: &mut ArgsRef<'a>) -> Result<(), RowsError> {
        args.kept = self.kept.required(row, seq)?;
        args.json = self.json.get(row).map(Cow::Borrowed);
        let mut keys = args.keys.take().unwrap_or_default();
        keys.clear();
        args.keys = self.keys.fill(row, &mut keys).then_some(keys);
        Ok(())
    }
}

impl DecisionColumns {
    fn new(table: &Table<'_>) -> Result<Self, RowsError> {
        Ok(Self {
            verdict: table.words(&calls::DECISION, Verdict::from_word)?,
            reason: table.texts(&calls::REASON)?,
            rule: some(table.texts(&calls::RULE)?),
            approval: some(table.texts(&calls::APPROVAL)?),
        })
    }
}

impl RestColumns {
    fn new(table: &Table<'_>) -> Result<Self, RowsError> {
        let limits = table.lists(&calls::LIMITS)?;
        Ok(Self {
            request_id: table.texts(&calls::REQUEST_ID)?,
            args_bytes: table.wholes(&calls::ARGS_BYTES)?,
            policy_hash: table.texts(&calls::POLICY_HASH)?,
            mode: table.words(&calls::MODE, Mode::from_word)?,
            message: table.texts(&calls::MESSAGE)?,
            facts: FactReader::new(&limits)?,
            limits,
            decide_ns: table.wholes(&calls::DECIDE_NS)?,
            trace_id: table.texts(&calls::TRACE_ID)?,
            label: table.texts(&calls::LABEL)?,
            shadow_rules: TextLists::new(table.lists(&calls::SHADOW_RULES)?)?,
            loop_period: table.wholes(&calls::LOOP_PERIOD)?,
            loop_repeats: table.wholes(&calls::LOOP_REPEATS)?,
        })
    }

    fn fill<'a>(&'a self, row: usize, seq: u64, record: &mut RecordRef<'a>) -> Result<(), RowsError> {
        record.request_id = self.request_id.get(row);
        record.args.bytes = self.args_bytes.unsigned(row);
        record.policy = self.policy_hash.parsed(row, seq, |text| from_hex(text.as_bytes()).map(PolicyHash))?;
        record.mode = self.mode.required(row, seq)?;
        record.message = self.message.get(row);
        record.limits.clear();
        for at in self.limits.items(row).unwrap_or_default() {
            record.limits.push(self.facts.fact(at, seq)?);
        }
        record.decide_ns = self.decide_ns.unsigned(row);
        record.trace_id = self.trace_id.get(row);
        record.label = self.label.get(row);
        record.shadow_rules.clear();
        if !self.shadow_rules.fill(row, &mut record.shadow_rules) {
            return Err(self.shadow_rules.lists.null(seq));
        }
        record.loop_period = self.loop_period.small(row, seq)?;
        record.loop_repeats = self.loop_repeats.small(row, seq)?;
        Ok(())
    }
}

/// A column of lists of texts.
struct TextLists {
    lists: Typed<ListArray>,
    texts: StringArray,
}

impl TextLists {
    fn new(lists: Typed<ListArray>) -> Result<Self, RowsError> {
        Ok(Self { texts: lists.texts()?, lists })
    }

    /// Adds a row's texts. False where the row is null.
    fn fill<'a>(&'a self, row: usize, to: &mut Vec<&'a str>) -> bool {
        let Some(items) = self.lists.items(row) else { return false };
        let text = |at: usize| if item(&self.texts, at) { self.texts.value(at) } else { "" };
        to.extend(items.map(text));
        true
    }
}

/// The columns of the limit facts of a batch.
struct FactReader {
    counter: Texts,
    owner: Texts,
    scope: Texts,
    key: Texts,
    window_s: Wholes,
    rolling: Typed<BooleanArray>,
    window_start: Times,
    used_before: Typed<Decimal128Array>,
    amount: Typed<Decimal128Array>,
    max: Typed<Decimal128Array>,
    frees_at: Times,
    shadow: Typed<BooleanArray>,
}

impl FactReader {
    fn new(limits: &Typed<ListArray>) -> Result<Self, RowsError> {
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

    fn fact(&self, at: usize, seq: u64) -> Result<FactRef<'_>, RowsError> {
        Ok(FactRef {
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
