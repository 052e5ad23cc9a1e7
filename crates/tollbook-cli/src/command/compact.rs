//! `tollbook compact`: small sealed segments become larger ones.

use std::process::ExitCode;

use tollbook_log::Signer;
use tollbook_log::compact::{CompactOptions, compact};

use crate::arguments::log::Compact;

pub fn run(arguments: &Compact) -> anyhow::Result<ExitCode> {
    let options = CompactOptions {
        events_max: arguments.events_max,
        grace_s: arguments.grace_s,
        signer: arguments.log_key.as_deref().map(Signer::load).transpose()?,
        now_us: jiff::Timestamp::now().as_microsecond(),
    };
    let compacted = compact(&arguments.log, &options)?;
    let mut text = String::new();
    for (instance, before, after) in &compacted.merged {
        text.push_str(&format!("{instance}: {before} sealed segments are now {after}\n"));
    }
    for (instance, why) in &compacted.left {
        text.push_str(&format!("{instance}: left alone: {why}\n"));
    }
    if !compacted.deleted.is_empty() {
        text.push_str(&format!("deleted {} files that were replaced earlier\n", compacted.deleted.len()));
    }
    if text.is_empty() {
        text.push_str("nothing to merge\n");
    }
    crate::print(&text)?;
    Ok(if compacted.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
