//! `tollbook log export`: the calls of a log in another format.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use tollbook_log::Reader;
use tollbook_log::export::{Choice, Format, Named, TimeRange, export};

use crate::arguments::log::{Export, ExportFormat};

pub fn run(arguments: &Export) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(&[&arguments.log])?;
    let format = match arguments.format {
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Parquet => Format::Parquet,
    };
    let microseconds = |time: &jiff::Timestamp| time.as_microsecond();
    let range = TimeRange {
        from_us: arguments.from.as_ref().map(microseconds),
        to_us: arguments.to.as_ref().map(microseconds),
    };
    let choice = Choice { range, named: named(arguments)? };
    match &arguments.output {
        None => {
            let mut out = BufWriter::new(stdout());
            export(&reader, format, &choice, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot create `{}`", path.display()))?;
            let mut out = BufWriter::new(file);
            let calls = export(&reader, format, &choice, &mut out)?;
            out.flush().with_context(|| format!("cannot write `{}`", path.display()))?;
            crate::print(&format!("{calls} calls\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The calls of which the condition holds. They are asked for by their numbers alone, and written as all others.
#[cfg(feature = "query")]
fn named(arguments: &Export) -> anyhow::Result<Option<Named>> {
    let Some(condition) = &arguments.condition else { return Ok(None) };
    // On lines of its own: it may end in a comment.
    let sql = format!("SELECT instance, seq FROM calls WHERE (\n{condition}\n)");
    let answer = crate::command::query::ask(&arguments.log, &sql)?;
    let mut named = Named::default();
    for batch in &answer.batches {
        named.add(batch)?;
    }
    Ok(Some(named))
}

#[cfg(not(feature = "query"))]
#[expect(clippy::unnecessary_wraps, reason = "with SQL it can fail")]
fn named(_: &Export) -> anyhow::Result<Option<Named>> {
    Ok(None)
}
