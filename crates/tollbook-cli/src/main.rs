//! The binary `tollbook`: arguments in, text out.
//!
//! Exit codes: 0 done; 1 the answer is no (a policy has errors, a backtest differs); 2 it could not be
//! answered.

#![expect(clippy::print_stderr, reason = "the command line is where text goes out")]

mod arguments;
mod command;
mod demo;
mod policy;
mod progress;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("TOLLBOOK_LOG").unwrap_or_else(|_| "warn".into()))
        .with_writer(io::stderr)
        // Whoever collects lines has no use for colours.
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
    match command::run(arguments.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whoever read our output has heard enough, as in `tollbook query … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints to standard output, as far as somebody reads it.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Control characters as escapes: a name is whatever a server or a record says, and not for the terminal to
/// act upon.
fn visible(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(escaped).collect()
}
