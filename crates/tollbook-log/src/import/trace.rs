//! One line of a trace: a JSON object that tells of one call.
//!
//! | field | becomes |
//! |---|---|
//! | `tool` (required) | `tool` |
//! | `ts`, RFC 3339 or null | `ts` |
//! | `session`, `agent`, `label` | the same |
//! | `seq` | the order within the session |
//! | `server` | `server`, or `unknown` where it is missing |
//! | `args` | `args` in full, in canonical form, with its keys, hash and size; unknown where it is missing or null |
//! | `is_error` | `outcome`: `ok` or `tool_error` |
//! | `result_bytes` | `result_bytes` |
//! | `result_sha` | `result_hash`: the hash of that text, since results are only ever compared |
//! | `done_ts` | `done_ts` |
//!
//! Other fields are passed over. A record without `is_error` that does tell of a result ended well, as
//! MCP reads a missing `isError`; one that tells nothing of its end has no outcome.

use tollbook_engine::{Body, End, Event, Judge, Kept, Mode, Outcome, Record, RecordedArgs, canonical, hash128};
use tollbook_policy::json::{self, Node, Value};

use super::order::{Call, Done};
use crate::segment::FRAME_BYTES_MAX;

/// Room for the sequence number, which isn't known yet.
const SEQ_BYTES_MAX: usize = 9;

/// Reads one line, or says why it isn't a record.
pub(super) fn read(line: &[u8], grant: &str) -> Result<Call, String> {
    let node = json::parse(line).map_err(|error| error.to_string())?;
    if node.members().is_none() {
        return Err("it isn't a JSON object".to_owned());
    }
    let fields = Fields(&node);
    let tool = fields.text("tool")?.ok_or("it has no `tool`")?;
    let session = fields.text("session")?;
    let ts_us = fields.time("ts")?;
    let record = Record {
        judged_by: Judge::Import,
        server: fields.text("server")?.unwrap_or_else(|| "unknown".to_owned()),
        session: session.clone(),
        grant: Some(grant.to_owned()),
        agent: fields.text("agent")?,
        request_id: None,
        tool: Some(tool),
        args: fields.args(),
        policy: None,
        mode: Mode::Enforce,
        verdict: None,
        reason: None,
        rule: None,
        message: None,
        limits: Vec::new(),
        decide_ns: None,
        trace_id: None,
        label: fields.text("label")?,
        shadow_rules: Vec::new(),
        loop_period: None,
        loop_repeats: None,
        approval: None,
    };
    let done = fields.done(ts_us)?;
    let record = Event { seq: 0, ts_us, body: Body::Decision(Box::new(record)) }.to_bytes();
    if record.len() + SEQ_BYTES_MAX > FRAME_BYTES_MAX {
        return Err(format!("its record has more than {FRAME_BYTES_MAX} bytes"));
    }
    Ok(Call { session, seq: fields.whole("seq")?, ts_us, record, done })
}

struct Fields<'a>(&'a Node<'a>);

impl<'a> Fields<'a> {
    /// The field's value; none where it is missing or null.
    fn value(&self, name: &str) -> Option<&'a Node<'a>> {
        self.0.get(name).filter(|node| node.value != Value::Null)
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let text = |node: &Node<'_>| node.as_str().map(str::to_owned).ok_or_else(|| wrong(name, node, "a string"));
        self.value(name).map(text).transpose()
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, String> {
        let whole = |node: &Node<'_>| match node.value {
            Value::Number(text) => text.parse().map_err(|_| wrong(name, node, "a whole number")),
            _ => Err(wrong(name, node, "a whole number")),
        };
        self.value(name).map(whole).transpose()
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        let flag = |node: &Node<'_>| match node.value {
            Value::Bool(flag) => Ok(flag),
            _ => Err(wrong(name, node, "true or false")),
        };
        self.value(name).map(flag).transpose()
    }

    fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let time = |node: &Node<'_>| {
            let parsed = node.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let wrong = || wrong(name, node, "a time as in 2026-11-23T06:46:52Z");
            parsed.map(jiff::Timestamp::as_microsecond).ok_or_else(wrong)
        };
        self.value(name).map(time).transpose()
    }

    fn args(&self) -> RecordedArgs {
        let Some(node) = self.value("args") else { return RecordedArgs::default() };
        let json = canonical(node);
        let keys = node.members().map(|members| {
            let mut keys: Vec<String> = members.iter().map(|member| member.key.to_string()).collect();
            keys.sort_unstable();
            keys
        });
        RecordedArgs {
            kept: Kept::Full,
            hash: Some(hash128(json.as_bytes())),
            json: Some(json),
            keys,
            bytes: Some(node.span.len() as u64),
        }
    }

    fn done(&self, ts_us: Option<i64>) -> Result<Option<Done>, String> {
        let is_error = self.flag("is_error")?;
        let result_bytes = self.whole("result_bytes")?;
        let result_hash = self.text("result_sha")?.map(|sha| hash128(sha.as_bytes()));
        let done_us = self.time("done_ts")?;
        if is_error.is_none() && result_bytes.is_none() && result_hash.is_none() {
            return Ok(None);
        }
        let end = if is_error == Some(true) { End::ToolError } else { End::Ok };
        let span_us = ts_us.zip(done_us).and_then(|(ts, done)| done.checked_sub(ts));
        let upstream_us = span_us.and_then(|span| u64::try_from(span).ok());
        let outcome = Outcome { call_seq: 0, end, upstream_us, result_bytes, result_hash };
        Ok(Some(Done { ts_us: done_us, outcome }))
    }
}

fn wrong(name: &str, node: &Node<'_>, expected: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let found = canonical(node);
    let shown: String = found.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if shown.len() < found.len() { "…" } else { "" };
    format!("`{name}` is `{shown}{more}`, where {expected} was expected")
}
