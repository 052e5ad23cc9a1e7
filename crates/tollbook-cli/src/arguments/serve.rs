//! What can be typed about a gateway over HTTP.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Judge and record everything, refuse nothing, whatever the configuration says
    #[arg(long)]
    pub shadow: bool,
}

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Save what the server lists, for `check --catalog` and others; of several servers, a directory
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Write a policy to begin with; of several servers, a directory
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// A server over HTTP
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,
    /// A header of every request to those, its value from a variable of the environment
    #[arg(long, value_name = "NAME=VARIABLE")]
    pub header_env: Vec<String>,
    /// Every server of a configuration of `serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A server's command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `check-config`.
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// The configuration
    #[arg(value_name = "FILE")]
    pub config: PathBuf,
}

/// Subcommands of `grant`.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Make a grant, and show its token, this once
    New(New),
    /// The grants, without their tokens
    List(Which),
    /// Take a grant back; its token is good for nothing from then on
    Revoke(Named),
    /// Give a grant another token, and show it, this once
    Rotate(Named),
}

/// Whose grants.
#[derive(Debug, Args)]
pub struct Which {
    /// The configuration that they are for
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// A grant by its name.
#[derive(Debug, Args)]
pub struct Named {
    /// What the grant is called
    #[arg(value_name = "GRANT")]
    pub grant: String,
    #[command(flatten)]
    pub of: Which,
}

/// Arguments of `grant new`.
#[derive(Debug, Args)]
pub struct New {
    /// What the grant is called in the log
    #[arg(value_name = "GRANT")]
    pub grant: String,
    #[command(flatten)]
    pub of: Which,
    /// The servers that it is good on
    #[arg(long, value_name = "SERVER", required = true, value_delimiter = ',')]
    pub server: Vec<String>,
    /// A policy of its own on these servers [default: the server's]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}
