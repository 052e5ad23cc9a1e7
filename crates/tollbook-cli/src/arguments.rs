//! What can be typed.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub mod language;
pub mod log;
pub mod operator;
#[cfg(feature = "query")]
pub mod query;
pub mod serve;

/// Judges, records and replays the tool calls of AI agents.
#[derive(Debug, Parser)]
#[command(name = "tollbook", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all of Tollbook at work, on a log of its own, in under a minute
    Demo(Demo),
    /// Look for errors in policies
    Check(Check),
    /// Compile a policy to JSON
    Compile(Compile),
    /// Work on policies.
    #[command(flatten)]
    Language(language::Language),
    /// Stand between an agent and an MCP server on standard input and output
    Run(Run),
    /// Ask servers for their tools: what can be called, how bad it can get, and a policy to begin with
    Scan(serve::Scan),
    /// Stand between agents and many MCP servers over HTTP
    Serve(serve::Serve),
    /// Look for errors in the configuration of `serve`
    CheckConfig(serve::CheckConfig),
    /// Make, list, take back and renew the tokens with which clients come
    #[command(subcommand)]
    Grant(serve::Grant),
    /// See and answer the calls that wait for a person
    #[command(subcommand)]
    Approvals(operator::Approvals),
    /// Work on the counters of running gateways
    #[command(subcommand)]
    Counters(operator::Counters),
    /// Stop every call of a grant, at once
    Freeze(operator::Freeze),
    /// Let the calls of a frozen grant go on
    Thaw(operator::Freeze),
    /// Read recorded tool calls into a log
    Import(Import),
    /// Sign, verify, look at and export a log
    #[command(subcommand)]
    Log(log::Log),
    /// Merge the small segments of a log
    Compact(log::Compact),
    /// Answer a SQL query about a log
    #[cfg(feature = "query")]
    Query(query::Query),
    /// Open a shell for SQL queries about a log
    #[cfg(feature = "query")]
    Sql(query::Sql),
    /// Answer a question that is asked often
    #[cfg(feature = "query")]
    #[command(subcommand)]
    Report(query::Report),
    /// Tell what tables there are, and what their columns mean
    #[cfg(feature = "query")]
    Schema(query::Schema),
    /// Follow the log as calls are recorded
    #[cfg(feature = "query")]
    Tail(query::Tail),
    /// Replay a log under the policies that wrote it, and under another
    Backtest(Backtest),
    /// Try a clause at many maxima
    #[cfg(feature = "query")]
    Sweep(query::Sweep),
    /// Find the limits that a log supports
    #[cfg(feature = "query")]
    Recommend(query::Recommend),
    /// The small MCP server that the demo runs
    #[command(hide = true)]
    DemoServer,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the log goes [default: a new directory among the system's temporary files]
    #[arg(long, value_name = "DIR")]
    pub log: Option<PathBuf>,
    /// Seed of the made-up sessions
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Policies, `.toll` or `.json`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A saved `tools/list`: tools and arguments that it doesn't have are errors
    #[arg(long, value_name = "CATALOG")]
    pub catalog: Option<PathBuf>,
    /// Errors for people, or for programs
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
}

/// How errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Drawn into the policy's text
    Text,
    /// One JSON array
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

/// Arguments of `compile`.
#[derive(Debug, Args)]
pub struct Compile {
    /// A policy, `.toll` or `.json`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the JSON is for
    #[arg(long, value_enum, default_value_t = Target::Native)]
    pub target: Target,
    /// A saved `tools/list`, for which globs and categories are written out
    #[arg(long, value_name = "CATALOG")]
    pub catalog: Option<PathBuf>,
    /// Print where each rule stands in the text instead: its id, its JSON Pointer, file and line
    #[arg(long)]
    pub source_map: bool,
}

/// What compiled JSON is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The JSON policy format, version "1", and nothing else
    Policylayer,
    /// Tollbook's own engine: version "1" where that is enough, otherwise "tollbook/1"
    Native,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The policy, `.toll` or `.json`
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The log's directory; it is made if it isn't there
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// Whose calls these are
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub grant: String,
    /// What the server is called in the log [default: the policy's name, or else the command's]
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Judge and record everything, refuse nothing
    #[arg(long)]
    pub shadow: bool,
    /// What must have happened to a record before its call goes on
    #[arg(long, value_enum, default_value_t = Durability::Write)]
    pub durability: Durability,
    /// How much of the arguments is kept in the log
    #[arg(long, value_enum, default_value_t = RecordArgs::Read)]
    pub record_args: RecordArgs,
    /// Arguments that are never recorded, such as `args.api_key, args.*.password`
    #[arg(long, value_name = "PATHS", default_value = "", hide_default_value = true)]
    pub redact: String,
    /// What becomes of calls while the log can't be written
    #[arg(long, value_enum, default_value_t = LogFailure::Refuse)]
    pub on_log_failure: LogFailure,
    /// The private key that signs the log; without it nothing is signed
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// Days after which recorded events go [default: they stay]
    #[arg(long, value_name = "DAYS")]
    pub retention_days: Option<NonZeroU32>,
    /// A server over HTTP, instead of a command
    #[arg(long, value_name = "URL", conflicts_with = "command", required_unless_present = "command")]
    pub url: Option<String>,
    /// A header of every request to it, its value from a variable of the environment
    #[arg(long, value_name = "NAME=VARIABLE", requires = "url")]
    pub header_env: Vec<String>,
    /// The server's command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What must have happened to a record before its call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// It is on the disk: survives a power cut
    Fsync,
    /// The system has it, and syncs it within 50 ms: survives a killed process
    Write,
    /// It is in memory: for load that must not wait
    Relaxed,
}

/// What becomes of calls while the log can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFailure {
    /// They are refused
    Refuse,
    /// They are judged, and go on unrecorded; the log tells how many when it is back
    Allow,
}

/// How much of the arguments is kept in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordArgs {
    /// The values that the policy reads
    Read,
    /// All values
    Full,
    /// No value
    None,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The log's directory; it is made if it isn't there
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// Whose calls these are taken to be
    #[arg(long, value_name = "NAME", default_value = "import")]
    pub grant: String,
    /// What the files are [default: told by their content]
    #[arg(long = "as", value_name = "FORMAT", value_parser = ["jsonl", "intercept", "cloudtrail", "mcp", "claude-code"])]
    pub format: Option<String>,
    /// The private key that signs the log; without it nothing is signed
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// Recorded calls, one JSON object a line or a CloudTrail document, gzipped or not
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
}

/// Arguments of `backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// The policies to try, `.toll` or `.json`
    #[arg(value_name = "CANDIDATE", required = true)]
    pub candidates: Vec<PathBuf>,
    /// Name each call that comes out otherwise
    #[arg(long)]
    pub list: bool,
    /// End with code 1 where this holds of any candidate, such as `newly_refused > 0.1%`: newly_refused,
    /// newly_allowed, sessions_touched or unknown, `>` or `>=`, a count or a share
    #[arg(long, value_name = "CONDITION")]
    pub fail_on: Option<crate::command::backtest::FailOn>,
}
