//! Events from rows.

use arrow::array::RecordBatch;
use tollbook_engine::{
    Activated, Answered, Body, BodyRef, Bounds, Carried, ClockBack, End, Event, Expired, Frozen, Gap, Opened, Outcome,
    PolicyHash, Pruned, Reads, Reset, encode_event, from_hex,
};

use super::call::{CallReader, Done};
use super::columns::{Hashes, Table, Texts, Times, Wholes, Words};
use super::{
    AnsweredDetail, CarriedDetail, ClockBackDetail, ExpiredDetail, FrozenDetail, GapDetail, OpenedDetail, PrunedDetail,
    ResetDetail, RowsError,
};
use crate::schema::{events, outcomes};

/// A call's event, and its outcome's where that stands in the same row.
pub(crate) type CallEvent = (Event, Option<Event>);

/// The events of rows of `calls`.
pub(crate) fn call_events(batch: &RecordBatch) -> Result<Vec<CallEvent>, RowsError> {
    let reader = CallReader::new(batch, Reads::ALL)?;
    let event = |row| Ok((reader.event(row)?.to_event(), reader.done(row)?.map(Done::event)));
    (0..batch.num_rows()).map(event).collect()
}

/// The canonical bytes of the events of rows of `calls`, each with its sequence number.
pub(crate) fn call_bytes(batch: &RecordBatch, mut take: impl FnMut(u64, &[u8])) -> Result<(), RowsError> {
    let reader = CallReader::new(batch, Reads::ALL)?;
    let (mut event, mut bytes) = (CallReader::blank(), Vec::new());
    for row in 0..batch.num_rows() {
        bytes.clear();
        reader.fill(row, reader.seq(row)?, &mut event)?;
        encode_event(event.seq, event.ts_us, &event.body, &mut bytes);
        take(event.seq, &bytes);
        if let Some(done) = reader.done(row)?.map(Done::event) {
            bytes.clear();
            encode_event(done.seq, done.ts_us, &BodyRef::Other(&done.body), &mut bytes);
            take(done.seq, &bytes);
        }
    }
    Ok(())
}

/// The events of rows of `outcomes`.
pub(crate) fn outcome_events(batch: &RecordBatch) -> Result<Vec<Event>, RowsError> {
    let table = Table::Batch(batch);
    let seqs = Seqs { seq: table.wholes(&outcomes::SEQ)?, ts: table.times(&outcomes::TS)? };
    let call_seq = table.wholes(&outcomes::CALL_SEQ)?;
    let ends = Ends {
        word: table.words(&outcomes::OUTCOME, End::from_word)?,
        result_hash: Some(table.hashes(&outcomes::RESULT_HASH)?),
        rest: Some((table.wholes(&outcomes::UPSTREAM_US)?, table.wholes(&outcomes::RESULT_BYTES)?)),
    };
    (0..batch.num_rows())
        .map(|row| {
            let seq = seqs.seq(row)?;
            let call_seq = call_seq.required(row, seq)?.cast_unsigned();
            Ok(Event { seq, ts_us: seqs.ts.get(row), body: Body::Outcome(ends.outcome(row, seq, call_seq)?) })
        })
        .collect()
}

