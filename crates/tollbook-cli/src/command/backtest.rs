//! `tollbook backtest`: does the log come out again, and what would another policy have done?

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use tollbook_backtest::{Candidate, Change, Fidelity, Report, Tally};
use tollbook_engine::PolicyHash;
use tollbook_log::Reader;
use tollbook_policy::{Policy, Target};

use crate::arguments::Backtest;
use crate::policy::Source;

pub fn run(arguments: &Backtest) -> anyhow::Result<ExitCode> {
    let candidate = Source::read(&arguments.candidate)?.policy()?;
    let (text, faithful) = report(&arguments.log, &arguments.candidate.display().to_string(), candidate)?;
    crate::print(&text)?;
    Ok(if faithful { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The report as text, and whether the replay of the recorded policies gave back every decision.
pub fn report(log: &Path, name: &str, candidate: Policy) -> anyhow::Result<(String, bool)> {
    let reader = Reader::open(&[log])?;
    let mut fidelity = Fidelity::default();
    let mut candidate =
        Candidate::new(candidate).with_context(|| format!("the policy `{name}` cannot be put in force"))?;
    for instance in reader.instances() {
        fidelity.begin(instance);
        candidate.begin();
        for event in reader.events(instance)? {
            let event = event?;
            if let Some(hash) = fidelity.lacks(&event) {
                fidelity.policy(hash, recorded_policy(&reader, hash)?);
            }
            fidelity.event(&event);
            candidate.event(&event);
        }
    }
    let mut text = String::new();
    write_fidelity(&mut text, &fidelity)?;
    write_report(&mut text, name, candidate.report())?;
    Ok((text, fidelity.different == 0))
}

/// A policy that judged calls of the log.
fn recorded_policy(reader: &Reader, hash: PolicyHash) -> anyhow::Result<Policy> {
    let json = reader.policy(hash)?;
    let name = format!("policies/{hash}.json");
    let read = tollbook_policy::read(&name, &json, Target::Native)
        .map_err(|errors| anyhow::anyhow!("{}", tollbook_policy::diagnostic::render(&name, &json, &errors, false)))?;
    Ok(read.policy)
}

fn write_fidelity(text: &mut String, fidelity: &Fidelity) -> std::fmt::Result {
    match fidelity.share() {
        Some((same, judged)) => {
            writeln!(text, "fidelity {} % ({same} of {judged})", percent(same, judged))?;
        }
        None if fidelity.imported > 0 => writeln!(text, "fidelity not applicable: nobody's engine judged these calls")?,
        None => writeln!(text, "fidelity not applicable: the log holds no decision")?,
    }
    for (count, what) in [
        (fidelity.unknown, "decided on what the log doesn't hold, so they can't be replayed"),
        (fidelity.by_gateway, "refused by the gateway itself, before any policy was asked"),
        (fidelity.imported, "imported"),
    ] {
        if count > 0 {
            writeln!(text, "  {count} {} {what}", calls(count))?;
        }
    }
    if fidelity.different > 0 {
        writeln!(text, "\nThe replay doesn't give back what was recorded, so what follows isn't to be trusted:")?;
        for one in &fidelity.differences {
            writeln!(text, "  {} seq {}: recorded {}; replayed {}", one.instance, one.seq, one.recorded, one.replayed)?;
        }
    }
    Ok(())
}

fn write_report(text: &mut String, name: &str, report: &Report) -> std::fmt::Result {
    let Tally { calls: all, refused_before, refused_after, change, unknown, after_divergence } = report.all;
    writeln!(text, "\nunder {name}: {all} {} in {} sessions", calls(all), report.sessions.len())?;
    writeln!(text, "  refused            {refused_before} before, {refused_after} now")?;
    writeln!(text, "  newly refused      {} ({} %)", change.newly_refused, percent(change.newly_refused, all))?;
    writeln!(text, "  newly allowed      {} ({} %)", change.newly_allowed, percent(change.newly_allowed, all))?;
    writeln!(text, "  sessions touched   {} of {}", report.sessions_touched.len(), report.sessions.len())?;
    let exact = report.all.exact();
    writeln!(text, "  certainty          {exact} exact, {after_divergence} after a divergence, {unknown} unknown")?;
    if report.without_time > 0 {
        writeln!(text, "  without a time     {}: no window can judge them", report.without_time)?;
    }
    if after_divergence > 0 {
        let caveat = "After a first refusal an agent would have acted differently; calls after a divergence are told as recorded.";
        writeln!(text, "\n{caveat}")?;
    }
    if change == Change::default() {
        return Ok(());
    }
    let rules = report.by_rule.iter().map(|(rule, change)| (rule.as_str(), *change, None));
    write_changes(text, "rule", rules.collect())?;
    let tools = report.by_tool.iter().map(|(tool, tally)| (tool.as_str(), tally.change, Some(tally.calls)));
    write_changes(text, "tool", tools.filter(|(_, change, _)| *change != Change::default()).collect())
}

fn write_changes(text: &mut String, what: &str, mut rows: Vec<(&str, Change, Option<u64>)>) -> std::fmt::Result {
    rows.sort_by_key(|(_, change, _)| std::cmp::Reverse(change.newly_refused + change.newly_allowed));
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([what, "newly refused", "newly allowed", "calls"]);
    for (name, change, calls) in rows {
        table.add_row([
            crate::visible(name),
            change.newly_refused.to_string(),
            change.newly_allowed.to_string(),
            calls.map(|calls| calls.to_string()).unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")
}

fn calls(count: u64) -> &'static str {
    if count == 1 { "call" } else { "calls" }
}

/// With two places, cut rather than rounded, so that 100.00 means all.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
