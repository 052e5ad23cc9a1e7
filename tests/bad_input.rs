//! Bad input gets one clear error that names the thing, exit code 2, and loses nothing.

use crate::program::{Client, Dir, TOLLBOOK, query, tollbook};

#[test]
fn a_missing_policy_is_named() {
    tollbook(&["check", "no-such.toll"]).cannot("cannot read the policy `no-such.toll`: No such file");
    tollbook(&["compile", "no-such.toll"]).cannot("`no-such.toll`");
    let dir = Dir::new();
    tollbook(&["run", "--policy", "no-such.toll", "--log", &dir.path("log"), "--", "true"]).cannot("`no-such.toll`");
}

#[test]
fn a_policy_that_is_not_text_is_named() {
    let dir = Dir::new();
    std::fs::write(dir.path("p.toll"), b"default \xff").unwrap();
    tollbook(&["check", &dir.path("p.toll")]).cannot("isn't UTF-8 at byte 8");
}

#[test]
fn a_policy_with_errors_is_not_put_in_force() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default deny\ntool a { limit many per minute per grant }\n");
    let ran = tollbook(&["run", "--policy", &policy, "--log", &dir.path("log"), "--", "true"]);
    assert!(ran.err.contains(&format!("--> {policy}:2:16")), "{}", ran.err);
    ran.cannot("has errors");
    assert!(!std::path::Path::new(&dir.path("log")).exists(), "no log is begun");
    assert_eq!(tollbook(&["compile", &policy]).code, Some(1), "the answer is no");
}

#[test]
fn a_server_that_does_not_exist_is_named() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    tollbook(&["run", "--policy", &policy, "--log", &dir.path("log"), "--", "no-such-server", "x"])
        .cannot("cannot start the server `no-such-server`: No such file");
}

#[test]
fn a_log_that_cannot_be_written_is_named() {
    let dir = Dir::new();
    let (policy, file) = (dir.file("p.toll", "default allow\n"), dir.file("log", "not a directory"));
    tollbook(&["run", "--policy", &policy, "--log", &file, "--", "true"]).cannot("is not a directory");
    tollbook(&["import", "--log", &file, &policy]).cannot(&file);
}

#[test]
fn a_log_that_is_not_there_is_named() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    for args in [
        vec!["query", "--log", "no-such-log", "SELECT 1"],
        vec!["report", "rates", "--log", "no-such-log"],
        vec!["backtest", "--log", "no-such-log", &policy],
    ] {
        tollbook(&args).cannot("no-such-log");
    }
}

#[test]
fn a_query_that_is_wrong_or_writes_is_refused() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    Client::through_gateway(&policy, &log).end();
    tollbook(&["query", "--log", &log, "SELECT nonsense FROM calls"]).cannot("nonsense");
    tollbook(&["query", "--log", &log, "SELEC 1"]).cannot("SELEC");
    for sql in [
        "DROP TABLE calls",
        "CREATE TABLE x AS SELECT 1",
        "COPY calls TO 'x.parquet'",
        "INSERT INTO calls SELECT * FROM calls",
    ] {
        let ran = tollbook(&["query", "--log", &log, sql]);
        assert_eq!(ran.code, Some(2), "{sql}: {}", ran.out);
    }
    assert_eq!(query(&log, "SELECT count(*) FROM calls"), ["0"], "an empty log is a table without rows");
}

#[test]
fn a_broken_line_of_a_trace_is_named_and_kept() {
    let dir = Dir::new();
    let good = r#"{"ts":"2026-01-05T09:00:00Z","seq":0,"source":"t","session":"s","agent":"a","server":"x","tool":"echo","args":{"a":1},"is_error":false,"result_bytes":3,"label":"ok"}"#;
    let trace = dir.file("t.jsonl", &format!("{good}\nnot json\n{}\n", good.replace("\"seq\":0", "\"seq\":1")));
    let log = dir.path("log");
    let out = tollbook(&["import", "--log", &log, &trace]).ok();
    assert!(out.contains("2 calls in 1 sessions"), "{out}");
    assert!(out.contains("t.jsonl:2: "), "{out}");
    assert_eq!(query(&log, "SELECT count(*) FROM calls"), ["2"]);

    let trace = dir.file("bad.jsonl", "not json\n");
    tollbook(&["import", "--log", &log, &trace]).cannot("bad.jsonl");
    assert_eq!(query(&log, "SELECT count(*) FROM calls"), ["2"], "nothing of it is in the log");
}

#[test]
fn wrong_arguments_end_with_2_and_say_how() {
    for args in [vec!["no-such-command"], vec!["run"], vec!["query"], vec![]] {
        let ran = tollbook(&args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.err.contains("Usage: tollbook"), "{}", ran.err);
    }
}

/// `tollbook query … | head -1` isn't an error: nobody is at the other end of the pipe any more.
#[test]
fn a_reader_that_has_heard_enough_is_no_error() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = std::process::Command::new(TOLLBOOK).args(["compile", &policy]).stdout(writer).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
