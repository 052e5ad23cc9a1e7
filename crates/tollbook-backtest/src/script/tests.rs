use std::path::{Path, PathBuf};

use tollbook_policy::{Code, Target, read, render};

use super::*;

mod decides_alike;

fn fixtures(kind: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/policy")).join(kind)
}

#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn texts(kind: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(fixtures(kind)).unwrap().map(|entry| entry.unwrap().path());
    let tolls = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toll"));
    let named = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    tolls.map(named).collect()
}

fn scripted(name: &str, text: &str) -> Scripted {
    let read = read(name, text, Target::Native).unwrap_or_else(|all| panic!("{}", render(name, text, &all, false)));
    if read.tests.is_empty() { Scripted::default() } else { run(&read.policy, &read.tests).unwrap() }
}

#[track_caller]
fn check(toll: &str) {
    let text = format!("default deny\n{toll}");
    let scripted = scripted("p.toll", &text);
    let told: Vec<Diagnostic> = scripted.failures.into_iter().map(|failure| failure.diagnostic).collect();
    assert!(told.is_empty(), "{}", render("p.toll", &text, &told, false));
}

#[test]
fn the_tests_in_the_fixtures_pass() {
    let mut passed = 0;
    for (name, text) in texts("accept") {
        let scripted = scripted(&name, &text);
        let told: Vec<Diagnostic> = scripted.failures.into_iter().map(|failure| failure.diagnostic).collect();
        assert!(told.is_empty(), "{}", render(&name, &text, &told, false));
        passed += scripted.passed.len();
    }
    assert!(passed >= 4);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "goldens are files, and written anew on request")]
fn failures_are_told_as_their_goldens_say() {
    for (name, text) in texts("test") {
        let scripted = scripted(&name, &text);
        let told: Vec<Diagnostic> = scripted.failures.into_iter().map(|failure| failure.diagnostic).collect();
        assert!(told.iter().any(|one| one.code == Code::TestFailed), "{name}");
        let found = render(&name, &text, &told, false);
        let golden = fixtures("test").join(&name).with_extension("txt");
        if std::env::var("UPDATE_GOLDENS").is_ok() {
            std::fs::write(&golden, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&golden).unwrap(), "{name}");
    }
}

#[test]
fn the_page_of_a_failed_test_shows_one() {
    let page = Code::TestFailed.page();
    let example = page.split("```").nth(1).unwrap().strip_prefix("toll\n").unwrap();
    assert_eq!(scripted("p.toll", example).failures.len(), 1);
}

#[test]
fn time_passes_between_calls_only() {
    check(
        "tool a { limit 2 per minute } test \"t\" {
            at 2026-01-05T09:00:00Z
            3 x call a {} every 30s expect allow
            call a {} expect allow
            call a {} expect deny by a_rate
            wait 60s
            call a {} expect allow
        }",
    );
}

#[test]
fn what_never_reached_the_tool_is_given_back_and_an_error_is_not() {
    check(
        "tool a { limit 1 per day } test \"t\" {
            5 x call a {} -> unreachable expect allow
            5 x call a {} -> rpc_error expect allow
            call a {} -> error expect allow
            call a {} expect deny by limit
        }",
    );
}

#[test]
fn who_calls_is_said_by_as() {
    check(
        "tool a { limit 1 per day per session limit 9 per day per agent as x limit 2 per day per server as y } test \"t\" {
            call a {} expect allow
            call a {} expect deny by a_rate_day_session
            as session \"other\"
            call a {} expect allow
            as session \"third\"
            call a {} expect deny by y
            as server \"other\"
            call a {} expect allow
        }",
    );
}

#[test]
fn approvals_and_breakers_can_be_scripted() {
    check(
        "tool a { approve by \"finance\" when args.n > 5 within 10m } tool b { break after 2 identical results within 5m break after 2 failures within 5m }
        test \"t\" {
            call a {\"n\": 6} expect hold by finance
            call a {\"n\": 6} expect hold by approve
            approve last
            call a {\"n\": 6} expect allow
            call a {\"n\": 6} expect hold
            refuse last
            call a {\"n\": 6} expect deny because \"A person refused this call.\"
            2 x call b {} vary args -> ok \"same\" expect allow
            call b {} vary args expect deny by identical_results
            wait 5m
            3 x call b {} expect allow
            2 x call b {} vary args -> error expect allow
            call b {\"_n\": 1} vary args expect deny by failures
        }
        test \"nothing is left of the test before\" { call a {\"n\": 6} expect hold by \"/tools/a/approve/finance\" }",
    );
}

#[test]
fn coverage_is_what_decided() {
    let text = "default deny tool a { require args.x exists deny when args.x == 1 limit 3 per day shadow deny } test \"t\" { call a {\"x\": 2} expect allow call a {} expect deny }";
    let scripted = scripted("p.toll", text);
    assert_eq!(
        scripted.decided,
        BTreeSet::from(["/tools/a/deny_if/always".to_owned(), "/tools/a/require/args.x-exists".to_owned()])
    );
}

#[test]
fn every_clause_that_was_looked_at_is_told() {
    let text = "default deny all tools { limit 5 per day } tool a { require args.x exists deny when args.x > 1 shadow deny approve by \"b\" }";
    let policy = read("p.toll", text, Target::Native).unwrap().policy;
    let examined = |args: &str| {
        let node = json::parse(args.as_bytes()).unwrap();
        let args = Args::whole(Some(&node), hash128(canonical(&node).as_bytes()));
        let call = Call {
            at_us: Some(0),
            session: Some("s"),
            grant: Some("g"),
            agent: None,
            tool: "a",
            category: None,
            args,
            continues: false,
            codes: None,
        };
        let all = examine(&policy, "s", &call).unwrap();
        all.into_iter().map(|one| (one.rule, one.looked)).collect::<Vec<_>>()
    };
    let rules = |looked: [Looked; 5]| {
        [
            "/tools/a/require/args.x-exists",
            "/tools/a/deny_if/args.x-gt",
            "/tools/a/deny_if/always",
            "/all_tools/limits/calls-per-day",
            "/tools/a/approve/b",
        ]
        .map(str::to_owned)
        .into_iter()
        .zip(looked)
        .collect::<Vec<_>>()
    };
    use Looked::{Holds, NotLookedAt, Passes, Refuses};
    assert_eq!(examined(r#"{"x": 1}"#), rules([Passes, Passes, Refuses, Passes, Holds]));
    assert_eq!(examined(r#"{"x": 2}"#), rules([Passes, Refuses, NotLookedAt, NotLookedAt, NotLookedAt]));
    assert_eq!(examined("{}"), rules([Refuses, NotLookedAt, NotLookedAt, NotLookedAt, NotLookedAt]));
}
