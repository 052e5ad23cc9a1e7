//! LANGUAGE.md's "Meaning", sentence by sentence. Operators, windows, scopes and amounts have their tables in
//! `fixtures/calls`; conditions that stay unknown and values that weren't recorded, in `condition/tests.rs`.

use super::script::{Driver, policy};
use super::vectors::{check, run};
use crate::{Args, Bounds, Call, CompileError, Engine, Hash128, State};

// Which clauses apply.

#[test]
fn a_tool_allow_or_group_that_names_a_tool_permits_it_under_default_deny() {
    let policy = "default deny\nallow a\ntool b { }\ngroup g of c { }\ntool d* { }\n";
    check(policy, "0 a {} => +\n0 b {} => +\n0 c {} => +\n0 dd {} => +\n0 x {} => - default_deny");
    check("default allow\n", "0 x {} => +");
}

#[test]
fn all_blocks_that_name_a_tool_apply_all_tools_then_groups_then_its_own() {
    let policy = "default deny\ntool t { deny when args.own exists because \"own\" }\n\
                  group g of t { deny when args.group exists because \"group\" }\n\
                  group h of t { deny when args.group exists because \"later group\" }\n\
                  tool t { deny when args.second exists because \"second\" }\n\
                  all tools { deny when args.all exists because \"all\" }\n";
    check(
        policy,
        r#"0 t {"own":1,"group":1,"all":1} => - deny says "all"
           0 t {"own":1,"group":1} => - deny says "group"
           0 t {"own":1,"second":1} => - deny says "own"
           0 t {"second":1} => - deny says "second"
           0 t {} => +"#,
    );
}

// Order of judgement.

#[test]
fn stage_by_stage_over_all_clauses_the_first_refusal_decides() {
    let policy = "default deny\nhide h\nallow h\n\
                  tool t {\n limit 1 per day per grant\n approve by \"x\" when args.approve exists\n\
                  break after 1 identical calls within 10m\n only during mon 00:00..12:00 \"UTC\"\n\
                  deny when args.deny exists\n require args.ok exists\n}\n";
    check(
        policy,
        r#"0 h {} => - hidden by (hidden)
           50000 t {"deny":1} => - require
           50000 t {"deny":1,"ok":1} => - deny
           50000 t {"ok":1} => - only_during"#,
    );
    check(
        policy,
        r#"10 t {"ok":1,"approve":1} => hold
           10 t {"ok":1} => +
           10 t {"ok":1} => - break by /tools/t/break/identical_calls
           10 t {"ok":2} => - limit
           10 t {"ok":2,"approve":1} => - limit"#,
    );
}

#[test]
fn a_refused_or_held_call_charges_nothing_and_changes_no_history() {
    let policy = "default deny\ntool t {\n limit 2 per day per grant\n deny when args.deny exists\n\
                  approve by \"x\" when args.big exists\n break after 2 identical calls within 10m\n}\n";
    check(
        policy,
        r#"0 t {"deny":1} => - deny
           0 t {"big":1} => hold
           0 t {} => + used 0
           0 t {"deny":1} => - deny
           0 t {"big":1} => hold
           0 t {} => + used 1
           0 t {} => - break
           0 t {"n":2} => - limit used 2"#,
    );
}

// Limits.

#[test]
fn a_call_charges_every_limit_over_it_or_none() {
    let policy = "default deny\nall tools { limit 9 per day per grant }\n\
                  tool t {\n limit 5 per day per grant as a\n limit 1 per minute per grant as b\n}\nallow u\n";
    check(policy, "0 t {} => + used 0\n0 t {} => - limit used 1\n0 u {} => + used 1\n60 t {} => + used 2");
}

#[test]
fn all_tools_limits_are_total() {
    check(
        "default allow\nall tools { limit 2 per day per grant }\n",
        "0 a {} => +\n0 b {} => + used 1\n0 c {} => - limit used 2",
    );
}

#[test]
fn a_block_of_several_tools_and_a_glob_count_each_tool_apart() {
    check("default deny\ntool a, b { limit 1 per day per grant }\n", "0 a {} => +\n0 b {} => +\n0 a {} => - limit");
    check("default deny\ntool x* { limit 1 per day per grant }\n", "0 x1 {} => +\n0 x2 {} => +\n0 x1 {} => - limit");
}

