//! `tollbook report html`: a page for the person who decides.
//!
//! One file that works from disk and asks the network for nothing. What a dragged limit refuses is looked up
//! in counts that stand in the page, the same that a sweep counts by, so it is exact.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use tollbook_backtest::{
    Candidate, Columns, Fidelity, Grid, Label, Layout, Lineage, Report, Sweep, a_person_would_write,
};
use tollbook_engine::{EventRef, Reads};
use tollbook_log::Reader;
use tollbook_policy::Category;
use tollbook_policy::policy::{Scope, Selector};

use crate::arguments::query::Html as Arguments;
use crate::command::backtest;
use crate::command::evidence::{LabelSource, Labels, Read, each_event};
use crate::command::query;
use crate::command::sweep::selector;
use crate::policy::Source;

const PAGE: &str = include_str!("html/page.html");
const SCRIPT: &str = include_str!("html/page.js");
const STYLE: &str = include_str!("html/page.css");

/// Most bars of the chart of rates.
const BUCKETS_MAX: i64 = 400;
/// Most keys that are drawn for a limit; all are counted.
const KEYS_MAX: usize = 80;
/// Most tools that can be chosen, those with the most calls.
const TOOLS_MAX: usize = 100;
/// Most loops that are drawn, the longest.
const LOOPS_MAX: usize = 30;

