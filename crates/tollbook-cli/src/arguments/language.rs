//! What can be typed to work on policies.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Language {
    /// Write policies in the one style
    Fmt(Fmt),
    /// Write a policy's document in the language
    Decompile(Decompile),
    /// Explain the code of an error or a warning
    Explain(Explain),
    /// Judge what each tool of a server does, and how bad it can get
    Classify(Classify),
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

/// Arguments of `decompile`.
#[derive(Debug, Args)]
pub struct Decompile {
    /// A policy's document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the document is
    #[arg(long, value_enum, default_value_t = From::Json)]
    pub from: From,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The JSON policy format, version "1" or "tollbook/1"
    Json,
    /// Intercept's YAML
    Intercept,
    /// The older JSON forms: `action` and `reason`, `rate_limit`
    Older,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A code such as P0204; without one, all codes are listed
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// Arguments of `classify`.
#[derive(Debug, Args)]
pub struct Classify {
    /// A saved `tools/list`
    #[arg(value_name = "CATALOG")]
    pub catalog: PathBuf,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// For people, or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For people
    Text,
    /// For programs
    Json,
}