/// The server asked something back; the client's second try is the same call.
#[test]
fn the_rest_of_a_call_is_judged_again_and_charged_no_second_time() {
    let text = "default deny\ntool a {\n limit 1 per day per grant\n deny when args.n > 1\n\
                break after 2 identical calls within 5m\n approve by \"ops\" when args.n > 0\n}\n";
    check(text, "0 a {} => +\n1 rest a {} => +\n1 rest a {} => +\n2 a {} => - limit\n3 rest a {\"n\":2} => - deny");
    check(text, "0 rest b {} => - default_deny\n0 rest a {\"n\":1} => +\n0 a {\"n\":1} => hold");
    // It gives nothing back, because it took nothing.
    check(text, "0 a {} => +\n0 rest a {} => +\n0 settle 2 rpc_error\n0 a {} => - limit");
}

/// An imported call, say, has no grant.
#[test]
fn a_limit_whose_scope_value_is_unknown_is_unknown_on_that_call() {
    let told = |text: &str, args: &str, grant| {
        let engine = Engine::compile(&policy(text), "srv").unwrap();
        let node = tollbook_policy::json::parse(args.as_bytes()).unwrap();
        let args = Args::whole(Some(&node), Hash128([0; 16]));
        let call = Call {
            at_us: Some(0),
            session: Some("s"),
            grant,
            agent: None,
            tool: "t",
            category: None,
            args,
            continues: false,
            codes: None,
        };
        let mut state = State::new(Bounds::default(), 0);
        let decision = engine.decide(&mut state, 1, &call);
        format!("{} {} {}", decision.verdict, decision.reason.code(), decision.rule.unwrap_or_default())
    };
    let limited = "default allow\ntool t {\n limit 1 per day per grant\n deny when args.n > 1\n}\n";
    assert_eq!(told(limited, "{}", None), "unknown unrecorded /tools/t/limits/calls-per-day");
    assert_eq!(told(limited, "{}", Some("g")), "allow allowed ");
    assert_eq!(told(limited, "{\"n\":2}", None), "deny deny /tools/t/deny_if/args.n-gt", "what refuses surely does");
    let empty = "default allow\ntool t { limit 0 per day per grant as a\n limit 0 per day per session as b }\n";
    assert_eq!(told(empty, "{}", None), "deny limit /tools/t/limits/calls-per-day-session");
    let shadow = "default allow\ntool t { shadow limit 1 per day per grant }\n";
    assert_eq!(told(shadow, "{}", None), "allow allowed ");
}

#[test]
fn as_in_a_block_of_several_tools_names_one_counter_for_each() {
    check(
        "default deny\ntool a, b { limit 1 per day per grant as shared }\n",
        "0 a {} => +\n0 b {} => +\n0 a {} => - limit\n0 b {} => - limit",
    );
}

#[test]
fn blocks_that_choose_the_same_tool_count_apart() {
    let policy = "default deny\ntool a* { limit 2 per day per grant as c }\ntool *a { limit 2 per day per grant as c }\n\
                  group g of a { limit each 2 per day per grant as c }\ntool a { limit 2 per day per grant as c }\n";
    check(policy, "0 a {} => + used 0\n0 a {} => + used 1\n0 a {} => - limit used 2");
}

#[test]
fn when_several_limits_refuse_it_frees_up_with_the_last() {
    let policy = "default allow\ntool t {\n limit 1 per minute per grant as a\n limit 1 per hour per grant as b\n}\n";
    check(
        policy,
        "0 t {} => +\n30 t {} => - limit frees 3600 by /tools/t/limits/calls-per-minute\n60 t {} => - limit frees 3600",
    );
}

// Giving back.

#[test]
fn a_charge_goes_back_when_the_call_surely_never_reached_the_tool() {
    let policy = "default allow\ntool t { limit 1 per day per grant }\n";
    for end in ["unreachable", "rpc_error"] {
        check(
            policy,
            &format!("0 t {{}} => +\n0 settle 1 {end}\n0 t {{}} => + used 0\n0 settle 1 {end}\n0 t {{}} => - limit"),
        );
    }
    for end in ["ok", "tool_error", "timeout", "cancelled", "lost"] {
        check(policy, &format!("0 t {{}} => +\n0 settle 1 {end}\n0 t {{}} => - limit"));
    }
}

