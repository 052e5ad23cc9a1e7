//! Questions: SQL over a log, and the reports that are asked for most.
//!
//! A [`Session`] is one DataFusion session over log directories, with the sealed segments as Parquet and
//! the open ones in memory, seen as one table. `loops()` streams over the calls in their order; `limits`,
//! `sessions` and `policies` are views in SQL. A report is a SQL file in this crate and nothing more, so
//! that any report is a query away. What is *not* here: policies and verdicts; the log says what was
//! decided, and this crate only counts. What tools do is told by whoever opens a session ([`Categories`]).

pub mod loops;
pub mod output;

mod answer;
mod backtest;
mod category;
mod damage;
mod late;
mod rates;
mod report;
mod schema;
mod sealed;
mod session;
mod source;
mod store;
mod table;

#[cfg(test)]
mod slt_test;

pub use answer::Answer;
pub use backtest::{Backtest, Rejudged};
pub use category::Categories;
pub use report::{Filter, Page, Report};
pub use schema::{Doc, TableDoc, schema};
pub use session::{LogDir, Options, QueryError, Session};
pub use store::Store;
