//! `tollbook log status`: what a log holds.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use tollbook_log::status::{self, InstanceStatus};

use crate::arguments::log::Status;

pub fn run(arguments: &Status) -> anyhow::Result<ExitCode> {
    let found = status::status(&arguments.log)?;
    let mut text = String::new();
    for instance in &found.instances {
        tell(&mut text, instance);
    }
    let sum = |of: fn(&InstanceStatus) -> u64| found.instances.iter().map(of).fold(0, u64::saturating_add);
    let (calls, sealed_calls, bytes) = (sum(|of| of.calls), sum(|of| of.sealed_calls), sum(|of| of.sealed_bytes));
    let _ = writeln!(text, "{} instances, {calls} calls, {} policies", found.instances.len(), found.policies);
    if let Some(bytes_per_call) = per(bytes, sealed_calls) {
        let _ = writeln!(text, "{bytes} bytes sealed, {bytes_per_call} a call");
    }
    for (path, bytes) in &found.set_aside {
        let _ = writeln!(text, "set aside by recovery: {} ({bytes} bytes)", path.display());
    }
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(text: &mut String, instance: &InstanceStatus) {
    let InstanceStatus { instance: name, calls, segments, open_segments, sealed_bytes, retired_bytes, .. } = instance;
    let state = match (&instance.imported_from, instance.is_alive) {
        (Some(file), _) => format!("imported from {file}"),
        (None, true) => "recording".to_owned(),
        (None, false) if *open_segments > 0 => "died; it is recovered when the log is next opened".to_owned(),
        (None, false) => "ended".to_owned(),
    };
    let _ = writeln!(text, "{name}: {state}");
    if let Some(why) = &instance.unreadable {
        let _ = writeln!(text, "  damaged: {why}");
    }
    let _ = write!(text, "  {calls} calls in {segments} sealed and {open_segments} open segments");
    if let Some((first, last)) = instance.times_us {
        let _ = write!(text, ", {} to {}", time(first), time(last));
    }
    if let Some(bytes_per_call) = per(*sealed_bytes, instance.sealed_calls) {
        let _ = write!(text, ", {bytes_per_call} bytes a call");
    }
    text.push('\n');
    if *retired_bytes > 0 {
        let _ = writeln!(text, "  {retired_bytes} bytes in files that compaction replaced");
    }
    if let Some((first_left, before_us)) = instance.pruned {
        let _ = writeln!(text, "  pruned: the events before {first_left}, all of before {}", time(before_us));
    }
    for (first, last) in &instance.holes {
        let _ = writeln!(text, "  lost with a damaged segment: the events {first} to {last}");
    }
    match &instance.head {
        Some((head, written_us)) => {
            let when = written_us.map_or_else(String::new, |us| format!(", {}", time(us)));
            let _ = writeln!(text, "  last checkpoint: {} events{when}", head.size);
        }
        None => text.push_str("  not signed\n"),
    }
}

fn time(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| format!("{us} µs"), |time| format!("{time:.0}"))
}

/// With one decimal place.
fn per(bytes: u64, calls: u64) -> Option<String> {
    let tenths = bytes.saturating_mul(10).checked_div(calls)?;
    Some(format!("{}.{}", tenths / 10, tenths % 10))
}