#[test]
fn it_goes_back_in_the_window_that_was_charged() {
    let plain = "default allow\ntool t { limit 1 per minute per grant }\n";
    check(plain, "59 t {} => +\n60 t {} => +\n61 settle 1 unreachable\n61 t {} => - limit used 1");
    let rolling = "default allow\ntool t { limit 2 per rolling minute per grant }\n";
    check(
        rolling,
        "0 t {} => +\n30 t {} => +\n31 settle 1 unreachable\n31 t {} => + used 1\n31 t {} => - limit frees 90",
    );
}

// Shadow.

#[test]
fn shadow_clauses_are_judged_and_recorded_and_never_refuse() {
    let policy = "default allow\ntool t {\n shadow require args.a exists\n shadow deny when args.b exists\n\
                  shadow only during tue 00:00..12:00 \"UTC\"\n shadow limit 1 per day per grant\n\
                  shadow break after 1 identical calls within 1m\n shadow approve by \"x\" when args.b exists\n}\n";
    check(
        policy,
        r#"0 t {"b":1} => + shadow /tools/t/require/args.a-exists shadow /tools/t/deny_if/args.b-exists shadow /tools/t/only_during/00:00..12:00 shadow /tools/t/approve/x
           0 t {"b":1} => + used 1 shadow /tools/t/limits/calls-per-day shadow /tools/t/break/identical_calls
           0 t {"b":1} => + used 1"#,
    );
}

#[test]
fn a_shadow_limit_has_counters_of_its_own() {
    let mut driver = Driver::new("default allow\ntool t { shadow limit 1 per day per grant as c }\n");
    run(&mut driver, "0 t {} => + used 0\n0 t {} => + used 1");
    driver.engine =
        Engine::compile(&policy("default allow\ntool t { limit 1 per day per grant as c }\n"), "srv").unwrap();
    run(&mut driver, "0 t {} => + used 0\n0 t {} => - limit used 1");
}

// Approvals.

#[test]
fn an_approved_call_passes_once() {
    let policy = "default allow\ntool t { approve by \"finance\" when args.amount >= 100 within 60s }\n";
    check(
        policy,
        r#"0 t {"amount":99} => +
           0 t {"amount":100} => hold by /tools/t/approve/finance
           0 t {"amount":100.0} => hold # the same call, and the same approval
           1 approve 3
           2 t {"amount":101} => hold # another call
           3 t {"amount":100} => +
           4 t {"amount":100} => hold"#,
    );
}

#[test]
fn a_refused_call_stays_refused_until_the_approval_expires() {
    let policy = "default allow\ntool t { approve by \"x\" within 60s }\n";
    check(policy, "0 t {} => hold\n10 refuse 1\n59 t {} => - approval_refused\n60 t {} => hold");
}

#[test]
fn within_bounds_the_time_to_the_approval_and_again_to_the_pass() {
    let policy = "default allow\ntool t { approve by \"x\" within 60s }\n";
    check(policy, "0 t {} => hold\n59 approve 1\n118 t {} => +");
    check(policy, "0 t {} => hold\n59 approve 1\n119 t {} => hold");
    check(policy, "0 t {} => hold\n59.9 t {} => hold\n60.1 other {} => +\n60.1 approve 1\n61 t {} => hold");
}

#[test]
fn the_fingerprint_holds_grant_tool_and_canonical_arguments() {
    let policy = "default allow\ntool t, u { approve by \"x\" within 60s }\n";
    check(
        policy,
        "0 t {\"a\":1,\"b\":2} => hold\n1 approve 1\nas h/s/a\n2 t {\"a\":1,\"b\":2} => hold\nas g/other/b\n\
         2 u {\"a\":1,\"b\":2} => hold\n2 t {\"b\":2.0,\"a\":1} => +",
    );
}

