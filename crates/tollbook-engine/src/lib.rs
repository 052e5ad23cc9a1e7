//! The enforcement core: one pure, total state machine that judges calls, live and replayed.
//!
//! An [`Engine`] is a policy made ready for one server; it never changes. A [`State`] is everything
//! remembered between calls, bounded. [`Engine::decide`] takes a [`Call`] and answers with a
//! [`Decision`]; [`State::settle`] takes in how a call ended and gives units back if it never reached the
//! tool. Neither reads a clock, a file or the environment, and neither can fail: a refusal is a decision.
//! The same events in the same order give the same decisions and the same state, and that is what a
//! backtest rests on.
//!
//! What is *not* here: JSON-RPC, Parquet, time as it passes.

pub mod run;

mod approval;
mod argument;
mod borrowed;
mod call;
mod canonical;
mod cbor;
mod codes;
mod compile;
mod condition;
mod decide;
mod decision;
mod flight;
mod hex;
mod history;
mod hours;
mod keyed;
mod limit;
mod record;
mod snapshot;
mod state;
mod tool_id;

pub use argument::{ArgPath, Args, Found, KEPT_BYTES_MAX, KEYS_BYTES_MAX, follow};
pub use borrowed::{ArgsRef, BodyRef, EventRef, FactRef, Reads, RecordRef, encode_event};
pub use call::Call;
pub use canonical::{canonical, hash128, policy_hash};
pub use codes::{Code, Coded, Codes};
pub use compile::{CompileError, Engine, LOOK_BACK_MAX};
pub use decision::{Decision, Fact, Reason};
pub use hex::{from_hex, read_hex};
pub use record::{
    Activated, Answered, Body, Bounds, Carried, ClockBack, End, Event, Expired, Frozen, Gap, Hash128, Judge, Kept,
    LimitFact, Mode, Opened, Outcome, PolicyHash, Pruned, Record, RecordedArgs, Reset, Verdict,
};
pub use snapshot::SnapshotError;
pub use state::{Level, State};

#[cfg(test)]
mod tests;
