//! What can be typed after `query`, `report` and `schema`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Which logs a question is put to, and how.
#[derive(Debug, Args)]
pub struct Source {
    /// The log's directory; several are seen as one, with a column that says which
    #[arg(long = "log", value_name = "DIR", required = true)]
    pub logs: Vec<PathBuf>,
    /// A TOML file with categories of tools, which go before what their names say
    #[arg(long, value_name = "FILE")]
    pub categories: Option<PathBuf>,
    /// Most memory that a query takes, in MiB; what can be is spilled to disk, otherwise the query fails
    #[arg(long = "memory-limit", value_name = "MIB")]
    pub memory_mib_max: Option<usize>,
    /// Leave out sealed files that are damaged, and name them
    #[arg(long)]
    pub skip_damaged: bool,
}

/// Arguments of `query`.
#[derive(Debug, Args)]
pub struct Query {
    /// Which logs, and how.
    #[command(flatten)]
    pub asked: Source,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Read the query from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    pub file: Option<PathBuf>,
    /// A SQL query, such as `SELECT tool, count(*) FROM calls GROUP BY tool` [default: standard input]
    // SQL may begin with a comment, and that with two hyphens.
    #[arg(value_name = "SQL", allow_hyphen_values = true)]
    pub sql: Option<String>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// A Parquet file
    Parquet,
    /// A table that Markdown understands
    Markdown,
}

/// A question that is asked often.
#[derive(Debug, Subcommand)]
pub enum Report {
    /// Peak and typical calls a minute, by tool
    Rates(Asked),
    /// Calls that repeat themselves, and what they cost
    Loops(Asked),
    /// How near the limits came to being reached
    Headroom(Asked),
    /// What was refused, by rule and tool
    Denials(Asked),
    /// The sessions with the most calls
    Sessions(Asked),
    /// What each tool does, and how often it is called
    Tools(Asked),
    /// How long decisions and answers take
    Latency(Asked),
    /// How calls fail
    Errors(Asked),
    /// A page for the browser: rates, limits that can be dragged, loops and what candidates would do
    Html(Html),
}

/// Of which calls a report tells, and how.
#[derive(Debug, Args)]
pub struct Asked {
    /// Which logs, and how.
    #[command(flatten)]
    pub asked: Source,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Only calls from then on: a time such as 2026-11-23T08:00:00Z, or a span until now such as 7d or 90m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only calls before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only calls of this session
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Only calls of this tool
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Only calls of this grant
    #[arg(long, value_name = "NAME")]
    pub grant: Option<String>,
    /// Only calls of this category
    #[arg(long, value_name = "NAME", value_parser = ["read", "write", "execute", "destructive", "financial"])]
    pub category: Option<String>,
    /// Only calls that change something: of all categories but read
    #[arg(long)]
    pub write_only: bool,
    /// Print the SQL behind the report instead of its answer
    #[arg(long)]
    pub sql: bool,
}

/// Arguments of `report html`.
#[derive(Debug, Args)]
pub struct Html {
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// Policies that are tried on the log
    #[arg(value_name = "CANDIDATE")]
    pub candidates: Vec<PathBuf>,
    /// Which calls are bad: loops, outcomes, approvals, a CSV file of calls, or an SQL condition
    #[arg(long, value_name = "SOURCE", default_value = "loops")]
    pub label: crate::command::evidence::LabelSource,
    /// Where the page is written
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
}

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct Tail {
    /// Which logs, and how.
    #[command(flatten)]
    pub asked: Source,
    /// Only calls of which this SQL is true, such as `decision = 'deny'`
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Calls that are told of what the log holds already
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub lines: u32,
}

/// Arguments of `sql`.
#[derive(Debug, Args)]
pub struct Sql {
    /// Which logs, and how.
    #[command(flatten)]
    pub asked: Source,
    /// Neither read nor keep the history of what was typed
    #[arg(long)]
    pub no_history: bool,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Only this table
    #[arg(value_name = "TABLE")]
    pub table: Option<String>,
}

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub struct Sweep {
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// Tools that are counted together, by name or pattern [default: all tools]
    #[arg(long, visible_alias = "group", value_name = "TOOL", value_delimiter = ',', conflicts_with = "category")]
    pub tool: Vec<String>,
    /// Tools of this category, counted together
    #[arg(long, value_name = "CATEGORY")]
    pub category: Option<String>,
    /// Windows of limits: minute, hour, day, 5m, rolling:5m, … [default: minute,rolling:1m]
    #[arg(long, value_name = "WINDOWS", value_delimiter = ',')]
    pub per: Vec<String>,
    /// Whose calls are counted together
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "session")]
    pub scope: Vec<String>,
    /// Breakers: identical calls, identical results, failures, repeats of a cycle up to 4 calls
    #[arg(long = "break", value_name = "RUNS", value_delimiter = ',')]
    pub breaker: Vec<String>,
    /// How long ago a breaker's run may have begun
    #[arg(long, value_name = "LENGTH", default_value = "10m")]
    pub within: String,
    /// Maxima to try: numbers, or a range of those that a person would write
    #[arg(long, value_name = "MAXIMA", default_value = "1..200")]
    pub max: crate::command::sweep::Maxima,
    /// Which calls are bad: loops, outcomes, approvals, a CSV file of calls, or an SQL condition
    #[arg(long, value_name = "SOURCE", default_value = "loops")]
    pub label: crate::command::evidence::LabelSource,
    /// Show the clauses that another outdoes too
    #[arg(long)]
    pub all: bool,
    /// For machines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `recommend`.
#[derive(Debug, Args)]
pub struct Recommend {
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// The policy that stands today
    #[arg(value_name = "POLICY")]
    pub policy: Option<PathBuf>,
    /// What a limit is for, beside one for all tools
    #[arg(long, value_enum, default_value_t = By::Tool)]
    pub by: By,
    /// Which calls are bad: loops, outcomes, approvals, a CSV file of calls, or an SQL condition
    #[arg(long, value_name = "SOURCE", default_value = "loops")]
    pub label: crate::command::evidence::LabelSource,
    /// Largest share of sessions that may lose a clean call
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub touch: crate::command::recommend::Share,
    /// Fewest sessions that a limit is chosen on
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub min_sessions: u64,
    /// Fewest days that a limit is chosen on
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub min_days: u64,
    /// Write a policy with these clauses, and what speaks for them, added to POLICY where it is given
    #[arg(long, value_name = "FILE.toll")]
    pub write: Option<PathBuf>,
    /// For machines
    #[arg(long)]
    pub json: bool,
}

/// What a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Each tool
    Tool,
    /// Each category
    Category,
}
