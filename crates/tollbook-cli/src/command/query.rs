//! `tollbook query`: SQL about logs.

pub mod judge;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Runtime;
use tollbook_query::{Answer, LogDir, Options, Session, output};

use super::categories::ByPolicy;
use crate::arguments::query::{Format, Query, Source};

pub fn run(arguments: &Query) -> anyhow::Result<ExitCode> {
    let sql = match (&arguments.sql, &arguments.file) {
        (Some(sql), _) => sql.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read the query `{}`", file.display()))?
        }
        (None, None) => {
            let mut sql = String::new();
            std::io::stdin().read_to_string(&mut sql).context("cannot read the query from standard input")?;
            sql
        }
    };
    let asking = Asking::open(&arguments.asked)?;
    show(&asking.ask(&sql)?, arguments.format)?;
    Ok(ExitCode::SUCCESS)
}

/// A session, and what it runs on.
pub struct Asking {
    runtime: Runtime,
    session: Session,
    options: Options,
}

impl Asking {
    pub fn open(asked: &Source) -> anyhow::Result<Self> {
        let options = Options {
            memory_bytes_max: asked.memory_mib_max.map(|mib| mib.saturating_mul(1 << 20)),
            skip_damaged: asked.skip_damaged,
            categories: Some(Arc::new(ByPolicy::read(asked.categories.as_deref())?)),
            backtest: Some(Arc::new(judge::Replays)),
        };
        let logs: Vec<&Path> = asked.logs.iter().map(AsRef::as_ref).collect();
        let asking = Self::over(&logs, options)?;
        for (path, what) in asking.session.skipped() {
            let told = format!("warning: left out the damaged `{}`: {what}\n", path.display());
            std::io::stderr().write_all(told.as_bytes())?;
        }
        Ok(asking)
    }

    /// The same logs as they stand now.
    pub fn again(self, asked: &Source) -> anyhow::Result<Self> {
        let logs = asked.logs.iter().map(|dir| LogDir::open(dir)).collect::<Result<Vec<_>, _>>()?;
        let session = self.runtime.block_on(Session::open(logs, self.options.clone()))?;
        Ok(Self { session, ..self })
    }

    fn over(logs: &[&Path], options: Options) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
        let logs = logs.iter().map(|dir| LogDir::open(dir)).collect::<Result<Vec<_>, _>>()?;
        let session = runtime.block_on(Session::open(logs, options.clone()))?;
        Ok(Self { runtime, session, options })
    }

    pub fn ask(&self, sql: &str) -> anyhow::Result<Answer> {
        Ok(self.runtime.block_on(self.session.ask(sql))?)
    }
}

/// Puts a query to a log as it stands.
pub fn ask(log: &Path, sql: &str) -> anyhow::Result<Answer> {
    let categories = ByPolicy::read(None)?;
    let options = Options { categories: Some(Arc::new(categories)), ..Options::default() };
    Asking::over(&[log], options)?.ask(sql)
}

/// Prints an answer.
pub fn show(answer: &Answer, format: Format) -> anyhow::Result<()> {
    let format = match format {
        Format::Table => output::Format::Table,
        Format::Json => output::Format::Json,
        Format::Jsonl => output::Format::Jsonl,
        Format::Csv => output::Format::Csv,
        Format::Parquet => output::Format::Parquet,
        Format::Markdown => output::Format::Markdown,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    output::write(answer, format, &mut out)?;
    Ok(out.flush()?)
}
