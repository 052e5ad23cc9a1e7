//! What a gateway has counted goes on in the next one, however it ended.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{Client, Dir, TOLLBOOK, query, tollbook};

const POLICY: &str = "default deny\ntool list_customers { limit 3 per day per grant }\n";

/// Makes calls, and tells which were let through.
fn calls(client: &mut Client, count: u64) -> String {
    let told = |id| if client.call(id, "list_customers", "{}").contains("[POLICY DENIED]") { '-' } else { '+' };
    (1..=count).map(told).collect()
}

/// A process that makes so many calls and ends.
fn process(policy: &str, log: &str, count: u64) -> String {
    let mut client = Client::through_gateway(policy, log);
    let told = calls(&mut client, count);
    assert_eq!(client.end().code, Some(0));
    told
}

fn fidelity(log: &str, policy: &str, begins: &str) {
    let told = tollbook(&["backtest", "--log", log, policy]);
    assert!(told.out.starts_with(begins), "{}", told.out);
}

fn snapshots(log: &str, ending: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(Path::new(log).join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

#[test]
fn a_limit_per_day_is_a_limit_per_day_over_restarts() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    assert_eq!(process(&policy, &log, 2), "++");
    // One that is killed leaves nothing but its log.
    let mut killed = Client::through_gateway(&policy, &log);
    assert_eq!(calls(&mut killed, 2), "+-");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(process(&policy, &log, 1), "-");
    fidelity(&log, &policy, "fidelity 100.00 % (5 of 5)\n");

    let carried = query(&log, "SELECT server, detail FROM events WHERE kind = 'carried' ORDER BY instance");
    assert_eq!(carried.len(), 2, "{carried:?}");
    assert!(carried[0].starts_with("tollbook,") && carried[0].contains(r#""from"#), "{carried:?}");

    // A process in front of another server of the log counts by itself, and takes nothing away.
    let other = ["run", "--policy", &policy, "--server", "other", "--log", &log, "--", TOLLBOOK, "demo-server"];
    let mut client = Client::start(TOLLBOOK, &other);
    assert_eq!(calls(&mut client, 3), "+++");
    client.end();
    assert_eq!(process(&policy, &log, 1), "-");
    fidelity(&log, &policy, "fidelity 100.00 % (9 of 9)\n");
}

/// The next gateway takes it for what was counted; the replay doesn't.
#[test]
fn what_was_left_and_changed_by_hand_shows_in_the_replay() {
    let dir = Dir::new();
    let (policy, log, spare) = (dir.file("p.toll", POLICY), dir.path("log"), dir.path("spare"));
    process(&policy, &spare, 0);
    assert_eq!(process(&policy, &log, 3), "+++");
    let [left, empty] = [&log, &spare].map(|log| snapshots(log, ".left").pop().unwrap());
    fs::copy(&empty, &left).unwrap();
    assert_eq!(process(&policy, &log, 1), "+");
    let told = tollbook(&["backtest", "--log", &log, &policy]);
    assert_eq!(told.code, Some(1));
    assert!(told.out.contains("recorded other counters carried on from"), "{}", told.out);
}

/// What is left of the log says so still, and the states that nobody asks for any more go with the events.
#[test]
fn what_was_pruned_still_counts() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    assert_eq!(process(&policy, &log, 1), "+");
    assert_eq!(process(&policy, &log, 1), "+");
    assert_eq!((snapshots(&log, ".left").len(), snapshots(&log, ".carried").len()), (2, 1));
    let pruned = tollbook(&["log", "prune", &log, "--before", "2100-01-01", "--grace-s", "0"]).ok();
    assert_eq!(pruned.matches("removed the events before").count(), 2, "{pruned}");
    assert_eq!((snapshots(&log, ".left").len(), snapshots(&log, ".carried").len()), (0, 0));
    assert_eq!(process(&policy, &log, 2), "+-");
    fidelity(&log, &policy, "fidelity 100.00 % (2 of 2)\n");
}

/// An operator's word outlives the event in which it was given.
#[test]
fn a_grant_stays_frozen_when_the_event_is_pruned() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    assert_eq!(calls(&mut client, 1), "+");
    tollbook(&["freeze", "local", "--log", &log]).ok();
    client.end();
    for _ in 0..2 {
        tollbook(&["log", "prune", &log, "--before", "2100-01-01", "--grace-s", "0"]).ok();
    }
    let mut client = Client::through_gateway(&policy, &log);
    let refused = client.call(1, "list_customers", "{}");
    assert!(refused.contains("an operator has stopped this grant's calls"), "{refused}");
    client.end();
}

/// A cache that is damaged, or not there, is found again by a replay.
#[test]
fn what_was_left_is_a_cache() {
    for damage in [|path: &Path| fs::write(path, b"no state").unwrap(), |path: &Path| fs::remove_file(path).unwrap()] {
        let dir = Dir::new();
        let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
        assert_eq!(process(&policy, &log, 2), "++");
        snapshots(&log, ".left").iter().for_each(|path| damage(path));
        assert_eq!(process(&policy, &log, 2), "+-");
        fidelity(&log, &policy, "fidelity 100.00 % (4 of 4)\n");
    }
}