#[test]
fn the_fingerprint_holds_the_server_and_the_clause() {
    let clause = "default allow\ntool t { approve by \"x\" within 60s }\n";
    let mut driver = Driver::new(clause);
    run(&mut driver, "0 t {} => hold\n1 approve 1");
    driver.engine = Engine::compile(&policy(clause), "other").unwrap();
    run(&mut driver, "2 t {} => hold");
    driver.engine = Engine::compile(&policy("default allow\ntool t { approve by \"y\" within 60s }\n"), "srv").unwrap();
    run(&mut driver, "2 t {} => hold");
    driver.engine = Engine::compile(&policy(clause), "srv").unwrap();
    run(&mut driver, "2 t {} => +");
}

#[test]
fn an_approved_call_skips_breakers_and_is_not_spent_if_a_limit_refuses_it() {
    let policy = "default allow\ntool t {\n approve by \"x\" when args.big exists within 10m\n\
                  break after 1 identical calls within 10m\n limit 2 per minute per grant\n}\n";
    check(
        policy,
        r#"0 t {"big":1} => hold
           1 approve 1
           2 t {"big":1} => +
           3 t {"big":1} => - break
           4 t {"n":1} => +
           5 t {"big":1} => - limit
           60 t {"big":1} => hold
           61 approve 7
           62 t {"n":2} => +
           63 t {"n":3} => +
           64 t {"big":1} => - limit
           120 t {"big":1} => +"#,
    );
}

// Breakers.

#[test]
fn a_call_that_would_carry_on_a_run_of_identical_calls_is_refused() {
    let policy = "default allow\nall tools { break after 3 identical calls within 60s }\n";
    check(
        policy,
        r#"0 t {"a":1,"b":2} => +
           1 t {"b":2,"a":1.0} => +
           2 t {"a":1,"b":2} => +
           3 t {"a":1,"b":2} => - break frees 60
           4 t {"a":1,"b":3} => + # a different call lets it go
           5 t {"a":1,"b":2} => +"#,
    );
    check(policy, "0 t {} => +\n1 t {} => +\n2 t {} => +\n59.999999 t {} => - break\n60 t {} => +");
    check(
        policy,
        "0 t {} => +\n1 t {} => +\nas g/s2/a\n2 t {} => +\n3 t {} => +\nas g/s/a\n4 t {} => +\n5 t {} => - break",
    );
}

#[test]
fn a_cycle_is_a_block_repeated_without_a_gap() {
    let policy = "default allow\nall tools { break after 2 repeats of a cycle up to 3 calls within 60s }\n";
    check(
        policy,
        "0 a {} => +\n1 b {} => +\n2 a {} => +\n3 b {} => +\n4 a {} => - break frees 60\n5 c {} => +\n6 a {} => +",
    );
    check(policy, "0 a {} => +\n1 b {} => +\n2 c {} => +\n3 a {} => +\n4 b {} => +\n5 c {} => +\n6 a {} => - break");
    // One call repeated is a run of identical calls, not a cycle of two.
    check(policy, "0 a {} => +\n1 a {} => +\n2 a {} => +\n3 a {} => +\n4 a {} => +\n5 a {} => +");
}

#[test]
fn identical_results_are_of_one_tool_in_a_row() {
    let policy = "default allow\nall tools { break after 2 identical results within 60s }\n";
    check(
        policy,
        "0 t {\"n\":1} => +\n0 settle 1 ok 7\n1 t {\"n\":2} => +\n1 settle 3 ok 7\n2 t {\"n\":3} => - break\n3 u {} => +\n4 t {} => +",
    );
    check(policy, "0 t {} => +\n0 settle 1 ok 7\n1 t {} => +\n1 settle 3 ok 8\n2 t {} => +");
    // A result that isn't known is like no other; nor is one that hasn't come yet.
    check(policy, "0 t {} => +\n0 settle 1 ok\n1 t {} => +\n1 settle 3 ok\n2 t {} => +");
    check(policy, "0 t {} => +\n0 settle 1 ok 7\n1 t {} => +\n2 t {} => +");
}

