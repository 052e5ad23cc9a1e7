//! What earlier processes of a log have left goes on in this one: counters, and grants that are frozen.
//!
//! A process that ended cleanly has left what it had counted; that of any other is found by replaying it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use tollbook_backtest::{Fidelity, Lineage};
use tollbook_engine::{Reads, State};
use tollbook_gateway::Desk;
use tollbook_log::Reader;
use tollbook_log::carry::Carrying;

use crate::command::backtest;

/// A replay of fewer events takes no time that anybody would notice.
const TOLD_FROM: u64 = 100_000;

/// Takes up what was left for these servers. It is done before a policy is put in force.
pub fn carry_on(log: &Path, desk: &mut Desk, servers: &[&str]) -> anyhow::Result<()> {
    let unreadable = || format!("cannot tell what earlier processes have left in the log `{}`", log.display());
    let _carrying = Carrying::begin(log).with_context(unreadable)?;
    let reader = Reader::open(&[log]).with_context(unreadable)?;
    let earlier = reader.earlier().with_context(unreadable)?;
    let mut states: BTreeMap<&str, Option<State>> = BTreeMap::new();
    for server in servers {
        let left = earlier.left_behind(server);
        for instance in &left {
            states.entry(instance).or_insert_with(|| {
                let state = state_of(&reader, instance);
                let told = |error| eprintln!("warning: what {instance} has counted doesn't go on: {error:#}");
                state.map_err(told).ok()
            });
        }
        let known = left.iter().filter_map(|instance| Some((*instance, states.get(instance)?.as_ref()?)));
        desk.carry_on(server, &known.collect::<Vec<_>>()).context("cannot write the log")?;
    }
    desk.keep_frozen(earlier.frozen).context("cannot write the log")
}

/// What an instance has counted by its end.
fn state_of(reader: &Reader, instance: &str) -> anyhow::Result<State> {
    if let Some(state) = reader.left(instance)?.and_then(|bytes| State::restore(&bytes, 0).ok()) {
        return Ok(state);
    }
    let events = reader.next_seq(instance)?;
    if events >= TOLD_FROM {
        eprintln!("replaying the {events} events of {instance}, which did not end cleanly, for what it had counted");
    }
    let mut fidelity = Fidelity::default();
    backtest::begin(reader, &mut fidelity, instance, &Lineage::default())?;
    reader.replay(instance, Reads::ALL)?.each(|event| {
        backtest::take(reader, &mut fidelity, instance, event)?;
        anyhow::Ok(ControlFlow::Continue(()))
    })?;
    Ok(fidelity.into_state())
}
