//! `rates('minute', 'tool', …)`: the busiest windows, plain and rolling, by any scope.
//!
//! The function writes a query and plans it; [`sql`] is that query. A rolling window that ends with a call
//! begins just after the time that lies a window before it, as the engine's does.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use futures::FutureExt;

use crate::schema::Doc;

/// Windows, with their length in microseconds.
const WINDOWS: &[(&str, i64)] = &[
    ("second", 1_000_000),
    ("minute", 60_000_000),
    ("hour", 3_600_000_000),
    ("day", 86_400_000_000),
    ("week", 604_800_000_000),
];

/// Columns of `calls` that calls can be counted together by.
const SCOPES: &[&str] =
    &["instance", "server", "session", "grant", "agent", "tool", "category", "decision", "policy_hash", "log"];

/// Whether a call changes something.
const WRITES: &str = "category IN ('write', 'execute', 'destructive', 'financial')";

/// What the columns mean, where `tool` is what calls are counted by.
pub const COLUMNS: &[Doc] = &[
    Doc::new("tool", "What the calls have in common; one column for each word behind the window."),
    Doc::new("calls", "Calls with a time, refused ones too."),
    Doc::new("peak", "Most calls in one window, aligned in UTC."),
    Doc::new("peak_start", "Where the busiest window begins; of several the first."),
    Doc::new("rolling_peak", "Most calls in any window of that length that ends with a call."),
    Doc::new("typical", "Median of the calls in a window, of those that have any."),
    Doc::new("windows_in_use", "Windows that have a call."),
    Doc::new("writes", "Calls with a time that change something: of all categories but read."),
    Doc::new("write_peak", "Most such calls in one window, aligned in UTC."),
];

/// The function.
#[derive(Debug)]
pub struct RatesFunction;

impl TableFunctionImpl for RatesFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let mut words = Vec::new();
        for expr in args.exprs() {
            match expr {
                Expr::Literal(ScalarValue::Utf8(Some(word)) | ScalarValue::Utf8View(Some(word)), _) => {
                    words.push(word.as_str());
                }
                other => return plan_err!("rates() takes texts in quotes, not `{other}`"),
            }
        }
        let sql = sql(&words).or_else(|why| plan_err!("{why}"))?;
        let Some(state) = args.session().as_any().downcast_ref::<SessionState>() else {
            return plan_err!("rates() works in a session over a log alone");
        };
        // Nothing is waited for: all tables are in memory's catalog.
        let Some(plan) = state.create_logical_plan(&sql).now_or_never() else {
            return plan_err!("rates() cannot be planned");
        };
        Ok(Arc::new(ViewTable::new(plan?, Some(sql))))
    }
}

/// The query behind `rates(window, scope, …)`.
///
/// # Errors
/// Why there is none, in words.
pub fn sql(words: &[&str]) -> Result<String, String> {
    let expected = "expected rates('minute', 'tool', …)";
    let Some((window, scopes)) = words.split_first() else { return Err(format!("rates() lacks a window: {expected}")) };
    let Some((_, us)) = WINDOWS.iter().find(|(name, _)| name == window) else {
        return Err(format!("`{window}` is no window: expected second, minute, hour, day or week"));
    };
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(scope)) {
        return Err(format!("calls can't be counted by `{unknown}`: expected one of {}", SCOPES.join(", ")));
    }
    let names: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let listed: String = names.iter().map(|name| format!("{name}, ")).collect();
    let partition = if names.is_empty() { String::new() } else { format!("PARTITION BY {} ", names.join(", ")) };
    let group = if names.is_empty() { String::new() } else { format!("GROUP BY {}", names.join(", ")) };
    Ok(format!(
        "WITH timed AS (
    SELECT {listed}date_trunc('{window}', ts) AS window_start, {WRITES} AS is_write, count(*) OVER (
        {partition}ORDER BY ts RANGE BETWEEN INTERVAL '{before} microseconds' PRECEDING AND CURRENT ROW
    ) AS rolling
    FROM calls
    WHERE ts IS NOT NULL
),
plain AS (
    SELECT {listed}window_start, count(*) AS calls, max(rolling) AS rolling,
        count(*) FILTER (WHERE is_write) AS writes
    FROM timed
    GROUP BY {listed}window_start
)
SELECT
    {listed}sum(calls) AS calls,
    max(calls) AS peak,
    first_value(window_start ORDER BY calls DESC, window_start) AS peak_start,
    max(rolling) AS rolling_peak,
    median(CAST(calls AS DOUBLE)) AS typical,
    count(*) AS windows_in_use,
    sum(writes) AS writes,
    max(writes) AS write_peak
FROM plain
{group}",
        before = us - 1,
    ))
}
