//! The enforcement core: one pure, total state machine that judges calls, live and replayed.

mod record;

pub use record::{
    Activated, Body, Bounds, End, Event, Gap, Hash128, Judge, Kept, LimitFact, Mode, Opened, Outcome, PolicyHash,
    Record, RecordedArgs, Verdict,
};
