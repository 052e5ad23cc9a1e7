//! `tollbook backtest`: does the log come out again, and what would another policy have done?

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, Table, presets};
use tollbook_backtest::{Busiest, Candidate, Change, Fidelity, Judged, Lineage, Report, Tally};
use tollbook_engine::{Body, BodyRef, EventRef, PolicyHash, Reads, State};
use tollbook_log::Reader;
use tollbook_policy::{Policy, Target};

use crate::arguments::Backtest;
use crate::policy::Source;
use crate::progress::Progress;

pub fn run(arguments: &Backtest) -> anyhow::Result<ExitCode> {
    let mut tried = Vec::new();
    for file in &arguments.candidates {
        let source = Source::read(file)?;
        let read = source.policy_with_places()?;
        let places = read.rules.iter().map(|(rule, span)| (rule.clone(), place(&source, span.start))).collect();
        tried.push(Tried::new(&source.name, read.policy, places)?);
    }
    let (mut text, fidelity) = replay(&arguments.log, &mut tried, arguments.list)?;
    if tried.len() > 1 {
        write_side_by_side(&mut text, &tried)?;
    }
    let mut stopped = false;
    if let Some(fail_on) = &arguments.fail_on {
        for one in tried.iter().filter(|one| fail_on.holds(one)) {
            stopped = true;
            writeln!(text, "\n{}: {fail_on} holds ({})", one.name, fail_on.found(one))?;
        }
    }
    crate::print(&text)?;
    Ok(if fidelity && !stopped { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A candidate with what a report calls it.
pub struct Tried {
    name: String,
    candidate: Candidate,
    /// File and line of each rule.
    places: BTreeMap<String, String>,
    list: Table,
    listed: usize,
}

/// Most changed calls that are named; all are counted.
const LISTED_MAX: usize = 10_000;

impl Tried {
    fn new(name: &str, policy: Policy, places: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let candidate =
            Candidate::new(policy).with_context(|| format!("the policy `{name}` cannot be put in force"))?.retrying();
        let mut list = Table::new();
        list.load_style(presets::ASCII_MARKDOWN);
        list.set_header(["instance", "seq", "session", "tool", "recorded", "candidate", "certainty", "rule"]);
        Ok(Self { name: name.to_owned(), candidate, places, list, listed: 0 })
    }

    fn list(&mut self, instance: &str, event: &EventRef<'_>, judged: &Judged) {
        let Some(record) = event.record() else { return };
        if judged.change() == Change::default() {
            return;
        }
        self.listed += 1;
        if self.listed > LISTED_MAX {
            return;
        }
        let named = |name: Option<&str>| name.map(crate::visible).unwrap_or_default();
        self.list.add_row([
            instance.to_owned(),
            event.seq.to_string(),
            named(record.session),
            named(record.tool),
            judged.recorded.to_string(),
            judged.candidate.to_string(),
            judged.certainty.as_str().to_owned(),
            named(judged.rule.as_deref()),
        ]);
    }
}

/// Line and file of a byte of a policy's text.
fn place(source: &Source, at: usize) -> String {
    let before = source.text.get(..at).unwrap_or(&source.text);
    format!("{}:{}", source.name, before.matches('\n').count() + 1)
}

/// The report as text, and whether the replay of the recorded policies gave back every decision.
pub fn report(log: &Path, name: &str, candidate: Policy) -> anyhow::Result<(String, bool)> {
    replay(log, &mut [Tried::new(name, candidate, BTreeMap::new())?], false)
}

/// Replays the log once, for the recorded policies and for all candidates.
fn replay(log: &Path, tried: &mut [Tried], list: bool) -> anyhow::Result<(String, bool)> {
    let reader = Reader::open(&[log])?;
    let lineage = lineage(&reader)?;
    let mut fidelity = Fidelity::default();
    let mut pruned = 0;
    let mut progress = Progress::over(&reader, 1);
    for instance in reader.instances() {
        begin(&reader, &mut fidelity, instance, &lineage)?;
        pruned += u64::from(reader.first_seq(instance)? > 0);
        tried.iter_mut().for_each(|one| one.candidate.begin(instance, &lineage));
        reader.replay(instance, Reads::ALL)?.each(|event| {
            progress.event();
            take(&reader, &mut fidelity, instance, event)?;
            for one in &mut *tried {
                if let Some(judged) = one.candidate.event(event).filter(|_| list) {
                    one.list(instance, event, &judged);
                }
            }
            anyhow::Ok(ControlFlow::Continue(()))
        })?;
    }
    drop(progress);
    tried.iter_mut().for_each(|one| one.candidate.end());
    let mut text = String::new();
    write_fidelity(&mut text, &fidelity)?;
    for one in &*tried {
        write_report(&mut text, one, pruned)?;
        if list && one.listed > 0 {
            writeln!(text, "\n{}", one.list)?;
            if one.listed > LISTED_MAX {
                writeln!(text, "and {} more", one.listed - LISTED_MAX)?;
            }
        }
    }
    Ok((text, fidelity.different == 0))
}

/// Which instances of a log carry on what others have counted.
pub fn lineage(reader: &Reader) -> anyhow::Result<Lineage> {
    Ok(Lineage::of(&reader.earlier()?.carried))
}

/// Begins an instance, where its first events were pruned with what had been counted by then.
pub fn begin(reader: &Reader, fidelity: &mut Fidelity, instance: &str, lineage: &Lineage) -> anyhow::Result<()> {
    let Some(state) = reader.snapshot(instance)? else {
        fidelity.begin(instance, lineage);
        return Ok(());
    };
    let unreadable = || format!("cannot read the state that `{instance}` was left with when it was pruned");
    for hash in Fidelity::snapshot_policies(&state).with_context(unreadable)? {
        fidelity.policy(hash, recorded_policy(reader, hash)?);
    }
    fidelity.restore(instance, lineage, &state).with_context(unreadable)
}

/// Replays an event of an instance, with the policy that it puts in force, or the state that it carries on.
pub fn take(reader: &Reader, fidelity: &mut Fidelity, instance: &str, event: &EventRef<'_>) -> anyhow::Result<()> {
    if let BodyRef::Other(Body::Carried(carried)) = &event.body {
        let unreadable = || format!("cannot read what `{instance}` carries on from others");
        match reader.carried(instance, event.seq, carried).with_context(unreadable)? {
            Some(state) => fidelity.carried(State::restore(&state, 0).with_context(unreadable)?),
            None if fidelity.lacks_state(event) => bail!("what `{instance}` carries on from others has gone"),
            None => {}
        }
    }
    if let Some(hash) = fidelity.lacks(event) {
        fidelity.policy(hash, recorded_policy(reader, hash)?);
    }
    fidelity.event(event);
    Ok(())
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
            let (recorded, replayed) = (crate::visible(&one.recorded), crate::visible(&one.replayed));
            writeln!(text, "  {} seq {}: recorded {recorded}; replayed {replayed}", one.instance, one.seq)?;
        }
    }
    Ok(())
}

fn write_report(text: &mut String, one: &Tried, pruned: u64) -> std::fmt::Result {
    let report = one.candidate.report();
    let Tally { calls: all, refused_before, refused_after, change, unknown, after_divergence } = report.all;
    let (sessions, touched) = (report.by_session.len(), report.sessions_touched());
    writeln!(text, "\nunder {}: {all} {} in {sessions} sessions", one.name, calls(all))?;
    writeln!(text, "  refused            {refused_before} before, {refused_after} now")?;
    writeln!(text, "  newly refused      {} ({} %)", change.newly_refused, percent(change.newly_refused, all))?;
    writeln!(text, "  newly allowed      {} ({} %)", change.newly_allowed, percent(change.newly_allowed, all))?;
    writeln!(text, "  sessions touched   {touched} of {sessions}")?;
    let exact = report.all.exact();
    writeln!(text, "  certainty          {exact} exact, {after_divergence} after a divergence, {unknown} unknown")?;
    if pruned > 0 {
        writeln!(
            text,
            "  begins empty       in {pruned} pruned {}: what it would have counted before, nobody knows",
            if pruned == 1 { "instance" } else { "instances" }
        )?;
    }
    if report.without_time > 0 {
        writeln!(text, "  without a time     {}: no window can judge them", report.without_time)?;
    }
    if change.newly_refused > 0 {
        write_readings(text, &report)?;
    }
    write_headroom(text, &report)?;
    if change == Change::default() {
        return Ok(());
    }
    let rules = report.by_rule.iter().map(|(rule, change)| {
        let place = one.places.get(rule).map(|place| format!("{rule} ({place})"));
        (place.unwrap_or_else(|| rule.clone()), *change, None)
    });
    write_changes(text, "rule", rules.collect())?;
    for (what, by) in [("tool", &report.by_tool), ("grant", &report.by_grant), ("agent", &report.by_agent)] {
        let rows = by.iter().map(|(name, tally)| (name.clone(), tally.change, Some(tally.calls)));
        let rows: Vec<_> = rows.filter(|(_, change, _)| *change != Change::default()).collect();
        if what == "tool" || by.len() > 1 {
            write_changes(text, what, rows)?;
        }
    }
    Ok(())
}

/// What would have followed nobody knows; three readings of it bound the answer.
fn write_readings(text: &mut String, report: &Report) -> std::fmt::Result {
    let refused = report.all.change.newly_refused;
    let (touched, exposed) = (report.sessions_touched(), report.exposed());
    let top = report.concentration([1, 2, 5, 10]).map(|part| percent(part, refused));
    writeln!(text, "  concentration      top 1, 2, 5, 10 sessions: {} %", top.join(", "))?;
    writeln!(text, "  where              the last call of its session in {} of {touched}", report.ended_there())?;
    writeln!(text, "\n  After a first refusal an agent would have acted differently. Three readings:")?;
    writeln!(text, "    every later call happens as recorded   {refused} refused")?;
    writeln!(text, "    a session stops at its first refusal   {touched} refused, {exposed} later calls never made")?;
    let waits = report.waits;
    let (mean, longest) = (waits.total_us.checked_div(waits.calls).unwrap_or(0), waits.longest_us);
    writeln!(
        text,
        "    a refused call is tried until it fits  {} wait, {} on average, {} at most; {} never pass",
        waits.calls,
        seconds(mean),
        seconds(longest),
        waits.never
    )?;
    let share = percent(exposed, report.all.calls);
    write!(text, "  exposure           {exposed} calls ({share} %) come after a first refusal of their session")?;
    let bounds = u128::from(exposed) * 10 > u128::from(report.all.calls);
    writeln!(text, "{}", if bounds { ": take the figures as bounds" } else { "" })
}

fn seconds(us: u64) -> String {
    format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000)
}

