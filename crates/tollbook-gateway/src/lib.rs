//! MCP in, MCP out: the one decision loop between an agent and its server.
//!
//! [`stdio::run`] relays frames byte for byte; [`Desk`] judges and records each `tools/call` on its way.
//! Frames are never re-written: a typed SDK was measured to drop unknown fields and to change large
//! integers, and what was judged must be what the server sees.

pub mod config;
pub mod grants;
pub mod http;
pub mod operator;
pub mod stdio;
pub mod survey;

mod catalog;
mod desk;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod lines;
mod metrics;
mod refusal;
mod spelling;

pub use desk::{
    Clock, Connection, Desk, End, InForce, Manner, OnLogFailure, PENDING_MAX, Returned, Step, Ticket, Unrecorded,
};
pub use frame::RequestId;
pub use headers::Headers;
