//! A process that is killed loses nothing that it had recorded.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{Log, Options};
use crate::Signer;
use crate::testing::{all_events, decided, ended};
use crate::verify::{Evidence, Verdict, verify};

/// Set in the child: the log that it writes until it is killed.
const LOG: &str = "TOLLBOOK_KILL_TEST_LOG";
/// Ten kills in the plain form, two hundred in the nightly one.
fn kills() -> u64 {
    if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 200 } else { 10 }
}

fn options() -> Options {
    Options { signer: Some(Arc::new(Signer::from_secret(&[1; 32]))), ..Options::default() }
}

#[test]
fn a_killed_process_loses_nothing_that_was_recorded() {
    if let Some(dir) = std::env::var_os(LOG) {
        record_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut recorded: Vec<u64> = (1..=kills()).map(|kill| kill_after(dir.path(), kill * 37 % 100 + 1)).collect();
    let (log, recovery) = Log::open(dir.path(), options()).unwrap();
    assert!(recovery.unreadable.is_empty() && recovery.not_vouched.is_empty(), "{recovery:?}");
    log.close().unwrap();
    let evidence = Evidence { keys: vec![Signer::from_secret(&[1; 32]).public()], heads: Vec::new() };
    let verified = verify(dir.path(), &evidence).unwrap();
    assert_eq!(verified.verdict(), Verdict::Intact, "{verified:?}");
    assert!(verified.instances.iter().all(|instance| instance.not_covered() == 0), "{verified:?}");
    let mut kept: Vec<u64> = Vec::new();
    for (_, events) in all_events(dir.path()) {
        assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
        if events.is_empty() {
            // The instance of this test itself, which has a head and no records.
            continue;
        }
        kept.push(events.len() as u64);
    }
    // Each child is an instance, named by the second and at random; the counts tell which is which well enough.
    recorded.sort_unstable();
    kept.sort_unstable();
    assert_eq!(kept.len(), recorded.len());
    assert!(kept.iter().zip(&recorded).all(|(kept, recorded)| kept >= recorded), "{kept:?} {recorded:?}");
}

/// The child: says each sequence number once it is recorded.
fn record_for_ever(dir: &Path) -> ! {
    let (log, _) = Log::open(dir, Options { seal_events_max: 15, ..options() }).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        let seq = log.append(1, decided("a")).unwrap();
        writeln!(out, "\nrecorded {seq}").unwrap();
        let seq = log.append(2, ended(seq)).unwrap();
        writeln!(out, "\nrecorded {seq}").unwrap();
    }
}

/// Kills a child some events after its start, and counts what it said was recorded.
fn kill_after(dir: &Path, events: u64) -> u64 {
    let name = "writer::kill_test::a_killed_process_loses_nothing_that_was_recorded";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(LOG, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut recorded = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.starts_with("recorded ") {
            recorded += 1;
        }
        if recorded == events {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    recorded
}
