//! `tollbook check`: all errors of all files at once.

use std::process::ExitCode;

use tollbook_policy::Severity;
use tollbook_policy::Target;

use crate::arguments::{Check, CheckFormat};
use crate::policy::{Source, render};

pub fn run(arguments: &Check) -> anyhow::Result<ExitCode> {
    let mut clean = true;
    let mut found = Vec::new();
    for file in &arguments.files {
        let source = Source::read(file)?;
        let (summary, told) = match tollbook_policy::read(&source.name, &source.text, Target::Native) {
            Ok(read) => (Some(summary(&read.policy)), read.warnings),
            Err(errors) => (None, errors),
        };
        let errors = told.iter().filter(|one| one.severity == Severity::Error).count();
        clean &= errors == 0;
        match arguments.format {
            CheckFormat::Text => {
                crate::print(&render(&source, &told))?;
                let line =
                    summary.unwrap_or_else(|| format!("{errors} {}", if errors == 1 { "error" } else { "errors" }));
                crate::print(&format!("{}: {line}\n", source.name))?;
            }
            CheckFormat::Json => {
                let json = tollbook_policy::diagnostic::render_json(&source.text, &told);
                let diagnostics: serde_json::Value = serde_json::from_str(&json)?;
                found.push(serde_json::json!({ "file": source.name, "diagnostics": diagnostics }));
            }
        }
    }
    if arguments.format == CheckFormat::Json {
        crate::print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn summary(policy: &tollbook_policy::Policy) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let version = policy.version();
    format!("ok, version \"{version}\", {}, {}", count(policy.tools.len(), "tool"), count(policy.groups.len(), "group"))
}