fn write_headroom(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.headroom.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["use of the limit, % of its maximum", "calls", "p50", "p95", "p99", "p99.9", "max"]);
    for (rule, headroom) in &report.headroom {
        let shares = [500, 950, 990, 999, 1_000].map(|per_mille| headroom.within(per_mille).unwrap_or(0) / 100);
        let row = [crate::visible(rule), headroom.calls().to_string()];
        table.add_row(row.into_iter().chain(shares.map(|share| share.to_string())));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["busiest windows", "of", "begins", "used", "max"]);
    for (rule, busiest) in &report.busiest {
        for Busiest { key, window_start_us, used_micros, max_micros } in busiest {
            let begins = jiff::Timestamp::from_microsecond(*window_start_us);
            let begins = begins.map(|begins| format!("{begins:.0}")).unwrap_or_default();
            let key = if key.is_empty() { "everyone".to_owned() } else { crate::visible(key) };
            table.add_row([crate::visible(rule), key, begins, units(*used_micros), units(*max_micros)]);
        }
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")
}

/// Millionths as whole units and what is left over.
fn units(micros: i64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:06}").trim_end_matches('0').to_owned() }
}

fn write_side_by_side(text: &mut String, tried: &[Tried]) -> std::fmt::Result {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["candidate", "newly refused", "newly allowed", "sessions touched", "unknown"]);
    for one in tried {
        let report = one.candidate.report();
        let (change, unknown) = (report.all.change, report.all.unknown);
        let counts = [change.newly_refused, change.newly_allowed, report.sessions_touched(), unknown];
        table.add_row(std::iter::once(one.name.clone()).chain(counts.map(|count| count.to_string())));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")
}