const WINDOWS: [(&str, i64); 3] = [("minute", 60_000_000), ("hour", 3_600_000_000), ("day", 86_400_000_000)];
const SCOPES: [(&str, Scope); 3] = [("session", Scope::Session), ("grant", Scope::Grant), ("agent", Scope::Agent)];
const CATEGORIES: [&str; 5] = ["read", "write", "execute", "destructive", "financial"];

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut tried = Vec::new();
    for file in &arguments.candidates {
        let source = Source::read(file)?;
        let candidate = Candidate::new(source.policy()?)
            .with_context(|| format!("the policy `{}` cannot be put in force", source.name))?;
        tried.push((source.name, candidate, 0));
    }
    let mut labels = Labels::of(&arguments.log, &arguments.label)?;
    let reader = Reader::open(&[&arguments.log])?;
    let (mut columns, mut rates) = (Columns::default(), Rates::default());
    let mut by_tool: BTreeMap<String, u64> = BTreeMap::new();
    let reads = tried.iter().fold(Columns::READS, |reads, (_, candidate, _)| reads.and(candidate.reads()));
    let lineage = backtest::lineage(&reader)?;
    each_event(&reader, &lineage, reads, &mut labels, &mut |read| {
        match read {
            Read::Instance(instance, lineage) => {
                columns.begin(instance, lineage);
                tried.iter_mut().for_each(|(_, candidate, _)| candidate.begin(instance, lineage));
            }
            Read::Event(event, label) => {
                columns.event(event, label);
                rates.event(event, label);
                if let Some(tool) = event.record().and_then(|record| record.tool) {
                    *by_tool.entry(tool.to_owned()).or_default() += 1;
                }
                for (_, candidate, bad) in &mut tried {
                    let judged = candidate.event(event).filter(|_| label == Label::Bad);
                    *bad += judged.map_or(0, |judged| judged.change().newly_refused);
                }
            }
        }
        Ok(())
    })?;
    let fidelity = fidelity(&reader, &lineage)?;
    let data = json!({
        "log": arguments.log.display().to_string(),
        "label": arguments.label.to_string(),
        "by_loops": matches!(arguments.label, LabelSource::Loops),
        "clean": labels.clean,
        "bad": labels.bad,
        "sessions": columns.sessions(),
        "fidelity": fidelity,
        "rates": rates.json(),
        "subjects": subjects(&columns, by_tool),
        "frontier": frontier(&columns)?,
        "loops": loops(&arguments.log)?,
        "candidates": tried.iter().map(|(name, tried, bad)| candidate(name, &tried.report(), *bad)).collect::<Vec<_>>(),
    });
    std::fs::write(&arguments.output, page(&data)?)
        .with_context(|| format!("cannot write `{}`", arguments.output.display()))?;
    crate::print(&format!("written to {}\n", arguments.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The page with all that it needs.
fn page(data: &Value) -> anyhow::Result<String> {
    // Names come from servers and logs: nothing in them may end the element that holds them.
    let data = serde_json::to_string(data).context("cannot write JSON")?.replace('<', "\\u003c");
    let charts = plotly::Plot::offline_js_sources();
    // The library comes with a second one, for formulas.
    let charts = charts.split_inclusive("</script>").find(|script| script.contains("plotly.js v"));
    let charts = charts.context("the library for charts isn't as it was")?;
    let mut page = String::with_capacity(charts.len() + data.len() + PAGE.len() + SCRIPT.len() + STYLE.len());
    let mut rest = PAGE;
    for (mark, text) in
        [("{{style}}", STYLE), ("{{charts}}", charts), ("{{data}}", data.as_str()), ("{{script}}", SCRIPT)]
    {
        let (before, after) = rest.split_once(mark).with_context(|| format!("the page has no {mark}"))?;
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn fidelity(reader: &Reader, lineage: &Lineage) -> anyhow::Result<Value> {
    let mut fidelity = Fidelity::default();
    for instance in reader.instances() {
        backtest::begin(reader, &mut fidelity, instance, lineage)?;
        reader.replay(instance, Reads::ALL)?.each(|event| {
            backtest::take(reader, &mut fidelity, instance, event)?;
            anyhow::Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(match fidelity.share() {
        Some((same, judged)) => json!({ "same": same, "judged": judged, "percent": backtest::percent(same, judged) }),
        None => json!({ "imported": fidelity.imported }),
    })
}

/// Calls by minute and category.
#[derive(Default)]
struct Rates {
    minutes: BTreeMap<i64, [u64; CATEGORIES.len()]>,
    bad: BTreeMap<i64, u64>,
    without_time: u64,
}

impl Rates {
    fn event(&mut self, event: &EventRef<'_>, label: Label) {
        let Some(record) = event.record() else { return };
        let Some(at_us) = event.ts_us else {
            self.without_time += 1;
            return;
        };
        let minute = at_us.div_euclid(60_000_000);
        let category = record.category.or_else(|| Some(Category::by_name(record.tool?).name()));
        let place = CATEGORIES.iter().position(|name| Some(*name) == category);
        if let Some(count) = place.and_then(|place| self.minutes.entry(minute).or_default().get_mut(place)) {
            *count += 1;
        }
        if label == Label::Bad {
            *self.bad.entry(minute).or_default() += 1;
        }
    }

    /// In buckets of the shortest length that leaves few enough of them, or else in weeks.
    fn json(&self) -> Value {
        let lengths = [("minute", 1), ("hour", 60), ("day", 1_440), ("week", 10_080)];
        let (first, last) = (self.minutes.keys().next(), self.minutes.keys().next_back());
        let span = first.zip(last).map_or(0, |(first, last)| last - first);
        let fits = lengths.iter().find(|(_, length)| span / length < BUCKETS_MAX);
        let (name, length) = fits.or(lengths.last()).copied().unwrap_or(("week", 10_080));
        let mut buckets: BTreeMap<i64, ([u64; CATEGORIES.len()], u64)> = BTreeMap::new();
        for (minute, counts) in &self.minutes {
            let (sums, bad) = buckets.entry(minute.div_euclid(length)).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            *bad += self.bad.get(minute).copied().unwrap_or(0);
        }
        let at = |bucket: &i64| bucket * length * 60_000;
        let series = |place: usize| -> Vec<u64> {
            buckets.values().map(|(counts, _)| counts.get(place).copied().unwrap_or(0)).collect()
        };
        let by_category: BTreeMap<&str, Vec<u64>> =
            CATEGORIES.iter().enumerate().map(|(place, name)| (*name, series(place))).collect();
        json!({
            "bucket": name,
            "at_ms": buckets.keys().map(at).collect::<Vec<_>>(),
            "by_category": by_category,
            "bad": buckets.values().map(|(_, bad)| *bad).collect::<Vec<_>>(),
            "without_time": self.without_time,
        })
    }
}

/// What a limit can be dragged for: all tools, each category, each tool.
fn subjects(columns: &Columns, by_tool: BTreeMap<String, u64>) -> Vec<Value> {
    let mut tools: Vec<(String, u64)> = by_tool.into_iter().collect();
    tools.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let all = std::iter::once(("all tools".to_owned(), "all tools { %s }".to_owned(), Vec::new()));
    let categories = columns.categories().into_iter().map(|name| {
        let clause = format!("group {name}_calls of category {name} {{ %t }}");
        (format!("category {name}"), clause, vec![Selector::Category(name.to_owned())])
    });
    let tools = tools.into_iter().take(TOOLS_MAX).map(|(tool, _)| {
        let clause = format!("tool {} {{ %s }}", selector(&tool));
        (crate::visible(&tool), clause, vec![Selector::Name(tool)])
    });
    let subjects = all.chain(categories).chain(tools);
    subjects
        .map(|(name, clause, of)| {
            let lines: Vec<Value> = SCOPES
                .iter()
                .filter_map(|(scope_name, scope)| Some((scope_name, scope, columns.lay_out(&of, *scope).ok()?)))
                // One key alone says nothing of the others.
                .filter(|(_, scope, layout)| layout.keys() > 1 || (**scope == Scope::Session && layout.calls() > 0))
                .flat_map(|(scope_name, scope, layout)| {
                    WINDOWS.map(|(window, length_us)| line(columns, &layout, (window, length_us), (scope_name, *scope)))
                })
                .collect();
            let why = columns.lay_out(&of, Scope::Session).err().map(|inexact| format!("{inexact:?}"));
            json!({ "name": name, "clause": clause, "lines": lines, "inexact": why })
        })
        .collect()
}

/// One window and scope: what each maximum refuses, and the busiest keys.
fn line(
    columns: &Columns,
    layout: &Layout,
    (window, length_us): (&str, i64),
    (scope_name, scope): (&str, Scope),
) -> Value {
    let counts = layout.plain(&[length_us], 1).remove(0);
    let steps: Vec<Value> = counts
        .steps()
        .into_iter()
        .map(|(max, refused)| json!([max, refused.clean, refused.bad, refused.sessions, refused.stuck]))
        .collect();
    let busiest = layout.busiest(length_us);
    let keys: Vec<Value> = busiest
        .iter()
        .take(KEYS_MAX)
        .map(|busy| {
            let name = crate::visible(columns.name(scope, busy.value));
            json!([name, busy.start_us / 1_000, busy.clean, busy.calls])
        })
        .collect();
    let (clean, bad) = layout.labels();
    json!({
        "window": window,
        "scope": scope_name,
        "steps": steps,
        "highest": counts.highest(),
        "keys": keys,
        "keys_in_all": busiest.len(),
        "clean": clean,
        "bad": bad,
        "unknown": layout.unknown,
    })
}

/// The points of a sweep over all tools.
fn frontier(columns: &Columns) -> anyhow::Result<Value> {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let grid = Grid {
        of: "all tools".to_owned(),
        windows: text(&["minute", "hour", "day", "rolling minute", "rolling hour"]),
        scopes: text(&["session"]),
        breakers: Vec::new(),
        maxima: a_person_would_write(1, 1_000),
    };
    let mut sweep = Sweep::new(&grid)?;
    if sweep.count(columns, 1) > 0 {
        return Ok(Value::Null);
    }
    let points = sweep.points();
    Ok(points
        .iter()
        .map(|point| {
            json!({
                "clause": point.clause,
                "clean": point.refused_clean,
                "bad": point.refused_bad,
                "sessions": point.sessions_touched,
                "frontier": point.frontier,
                "plateau": point.plateau,
            })
        })
        .collect())
}

fn loops(log: &std::path::Path) -> anyhow::Result<Value> {
    let sql = format!(
        "SELECT session, start_in_session, period, repeats, calls, wasted_calls, array_to_string(tools, ' ') AS tools, \
         results, span, still_running FROM loops() ORDER BY wasted_calls DESC, session, start_in_session LIMIT {LOOPS_MAX}"
    );
    let mut bytes = Vec::new();
    tollbook_query::output::write(&query::ask(log, &sql)?, tollbook_query::output::Format::Json, &mut bytes)?;
    serde_json::from_slice(&bytes).context("cannot read the loops")
}

/// A candidate's report; `bad` of the calls that it newly refuses are bad.
fn candidate(name: &str, report: &Report, bad: u64) -> Value {
    let headroom: Vec<Value> = report
        .headroom
        .iter()
        .map(|(rule, headroom)| {
            let shares = [500, 950, 990, 999, 1_000].map(|per_mille| headroom.within(per_mille).unwrap_or(0) / 100);
            json!({ "rule": crate::visible(rule), "calls": headroom.calls(), "shares": shares })
        })
        .collect();
    let rules: Vec<Value> = report
        .by_rule
        .iter()
        .map(|(rule, change)| json!([crate::visible(rule), change.newly_refused, change.newly_allowed]))
        .collect();
    json!({
        "name": name,
        "calls": report.all.calls,
        "newly_refused": report.all.change.newly_refused,
        "newly_refused_bad": bad,
        "newly_allowed": report.all.change.newly_allowed,
        "sessions_touched": report.sessions_touched(),
        "sessions": report.sessions,
        "exact": report.all.exact(),
        "after_divergence": report.all.after_divergence,
        "unknown": report.all.unknown,
        "exposed": report.exposed(),
        "headroom": headroom,
        "rules": rules,
    })
}
