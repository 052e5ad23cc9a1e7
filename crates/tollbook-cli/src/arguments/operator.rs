//! What can be typed to reach running gateways.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Subcommands of `approvals`.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// The calls that wait
    List(Where),
    /// One of them, with its arguments
    Show(Show),
    /// Let it pass, once
    Approve(Answer),
    /// Refuse it
    Refuse(Answer),
}

/// Subcommands of `counters`.
#[derive(Debug, Subcommand)]
pub enum Counters {
    /// What counters hold
    List(Levels),
    /// Empty counters
    Reset(Reset),
}

/// Whose gateways.
#[derive(Debug, Args)]
pub struct Where {
    /// The directory of the log that the gateways write
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
}

/// Arguments of `approvals show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The approval's id
    #[arg(value_name = "ID")]
    pub approval: String,
    #[command(flatten)]
    pub at: Where,
}

/// Arguments of `approvals approve` and `approvals refuse`.
#[derive(Debug, Args)]
pub struct Answer {
    /// The approval's id
    #[arg(value_name = "ID")]
    pub approval: String,
    #[command(flatten)]
    pub at: Where,
    /// Who says so [default: the user's name in the environment]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Arguments of `counters list`.
#[derive(Debug, Args)]
pub struct Levels {
    #[command(flatten)]
    pub at: Where,
    /// The counter's name [default: every counter]
    #[arg(long, value_name = "NAME")]
    pub counter: Option<String>,
    /// The scope's value, such as the session's [default: every one]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// Arguments of `counters reset`.
#[derive(Debug, Args)]
pub struct Reset {
    #[command(flatten)]
    pub at: Where,
    /// The counter's name [default: every counter]
    #[arg(long, value_name = "NAME")]
    pub counter: Option<String>,
    /// The scope's value, such as the session's [default: every one]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Who does it [default: the user's name in the environment]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Arguments of `freeze` and `thaw`.
#[derive(Debug, Args)]
pub struct Freeze {
    /// The grant
    #[arg(value_name = "GRANT")]
    pub grant: String,
    #[command(flatten)]
    pub at: Where,
    /// Who does it [default: the user's name in the environment]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}