/// When a backtest ends with code 1.
#[derive(Debug, Clone)]
pub struct FailOn {
    text: String,
    metric: Metric,
    or_equal: bool,
    /// A count, or a share in hundredths of a per cent.
    bound: u64,
    share: bool,
}

#[derive(Debug, Clone, Copy)]
enum Metric {
    NewlyRefused,
    NewlyAllowed,
    SessionsTouched,
    Unknown,
}

impl std::str::FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a condition such as `newly_refused > 0.1%` or `sessions_touched >= 3`";
        let (name, bound) = text.split_once('>').ok_or(expected)?;
        let metric = match name.trim() {
            "newly_refused" => Metric::NewlyRefused,
            "newly_allowed" => Metric::NewlyAllowed,
            "sessions_touched" => Metric::SessionsTouched,
            "unknown" => Metric::Unknown,
            other => return Err(format!("unknown figure `{other}`; {expected}")),
        };
        let or_equal = bound.starts_with('=');
        let bound = bound.trim_start_matches('=').trim();
        let number = bound.strip_suffix('%').map(str::trim_end);
        let decimal = tollbook_policy::Decimal::parse(number.unwrap_or(bound)).ok_or(expected)?;
        let micros = decimal.to_micros().and_then(|micros| u64::try_from(micros).ok()).ok_or(expected)?;
        let unit = if number.is_some() { 10_000 } else { 1_000_000 };
        if micros % unit != 0 {
            return Err(format!("`{bound}` is finer than a hundredth of a per cent, or no whole count; {expected}"));
        }
        let share = number.is_some();
        Ok(Self { text: text.to_owned(), metric, or_equal, bound: micros / unit, share })
    }
}

