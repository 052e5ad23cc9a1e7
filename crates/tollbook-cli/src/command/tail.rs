//! `tollbook tail`: calls as they are recorded.
//!
//! The log is looked at anew each half second, each time as one consistent snapshot, and what lies beyond
//! the last sequence number of each instance is told.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tollbook_query::output;

use super::query::Asking;
use crate::arguments::query::Tail;

/// How long calls can lie in the log before they are told.
const EVERY: Duration = Duration::from_millis(500);

pub fn run(arguments: &Tail) -> anyhow::Result<ExitCode> {
    let wanted = arguments.condition.as_deref().unwrap_or("true");
    let mut asking = Asking::open(&arguments.asked)?;
    // One after the last call that was told, of each instance.
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    let mut rows_max = Some(arguments.lines);
    loop {
        let beyond = beyond(&next);
        let limit = rows_max.take().map(|lines| format!("LIMIT {lines}")).unwrap_or_default();
        let sql = format!(
            "SELECT ts, server, session, tool, coalesce(decision, outcome) AS decision, rule FROM (\n\
                 SELECT ts, instance, seq, server, session, tool, decision, outcome, rule FROM calls\n\
                 WHERE ({wanted}\n) AND {beyond} ORDER BY ts DESC NULLS LAST, instance DESC, seq DESC {limit}\n\
             ) ORDER BY ts NULLS FIRST, instance, seq"
        );
        let mut text = String::new();
        for row in output::texts(&asking.ask(&sql)?)? {
            let cells: Vec<String> =
                row.iter().map(|cell| crate::visible(if cell.is_empty() { "-" } else { cell })).collect();
            writeln!(text, "{}", cells.join("  "))?;
        }
        let last = format!("SELECT instance, max(seq) + 1 FROM calls WHERE {beyond} GROUP BY instance");
        for row in output::texts(&asking.ask(&last)?)? {
            if let [instance, seq] = row.as_slice() {
                next.insert(instance.clone(), seq.parse().context("a sequence number isn't a number")?);
            }
        }
        crate::print(&text)?;
        std::thread::sleep(EVERY);
        asking = asking.again(&arguments.asked)?;
    }
}

/// What wasn't told yet.
fn beyond(next: &BTreeMap<String, i64>) -> String {
    let told =
        next.iter().map(|(instance, seq)| format!("(instance = '{}' AND seq < {seq})", instance.replace('\'', "''")));
    let told: Vec<String> = told.collect();
    if told.is_empty() { "true".to_owned() } else { format!("NOT ({})", told.join(" OR ")) }
}
