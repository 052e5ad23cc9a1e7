//! What an operator does to a running gateway: approvals, counters, frozen grants.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::program::{Client, Dir, TOLLBOOK, query, tollbook};

const POLICY: &str = "default deny\nallow list_customers\n\
    tool update_invoice { approve by \"ops\" when args.amount >= 100 limit 2 per day per session }\n";

fn list(log: &str) -> String {
    tollbook(&["approvals", "list", "--log", log]).ok()
}

/// The id of the one call that waits.
fn waiting(log: &str) -> String {
    let list = list(log);
    let row = list.lines().nth(2).unwrap_or_else(|| panic!("nothing waits:\n{list}"));
    assert!(row.contains("update_invoice"), "{list}");
    row.split('|').nth(1).unwrap().trim().to_owned()
}

#[test]
fn a_held_call_waits_for_a_person_and_passes_once() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    let dear = r#"{"id":"in_1","amount":500}"#;
    let held = client.call(1, "update_invoice", dear);
    assert!(held.contains("approval_needed") && held.contains("make the same call again"), "{held}");
    let approval = waiting(&log);
    assert!(held.contains(&format!(r#""tollbook/approval":"{approval}""#)), "{held}");
    let shown = tollbook(&["approvals", "show", &approval, "--log", &log]).ok();
    assert!(shown.contains(r#"arguments  {"amount":500,"id":"in_1"}"#), "{shown}");
    assert!(shown.contains("until"), "{shown}");

    let approved = tollbook(&["approvals", "approve", &approval, "--log", &log, "--by", "ada"]).ok();
    assert!(approved.starts_with(&format!("approved {approval}: event ")), "{approved}");
    assert_eq!(list(&log), "no call waits for an answer\n");
    assert!(!client.call(2, "update_invoice", dear).contains("[POLICY DENIED]"), "approved");
    assert!(client.call(3, "update_invoice", dear).contains("approval_needed"), "once");

    let approval = waiting(&log);
    tollbook(&["approvals", "refuse", &approval, "--log", &log]).ok();
    assert!(client.call(4, "update_invoice", dear).contains("approval_refused"));
    tollbook(&["approvals", "approve", &approval, "--log", &log]).cannot("no call waits for the approval");
    client.end();

    let rows = query(&log, "SELECT decision, reason FROM calls ORDER BY seq");
    assert_eq!(rows, ["hold,approval_needed", "allow,allowed", "hold,approval_needed", "deny,approval_refused"]);
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (4 of 4)"));
    // What a person refused can be what a limit had better stopped.
    let sweep = tollbook(&["sweep", "--log", &log, "--label", "approvals", "--per", "day"]).ok();
    assert!(sweep.contains("over 4 calls: 2 clean, 2 bad\n(bad is every call that a person refused)"), "{sweep}");
}

#[test]
fn the_log_says_by_itself_that_nobody_answered() {
    let dir = Dir::new();
    let policy = "default deny\ntool update_invoice { approve by \"ops\" within 1s }\n";
    let (policy, log) = (dir.file("p.toll", policy), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    assert!(client.call(1, "update_invoice", r#"{"id":"in_1"}"#).contains("approval_needed"));
    let expired = || query(&log, "SELECT detail FROM events WHERE kind = 'expired'");
    let began = Instant::now();
    while expired().is_empty() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let approval = query(&log, "SELECT approval FROM calls").remove(0);
    assert_eq!(expired(), [format!(r#""{{""approval"":""{approval}""}}""#)]);
    tollbook(&["approvals", "approve", &approval, "--log", &log]).cannot("no call waits for the approval");
    client.end();
    assert_eq!(expired().len(), 1);
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (1 of 1)"));
}

#[test]
fn counters_are_reset_and_a_grant_is_frozen_at_once() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    let cheap = r#"{"id":"in_1","amount":5}"#;
    for (id, refused) in [(1, false), (2, false), (3, true)] {
        assert_eq!(client.call(id, "update_invoice", cheap).contains("[POLICY DENIED]"), refused, "{id}");
    }
    let levels = tollbook(&["counters", "list", "--log", &log]).ok();
    assert!(levels.lines().nth(2).is_some_and(|row| row.contains("86400") && row.contains("| 2 ")), "{levels}");
    assert_eq!(tollbook(&["counters", "list", "--log", &log, "--key", "x"]).ok(), "no counter holds anything\n");
    tollbook(&["counters", "reset", "--log", &log]).ok();
    assert_eq!(tollbook(&["counters", "list", "--log", &log]).ok(), "no counter holds anything\n");
    assert!(!client.call(4, "update_invoice", cheap).contains("[POLICY DENIED]"));

    let grant = query(&log, "SELECT DISTINCT \"grant\" FROM calls").remove(0);
    tollbook(&["freeze", "mistyped", "--log", &log])
        .cannot(&format!("there is no grant `mistyped`; there is `{grant}`"));
    tollbook(&["thaw", &grant, "--log", &log]).cannot("isn't frozen");
    tollbook(&["freeze", &grant, "--log", &log]).ok();
    assert!(client.call(5, "list_customers", "{}").contains("frozen"));
    tollbook(&["thaw", &grant, "--log", &log]).ok();
    assert!(!client.call(6, "list_customers", "{}").contains("frozen"));
    client.end();

    let rows = query(&log, "SELECT judged_by, decision, reason FROM calls ORDER BY seq");
    assert_eq!(rows[4..], ["gateway,deny,frozen", "engine,allow,allowed"]);
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (5 of 5)"));
}

#[test]
fn only_the_owner_may_and_somebody_must_listen() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    client.call(1, "list_customers", "{}");
    let control = std::path::Path::new(&log).join("control");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&control), 0o700);
    let socket = std::fs::read_dir(&control).unwrap().next().unwrap().unwrap().path();
    assert_eq!(mode(&socket), 0o600);
    client.end();
    assert!(!socket.exists(), "it goes with the gateway");
    tollbook(&["approvals", "list", "--log", &log]).cannot("no gateway is running");
    tollbook(&["freeze", "me", "--log", &dir.path("nowhere")]).cannot("no gateway is running");
}

/// What one of them refuses, because it has no such grant, is done by the other all the same.
#[test]
fn of_several_gateways_that_write_one_log_the_one_concerned_acts() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut clients = ["ada", "bob"].map(|grant| {
        let args = ["run", "--policy", &policy, "--log", &log, "--grant", grant, "--", TOLLBOOK, "demo-server"];
        let mut client = Client::start(TOLLBOOK, &args);
        assert!(client.call(1, "list_customers", "{}").contains("cus_ada"));
        client
    });
    for grant in ["ada", "bob"] {
        let frozen = tollbook(&["freeze", grant, "--log", &log]).ok();
        assert_eq!(frozen.lines().count(), 1, "{frozen}");
    }
    for client in &mut clients {
        assert!(client.call(2, "list_customers", "{}").contains("frozen"));
    }
    tollbook(&["freeze", "carol", "--log", &log]).cannot("there is `ada`");
    tollbook(&["thaw", "bob", "--log", &log]).ok();
    let [mut ada, mut bob] = clients;
    assert!(ada.call(3, "list_customers", "{}").contains("frozen"));
    assert!(bob.call(3, "list_customers", "{}").contains("cus_ada"));
    ada.end();
    bob.end();
}

/// A changed policy judges the next call, with the counters that it shares; one with errors doesn't.
#[test]
fn a_changed_policy_takes_effect_and_a_bad_one_does_not() {
    let dir = Dir::new();
    let limit = |max| format!("default deny\ntool update_invoice {{ limit {max} per day per grant }}\n");
    let (policy, log) = (dir.file("p.toll", &limit(1)), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    let mut denied = |id| client.call(id, "update_invoice", r#"{"id":"in_1"}"#).contains("[POLICY DENIED]");
    assert_eq!([denied(1), denied(2)], [false, true]);

    let activated = || query(&log, "SELECT count(*) FROM events WHERE kind = 'activated'").remove(0);
    dir.file("p.toll", &limit(2));
    let began = std::time::Instant::now();
    while activated() != "2" {
        assert!(began.elapsed().as_secs() < 30, "the policy was not put in force anew");
    }
    assert_eq!([denied(3), denied(4)], [false, true], "one unit was used before");

    dir.file("p.toll", "default allow\ntool update_invoice { limit many }\n");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(denied(5), "the good one stays");
    let ended = client.end();
    assert!(ended.err.contains("the policy in force stays"), "{}", ended.err);
    assert!(ended.err.contains("limit many"), "its diagnostics are told: {}", ended.err);
    assert_eq!(activated(), "2");
    assert!(tollbook(&["backtest", "--log", &log, &policy]).code != Some(0), "the file still has errors");
    let good = dir.file("good.toll", &limit(2));
    assert!(tollbook(&["backtest", "--log", &log, &good]).ok().starts_with("fidelity 100.00 % (5 of 5)"));
}

/// Whoever was stopped isn't let go by ending the gateway, as an agent on standard input and output can.
#[test]
fn a_frozen_grant_stays_frozen_under_the_next_gateway() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    client.call(1, "list_customers", "{}");
    let grant = query(&log, "SELECT DISTINCT \"grant\" FROM calls").remove(0);
    tollbook(&["freeze", &grant, "--log", &log]).ok();
    client.end();
    for _ in 0..2 {
        let mut client = Client::through_gateway(&policy, &log);
        assert!(client.call(1, "list_customers", "{}").contains("frozen"));
        client.end();
    }
    let mut client = Client::through_gateway(&policy, &log);
    assert!(client.call(1, "list_customers", "{}").contains("frozen"));
    tollbook(&["thaw", &grant, "--log", &log]).ok();
    assert!(client.call(2, "list_customers", "{}").contains("cus_ada"));
    client.end();
    let mut client = Client::through_gateway(&policy, &log);
    assert!(client.call(1, "list_customers", "{}").contains("cus_ada"));
    client.end();
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (3 of 3)"));
}

/// A client on standard input and output is told, as one over HTTP is.
#[test]
fn a_client_is_told_when_a_reload_hides_another_tool() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    assert!(client.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).contains("void_invoice"));
    dir.file("p.toll", "default allow\nhide void_invoice\n");
    assert_eq!(client.receive(), r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert!(!client.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#).contains("void_invoice"));
    client.end();
}
