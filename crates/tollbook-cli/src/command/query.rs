//! `tollbook query` and `tollbook report`: SQL about a log.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tollbook_log::Reader;
use tollbook_query::{Answer, Session, output};

use crate::arguments::{Format, Query, Report, ReportName};

pub fn run(arguments: &Query) -> anyhow::Result<ExitCode> {
    show(&ask(&arguments.log, &arguments.sql)?, arguments.format)?;
    Ok(ExitCode::SUCCESS)
}

pub fn report(arguments: &Report) -> anyhow::Result<ExitCode> {
    let report = match arguments.report {
        ReportName::Rates => tollbook_query::Report::Rates,
        ReportName::Denials => tollbook_query::Report::Denials,
    };
    if arguments.sql {
        crate::print(report.sql())?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = ask(&arguments.log, report.sql())?;
    if arguments.format == Format::Table {
        crate::print(&format!("{}\n\n", report.title()))?;
    }
    show(&answer, arguments.format)?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a query to a log as it stands.
pub fn ask(log: &Path, sql: &str) -> anyhow::Result<Answer> {
    let reader = Reader::open(&[log])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let session = Session::open(&reader).await?;
        Ok(session.ask(sql).await?)
    })
}

/// Prints an answer.
pub fn show(answer: &Answer, format: Format) -> anyhow::Result<()> {
    let format = match format {
        Format::Table => output::Format::Table,
        Format::Json => output::Format::Json,
        Format::Csv => output::Format::Csv,
    };
    let mut text = Vec::new();
    output::write(answer, format, &mut text)?;
    crate::print(&String::from_utf8_lossy(&text))
}
