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
    /// Look for what a policy says and hardly means
    Lint(Lint),
    /// Tell, tool by tool, what another version of a policy would let through
    Diff(Diff),
    /// Run the tests in policies
    Test(Test),
    /// Judge one call, and show every clause that was looked at
    Eval(Eval),
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

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Policies with `test` blocks
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name the clauses that never decided anything
    #[arg(long)]
    pub coverage: bool,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// A policy, `.toll` or `.json`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The tool that is called
    #[arg(long, value_name = "NAME")]
    pub tool: String,
    /// Its arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub args: String,
    /// Whose call it is
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub grant: String,
    /// The conversation
    #[arg(long, value_name = "NAME", default_value = "s1")]
    pub session: String,
    /// The client program
    #[arg(long, value_name = "NAME", default_value = "agent")]
    pub agent: String,
    /// When, as in 2026-01-05T09:00:00Z [default: now]
    #[arg(long, value_name = "TIMESTAMP")]
    pub at: Option<String>,
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct Lint {
    /// Policies, `.toll` or `.json`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write what can be put right without a change of meaning into the files
    #[arg(long)]
    pub fix: bool,
    /// The version in force, whose counters must keep their names
    #[arg(long, value_name = "OLD")]
    pub against: Option<PathBuf>,
    /// A saved `tools/list`, for what the tools do
    #[arg(long, value_name = "CATALOG")]
    pub catalog: Option<PathBuf>,
    /// How warnings are written
    #[arg(long, value_enum, default_value_t = super::CheckFormat::Text)]
    pub format: super::CheckFormat,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The policy as it was
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The policy as it is to be
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// End with 1 if this is found
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,
}

/// What a difference may be refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A call that was refused is allowed now, or may be
    Looser,
}
