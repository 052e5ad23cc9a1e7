//! What can be typed to work on policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Language {
    /// Write policies in the one style
    Fmt(Fmt),
}

/// Arguments of `fmt`.
#[derive(Debug, Args)]
pub struct Fmt {
    /// Policies, `.toll`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write nothing; name the files that aren't in the one style, and end with 1 if there are any
    #[arg(long)]
    pub check: bool,
    /// Write nothing; show what would change, and end with 1 if anything would
    #[arg(long)]
    pub diff: bool,
}
