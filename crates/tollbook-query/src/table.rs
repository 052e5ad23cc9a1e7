//! The tables that are made of others: views in SQL, and the policies that lie beside the calls.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use tollbook_log::schema::limit;

use crate::schema::{Doc, LOG};

/// The view `limits`.
pub const LIMITS_SQL: &str = include_str!("table/limits.sql");
/// The view `sessions`.
pub const SESSIONS_SQL: &str = include_str!("table/sessions.sql");
/// The view `policies`, over what [`policies`] reads.
pub const POLICIES_SQL: &str = include_str!("table/policies.sql");

/// What the columns of `limits` mean: the call's own, then those of the fact.
pub fn limits() -> Vec<Doc> {
    let of_call = [
        Doc::new("instance", "calls.instance of the call."),
        Doc::new("seq", "calls.seq of the call."),
        Doc::new("ts", "When the call was judged."),
        Doc::new("server", "The server that the call was for."),
        Doc::new("session", "The call's session."),
        Doc::new("grant", "The call's grant."),
        Doc::new("agent", "The client program."),
        Doc::new("tool", "The call's tool."),
        Doc::new("category", "calls.category of the call."),
        Doc::new("decision", "calls.decision of the call."),
    ];
    let of_fact = limit::COLUMNS.iter().map(|column| Doc::new(column.name, column.doc));
    of_call.into_iter().chain(of_fact).chain([LOG]).collect()
}

/// What the columns of `sessions` mean.
pub const SESSIONS: &[Doc] = &[
    Doc::new("session", "The session."),
    Doc::new("grant", "Its grant; of several the first in the alphabet."),
    Doc::new("agent", "Its client program; of several the first in the alphabet."),
    Doc::new("calls", "Its calls, refused ones too."),
    Doc::new("tools", "How many different tools it called."),
    Doc::new("refusals", "Calls that were refused or held."),
    Doc::new("errors", "Calls that ended in an error."),
    Doc::new("writes", "Calls that change something: of all categories but read."),
    Doc::new("writes_per_minute", "Of those, how many a minute, over its span or one minute where that is longer."),
    Doc::new("loops", "Its loops, as loops() finds them."),
    Doc::new("loop_calls", "Calls in its loops; one that is in two loops counts twice."),
    Doc::new("first_ts", "When its first call with a time was made."),
    Doc::new("last_ts", "When its last call with a time was made."),
    Doc::new("span", "From the first to the last."),
    Doc::new("instance", "The process that recorded it."),
    LOG,
];

/// What the columns of `policies` mean.
pub const POLICIES: &[Doc] = &[
    Doc::new("policy_hash", "SHA-256 of the policy, hexadecimal."),
    Doc::new("name", "The policy's own name. Null where it has none."),
    Doc::new("source", "The policy as JSON."),
    Doc::new("calls", "Calls that it judged."),
    Doc::new("first_ts", "When it judged its first call with a time."),
    Doc::new("last_ts", "When it judged its last call with a time."),
    LOG,
];

/// The policies in a log's directory, by hash. A file that can't be read is no row: `verify` is for that.
pub fn policies(dir: &std::path::Path, log: &str) -> Vec<[Option<String>; 4]> {
    let Ok(files) = std::fs::read_dir(dir.join("policies")) else { return Vec::new() };
    let mut rows: Vec<_> = files
        .filter_map(|file| {
            let path = file.ok()?.path();
            let hash = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            let source = std::fs::read_to_string(&path).ok()?;
            let json: serde_json::Value = serde_json::from_str(&source).ok()?;
            let name = json.get("name").and_then(|name| name.as_str()).map(str::to_owned);
            Some([Some(hash), name, Some(source), Some(log.to_owned())])
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Those rows as a table.
///
/// # Errors
/// None that rows of this shape could cause.
pub fn policy_rows(rows: &[[Option<String>; 4]]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = ["policy_hash", "name", "source", "log"];
    let column = |place: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.get(place).and_then(Option::as_deref)).collect::<StringArray>())
    };
    RecordBatch::try_from_iter_with_nullable(
        columns.iter().enumerate().map(|(place, name)| (*name, column(place), *name == "name")),
    )
}
