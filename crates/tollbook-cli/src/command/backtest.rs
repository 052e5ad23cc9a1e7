//! `tollbook backtest`: does the log come out again, and what would another policy have done?

mod fail_on;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, Table, presets};
use tollbook_backtest::{Busiest, Candidate, Caught, Change, Fidelity, Judged, Lineage, Loops, Report, Tally};
use tollbook_engine::{Body, BodyRef, EventRef, PolicyHash, Reads, State};
use tollbook_log::Reader;
use tollbook_policy::{Policy, Target};

use crate::arguments::Backtest;
use crate::policy::Source;
use crate::progress::Progress;

pub use fail_on::FailOn;

pub fn run(arguments: &Backtest) -> anyhow::Result<ExitCode> {
    let mut tried = Vec::new();
    for file in &arguments.candidates {
        let source = Source::read(file)?;
        let read = source.policy_with_places()?;
        let places = read.rules.iter().map(|(rule, span)| (rule.clone(), place(&source, span.start))).collect();
        tried.push(Tried::new(&source.name, read.policy, places)?);
    }
    let mut loops = loops_of(&arguments.log)?;
    let (mut text, fidelity) = replay(&arguments.log, &mut tried, &mut loops, arguments.list)?;
    if tried.len() > 1 {
        write_side_by_side(&mut text, &tried, &loops)?;
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
    caught: Caught,
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
        Ok(Self { name: name.to_owned(), candidate, caught: Caught::default(), places, list, listed: 0 })
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
            // What let a call through is no rule: then the one that refused it is told.
            named(judged.rule.as_deref().or(record.rule)),
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
    replay(log, &mut [Tried::new(name, candidate, BTreeMap::new())?], &mut loops_of(log)?, false)
}

/// The loops of a log, where this program can tell what a loop is.
#[cfg(feature = "query")]
fn loops_of(log: &Path) -> anyhow::Result<Option<Loops>> {
    super::evidence::known_loops(log).map(Some)
}

#[cfg(not(feature = "query"))]
#[expect(clippy::unnecessary_wraps, reason = "with SQL it reads the log, and that may fail")]
fn loops_of(_: &Path) -> anyhow::Result<Option<Loops>> {
    Ok(None)
}

/// Replays the log once, for the recorded policies and for all candidates.
fn replay(log: &Path, tried: &mut [Tried], loops: &mut Option<Loops>, list: bool) -> anyhow::Result<(String, bool)> {
    let reader = Reader::open(&[log])?;
    let lineage = lineage(&reader)?;
    let mut fidelity = Fidelity::default();
    let mut pruned = 0;
    let mut progress = Progress::over(&reader, 1);
    for instance in reader.instances() {
        begin(&reader, &mut fidelity, instance, &lineage)?;
        pruned += u64::from(reader.first_seq(instance)? > 0);
        tried.iter_mut().for_each(|one| one.candidate.begin(instance, &lineage));
        loops.iter_mut().for_each(|loops| loops.begin(instance));
        reader.replay(instance, Reads::ALL)?.each(|event| {
            progress.event();
            take(&reader, &mut fidelity, instance, event)?;
            let place = loops.as_mut().map(|loops| loops.event(event));
            for one in &mut *tried {
                let Some(judged) = one.candidate.event(event) else { continue };
                place.iter().for_each(|place| one.caught.add(*place, &judged));
                if list {
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
        write_report(&mut text, one, loops.as_ref(), pruned)?;
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

fn write_report(text: &mut String, one: &Tried, loops: Option<&Loops>, pruned: u64) -> std::fmt::Result {
    let report = one.candidate.report();
    let Tally { calls: all, refused_before, refused_after, change, unknown, after_divergence } = report.all;
    let (sessions, touched) = (report.sessions, report.sessions_touched());
    writeln!(text, "\nunder {}: {all} {} in {sessions} {}", one.name, calls(all), plural(sessions))?;
    writeln!(text, "  refused            {refused_before} before, {refused_after} now")?;
    writeln!(text, "  newly refused      {} ({} %)", change.newly_refused, percent(change.newly_refused, all))?;
    writeln!(text, "  newly allowed      {} ({} %)", change.newly_allowed, percent(change.newly_allowed, all))?;
    writeln!(text, "  sessions touched   {touched} of {sessions}")?;
    if let Some(loops) = loops {
        writeln!(text, "  loops stopped      {}", stopped(&one.caught, loops))?;
    }
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
    let parts = [
        ("tool", &report.by_tool),
        ("category", &report.by_category),
        ("grant", &report.by_grant),
        ("agent", &report.by_agent),
    ];
    for (what, by) in parts {
        let rows = by.iter().map(|(name, tally)| (name.clone(), tally.change, Some(tally.calls)));
        let rows: Vec<_> = rows.filter(|(_, change, _)| *change != Change::default()).collect();
        if what == "tool" || by.len() > 1 {
            write_changes(text, what, rows)?;
        }
    }
    write_sessions(text, &report)
}

/// How many loops a candidate stops, and how long those went on for.
fn stopped(caught: &Caught, loops: &Loops) -> String {
    let (stopped, all) = (caught.loops, loops.all());
    let polls = match caught.polls {
        0 => String::new(),
        polls => format!(", {polls} of them of the look of polling"),
    };
    match stopped {
        0 => format!("0 of {all}"),
        _ => {
            let wasted = caught.wasted;
            format!("{stopped} of {all}{polls}; they went on for {wasted} {} afterwards", calls(wasted))
        }
    }
}

/// The sessions with the most changes, and where each is refused for the first time.
fn write_sessions(text: &mut String, report: &Report) -> std::fmt::Result {
    let mut rows: Vec<_> = report.by_session.iter().collect();
    rows.sort_by_key(|(_, one)| std::cmp::Reverse(one.changes()));
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["session", "newly refused", "newly allowed", "calls", "first refused"]);
    let more = rows.len().saturating_sub(ROWS_MAX);
    for (name, one) in rows.into_iter().take(ROWS_MAX) {
        table.add_row([
            crate::visible(name),
            one.newly_refused.to_string(),
            one.newly_allowed.to_string(),
            one.calls.to_string(),
            one.first_refused.map(|first| format!("call {first}")).unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        return Ok(());
    }
    write_table(text, &mut table, more)
}

/// A table of which all columns but the first are numbers, and how many rows it leaves out.
fn write_table(text: &mut String, table: &mut Table, more: usize) -> std::fmt::Result {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "\n{table}")?;
    if more > 0 {
        writeln!(text, "and {more} more")?;
    }
    Ok(())
}

/// What would have followed nobody knows; three readings of it bound the answer.
fn write_readings(text: &mut String, report: &Report) -> std::fmt::Result {
    let refused = report.all.change.newly_refused;
    let (touched, exposed) = (report.sessions_touched(), report.exposed());
    let top = report.concentration([1, 2, 5, 10]).map(|part| percent(part, refused));
    writeln!(text, "  concentration      top 1, 2, 5, 10 sessions: {} %", top.join(", "))?;
    let quarters = report.by_quarter().map(|sessions| sessions.to_string()).join(", ");
    writeln!(
        text,
        "  where              sessions first refused in their 1st, 2nd, 3rd, 4th quarter: {quarters}; at their last call: {}",
        report.ended_there()
    )?;
    writeln!(text, "\n  After a first refusal an agent would have acted differently. Three readings:")?;
    writeln!(text, "    every later call happens as recorded   {refused} refused")?;
    writeln!(text, "    a session stops at its first refusal   {touched} refused, {exposed} later calls never made")?;
    let waits = report.waits;
    let (mean, longest) = (waits.total_us.checked_div(waits.calls).unwrap_or(0), waits.longest_us);
    writeln!(
        text,
        "    a refused call is tried until it fits  {} wait, {} on average, {} at most; {} never pass",
        waits.calls,
        length(mean),
        length(longest),
        waits.never
    )?;
    let share = percent(exposed, report.all.calls);
    write!(text, "  exposure           {exposed} calls ({share} %) come after a first refusal of their session")?;
    let bounds = u128::from(exposed) * 10 > u128::from(report.all.calls);
    writeln!(text, "{}", if bounds { ": more than 10 %, so take these figures as bounds" } else { "" })
}

/// A length of time in the largest unit of which it has two, with one place that is cut.
fn length(us: u64) -> String {
    let units = [(3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s")];
    let found = units.into_iter().find(|(unit_us, _)| us / unit_us >= 2);
    let (unit_us, name) = found.unwrap_or((1_000_000, "s"));
    format!("{}.{} {name}", us / unit_us, us % unit_us * 10 / unit_us)
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

fn write_side_by_side(text: &mut String, tried: &[Tried], loops: &Option<Loops>) -> std::fmt::Result {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let head = ["candidate", "newly refused", "newly allowed", "sessions touched", "unknown"];
    table.set_header(head.into_iter().chain(loops.iter().map(|_| "loops stopped")));
    for one in tried {
        let report = one.candidate.report();
        let (change, unknown) = (report.all.change, report.all.unknown);
        let counts = [change.newly_refused, change.newly_allowed, report.sessions_touched(), unknown];
        let counts = counts.into_iter().chain(loops.iter().map(|_| one.caught.loops));
        table.add_row(std::iter::once(one.name.clone()).chain(counts.map(|count| count.to_string())));
    }
    write_table(text, &mut table, 0)
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
    write_table(text, &mut table, more)
}

/// Most rows of a table by rule, tool, category, grant, agent or session: those with the most changes.
const ROWS_MAX: usize = 15;

fn plural(sessions: u64) -> &'static str {
    if sessions == 1 { "session" } else { "sessions" }
}

fn calls(count: u64) -> &'static str {
    if count == 1 { "call" } else { "calls" }
}

/// With two places, cut rather than rounded, so that 100.00 means all.
pub fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
