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

use tollbook_engine::{End, Outcome, hash128};
use tollbook_policy::json::Node;

use super::found::{self, Fields, Found};
use super::order::{Call, Done};

/// Reads one line, or says why it isn't a record.
pub(super) fn read(node: &Node<'_>, grant: &str) -> Result<Call, String> {
    let fields = Fields::of(node)?;
    let tool = fields.text("tool")?.ok_or("it has no `tool`")?;
    let ts_us = fields.time("ts")?;
    let found = Found {
        ts_us,
        session: fields.text("session")?,
        seq: fields.whole("seq")?,
        server: fields.text("server")?,
        agent: fields.text("agent")?,
        tool,
        args: found::args(fields.value("args")),
        label: fields.text("label")?,
        ..Found::default()
    };
    found.into_call(grant, done(&fields, ts_us)?)
}

fn done(fields: &Fields<'_, '_>, ts_us: Option<i64>) -> Result<Option<Done>, String> {
    let is_error = fields.flag("is_error")?;
    let result_bytes = fields.whole("result_bytes")?;
    let result_hash = fields.text("result_sha")?.map(|sha| hash128(sha.as_bytes()));
    let done_us = fields.time("done_ts")?;
    if is_error.is_none() && result_bytes.is_none() && result_hash.is_none() {
        return Ok(None);
    }
    let end = if is_error == Some(true) { End::ToolError } else { End::Ok };
    let done = found::done(ts_us, done_us, end, None);
    Ok(Some(Done { outcome: Outcome { result_bytes, result_hash, ..done.outcome }, ..done }))
}
