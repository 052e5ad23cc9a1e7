//! `tollbook sweep`: one clause at many maxima, and what each would have refused.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use tollbook_backtest::{Columns, Grid, Point, Sweep, a_person_would_write};
use tollbook_log::Reader;

use super::backtest::lineage;
use super::evidence::{LabelSource, Labels, Read, each_event};
use crate::arguments::query::Sweep as Arguments;

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let breakers = arguments.breaker.iter().map(|what| format!("{what} within {}", arguments.within)).collect();
    // Breakers are tried alone unless windows are asked for.
    let windows = match (&arguments.per[..], &arguments.breaker[..]) {
        ([], []) => vec!["minute".to_owned(), "rolling 1m".to_owned()],
        (per, _) => per.iter().map(|window| window.replacen("rolling:", "rolling ", 1)).collect(),
    };
    let maxima = arguments.max.0.clone();
    let grid = Grid { of: chosen(arguments), windows, scopes: arguments.scope.clone(), breakers, maxima };
    let mut sweep = Sweep::new(&grid)?;
    let mut labels = Labels::of(&arguments.log, &arguments.label)?;
    let reader = Reader::open(&[&arguments.log])?;
    let lineage = lineage(&reader)?;
    let mut columns = Columns::default();
    each_event(&reader, &lineage, Columns::READS, &mut labels, &mut |read| {
        match read {
            Read::Instance(instance, lineage) => columns.begin(instance, lineage),
            Read::Event(event, label) => columns.event(event, label),
        }
        Ok(())
    })?;
    let counted = sweep.calls(&columns);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if sweep.count(&columns, threads) > 0 {
        each_event(&reader, &lineage, sweep.reads(), &mut labels, &mut |read| {
            match read {
                Read::Instance(instance, lineage) => sweep.begin(instance, lineage),
                Read::Event(event, label) => sweep.event(event, label),
            }
            Ok(())
        })?;
    }
    let points = sweep.points();
    let text = match arguments.json {
        true => json(&arguments.label, counted, &points)?,
        false => page(&grid.of, &arguments.label, counted, &points, arguments.all)?,
    };
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn chosen(arguments: &Arguments) -> String {
    match (&arguments.tool[..], &arguments.category) {
        ([], None) => "all tools".to_owned(),
        ([], Some(category)) => format!("category {category}"),
        (tools, _) => tools.iter().map(|tool| selector(tool)).collect::<Vec<_>>().join(", "),
    }
}

/// A tool's name or pattern as a policy writes it.
pub fn selector(tool: &str) -> String {
    let plain = tool.chars().all(|c| c.is_ascii_alphanumeric() || "_*".contains(c));
    let begins = tool.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain && begins { tool.to_owned() } else { tollbook_policy::json::quote(tool) }
}

fn page(
    of: &str,
    source: &LabelSource,
    (clean, bad): (u64, u64),
    points: &[Point],
    all: bool,
) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "clauses for {of}, over {} calls: {clean} clean, {bad} bad", clean + bad)?;
    writeln!(text, "({source})\n")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["clause", "clean refused", "%", "sessions", "bad stopped", "%", ""]);
    for point in points.iter().filter(|point| all || point.frontier || point.plateau) {
        let mark = match (point.frontier, point.plateau) {
            (true, true) => "frontier, plateau",
            (true, false) => "frontier",
            (false, true) => "plateau",
            (false, false) => "dominated",
        };
        table.add_row([
            point.clause.clone(),
            point.refused_clean.to_string(),
            super::backtest::percent(point.refused_clean, clean),
            point.sessions_touched.to_string(),
            point.refused_bad.to_string(),
            super::backtest::percent(point.refused_bad, bad),
            mark.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if !table.is_empty() {
        writeln!(text, "{table}\n")?;
    }
    let hidden = points.iter().filter(|point| !all && !point.frontier && !point.plateau).count();
    if hidden > 0 {
        writeln!(text, "{hidden} that stop nothing, or that another clause outdoes: --all shows them")?;
    }
    let unknown = points.iter().map(|point| point.unknown).max().unwrap_or(0);
    if unknown > 0 {
        writeln!(text, "{unknown} calls can't be judged, for want of a time or a session")?;
    }
    if bad > 0 && points.iter().all(|point| point.refused_bad == 0) {
        writeln!(text, "none of these clauses stops a bad call")?;
    }
    if bad == 0 {
        writeln!(text, "no call is bad, so this log doesn't tell what a clause would be good for")?;
    }
    Ok(text)
}

fn json(source: &LabelSource, (clean, bad): (u64, u64), points: &[Point]) -> anyhow::Result<String> {
    let points: Vec<_> = points
        .iter()
        .map(|point| {
            serde_json::json!({
                "clause": point.clause,
                "max": point.max,
                "refused_clean": point.refused_clean,
                "refused_bad": point.refused_bad,
                "sessions_touched": point.sessions_touched,
                "sessions_stopped": point.sessions_stopped,
                "unknown": point.unknown,
                "frontier": point.frontier,
                "plateau": point.plateau,
                "policy": point.policy,
            })
        })
        .collect();
    let page = serde_json::json!({ "label": source.to_string(), "clean": clean, "bad": bad, "points": points });
    Ok(serde_json::to_string_pretty(&page).context("cannot write JSON")? + "\n")
}

/// Maxima to try, as `1..200` or `5,10,20`.
#[derive(Debug, Clone)]
pub struct Maxima(pub Vec<u64>);

impl std::str::FromStr for Maxima {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let found: Option<u64> = text.trim().parse().ok().filter(|max| (1..=1_000_000_000).contains(max));
            found.ok_or_else(|| format!("expected a whole number from 1 to 1000000000; found `{text}`"))
        };
        let mut maxima = match text.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(format!("`{text}` ends before it begins"));
                }
                let mut maxima = a_person_would_write(first, last);
                maxima.extend([first, last]);
                maxima
            }
            None => text.split(',').map(number).collect::<Result<_, _>>()?,
        };
        maxima.sort_unstable();
        maxima.dedup();
        Ok(Self(maxima))
    }
}
