//! `tollbook demo`: all of Tollbook at work, on made-up agents and a server of our own.
//!
//! Nothing is staged but the agents and the clock: the policy is compiled, the gateway is the real one,
//! each session has an MCP server of its own as a child process, and what is printed at the end comes out
//! of the log.

mod agents;
mod client;
mod server;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tollbook_engine::Engine;
use tollbook_gateway::{Desk, Manner};
use tollbook_log::Options;
use tollbook_policy::{Policy, Target};

use self::agents::{HEALTHY_SESSIONS, Planned};
use self::client::Client;
use crate::arguments::Demo;
use crate::command::{backtest, run};

const POLICY: &str = include_str!("demo/billing.toll");
const CANDIDATE: &str = include_str!("demo/tighter.toll");

/// 2026-01-05T09:00:00Z, a Monday.
const BEGINS_US: i64 = 1_767_603_600_000_000;

/// The demo's MCP server.
pub fn serve() -> anyhow::Result<ExitCode> {
    server::serve(std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// The demo.
pub fn show(arguments: &Demo) -> anyhow::Result<ExitCode> {
    let dir = match &arguments.log {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("tollbook-demo-{}", std::process::id())),
    };
    let policy = policy("billing.toll", POLICY)?;
    section("The policy, as it is written", POLICY)?;
    section("The same, compiled to JSON (tollbook compile)", &policy.to_json())?;

    let planned = agents::plan(arguments.seed);
    let text = format!(
        "{} sessions make {} calls to an MCP server through the gateway; one of them is stuck.\n",
        HEALTHY_SESSIONS + 1,
        planned.len()
    );
    section("Agents at work (tollbook run)", &text)?;
    let seen = drive(&dir, &policy, &planned)?;
    crate::print(&format!(
        "{} calls answered, {} refused. The stuck agent's first refusal, as it saw it:\n\n{}\n",
        seen.answered, seen.refused, seen.first_limit
    ))?;
    questions(&dir)?;

    section("Another policy, tried on this log (tollbook backtest)", CANDIDATE)?;
    let (text, faithful) = backtest::report(&dir, "tighter.toll", self::policy("tighter.toll", CANDIDATE)?)?;
    crate::print(&text)?;
    farewell(&dir)?;
    Ok(if faithful { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[cfg(feature = "query")]
fn questions(dir: &Path) -> anyhow::Result<()> {
    use crate::arguments::query::Format;
    use crate::command::query::{ask, show};

    let sql = "SELECT tool, decision, reason, count(*) AS calls, count(DISTINCT session) AS sessions\n\
               FROM calls GROUP BY tool, decision, reason ORDER BY calls DESC, tool, reason";
    section("SQL over every call (tollbook query)", &format!("{sql}\n\n"))?;
    show(&ask(dir, sql)?, Format::Table)?;
    let rates = tollbook_query::Report::Rates;
    section("Rates (tollbook report rates)", &format!("{}\n\n", rates.title()))?;
    show(&ask(dir, &rates.sql(&tollbook_query::Filter::default()))?, Format::Table)
}

#[cfg(not(feature = "query"))]
fn questions(_: &Path) -> anyhow::Result<()> {
    section("SQL", "This build is without SQL.\n")
}

fn section(title: &str, text: &str) -> anyhow::Result<()> {
    crate::print(&format!("\n== {title} ==\n\n{text}"))
}

fn farewell(dir: &Path) -> anyhow::Result<()> {
    let log = dir.display();
    section(
        "What next",
        &format!(
            "The log is in {log}; its calls are ordinary Parquet.\n\n\
             \x20 tollbook query --log {log} \"SELECT ts, tool, decision, rule FROM calls ORDER BY seq DESC LIMIT 10\"\n\
             \x20 tollbook report denials --log {log}\n\
             \x20 tollbook backtest --log {log} YOUR.toll\n\
             \x20 tollbook run --policy YOUR.toll --log LOG -- YOUR-MCP-SERVER ARGS…\n"
        ),
    )
}

fn policy(name: &str, text: &str) -> anyhow::Result<Policy> {
    let read = tollbook_policy::read(name, text, Target::Native)
        .map_err(|errors| anyhow::anyhow!("{}", tollbook_policy::diagnostic::render(name, text, &errors, false)))?;
    Ok(read.policy)
}

/// What the agents saw.
#[derive(Default)]
struct Seen {
    answered: usize,
    refused: usize,
    first_limit: String,
}

/// Makes every planned call through the gateway, at its own time.
fn drive(dir: &Path, policy: &Policy, planned: &[Planned]) -> anyhow::Result<Seen> {
    let server = "billing";
    let engine = Engine::compile(policy, server)?;
    let now_us = Arc::new(AtomicI64::new(BEGINS_US));
    let clock = Arc::clone(&now_us);
    let log = run::open_log(dir, Options::default())?;
    let mut desk = Desk::open(log, Manner::usual(), Box::new(move || clock.load(Ordering::SeqCst)))?;
    desk.activate(engine, None, policy)?;
    let desk = Arc::new(Mutex::new(desk));
    let program: PathBuf = std::env::current_exe().context("cannot find this program")?;

    let mut clients: BTreeMap<usize, Client> = BTreeMap::new();
    let mut last_call: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, call) in planned.iter().enumerate() {
        last_call.insert(call.session, index);
    }
    let mut seen = Seen::default();
    for (index, call) in planned.iter().enumerate() {
        now_us.store(BEGINS_US + call.at_us, Ordering::SeqCst);
        let client = match clients.entry(call.session) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(Client::connect(&desk, &program, call.session)?),
        };
        let answer = client.call(call.tool, &call.args)?;
        if answer.contains("[POLICY DENIED]") || answer.contains("\"error\"") {
            seen.refused += 1;
            if seen.first_limit.is_empty() && answer.contains("(limit") {
                seen.first_limit = answer;
            }
        } else {
            seen.answered += 1;
        }
        let was_last = last_call.get(&call.session) == Some(&index);
        if let Some(client) = was_last.then(|| clients.remove(&call.session)).flatten() {
            client.disconnect()?;
        }
    }
    desk.lock().unwrap_or_else(PoisonError::into_inner).close()?;
    Ok(seen)
}
