//! `tollbook compile`: the policy as JSON.

use std::process::ExitCode;

use crate::arguments::{Compile, Target};
use crate::policy::{Source, render};

pub fn run(arguments: &Compile) -> anyhow::Result<ExitCode> {
    let source = Source::read(&arguments.file)?;
    let target = match arguments.target {
        Target::Policylayer => tollbook_policy::Target::PolicyLayer,
        Target::Native => tollbook_policy::Target::Native,
    };
    let catalog = arguments.catalog.as_deref().map(super::classify::read).transpose()?;
    let read = match &catalog {
        Some(catalog) => tollbook_policy::read_written_out(&source.name, &source.text, target, catalog),
        None => tollbook_policy::read(&source.name, &source.text, target),
    };
    let read = match read {
        Ok(read) => read,
        Err(told) => {
            eprint!("{}", render(&source, &told));
            return Ok(ExitCode::from(1));
        }
    };
    eprint!("{}", render(&source, &read.warnings));
    if arguments.source_map {
        crate::print(&format!("{}\n", serde_json::to_string_pretty(&source_map(&source, &read))?))?;
    } else {
        crate::print(&read.policy.to_json())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// For each rule its id, as decisions name it, the JSON Pointer of its entry in the document, and the
/// place of its clause.
fn source_map(source: &Source, read: &tollbook_policy::Read) -> serde_json::Value {
    let entry = |(rule, pointer): (String, String)| {
        let place = read.rules.get(&rule).map(|span| {
            let (line, column) = tollbook_policy::diagnostic::line_and_column(&source.text, span.start);
            serde_json::json!({ "line": line, "column": column, "start_byte": span.start, "end_byte": span.end })
        });
        serde_json::json!({ "rule": rule, "pointer": pointer, "place": place })
    };
    let rules: Vec<serde_json::Value> = read.policy.pointers().into_iter().map(entry).collect();
    serde_json::json!({ "file": source.name, "rules": rules })
}
