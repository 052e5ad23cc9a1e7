//! The commands that work on policies.

use std::process::ExitCode;

use crate::arguments::language::Language;

use super::{classify, decompile, diff, eval, explain, fmt, lint, test};

/// Does what was typed.
pub fn run(language: &Language) -> anyhow::Result<ExitCode> {
    match language {
        Language::Fmt(arguments) => fmt::run(arguments),
        Language::Decompile(arguments) => decompile::run(arguments),
        Language::Explain(arguments) => explain::run(arguments),
        Language::Classify(arguments) => classify::run(arguments),
        Language::Lint(arguments) => lint::run(arguments),
        Language::Diff(arguments) => diff::run(arguments),
        Language::Test(arguments) => test::run(arguments),
        Language::Eval(arguments) => eval::run(arguments),
    }
}
