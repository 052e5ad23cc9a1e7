//! What a record of another log tells of a call, whatever the format.

use tollbook_engine::{Body, End, Event, Judge, Kept, Outcome, Record, RecordedArgs, canonical, hash128};
use tollbook_policy::json::{Node, Value};

use super::order::{Call, Done};
use crate::segment::FRAME_BYTES_MAX;

/// Room for the sequence number, which isn't known yet.
const SEQ_BYTES_MAX: usize = 9;

/// A call as it was found. What the source doesn't tell stays unknown.
#[derive(Default)]
pub(super) struct Found {
    pub ts_us: Option<i64>,
    pub session: Option<String>,
    /// Place within the session.
    pub seq: Option<u64>,
    pub server: Option<String>,
    pub agent: Option<String>,
    pub tool: String,
    pub args: RecordedArgs,
    /// JSON text of the request's id.
    pub request_id: Option<String>,
    pub label: Option<String>,
    pub rule: Option<String>,
    pub message: Option<String>,
}

impl Found {
    pub fn into_call(self, grant: &str, done: Option<Done>) -> Result<Call, String> {
        let record = Record {
            session: self.session.clone(),
            grant: Some(grant.to_owned()),
            agent: self.agent,
            request_id: self.request_id,
            tool: Some(self.tool),
            args: self.args,
            rule: self.rule,
            message: self.message,
            label: self.label,
            ..Record::new(Judge::Import, self.server.unwrap_or_else(|| "unknown".to_owned()))
        };
        let record = Event { seq: 0, ts_us: self.ts_us, body: Body::Decision(Box::new(record)) }.to_bytes();
        if record.len() + SEQ_BYTES_MAX > FRAME_BYTES_MAX {
            return Err(format!("its record has more than {FRAME_BYTES_MAX} bytes"));
        }
        Ok(Call { session: self.session, seq: self.seq, ts_us: self.ts_us, record, done })
    }
}

/// How a call ended, and when.
pub(super) fn done(ts_us: Option<i64>, done_us: Option<i64>, end: End, result: Option<&Node<'_>>) -> Done {
    let span_us = ts_us.zip(done_us).and_then(|(ts, done)| done.checked_sub(ts));
    let outcome = Outcome {
        call_seq: 0,
        end,
        upstream_us: span_us.and_then(|span| u64::try_from(span).ok()),
        result_bytes: result.map(|node| node.span.len() as u64),
        result_hash: result.map(|node| hash128(canonical(node).as_bytes())),
    };
    Done { ts_us: done_us, outcome }
}

/// Arguments in full; unknown where there are none or they are null.
pub(super) fn args(node: Option<&Node<'_>>) -> RecordedArgs {
    let Some(node) = node.filter(|node| node.value != Value::Null) else { return RecordedArgs::default() };
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

/// The fields of an object, each of the kind that is expected or missing.
pub(super) struct Fields<'n, 'a>(pub &'n Node<'a>);

impl<'n, 'a> Fields<'n, 'a> {
    /// Of a whole line.
    pub fn of(node: &'n Node<'a>) -> Result<Self, String> {
        if node.members().is_none() {
            return Err("it isn't a JSON object".to_owned());
        }
        Ok(Self(node))
    }

    /// The field's value; none where it is missing or null.
    pub fn value(&self, name: &str) -> Option<&'n Node<'a>> {
        let node = self.0.members()?.iter().find(|member| member.key == name).map(|member| &member.node)?;
        Some(node).filter(|node| node.value != Value::Null)
    }

    /// The fields of an object in this field.
    pub fn within(&self, name: &str) -> Option<Fields<'n, 'a>> {
        self.value(name).filter(|node| node.members().is_some()).map(Fields)
    }

    /// The elements of a list in this field; none where it is something else.
    pub fn list(&self, name: &str) -> &'n [Node<'a>] {
        self.value(name).and_then(|node| node.elements()).unwrap_or_default()
    }

    /// A text, if it is one.
    pub fn word(&self, name: &str) -> Option<&'n str> {
        self.value(name)?.as_str()
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let text = |node: &Node<'_>| node.as_str().map(str::to_owned).ok_or_else(|| wrong(name, node, "a string"));
        self.value(name).map(text).transpose()
    }

    pub fn whole(&self, name: &str) -> Result<Option<u64>, String> {
        let whole = |node: &Node<'_>| match node.value {
            Value::Number(number) => number.text.parse().map_err(|_| wrong(name, node, "a whole number")),
            _ => Err(wrong(name, node, "a whole number")),
        };
        self.value(name).map(whole).transpose()
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        let flag = |node: &Node<'_>| match node.value {
            Value::Bool(flag) => Ok(flag),
            _ => Err(wrong(name, node, "true or false")),
        };
        self.value(name).map(flag).transpose()
    }

    pub fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let time = |node: &Node<'_>| {
            let parsed = node.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let wrong = || wrong(name, node, "a time as in 2026-11-23T06:46:52Z");
            parsed.map(jiff::Timestamp::as_microsecond).ok_or_else(wrong)
        };
        self.value(name).map(time).transpose()
    }
}

fn wrong(name: &str, node: &Node<'_>, expected: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let found = canonical(node);
    let shown: String = found.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if shown.len() < found.len() { "…" } else { "" };
    format!("`{name}` is `{shown}{more}`, where {expected} was expected")
}
