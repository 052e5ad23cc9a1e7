//! `tollbook import`, and questions to what was imported.

use crate::program::{Dir, query, shared, tollbook};

/// The figures of the MANIFEST.
#[test]
fn the_traces_are_imported_questioned_and_backtested() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let log = dir.path("log");
    let trace = |name: &str| shared.join("traces").join(name).to_str().unwrap().to_owned();
    for (name, told) in [
        ("tau2_runs.jsonl.gz", "4389 calls in 353 sessions"),
        ("taubench.jsonl.gz", "1164 calls in 182 sessions"),
        ("openhands.jsonl.gz", "105 calls in 3 sessions"),
        ("entire_dev.jsonl.gz", "7674 calls in 113 sessions"),
    ] {
        let out = tollbook(&["import", "--log", &log, &trace(name)]).ok();
        assert!(out.contains(told), "{out}");
    }
    let again = tollbook(&["import", "--log", &log, &trace("openhands.jsonl.gz")]).ok();
    assert!(again.contains("imported before"), "{again}");
    let rows =
        query(&log, "SELECT count(*), count(ts), count(DISTINCT session), count(decision), min(grant) FROM calls");
    assert_eq!(rows, ["13332,12168,651,0,import"]);
    let rates = tollbook(&["report", "rates", "--log", &log]).ok();
    assert!(rates.contains("| get_details_by_id "), "{rates}");
    let denials = tollbook(&["report", "denials", "--log", &log]).ok();
    assert!(denials.contains("0 rows"), "{denials}");
}

/// MANIFEST: a plain limit is a poor loop detector; 20 a minute per session touches 38 sessions.
#[test]
fn a_rolling_limit_touches_the_sessions_that_the_manifest_says() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let log = dir.path("log");
    let trace = shared.join("traces/tau2_runs.jsonl.gz");
    tollbook(&["import", "--log", &log, trace.to_str().unwrap()]).ok();
    let candidate = dir.file("c.toll", "default allow\nall tools { limit 20 per rolling minute per session }\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    assert!(out.contains("fidelity not applicable"), "{out}");
    assert!(out.contains("sessions touched   38 of 353"), "{out}");
    assert!(out.contains("loops stopped      5 of 5"), "{out}");
    assert!(out.contains(" 0 unknown"), "{out}");
}

#[test]
fn calls_without_a_time_are_counted_and_not_guessed() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let log = dir.path("log");
    let trace = shared.join("traces/taubench.jsonl.gz");
    let out = tollbook(&["import", "--log", &log, trace.to_str().unwrap()]).ok();
    assert!(out.contains("1164 calls have no time"), "{out}");
    let candidate = dir.file("c.toll", "default allow\nall tools { limit 1 per day per grant }\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    assert!(out.contains("newly refused      0") && out.contains("1164 unknown"), "{out}");
    assert!(out.contains("without a time     1164"), "{out}");
}

/// A name is whatever a record says, and not for the terminal to act upon.
#[test]
fn control_characters_of_a_name_do_not_reach_the_terminal() {
    let dir = Dir::new();
    let trace = dir.file("t.jsonl", "{\"ts\":\"2026-01-05T09:00:00Z\",\"seq\":0,\"session\":\"s\",\"server\":\"x\",\"tool\":\"a\\u001b[2Jb\",\"args\":{}}\n");
    let log = dir.path("log");
    tollbook(&["import", "--log", &log, &trace]).ok();
    let out = tollbook(&["report", "rates", "--log", &log]).ok();
    assert!(out.contains("a\\u{1b}[2Jb") && !out.contains('\u{1b}'), "{out}");
    let candidate = dir.file("c.toll", "default deny\n");
    let out = tollbook(&["backtest", "--log", &log, &candidate]).ok();
    assert!(out.contains("a\\u{1b}[2Jb") && !out.contains('\u{1b}'), "{out}");
}

/// Calls of two sessions, a second apart, with an outcome each.
fn traced(dir: &Dir) -> String {
    let line = |n: u64| {
        let (session, tool) = (n % 2, if n < 4 { "read_it" } else { r#"write, \"it\""# });
        format!(
            "{{\"ts\":\"2026-01-05T09:00:0{n}Z\",\"seq\":{n},\"session\":\"s{session}\",\"server\":\"x\",\
             \"tool\":\"{tool}\",\"args\":{{\"n\":{n}}}}}\n"
        )
    };
    let trace = dir.file("t.jsonl", &(0..6).map(line).collect::<String>());
    let log = dir.path("log");
    tollbook(&["import", "--log", &log, &trace]).ok();
    log
}

/// What is left out is all that a condition changes: the rows that stay are those of an export without one.
#[test]
fn an_export_holds_the_calls_that_a_condition_in_sql_chooses() {
    let dir = Dir::new();
    let log = traced(&dir);
    let export =
        |format: &str, rest: &[&str]| tollbook(&[&["log", "export", &log, "--format", format], rest].concat()).ok();
    for format in ["jsonl", "csv"] {
        let all = export(format, &[]);
        let header = usize::from(format == "csv");
        let all: Vec<&str> = all.lines().collect();
        assert_eq!(all.len(), 6 + header);
        let expect = |chosen: &[usize]| {
            let rows = chosen.iter().map(|row| all[row + header]);
            all[..header].iter().copied().chain(rows).map(|line| format!("{line}\n")).collect::<String>()
        };
        assert_eq!(export(format, &["--where", "session = 's1' -- of one"]), expect(&[1, 3, 5]));
        assert_eq!(export(format, &["--where", "session = 's1' OR tool LIKE 'write%'"]), expect(&[1, 3, 4, 5]));
        let late = ["--where", "session = 's1'", "--from", "2026-01-05T09:00:02Z", "--to", "2026-01-05T09:00:05Z"];
        assert_eq!(export(format, &late), expect(&[3]));
        assert_eq!(export(format, &["--where", "tool = 'nothing'"]), expect(&[]));
    }
    let file = dir.path("calls.parquet");
    let told = export("parquet", &["--where", "session = 's0'", "--output", &file]);
    assert_eq!(told, "3 calls\n");
    assert!(std::fs::read(&file).unwrap().starts_with(b"PAR1"));
    tollbook(&["log", "export", &log, "--where", "no_such_column = 1"]).cannot("no_such_column");
    tollbook(&["log", "export", &log, "--where", "1 = 1) UNION (DROP TABLE calls"]).cannot("");
}
