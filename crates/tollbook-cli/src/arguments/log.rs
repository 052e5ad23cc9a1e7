//! What can be typed about a log: its keys, its evidence, its state, its calls in other formats, and how long
//! it keeps them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Commands about a log.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Make the key that signs a log, and print its public key
    Keygen(Keygen),
    /// Tell whether a log is as it was when it was signed
    Verify(Verify),
    /// Write a proof that a record is in a log
    Prove(Prove),
    /// Check a proof with the public key alone
    CheckProof(CheckProof),
    /// Tell what a log holds
    Status(Status),
    /// Write the calls of a log in another format
    Export(Export),
    /// Remove the oldest events of a log; what is left can still be verified and replayed
    Prune(Prune),
}

/// Arguments of `log keygen`.
#[derive(Debug, Args)]
pub struct Keygen {
    /// The private key's file, which must not exist; keep it outside of the log
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Arguments of `log verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
    /// A public key as `log keygen` prints it, or a file that holds one; may be given several times
    #[arg(long, value_name = "PUB")]
    pub key: Vec<String>,
    /// A signed head that was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
}

/// Arguments of `log prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
    /// The record's sequence number
    #[arg(long, value_name = "N")]
    pub seq: u64,
    /// The process that recorded it [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// The proof's file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Arguments of `log check-proof`.
#[derive(Debug, Args)]
pub struct CheckProof {
    /// The proof
    #[arg(value_name = "FILE")]
    pub proof: PathBuf,
    /// A public key as `log keygen` prints it, or a file that holds one; may be given several times
    #[arg(long, value_name = "PUB", required = true)]
    pub key: Vec<String>,
}

/// Arguments of `log status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
}

/// Arguments of `log export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
    /// How the calls are written
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// The first instant, such as 2026-11-23T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<jiff::Timestamp>,
    /// The instant after the last
    #[arg(long, value_name = "TIME")]
    pub to: Option<jiff::Timestamp>,
    /// Only calls of which this holds, such as "decision = 'deny' AND tool LIKE 'create_%'"; see `schema`
    #[cfg(feature = "query")]
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Where the calls go [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How exported calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// One Parquet file
    Parquet,
}

/// Arguments of `log prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
    /// Segments go whose events are all older, such as 2026-11-23, which begins in UTC, or 2026-11-23T08:00:00Z
    #[arg(long, value_name = "DATE", value_parser = instant)]
    pub before: jiff::Timestamp,
    /// The private key that signs the log; a signed log is left alone without it
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// How long the files stay for readers that hold them, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub grace_s: u64,
}

/// An instant, or the first one of a day.
fn instant(text: &str) -> Result<jiff::Timestamp, String> {
    let expected = "expected a day such as 2026-11-23, or an instant such as 2026-11-23T08:00:00Z";
    let text = text.trim();
    // A day alone: with a time but no zone nobody knows when it is.
    let day = if text.contains([':', 'T', 't', ' ']) { None } else { text.parse::<jiff::civil::Date>().ok() };
    match day {
        Some(day) => day.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| expected.to_owned()),
        None => text.parse().map_err(|_| expected.to_owned()),
    }
}

/// Arguments of `compact`.
#[derive(Debug, Args)]
pub struct Compact {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub log: PathBuf,
    /// The private key that signs the log; a signed log is left alone without it
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// Most events in one merged segment
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub events_max: u64,
    /// How long files that were replaced stay for readers that hold them, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub grace_s: u64,
}
