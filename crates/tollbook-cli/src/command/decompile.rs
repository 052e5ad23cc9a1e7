//! `tollbook decompile`: a document in the language.

use std::process::ExitCode;

use tollbook_policy::{Form, Target};

use crate::arguments::language::{Decompile, From};
use crate::policy::{Source, render};

pub fn run(arguments: &Decompile) -> anyhow::Result<ExitCode> {
    let source = Source::read(&arguments.file)?;
    let form = match arguments.from {
        From::Json => return document(&source),
        From::Intercept => Form::Intercept,
        From::Older => Form::Older,
    };
    match tollbook_policy::import(&source.text, form) {
        Ok(imported) => {
            let notes: String = imported.notes.iter().map(|note| format!("# note: {}\n", one_line(note))).collect();
            for note in &imported.notes {
                eprintln!("note: {note}");
            }
            let gap = if notes.is_empty() { "" } else { "\n" };
            crate::print(&format!("{notes}{gap}{}", imported.policy.to_toll()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("error: cannot carry over `{}`: {error}", source.name);
            Ok(ExitCode::from(1))
        }
    }
}

fn document(source: &Source) -> anyhow::Result<ExitCode> {
    // Whatever the file is called, what is read here is a document.
    let (policy, told) = match tollbook_policy::read("policy.json", &source.text, Target::Native) {
        Ok(read) => (Some(read.policy), read.warnings),
        Err(told) => (None, told),
    };
    eprint!("{}", render(source, &told));
    let Some(policy) = policy else { return Ok(ExitCode::from(1)) };
    crate::print(&policy.to_toll())?;
    Ok(ExitCode::SUCCESS)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
