//! `tollbook log prune`: the oldest events go, and what is left can still be verified and replayed.
//!
//! What had been counted by then is found by replaying what goes, so a log whose replay differs is left as it is:
//! the state that its engine had nobody could tell afterwards.

use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use tollbook_backtest::{Fidelity, Lineage};
use tollbook_engine::Reads;
use tollbook_log::prune::{PruneOptions, Pruned, prune};
use tollbook_log::{Reader, Signer};

use crate::arguments::log::Prune;
use crate::command::backtest;

pub fn run(arguments: &Prune) -> anyhow::Result<ExitCode> {
    let options = PruneOptions {
        before_us: arguments.before.as_microsecond(),
        grace_s: arguments.grace_s,
        signer: arguments.log_key.as_deref().map(Signer::load).transpose()?,
        now_us: Timestamp::now().as_microsecond(),
    };
    let pruned = prune(&arguments.log, &options, None, &mut |reader, instance, seq| {
        state_at(reader, instance, seq).map_err(|error| format!("{error:#}"))
    })?;
    crate::print(&told(&pruned, arguments))?;
    Ok(if pruned.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn told(pruned: &Pruned, arguments: &Prune) -> String {
    let mut text = String::new();
    for (instance, first_left) in &pruned.pruned {
        text.push_str(&format!("{instance}: removed the events before {first_left}\n"));
    }
    for (instance, why) in &pruned.left {
        text.push_str(&format!("{instance}: left alone: {why}\n"));
    }
    if !pruned.deleted.is_empty() {
        text.push_str(&format!("deleted {} files\n", pruned.deleted.len()));
    }
    if !pruned.pruned.is_empty() && arguments.grace_s > 0 {
        let seconds = arguments.grace_s;
        text.push_str(&format!("the files are deleted by the first `log prune` or `compact` after {seconds} s\n"));
    }
    if text.is_empty() {
        text.push_str(&format!("no segment is all of before {}\n", arguments.before));
    }
    text
}

/// What the replay of the instance has counted before an event.
pub fn state_at(reader: &Reader, instance: &str, seq: u64) -> anyhow::Result<Option<Vec<u8>>> {
    if reader.manifests().any(|manifest| manifest.instance == instance && manifest.imported.is_some()) {
        return Ok(None);
    }
    let mut fidelity = Fidelity::default();
    // It is replayed by itself: what it carries on lies beside it.
    backtest::begin(reader, &mut fidelity, instance, &Lineage::default())?;
    reader.replay(instance, Reads::ALL)?.each(|event| {
        if event.seq >= seq {
            return Ok(ControlFlow::Break(()));
        }
        backtest::take(reader, &mut fidelity, instance, event)?;
        anyhow::Ok(ControlFlow::Continue(()))
    })?;
    if let Some(first) = fidelity.differences.first() {
        let (count, at) = (fidelity.different, first.seq);
        let (recorded, replayed) = (crate::visible(&first.recorded), crate::visible(&first.replayed));
        bail!(
            "the replay differs from the record in {count} of its decisions; seq {at}: recorded {recorded}; replayed {replayed}"
        );
    }
    Ok(Some(fidelity.snapshot()))
}
