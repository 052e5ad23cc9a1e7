//! Questions: SQL over a log, and the reports that are asked for most.
//!
//! A [`Session`] is one DataFusion session over a log directory, with the sealed segments as Parquet and
//! the open ones in memory, seen as one table. A report is a SQL file in this crate and nothing more, so
//! that any report is a query away. What is *not* here: policies and verdicts; the log says what was
//! decided, and this crate only counts.

pub mod output;

mod report;
mod session;

pub use report::Report;
pub use session::{Answer, QueryError, Session};
