//! The commands that work on policies.

use std::process::ExitCode;

use crate::arguments::language::Language;

use super::fmt;

/// Does what was typed.
pub fn run(language: &Language) -> anyhow::Result<ExitCode> {
    match language {
        Language::Fmt(arguments) => fmt::run(arguments),
    }
}
