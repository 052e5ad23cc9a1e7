//! The program as a whole: what a person types, and what comes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test fails where it stands"
)]

mod architecture;
mod attacks;
mod backtest;
mod bad_input;
mod conformance;
mod faults;
mod fidelity;
mod gateway;
mod import;
mod language;
mod operator;
mod page;
mod parts;
mod policy;
mod program;
mod prune;
mod query;
mod readme;
mod real;
mod restart;
mod serve;
mod soak;
