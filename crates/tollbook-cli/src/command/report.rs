//! `tollbook report`: the questions that are asked often.

mod html;

use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use tollbook_query::{Filter, Report as Named, output};

use super::query::{Asking, show};
use crate::arguments::query::{Asked, Format, Report};

pub fn run(report: &Report) -> anyhow::Result<ExitCode> {
    match report {
        Report::Rates(asked) => answer(Named::Rates, asked),
        Report::Loops(asked) => answer(Named::Loops, asked),
        Report::Headroom(asked) => answer(Named::Headroom, asked),
        Report::Denials(asked) => answer(Named::Denials, asked),
        Report::Sessions(asked) => answer(Named::Sessions, asked),
        Report::Tools(asked) => answer(Named::Tools, asked),
        Report::Latency(asked) => answer(Named::Latency, asked),
        Report::Errors(asked) => answer(Named::Errors, asked),
        Report::Html(arguments) => html::run(arguments),
    }
}

fn answer(report: Named, arguments: &Asked) -> anyhow::Result<ExitCode> {
    let filter = filter(arguments)?;
    let mut pages = report.pages(&filter);
    // Lines, cells and files hold one answer, the first; a page for people and an object hold all.
    if !arguments.sql && !matches!(arguments.format, Format::Table | Format::Json) {
        pages.truncate(1);
    }
    if arguments.sql {
        let all: Vec<String> = pages.into_iter().map(|page| page.sql).collect();
        crate::print(&all.join(";\n\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let asking = Asking::open(&arguments.asked)?;
    let mut object = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let answer = asking.ask(&page.sql)?;
        match arguments.format {
            Format::Json => {
                let mut rows = Vec::new();
                output::write(&answer, output::Format::Json, &mut rows)?;
                object.push(format!("\"{}\":{}", page.name, String::from_utf8(rows)?.trim_end()));
                continue;
            }
            Format::Table => crate::print(&format!("{}{}\n\n", if number == 0 { "" } else { "\n" }, page.title))?,
            _ => {}
        }
        show(&answer, arguments.format)?;
    }
    if arguments.format == Format::Json {
        crate::print(&format!("{{{}}}\n", object.join(",\n")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(arguments: &Asked) -> anyhow::Result<Filter> {
    let now = Timestamp::now();
    let us = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
    Ok(Filter {
        since_us: us(&arguments.since)?.map(Timestamp::as_microsecond),
        until_us: us(&arguments.until)?.map(Timestamp::as_microsecond),
        session: arguments.session.clone(),
        tool: arguments.tool.clone(),
        grant: arguments.grant.clone(),
        category: arguments.category.clone(),
        write_only: arguments.write_only,
    })
}

/// A time, or a span before now.
fn time(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let expected = "expected a time such as 2026-11-23T08:00:00Z or a span such as 7d, 12h, 90m or 30s";
    let units = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let Some((count, seconds)) = found else { bail!("cannot read the time `{text}`: {expected}") };
    let count: i64 = count.parse().with_context(|| format!("cannot read the time `{text}`: {expected}"))?;
    let span = SignedDuration::from_secs(count.saturating_mul(seconds));
    now.checked_sub(span).with_context(|| format!("the time `{text}` is too long ago"))
}