/// The events of rows of `events`.
pub(crate) fn other_events(batch: &RecordBatch) -> Result<Vec<Event>, RowsError> {
    let table = Table::Batch(batch);
    let seqs = Seqs { seq: table.wholes(&events::SEQ)?, ts: table.times(&events::TS)? };
    let kind = table.texts(&events::KIND)?;
    let server = table.texts(&events::SERVER)?;
    let grant = table.texts(&events::GRANT)?;
    let policy = table.texts(&events::POLICY_HASH)?;
    let detail = table.texts(&events::DETAIL)?;
    (0..batch.num_rows())
        .map(|row| {
            let seq = seqs.seq(row)?;
            let body = match kind.required(row, seq)? {
                "opened" => {
                    let opened: OpenedDetail = json(&detail, row, seq)?;
                    let bounds = Bounds {
                        keys_max: opened.keys_max,
                        in_flight_max: opened.in_flight_max,
                        sessions_max: opened.sessions_max,
                        approvals_max: opened.approvals_max,
                        rolling_charges_max: opened.rolling_charges_max,
                    };
                    Body::Opened(Opened { engine: opened.engine, bounds, imported_from: opened.imported_from })
                }
                "activated" => Body::Activated(Activated {
                    server: server.required(row, seq)?.to_owned(),
                    grant: grant.get(row).map(str::to_owned),
                    policy: policy
                        .parsed(row, seq, |text| from_hex(text.as_bytes()).map(PolicyHash))?
                        .ok_or_else(|| policy.null(seq))?,
                }),
                "gap" => {
                    let GapDetail { calls, cause } = json(&detail, row, seq)?;
                    Body::Gap(Gap { calls, cause })
                }
                "answered" => {
                    let AnsweredDetail { approval, approved, by } = json(&detail, row, seq)?;
                    Body::Answered(Answered { approval, approved, by })
                }
                "expired" => {
                    let ExpiredDetail { approval } = json(&detail, row, seq)?;
                    Body::Expired(Expired { approval })
                }
                "reset" => {
                    let ResetDetail { counter, key, by } = json(&detail, row, seq)?;
                    Body::Reset(Reset { counter, key, by })
                }
                "frozen" => {
                    let FrozenDetail { frozen, by } = json(&detail, row, seq)?;
                    Body::Frozen(Frozen { grant: grant.required(row, seq)?.to_owned(), frozen, by })
                }
                "carried" => {
                    let CarriedDetail { from, sha256, replays } = json(&detail, row, seq)?;
                    let sha256 = from_hex(sha256.as_bytes()).ok_or_else(|| detail.wrong(seq, &sha256))?;
                    Body::Carried(Carried { server: server.get(row).map(str::to_owned), from, sha256, replays })
                }
                "pruned" => {
                    let PrunedDetail { first_seq, before_us } = json(&detail, row, seq)?;
                    Body::Pruned(Pruned { first_seq, before_us })
                }
                "clock_back" => {
                    let ClockBackDetail { behind_us } = json(&detail, row, seq)?;
                    Body::ClockBack(ClockBack { behind_us })
                }
                other => return Err(kind.wrong(seq, other)),
            };
            Ok(Event { seq, ts_us: seqs.ts.get(row), body })
        })
        .collect()
}

fn json<T: serde::de::DeserializeOwned>(detail: &Texts, row: usize, seq: u64) -> Result<T, RowsError> {
    let text = detail.required(row, seq)?;
    serde_json::from_str(text).map_err(|_| detail.wrong(seq, text))
}

/// Where an event stands, and when it happened.
pub(super) struct Seqs {
    pub seq: Wholes,
    pub ts: Times,
}

impl Seqs {
    #[inline]
    pub fn seq(&self, row: usize) -> Result<u64, RowsError> {
        // There is no number to name the row by but the largest, which no event has.
        self.seq.required(row, u64::MAX).map(i64::cast_unsigned)
    }
}

/// How a call ended.
pub(super) struct Ends {
    pub word: Words<End>,
    pub result_hash: Option<Hashes>,
    /// What no replay depends on: how long it took, and how much came back.
    pub rest: Option<(Wholes, Wholes)>,
}

impl Ends {
    #[inline]
    pub fn outcome(&self, row: usize, seq: u64, call_seq: u64) -> Result<Outcome, RowsError> {
        let mut outcome = UNREAD;
        self.fill(row, seq, call_seq, &mut outcome)?;
        Ok(outcome)
    }

    /// Writes how a call ended over [`UNREAD`], or what was read of these columns before.
    #[inline]
    pub fn fill(&self, row: usize, seq: u64, call_seq: u64, outcome: &mut Outcome) -> Result<(), RowsError> {
        outcome.call_seq = call_seq;
        outcome.end = self.word.required(row, seq)?;
        if let Some((upstream_us, result_bytes)) = &self.rest {
            outcome.upstream_us = upstream_us.unsigned(row);
            outcome.result_bytes = result_bytes.unsigned(row);
        }
        self.result_hash.as_ref().map_or(Ok(()), |hashes| hashes.fill(row, seq, &mut outcome.result_hash))
    }
}

/// An outcome of which nothing was read.
pub(crate) const UNREAD: Outcome =
    Outcome { call_seq: 0, end: End::Lost, upstream_us: None, result_bytes: None, result_hash: None };
