//! Replays recorded calls: first under the policies that judged them, then under others.
//!
//! The engine that judges live calls is the engine that replays them. [`Fidelity`] is the proof: the
//! recorded policies are replayed over the recorded events, and every decision must come out again, the
//! facts of its limits included. Only then is it worth asking what a [`Candidate`] would have done.
//!
//! Nothing here reads a file or a clock: events go in one by one, borrowed, in the order of their instance, and
//! memory grows with the rules, tools and live keys, not with the calls.

mod bootstrap;
mod candidate;
mod caught;
mod columns;
mod fidelity;
mod lineage;
mod named;
mod recommend;
mod report;
mod retries;
pub mod script;
mod sweep;
mod tallies;

pub use bootstrap::Interval;
pub use candidate::{Candidate, Certainty, Judged};
pub use caught::{Caught, Loop, Loops};
pub use columns::{Busy, Columns, Counts, Inexact, Layout, Refused};
pub use fidelity::{DIFFERENCES_MAX, Difference, Fidelity};
pub use lineage::Lineage;
pub use recommend::{Advice, Declined, Evidence, Forward, Knee, Terms, a_person_would_write, recommend};
pub use report::{Busiest, Change, Headroom, Report, SessionTally, Tally, Waits};
pub use sweep::{Grid, GridError, Label, POINTS_MAX, Point, Sweep};

use tollbook_engine::{Args, Call, EventRef, RecordRef};
use tollbook_policy::json::{self, Node};

/// What a record kept of its arguments, read as JSON. None where nothing was kept.
fn parsed_args<'r>(record: &'r RecordRef<'_>) -> Option<Node<'r>> {
    record.args.json.as_deref().and_then(|text| json::parse(text.as_bytes()).ok())
}

/// A recorded call as the engine sees it. None for a frame that was too broken to name a tool.
fn recorded_call<'a>(
    event: &'a EventRef<'_>,
    record: &'a RecordRef<'a>,
    args: Option<&'a Node<'a>>,
) -> Option<Call<'a>> {
    Some(Call {
        at_us: event.ts_us,
        session: record.session,
        grant: record.grant,
        agent: record.agent,
        tool: record.tool?,
        category: record.category,
        args: Args::recorded(&record.args, args),
        continues: record.continues.is_some(),
        codes: event.codes.as_ref(),
    })
}