#[test]
fn failures_are_of_one_tool_in_a_row() {
    let policy = "default allow\nall tools { break after 2 failures within 60s }\n";
    check(
        policy,
        "0 t {} => +\n0 settle 1 tool_error 1\n1 t {} => +\n1 settle 3 rpc_error\n2 t {} => - break frees 60\n60 t {} => +",
    );
    check(
        policy,
        "0 t {} => +\n0 settle 1 tool_error 1\n1 t {} => +\n1 settle 3 ok 1\n2 t {} => +\n2 settle 5 tool_error 1\n3 t {} => +",
    );
}

// A policy that changes.

#[test]
fn a_policy_that_changes_keeps_the_counts_whose_key_is_the_same() {
    let mut driver =
        Driver::new("default allow\ntool t {\n limit 2 per day per grant\n limit 5 per hour per grant\n}\n");
    run(&mut driver, "0 t {} => + used 0\n0 t {} => + used 1");
    let next = "default deny\ntool t {\n limit 9 per hour per grant\n limit 3 per day per grant\n limit 1 per day per session\n}\n";
    driver.engine = Engine::compile(&policy(next), "srv").unwrap();
    run(&mut driver, "0 t {} => + used 2\n0 t {} => - limit used 3 by /tools/t/limits/calls-per-day");
}

#[test]
fn counters_of_different_servers_are_different() {
    let mut driver = Driver::new("default allow\ntool t { limit 1 per day per everyone }\n");
    run(&mut driver, "0 t {} => +\n0 t {} => - limit");
    driver.engine =
        Engine::compile(&policy("default allow\ntool t { limit 1 per day per everyone }\n"), "other").unwrap();
    run(&mut driver, "0 t {} => +");
}

#[test]
fn what_cannot_be_judged_is_refused_when_the_engine_is_made() {
    let told = |text: &str| match Engine::compile(&policy(text), "srv") {
        Err(CompileError { rule, message }) => format!("{rule}: {message}"),
        Ok(_) => "compiled".to_owned(),
    };
    assert!(
        told("default deny\ntool t { only during mon 08:00..09:00 \"Mars/Olympus\" }\n")
            .contains("`Mars/Olympus` is unknown")
    );
}

#[test]
fn a_category_is_matched_at_decision_time() {
    let policy =
        policy("default deny\nhide category destructive\ntool category write { limit 1 per day }\ntool get_x { }\n");
    let engine = Engine::compile(&policy, "srv").unwrap();
    let mut state = State::new(Bounds::default(), 0);
    let mut told = |seq, tool, category| {
        let args = Args::whole(None, Hash128([0; 16]));
        let call = Call {
            at_us: Some(0),
            session: Some("s"),
            grant: Some("g"),
            agent: None,
            tool,
            category,
            args,
            continues: false,
            codes: None,
        };
        let decision = engine.decide(&mut state, seq, &call);
        format!("{} {}", decision.verdict, decision.reason.code())
    };
    assert_eq!(told(1, "x", Some("read")), "deny default_deny");
    assert_eq!(told(2, "x", Some("write")), "allow allowed");
    assert_eq!(told(3, "y", Some("write")), "allow allowed", "each tool that the category chooses counts apart");
    assert_eq!(told(4, "x", Some("write")), "deny limit");
    assert_eq!(told(5, "x", Some("destructive")), "deny hidden");
    assert_eq!(told(6, "get_x", Some("read")), "allow allowed");
    assert_eq!(told(7, "x", None), "unknown unrecorded", "a record without a category");
}

/// The same events give the same answers, whatever shuffles the hash tables.
#[test]
fn the_seed_changes_no_decision() {
    let mut told = Vec::new();
    for seed in [0, 1, u64::MAX] {
        let mut driver = Driver::new(
            "default allow\nall tools { limit 3 per minute per session\n break after 2 identical calls within 60s }\n",
        );
        driver.state = State::new(Bounds { keys_max: 5, ..Bounds::default() }, seed);
        let mut answers = Vec::new();
        for n in 0..200_i64 {
            let made = super::script::Made {
                at_us: n * 7_000_000,
                tool: format!("t{}", n % 2),
                grant: "g".into(),
                session: format!("s{}", n % 9),
                agent: "a".into(),
                args: "{}".into(),
                continues: false,
            };
            answers.push(driver.step(&super::script::Step::Call(made)));
        }
        told.push(answers);
    }
    assert!(told[0] == told[1] && told[1] == told[2]);
}
