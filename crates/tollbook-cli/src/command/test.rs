//! `tollbook test`: the `test` blocks of policies, run through the engine.

use std::process::ExitCode;

use anyhow::Context;
use tollbook_backtest::script::{self, Scripted};
use tollbook_policy::{Diagnostic, Read};

use crate::arguments::language::Test;
use crate::policy::{Source, render};

pub fn run(arguments: &Test) -> anyhow::Result<ExitCode> {
    let (mut passed, mut failed) = (0, 0);
    for file in &arguments.files {
        let source = Source::read(file)?;
        let read = match tollbook_policy::read(&source.name, &source.text, tollbook_policy::Target::Native) {
            Ok(read) => read,
            Err(told) => {
                eprint!("{}", render(&source, &told));
                failed += 1;
                continue;
            }
        };
        let scripted = script::run(&read.policy, &read.tests)
            .with_context(|| format!("the policy `{}` cannot be put in force", source.name))?;
        let told: Vec<Diagnostic> = scripted.failures.iter().map(|failure| failure.diagnostic.clone()).collect();
        crate::print(&render(&source, &told))?;
        for name in &scripted.passed {
            crate::print(&format!("ok    {}: {}\n", source.name, crate::visible(name)))?;
        }
        for failure in &scripted.failures {
            crate::print(&format!("FAIL  {}: {}\n", source.name, crate::visible(&failure.test)))?;
        }
        if arguments.coverage {
            crate::print(&coverage(&source, &read, &scripted))?;
        }
        passed += scripted.passed.len();
        failed += scripted.failures.len();
    }
    crate::print(&format!("{passed} passed, {failed} failed\n"))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The clauses that never refused or held a call, nor would have under `shadow`. A clause that is
/// written out for several tools has decided something once it has for one of them.
fn coverage(source: &Source, read: &Read, scripted: &Scripted) -> String {
    let decided: Vec<_> = scripted.decided.iter().filter_map(|rule| read.rules.get(rule)).collect();
    let mut silent: Vec<_> = read.rules.values().filter(|span| !decided.contains(span)).collect();
    silent.sort_by_key(|span| (span.start, span.end));
    silent.dedup();
    let mut all: Vec<_> = read.rules.values().collect();
    all.sort_by_key(|span| (span.start, span.end));
    all.dedup();
    let mut text =
        format!("{}: {} of {} clauses decided something\n", source.name, all.len() - silent.len(), all.len());
    for span in silent {
        let (line, _) = tollbook_policy::diagnostic::line_and_column(&source.text, span.start);
        let clause = source.text.get(span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("  never  {}:{line}  {clause}\n", source.name));
    }
    text
}
