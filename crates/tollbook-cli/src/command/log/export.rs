//! `tollbook log export`: the calls of a log in another format.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use tollbook_log::Reader;
use tollbook_log::export::{Format, TimeRange, export};

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
    match &arguments.output {
        None => {
            let mut out = BufWriter::new(stdout());
            export(&reader, format, range, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot create `{}`", path.display()))?;
            let mut out = BufWriter::new(file);
            let calls = export(&reader, format, range, &mut out)?;
            out.flush().with_context(|| format!("cannot write `{}`", path.display()))?;
            crate::print(&format!("{calls} calls\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
