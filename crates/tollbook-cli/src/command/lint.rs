//! `tollbook lint`: what a policy says and hardly means.

use std::process::ExitCode;

use tollbook_policy::{Diagnostic, Known, Severity, Target};

use crate::arguments::CheckFormat;
use crate::arguments::language::Lint;
use crate::policy::Source;

use super::check::Report;

pub fn run(arguments: &Lint) -> anyhow::Result<ExitCode> {
    let catalog = arguments.catalog.as_deref().map(super::classify::read).transpose()?;
    let against = arguments.against.as_deref().map(|file| Source::read(file)?.policy()).transpose()?;
    let known = Known { catalog: catalog.as_ref(), against: against.as_ref() };
    let mut clean = true;
    let mut report = Report::new(arguments.format);
    for file in &arguments.files {
        let mut source = Source::read(file)?;
        let mut told = look(&source, known);
        if arguments.fix && told.iter().all(|one| one.severity == Severity::Warning) {
            let (fixed, made) = tollbook_policy::fixed(&source.text, &told);
            if made > 0 {
                super::fmt::replace(file, &fixed)?;
                source.text = fixed;
                told = look(&source, known);
                eprintln!("{}: {made} put right", source.name);
            }
        }
        clean &= told.is_empty();
        report.file(&source, &told)?;
        if arguments.format == CheckFormat::Text {
            let plural = if told.len() == 1 { "" } else { "s" };
            crate::print(&format!("{}: {} finding{plural}\n", source.name, told.len()))?;
        }
    }
    report.end()?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The warnings, or the errors that stand before them.
fn look(source: &Source, known: Known<'_>) -> Vec<Diagnostic> {
    match tollbook_policy::read(&source.name, &source.text, Target::Native) {
        Ok(read) => tollbook_policy::lint(&source.name, &source.text, &read, known),
        Err(told) => told,
    }
}
