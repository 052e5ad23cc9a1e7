//! `tollbook backtest` on logs that `tollbook run` wrote.

use crate::program::{Client, Dir, tollbook};

/// Makes this many update calls through a policy that allows all of them.
fn log_of(dir: &Dir, calls: u64) -> String {
    let (policy, log) = (dir.file("wrote.toll", "default allow\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    for id in 0..calls {
        client.call(id, "update_invoice", r#"{"id":"in_1","amount":5}"#);
    }
    client.call(calls, "list_customers", "{}");
    client.end();
    log
}

#[test]
fn it_says_what_changes_by_rule_and_by_tool() {
    let dir = Dir::new();
    let log = log_of(&dir, 10);
    let candidate =
        dir.file("c.toll", "default deny\nallow list_customers\ntool update_invoice { limit 4 per day per grant }\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    for line in [
        "fidelity 100.00 % (11 of 11)",
        "11 calls in 1 session\n",
        "  refused            0 before, 6 now",
        "  newly refused      6 (54.54 %)",
        "  sessions touched   1 of 1",
        "c.toll:3) |             6 |             0 |       |",
        "a session stops at its first refusal   1 refused, 6 later calls never made",
        "| update_invoice |             6 |             0 |    10 |",
        "| financial |             6 |             0 |    10 |",
    ] {
        assert!(out.contains(line), "expected `{line}` in:\n{out}");
    }
}

#[test]
fn several_candidates_stand_side_by_side_and_changed_calls_are_named() {
    let dir = Dir::new();
    let log = log_of(&dir, 10);
    let limit = |name, max| {
        let text = format!("default allow\ntool update_invoice {{ limit {max} per day per grant }}\n");
        dir.file(name, &text)
    };
    let (four, nine) = (limit("four.toll", 4), limit("nine.toll", 9));
    let out = tollbook(&["backtest", "--log", &log, &four, &nine, "--list"]).ok();
    let last = out.rsplit("| candidate ").next().unwrap();
    for (file, refused) in [("four.toll", 6), ("nine.toll", 1)] {
        let row = last.lines().find(|line| line.contains(file)).unwrap();
        assert_eq!(row.split('|').nth(2).unwrap().trim(), refused.to_string(), "{out}");
    }
    let named: Vec<&str> = out.lines().filter(|line| line.contains("| allow    | deny ")).collect();
    assert_eq!(named.len(), 7, "{out}");
    assert!(named[0].contains("| exact ") && named[1].contains("| diverged "), "{out}");
}

#[test]
fn a_condition_makes_it_fail() {
    let dir = Dir::new();
    let log = log_of(&dir, 10);
    let candidate = dir.file("c.toll", "default allow\ntool update_invoice { limit 4 per day per grant }\n");
    let ended = |condition: &str| tollbook(&["backtest", "--log", &log, &candidate, "--fail-on", condition]);
    for (condition, code) in [
        ("newly_refused > 54.54%", 1),
        ("newly_refused > 54.55%", 0),
        ("newly_refused > 6", 0),
        ("newly_refused >= 6", 1),
        ("sessions_touched>0", 1),
        ("unknown >= 1", 0),
        ("newly_allowed > 0%", 0),
    ] {
        assert_eq!(ended(condition).code, Some(code), "{condition}");
    }
    // The sixth call in a row finds the limit used up, as the fifth did.
    let told = ended("unknown >= 1").out;
    let busiest = told.lines().skip_while(|line| !line.contains("busiest windows")).nth(2).unwrap_or_default();
    let cells: Vec<&str> = busiest.split('|').map(str::trim).collect();
    assert_eq!((cells[1], cells[4], cells[5]), ("/tools/update_invoice/limits/calls-per-day", "5", "4"), "{told}");
    ended("refused > 1").cannot("unknown figure `refused`");
    ended("newly_refused > 0.001%").cannot("finer than a hundredth of a per cent");
}

#[test]
fn what_the_log_did_not_keep_is_unknown_and_never_guessed() {
    let dir = Dir::new();
    let log = log_of(&dir, 3);
    // `amount` was an argument, but the policy of the day didn't read it; `nothing` surely was none.
    let candidate = dir.file("c.toll", "default allow\ntool update_invoice { deny when args.amount > 100 }\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    assert!(out.contains("certainty          1 exact, 0 after a divergence, 3 unknown"), "{out}");
    let candidate = dir.file("d.toll", "default allow\ntool update_invoice { deny when args.nothing missing }\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    assert!(out.contains("newly refused      3"), "{out}");
}

#[test]
fn what_was_refused_and_would_pass_is_newly_allowed() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default deny\nallow list_customers\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    client.call(1, "list_customers", "{}");
    client.call(2, "void_invoice", r#"{"id":"in_1"}"#);
    client.end();
    let candidate = dir.file("c.toll", "default allow\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate, "--list"]).ok();
    assert!(out.contains("refused            1 before, 0 now"), "{out}");
    assert!(out.contains("newly allowed      1"), "{out}");
    // No rule lets it through, so what is named is the one that refused it.
    let row = out.lines().find(|line| line.contains("| deny     | allow ")).unwrap_or_default();
    assert_eq!(row.split('|').nth(8).map(str::trim), Some("(default deny)"), "{out}");
}

/// A session in which the last calls repeat each other, and what limits would do to it.
#[test]
fn a_sweep_tells_clean_calls_from_those_of_loops() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("wrote.toll", "default allow\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    for id in 0..3 {
        client.call(id, "update_invoice", &format!(r#"{{"id":"in_{id}","amount":5}}"#));
    }
    for id in 3..13 {
        client.call(id, "update_invoice", r#"{"id":"in_9","amount":5}"#);
    }
    client.end();
    let sweep = |more: &[&str]| {
        let fixed = ["sweep", "--log", &log, "--tool", "update_*", "--per", "day", "--max", "1..20"];
        tollbook(&[&fixed[..], more].concat()).ok()
    };
    let page = sweep(&[]);
    assert!(page.contains("over 13 calls: 4 clean, 9 bad"), "{page}");
    let frontier: Vec<&str> = page.lines().filter(|line| line.contains("frontier")).collect();
    assert_eq!(frontier.len(), 1, "{page}");
    let cells: Vec<&str> = frontier[0].split('|').map(str::trim).collect();
    assert_eq!(cells[1..7], ["limit 4 per day per session", "0", "0.00", "0", "9", "100.00"], "{page}");

    let json: serde_json::Value = serde_json::from_str(&sweep(&["--json"])).unwrap();
    for point in json["points"].as_array().unwrap() {
        let max = point["max"].as_u64().unwrap();
        let refused = (point["refused_clean"].as_u64().unwrap(), point["refused_bad"].as_u64().unwrap());
        assert_eq!(refused, (4_u64.saturating_sub(max), 13_u64.saturating_sub(max.max(4))), "{max}");
        // Each point is what `backtest` says of its policy.
        let candidate = dir.file("point.toll", point["policy"].as_str().unwrap());
        let told = tollbook(&["backtest", "--log", &log, &candidate]).ok();
        assert!(told.contains(&format!("newly refused      {} (", refused.0 + refused.1)), "{told}");
    }
    // A breaker is tried in the same way, and other calls can be the bad ones.
    let told = |more: &[&str]| tollbook(&[&["sweep", "--log", &log, "--json"], more].concat()).ok();
    let figures = |json: &str| {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let point = &json["points"][0];
        let figure = |name: &str| point[name].as_u64().unwrap();
        (point["clause"].as_str().unwrap().to_owned(), figure("refused_clean"), figure("refused_bad"))
    };
    let breaker = told(&["--break", "identical calls", "--max", "3"]);
    assert_eq!(figures(&breaker), ("break after 3 identical calls within 10m".to_owned(), 0, 7));
    let one = told(&["--label", "request_id = '1'", "--per", "day", "--max", "1"]);
    assert_eq!(figures(&one), ("limit 1 per day per session".to_owned(), 11, 1));
    let none = told(&["--label", "request_id='1'", "--group", "update_*,void_*", "--per", "day", "--max", "100"]);
    let none: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!((&none["clean"], &none["bad"], &none["points"][0]["frontier"]), (&12.into(), &1.into(), &false.into()));
    let others = tollbook(&["sweep", "--log", &log, "--tool", "list_*"]).ok();
    assert!(others.contains("clauses for list_*, over 0 calls: 0 clean, 0 bad"), "{others}");
    let csv = dir.file("bad.csv", "seq\n4\n");
    assert_eq!(figures(&told(&["--label", &csv, "--per", "day", "--max", "1"])).2, 1);
    let csv = dir.file("odd.csv", "row\n4\n");
    tollbook(&["sweep", "--log", &log, "--label", &csv]).cannot("has no column `seq`");
    tollbook(&["sweep", "--log", &log, "--label", "sorrow"]).cannot("expected loops, outcomes, approvals");
    tollbook(&["sweep", "--log", &log, "--label", "no such column"]).cannot("cannot tell the bad calls by");
    tollbook(&["sweep", "--log", &log, "--max", "9..3"]).cannot("ends before it begins");
    tollbook(&["sweep", "--log", &log, "--per", "fortnight"]).cannot("per fortnight per session");
}

/// 130 sessions on five days, an hour apart, each with its own number of calls; in every fortieth an agent is
/// stuck.
pub fn sessions_of_which_some_are_stuck(dir: &Dir) -> String {
    let mut lines = String::new();
    for session in 0..130_u32 {
        let (day, hour) = (1 + session / 26, session % 24);
        for seq in 0..1 + session * 7 % 12 + if session % 40 == 3 { 60 } else { 0 } {
            let page = seq.min(12);
            lines += &format!(
                r#"{{"ts":"2026-03-{day:02}T{hour:02}:{:02}:{:02}Z","seq":{seq},"session":"s{session}","server":"srv","tool":"list_notes","args":{{"page":{page}}}}}"#,
                seq / 60,
                seq % 60
            );
            lines.push('\n');
        }
    }
    let (trace, log) = (dir.file("trace.jsonl", &lines), dir.path("imported"));
    tollbook(&["import", "--log", &log, &trace]).ok();
    log
}

#[test]
fn calls_that_failed_can_be_the_bad_ones() {
    let dir = Dir::new();
    let line = |seq: u32| {
        let failed = seq % 3 == 2;
        format!(
            r#"{{"ts":"2026-03-01T10:00:{seq:02}Z","seq":{seq},"session":"s","server":"srv","tool":"list_notes","args":{{"page":{seq}}},"is_error":{failed}}}"#
        )
    };
    let lines: Vec<String> = (0..10).map(line).collect();
    let (trace, log) = (dir.file("trace.jsonl", &lines.join("\n")), dir.path("imported"));
    tollbook(&["import", "--log", &log, &trace]).ok();
    let sweep = tollbook(&["sweep", "--log", &log, "--label", "outcomes", "--per", "day", "--max", "8"]).ok();
    assert!(sweep.contains("over 10 calls: 7 clean, 3 bad\n(bad is every call that ended in an error)"), "{sweep}");
    assert!(
        sweep.contains("| limit 8 per day per session |             1 | 14.28 |        1 |           1 | 33.33 |"),
        "{sweep}"
    );
}

#[test]
fn it_says_which_loops_it_would_have_stopped_and_where_in_their_sessions() {
    let dir = Dir::new();
    let log = sessions_of_which_some_are_stuck(&dir);
    let file = |name, clause: &str| dir.file(name, &format!("default allow\nall tools {{ {clause} }}\n"));
    let breaker = file("breaker.toll", "break after 3 identical calls within 10m");
    let nothing = file("nothing.toll", "limit 1000 per day per session");
    let out = tollbook(&["backtest", "--log", &log, &breaker, &nothing]).ok();
    // The loops have 58, 50, 54 and 58 calls, of which the fourth is the first to be refused.
    for line in [
        "  loops stopped      4 of 4; they went on for 204 calls afterwards",
        "1st, 2nd, 3rd, 4th quarter: 4, 0, 0, 0; at their last call: 0",
        "208 wait, 91.6 min on average, 3.1 h at most; 0 never pass",
        "| s43     |            47 |             0 |    62 |       call 16 |",
        "  loops stopped      0 of 4\n",
    ] {
        assert!(out.contains(line), "expected `{line}` in:\n{out}");
    }
    let last = out.rsplit("| candidate ").next().unwrap();
    let stopped = |file| last.lines().find(|line| line.contains(file)).unwrap().split('|').nth(6).unwrap().trim();
    assert_eq!((stopped("breaker.toll"), stopped("nothing.toll")), ("4", "0"), "{out}");
    // A fifth of the calls would never have been made.
    assert!(out.contains("more than 10 %, so take these figures as bounds"), "{out}");
}

#[test]
fn recommended_clauses_are_what_a_backtest_says_they_are() {
    let dir = Dir::new();
    let log = sessions_of_which_some_are_stuck(&dir);
    let written = dir.path("recommended.toll");
    let page = tollbook(&["recommend", "--log", &log, "--write", &written]).ok();
    assert!(page.contains("break after 3 identical calls within 10m"), "{page}");
    assert!(page.contains("refuses         0 of"), "{page}");
    assert!(page.contains("walk-forward    20 chosen on 91 sessions"), "{page}");
    tollbook(&["check", &written]).ok();
    tollbook(&["lint", &written]).ok();
    tollbook(&["fmt", "--check", &written]).ok();
    // Nobody who isn't stuck is touched.
    let told = tollbook(&["backtest", "--log", &log, &written, "--fail-on", "sessions_touched > 4"]).ok();
    assert!(told.contains("sessions touched   4 of 130"), "{told}");

    // Each limit stops what its evidence says.
    let json = tollbook(&["recommend", "--log", &log, "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let limits = json["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 2, "{json}");
    for limit in limits {
        let policy =
            dir.file("one.toll", &format!("default allow\nall tools {{ {} }}\n", limit["clause"].as_str().unwrap()));
        let refused = limit["refused_bad"].as_u64().unwrap() + limit["refused_clean"].as_u64().unwrap();
        assert!(refused > 0, "{limit}");
        let told = tollbook(&["backtest", "--log", &log, &policy]).ok();
        assert!(told.contains(&format!("newly refused      {refused} (")), "{told}\n{limit}");
    }
}

#[test]
fn a_recommendation_is_added_to_the_policy_that_stands() {
    let dir = Dir::new();
    let log = sessions_of_which_some_are_stuck(&dir);
    let written = dir.path("next.toll");
    let stands = "# Kept as it is.\ndefault deny\n\ntool list_notes {\n    limit 60 per rolling hour\n}\n";
    let today = dir.file("today.toll", stands);
    let page = tollbook(&["recommend", "--log", &log, &today, "--write", &written]).ok();
    assert!(page.contains("today           limit 60 per rolling hour (newly refuses 28"), "{page}");
    let text = std::fs::read_to_string(&written).unwrap();
    assert!(text.starts_with(stands), "{text}");
    tollbook(&["lint", &written]).ok();
    // A tool that the policy doesn't name stays refused.
    let today = dir.file("today.toll", "default deny\nallow get_note\n");
    tollbook(&["recommend", "--log", &log, &today, "--write", &written]).ok();
    let text = std::fs::read_to_string(&written).unwrap();
    assert!(text.contains("# list_notes isn't named above, so it stays refused."), "{text}");
}

#[test]
fn a_thin_log_supports_nothing() {
    let dir = Dir::new();
    let log = log_of(&dir, 10);
    let ended = tollbook(&["recommend", "--log", &log]);
    assert_eq!(ended.code, Some(1));
    let log = sessions_of_which_some_are_stuck(&dir);
    let page = tollbook(&["recommend", "--log", &log, "--min-sessions", "131"]);
    assert_eq!(page.code, Some(1));
    tollbook(&["recommend", "--log", &log, "--touch", "2"]).cannot("expected a share from 0.1% to 50%");
}
