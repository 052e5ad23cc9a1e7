//! One file for each command.

pub mod backtest;
mod carry;
#[cfg(feature = "query")]
mod categories;
mod check;
mod check_config;
mod classify;
mod compact;
mod compile;
mod decompile;
mod diff;
mod eval;
#[cfg(feature = "query")]
pub mod evidence;
mod explain;
mod fmt;
mod grant;
mod import;
mod language;
mod lint;
mod log;
pub mod operator;
#[cfg(feature = "query")]
pub mod query;
#[cfg(feature = "query")]
pub mod recommend;
#[cfg(feature = "query")]
mod report;
mod retention;
pub mod run;
mod scan;
#[cfg(feature = "query")]
mod schema;
mod serve;
#[cfg(feature = "query")]
mod sql;
#[cfg(feature = "query")]
pub mod sweep;
#[cfg(feature = "query")]
mod tail;
mod test;
mod watch;

use std::process::ExitCode;

use crate::arguments::Command;
use crate::demo;

/// Does what was typed.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(arguments) => demo::show(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Language(language) => language::run(&language),
        Command::Approvals(arguments) => operator::approvals(&arguments),
        Command::Counters(arguments) => operator::counters(&arguments),
        Command::Freeze(arguments) => operator::freeze(&arguments, true),
        Command::Thaw(arguments) => operator::freeze(&arguments, false),
        Command::Run(arguments) => run::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Grant(grant) => grant::run(&grant),
        Command::Import(arguments) => import::run(&arguments),
        Command::Log(log) => log::run(&log),
        Command::Compact(arguments) => compact::run(&arguments),
        #[cfg(feature = "query")]
        Command::Query(arguments) => query::run(&arguments),
        #[cfg(feature = "query")]
        Command::Sql(arguments) => sql::run(&arguments),
        #[cfg(feature = "query")]
        Command::Report(arguments) => report::run(&arguments),
        #[cfg(feature = "query")]
        Command::Schema(arguments) => schema::run(&arguments),
        #[cfg(feature = "query")]
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Backtest(arguments) => backtest::run(&arguments),
        #[cfg(feature = "query")]
        Command::Sweep(arguments) => sweep::run(&arguments),
        #[cfg(feature = "query")]
        Command::Recommend(arguments) => recommend::run(&arguments),
        Command::DemoServer => demo::serve(),
    }
}
