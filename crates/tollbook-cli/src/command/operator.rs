//! `tollbook approvals`, `counters`, `freeze` and `thaw`: what an operator does to running gateways.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Table, presets};
use tollbook_gateway::operator::{COUNTERS_MAX, Held, Request, Response, ask};

use crate::arguments::operator::{Answer, Approvals, Counters, Freeze, Levels};

pub fn approvals(arguments: &Approvals) -> anyhow::Result<ExitCode> {
    match arguments {
        Approvals::List(at) => list(&at.log),
        Approvals::Show(show) => self::show(&show.at.log, &show.approval),
        Approvals::Approve(answer) => self::answer(answer, true),
        Approvals::Refuse(answer) => self::answer(answer, false),
    }
}

pub fn counters(arguments: &Counters) -> anyhow::Result<ExitCode> {
    match arguments {
        Counters::List(levels) => self::levels(levels),
        Counters::Reset(reset) => {
            let (counter, key) = (reset.counter.clone(), reset.key.clone());
            everywhere(&reset.at.log, &Request::Reset { counter, key, by: by(reset.by.as_ref()) })
        }
    }
}

/// What counters of all running gateways hold.
fn levels(levels: &Levels) -> anyhow::Result<ExitCode> {
    let request = Request::Counters { counter: levels.counter.clone(), key: levels.key.clone() };
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["server", "counter", "tool", "key", "window_s", "used"]);
    let mut told_of_more = false;
    for (instance, answer) in put(&levels.at.log, &request)? {
        let Response::Counters(counters) = answer else { anyhow::bail!("{instance} answered {answer:?}") };
        told_of_more |= counters.len() >= COUNTERS_MAX;
        for counter in counters {
            let texts = [&counter.server, &counter.counter, &counter.tool, &counter.key];
            let window = format!("{}{}", if counter.rolling { "rolling " } else { "" }, counter.window_s);
            let numbers = [window, units(counter.used_micros)];
            table.add_row(texts.map(|text| crate::visible(text)).into_iter().chain(numbers));
        }
    }
    if table.is_empty() {
        crate::print("no counter holds anything\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    crate::print(&format!("{table}\n"))?;
    if told_of_more {
        eprintln!("there may be more; --counter or --key chooses among them");
    }
    Ok(ExitCode::SUCCESS)
}

/// Millionths as they are read.
fn units(micros: i64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    match part {
        0 => whole.to_string(),
        part => format!("{whole}.{part:06}").trim_end_matches('0').to_owned(),
    }
}

pub fn freeze(freeze: &Freeze, frozen: bool) -> anyhow::Result<ExitCode> {
    let request = Request::Freeze { grant: freeze.grant.clone(), frozen, by: by(freeze.by.as_ref()) };
    everywhere(&freeze.at.log, &request)
}

/// Who acts, as far as that is known.
fn by(given: Option<&String>) -> Option<String> {
    given.cloned().or_else(|| std::env::var("USER").ok())
}

/// Puts a request to every running gateway of a log. An error where there is none.
fn put(log: &Path, request: &Request) -> anyhow::Result<Vec<(String, Response)>> {
    let cannot = || format!("cannot reach the gateways of the log `{}`", log.display());
    let answers = ask(log, request).with_context(cannot)?;
    anyhow::ensure!(!answers.is_empty(), "no gateway is running that writes the log `{}`", log.display());
    Ok(answers)
}

fn waiting(log: &Path) -> anyhow::Result<Vec<Held>> {
    let mut held = Vec::new();
    for (instance, answer) in put(log, &Request::Approvals)? {
        match answer {
            Response::Approvals(some) => held.extend(some),
            other => anyhow::bail!("{instance} answered {other:?}"),
        }
    }
    held.sort_by_key(|held| held.asked_us);
    Ok(held)
}

fn list(log: &Path) -> anyhow::Result<ExitCode> {
    let held = waiting(log)?;
    if held.is_empty() {
        crate::print("no call waits for an answer\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["approval", "tool", "grant", "session", "asked", "until", "rule"]);
    for one in &held {
        let texts = [&one.approval, &one.tool, &one.grant, &one.session].map(|text| crate::visible(text));
        let times = [one.asked_us, one.expires_us].map(instant);
        let rule = one.rule.as_deref().map(crate::visible).unwrap_or_default();
        table.add_row(texts.into_iter().chain(times).chain([rule]));
    }
    crate::print(&format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn show(log: &Path, approval: &str) -> anyhow::Result<ExitCode> {
    let held = waiting(log)?;
    let Some(one) = held.iter().find(|held| held.approval == approval) else {
        anyhow::bail!("no call waits for the approval `{approval}`");
    };
    let mut text = String::new();
    for (name, value) in [
        ("approval", &one.approval),
        ("tool", &one.tool),
        ("arguments", &one.args),
        ("grant", &one.grant),
        ("session", &one.session),
        ("agent", one.agent.as_ref().unwrap_or(&String::new())),
        ("rule", one.rule.as_ref().unwrap_or(&String::new())),
        ("asked", &instant(one.asked_us)),
        ("until", &instant(one.expires_us)),
    ] {
        writeln!(text, "{name:<10} {}", crate::visible(value))?;
    }
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// One gateway holds the call; the others know nothing of it.
fn answer(answer: &Answer, approved: bool) -> anyhow::Result<ExitCode> {
    let by = by(answer.by.as_ref());
    let request = Request::Answer { approval: answer.approval.clone(), approved, by };
    let mut refused = String::new();
    for (instance, response) in put(&answer.at.log, &request)? {
        match response {
            Response::Done { seq } => {
                let word = if approved { "approved" } else { "refused" };
                crate::print(&format!("{word} {}: event {seq} of {instance}\n", answer.approval))?;
                return Ok(ExitCode::SUCCESS);
            }
            Response::Refused(why) => refused = why,
            Response::Approvals(_) | Response::Counters(_) => refused = format!("{instance} answered something else"),
        }
    }
    anyhow::bail!(refused)
}

/// Tells every running gateway of the log.
fn everywhere(log: &Path, request: &Request) -> anyhow::Result<ExitCode> {
    let (mut done, mut refused) = (false, Vec::new());
    for (instance, response) in put(log, request)? {
        match response {
            Response::Done { seq } => {
                done = true;
                crate::print(&format!("event {seq} of {instance}\n"))?;
            }
            // What concerns one of several gateways is nothing to the others.
            Response::Refused(why) => refused.push(format!("{instance}: {why}")),
            Response::Approvals(_) | Response::Counters(_) => anyhow::bail!("{instance} answered something else"),
        }
    }
    anyhow::ensure!(done, "{}", refused.join("; "));
    Ok(ExitCode::SUCCESS)
}

fn instant(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map(|at| format!("{at:.0}")).unwrap_or_default()
}