impl std::fmt::Display for FailOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FailOn {
    fn parts(&self, one: &Tried) -> (u64, u64) {
        let report = one.candidate.report();
        let calls = report.all.calls;
        match self.metric {
            Metric::NewlyRefused => (report.all.change.newly_refused, calls),
            Metric::NewlyAllowed => (report.all.change.newly_allowed, calls),
            Metric::SessionsTouched => {
                (report.sessions_touched(), u64::try_from(report.by_session.len()).unwrap_or(u64::MAX))
            }
            Metric::Unknown => (report.all.unknown, calls),
        }
    }

    fn holds(&self, one: &Tried) -> bool {
        let (part, whole) = self.parts(one);
        // As products, so that nothing is rounded.
        let (found, bound) = match self.share {
            true => (u128::from(part) * 10_000, u128::from(self.bound) * u128::from(whole)),
            false => (u128::from(part), u128::from(self.bound)),
        };
        found > bound || (self.or_equal && found == bound)
    }

    fn found(&self, one: &Tried) -> String {
        let (part, whole) = self.parts(one);
        format!("{part} of {whole}, {} %", percent(part, whole))
    }
}

fn write_changes(text: &mut String, what: &str, mut rows: Vec<(String, Change, Option<u64>)>) -> std::fmt::Result {
    rows.sort_by_key(|(_, change, _)| std::cmp::Reverse(change.newly_refused + change.newly_allowed));
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([what, "newly refused", "newly allowed", "calls"]);
    let more = rows.len().saturating_sub(ROWS_MAX);
    for (name, change, calls) in rows.into_iter().take(ROWS_MAX) {
        table.add_row([
            crate::visible(&name),
            change.newly_refused.to_string(),
            change.newly_allowed.to_string(),
            calls.map(|calls| calls.to_string()).unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")?;
    if more > 0 {
        writeln!(text, "and {more} more")?;
    }
    Ok(())
}

/// Most rows of a table by rule, tool, grant or agent: those with the most changes.
const ROWS_MAX: usize = 15;

fn calls(count: u64) -> &'static str {
    if count == 1 { "call" } else { "calls" }
}

/// With two places, cut rather than rounded, so that 100.00 means all.
pub fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
