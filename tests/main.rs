//! The program as a whole: what a person types, and what comes of it.

mod architecture;
mod backtest;
mod bad_input;
mod gateway;
mod import;
mod policy;
mod program;
mod readme;
mod real;
