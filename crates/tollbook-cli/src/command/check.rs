//! `tollbook check`: all errors of all files at once.

use std::process::ExitCode;

use tollbook_policy::Target;
use tollbook_policy::{Diagnostic, Severity, diagnostic};

use crate::arguments::{Check, CheckFormat};
use crate::policy::{Source, render};

pub fn run(arguments: &Check) -> anyhow::Result<ExitCode> {
    let catalog = arguments.catalog.as_deref().map(super::classify::read).transpose()?;
    let mut clean = true;
    let mut report = Report::new(arguments.format);
    for file in &arguments.files {
        let source = Source::read(file)?;
        let (summary, told) = match tollbook_policy::read(&source.name, &source.text, Target::Native) {
            Ok(read) => {
                let mut told = read.warnings;
                if let Some(catalog) = &catalog {
                    told.extend(catalog.check(&source.text, &read.policy, &read.rules));
                }
                (summary(&read.policy), told)
            }
            Err(told) => (String::new(), told),
        };
        let errors = told.iter().filter(|one| one.severity == Severity::Error).count();
        clean &= errors == 0;
        report.file(&source, &told)?;
        if arguments.format == CheckFormat::Text {
            let line = match errors {
                0 => summary,
                1 => "1 error".to_owned(),
                _ => format!("{errors} errors"),
            };
            crate::print(&format!("{}: {line}\n", source.name))?;
        }
    }
    report.end()?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn summary(policy: &tollbook_policy::Policy) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let version = policy.version();
    format!("ok, version \"{version}\", {}, {}", count(policy.tools.len(), "tool"), count(policy.groups.len(), "group"))
}

/// Diagnostics of several files in one of the formats.
pub struct Report {
    format: CheckFormat,
    found: Vec<serde_json::Value>,
}

impl Report {
    pub fn new(format: CheckFormat) -> Self {
        Self { format, found: Vec::new() }
    }

    /// Prints what was told of a file, or keeps it for the end.
    pub fn file(&mut self, source: &Source, told: &[Diagnostic]) -> anyhow::Result<()> {
        match self.format {
            CheckFormat::Text => crate::print(&render(source, told)),
            CheckFormat::Json => {
                let json = diagnostic::render_json(&source.text, told);
                let diagnostics: serde_json::Value = serde_json::from_str(&json)?;
                self.found.push(serde_json::json!({ "file": source.name, "diagnostics": diagnostics }));
                Ok(())
            }
            CheckFormat::Github => crate::print(&told.iter().map(|one| annotation(source, one)).collect::<String>()),
        }
    }

    /// Prints what was kept.
    pub fn end(self) -> anyhow::Result<()> {
        match self.format {
            CheckFormat::Json => crate::print(&format!("{}\n", serde_json::to_string_pretty(&self.found)?)),
            CheckFormat::Text | CheckFormat::Github => Ok(()),
        }
    }
}

/// A workflow command of GitHub: `::error file=…,line=…::message`.
fn annotation(source: &Source, told: &Diagnostic) -> String {
    let kind = match told.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (line, column) = diagnostic::line_and_column(&source.text, told.at());
    let (end_line, end_column) = diagnostic::line_and_column(&source.text, told.end());
    let label = told.labels.first().map_or("", |label| label.text.as_str());
    let parts = std::iter::once(told.message.as_str()).chain(Some(label).filter(|label| !label.is_empty()));
    let message: Vec<&str> = parts.chain(told.help.iter().map(String::as_str)).collect();
    format!(
        "::{kind} file={},line={line},col={column},endLine={end_line},endColumn={end_column},title={}::{}\n",
        escape(&source.name, true),
        told.code,
        escape(&message.join("; "), false)
    )
}

fn escape(text: &str, property: bool) -> String {
    let data = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { data.replace(':', "%3A").replace(',', "%2C") } else { data }
}
