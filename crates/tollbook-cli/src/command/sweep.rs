//! `tollbook sweep`: one limit at many maxima, and what each would have refused.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use tollbook_backtest::{Grid, Label, Point, Sweep};
use tollbook_engine::Body;
use tollbook_log::Reader;

use super::query;
use crate::arguments::Sweep as Arguments;

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let grid = Grid {
        of: chosen(arguments),
        windows: arguments.per.iter().map(|window| window.replacen("rolling:", "rolling ", 1)).collect(),
        scopes: arguments.scope.clone(),
        maxima: arguments.max.0.clone(),
    };
    let mut sweep = Sweep::new(&grid)?;
    let loops = Loops::of(&arguments.log)?;
    let reader = Reader::open(&[&arguments.log])?;
    let mut counted = Counted::default();
    for instance in reader.instances() {
        sweep.begin();
        let mut places: BTreeMap<String, u64> = BTreeMap::new();
        for event in reader.events(instance)? {
            let event = event?;
            let record = if let Body::Decision(record) = &event.body { Some(&**record) } else { None };
            let label = match record.and_then(|record| record.session.as_ref()) {
                Some(session) => {
                    let place = places.entry(session.clone()).or_default();
                    let label = loops.label(instance, session, *place);
                    *place += 1;
                    label
                }
                None => Label::Clean,
            };
            if record.is_some() {
                counted.add(label);
            }
            sweep.event(&event, record, label);
        }
    }
    let points = sweep.points();
    let text = match arguments.json {
        true => json(&counted, &points)?,
        false => page(&grid.of, &counted, &points, arguments.all)?,
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
fn selector(tool: &str) -> String {
    let plain = tool.chars().all(|c| c.is_ascii_alphanumeric() || "_*".contains(c));
    let begins = tool.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain && begins { tool.to_owned() } else { tollbook_policy::json::quote(tool) }
}

/// How many calls there are of each kind.
#[derive(Default)]
struct Counted {
    clean: u64,
    looping: u64,
}

impl Counted {
    fn add(&mut self, label: Label) {
        match label {
            Label::Clean => self.clean += 1,
            Label::Loop => self.looping += 1,
        }
    }
}

/// The calls of loops, without each loop's first block: what would have been saved.
struct Loops(BTreeMap<(String, String), Vec<(u64, u64)>>);

impl Loops {
    fn of(log: &std::path::Path) -> anyhow::Result<Self> {
        let sql = "SELECT instance, session, start_in_session + period AS first, \
                   start_in_session + calls AS after FROM loops()";
        let mut loops: BTreeMap<_, Vec<(u64, u64)>> = BTreeMap::new();
        for row in tollbook_query::output::texts(&query::ask(log, sql)?)? {
            let [instance, session, first, after] =
                row.try_into().map_err(|_| anyhow::anyhow!("loops() has changed"))?;
            let number = |text: String| text.parse().with_context(|| format!("`{text}` is no place in a session"));
            loops.entry((instance, session)).or_default().push((number(first)?, number(after)?));
        }
        Ok(Self(loops))
    }

    fn label(&self, instance: &str, session: &str, place: u64) -> Label {
        let found = self.0.get(&(instance.to_owned(), session.to_owned()));
        let inside = |ranges: &Vec<(u64, u64)>| ranges.iter().any(|(first, after)| (*first..*after).contains(&place));
        if found.is_some_and(inside) { Label::Loop } else { Label::Clean }
    }
}

fn page(of: &str, counted: &Counted, points: &[Point], all: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    let Counted { clean, looping } = counted;
    writeln!(text, "limits of {of}, over {} calls: {clean} clean, {looping} repeated by a loop", clean + looping)?;
    writeln!(text, "(clean is every call but those of a loop after its first block, as `loops()` finds them)\n")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["clause", "clean refused", "%", "sessions", "loop calls stopped", "%", ""]);
    for point in points.iter().filter(|point| all || point.frontier || point.plateau) {
        let mark = match (point.frontier, point.plateau) {
            (true, true) => "frontier, plateau",
            (true, false) => "frontier",
            (false, true) => "plateau",
            (false, false) => "dominated",
        };
        table.add_row([
            format!("limit {} {}", point.max, point.line),
            point.refused_clean.to_string(),
            super::backtest::percent(point.refused_clean, *clean),
            point.sessions_touched.len().to_string(),
            point.refused_loop.to_string(),
            super::backtest::percent(point.refused_loop, *looping),
            mark.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "{table}")?;
    let hidden = points.iter().filter(|point| !all && !point.frontier && !point.plateau).count();
    if hidden > 0 {
        writeln!(text, "\n{hidden} more that another limit outdoes: --all shows them")?;
    }
    let unknown = points.iter().map(|point| point.unknown).max().unwrap_or(0);
    if unknown > 0 {
        writeln!(text, "{unknown} calls can't be judged, for want of a time or a session")?;
    }
    if *looping == 0 {
        writeln!(text, "there is no loop in this log, so it doesn't tell what a limit would be good for")?;
    }
    Ok(text)
}

fn json(counted: &Counted, points: &[Point]) -> anyhow::Result<String> {
    let points: Vec<_> = points
        .iter()
        .map(|point| {
            serde_json::json!({
                "clause": format!("limit {} {}", point.max, point.line),
                "max": point.max,
                "refused_clean": point.refused_clean,
                "refused_loop": point.refused_loop,
                "sessions_touched": point.sessions_touched.len(),
                "unknown": point.unknown,
                "frontier": point.frontier,
                "plateau": point.plateau,
                "policy": point.policy,
            })
        })
        .collect();
    let page = serde_json::json!({ "clean": counted.clean, "loop": counted.looping, "points": points });
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
                written_by_a_person(first, last)
            }
            None => text.split(',').map(number).collect::<Result<_, _>>()?,
        };
        maxima.sort_unstable();
        maxima.dedup();
        Ok(Self(maxima))
    }
}

/// Every number up to 10, and from there on those that a person would write.
fn written_by_a_person(first: u64, last: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (1..=10).collect();
    let mut ten = 10_u64;
    while ten <= last {
        numbers.extend([12, 15, 20, 25, 30, 40, 50, 60, 80, 100].map(|step| step * ten / 10));
        ten = ten.saturating_mul(10);
    }
    numbers.extend([first, last]);
    numbers.retain(|number| (first..=last).contains(number));
    numbers
}
