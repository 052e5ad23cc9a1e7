//! `tollbook sql` as a script drives it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::program::{Dir, Ran, TOLLBOOK, ran, tollbook};

/// What the shell makes of this on its input.
fn shell(log: &str, typed: &str) -> Ran {
    let mut child = Command::new(TOLLBOOK)
        .args(["sql", "--log", log])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}

/// The cells of the answers, without headers, rules and counts.
fn cells(out: &str) -> Vec<String> {
    let rows = out.lines().filter(|line| line.starts_with('|') && !line.contains("name_of_column"));
    let cells = rows.map(|row| row.trim_matches(['|', ' ']).to_owned());
    cells.filter(|cell| !cell.starts_with('-')).collect()
}

#[test]
fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
    let dir = Dir::new();
    let log = super::ties(&dir);
    let typed = "-- one; two\nSELECT ';' AS name_of_column; SELECT /* ; /* ; */ ; */ 'it''s;'\n  AS name_of_column\n;\n\
                 ;; SELECT count(*) AS name_of_column FROM calls WHERE session = 'block'";
    assert_eq!(cells(&shell(&log, typed).ok()), [";", "it's;", "11"]);
    assert_eq!(shell(&log, "").ok(), "");
    assert_eq!(shell(&log, "-- nothing").ok(), "");
}

#[test]
fn after_an_error_the_next_statement_is_run_and_the_code_is_1() {
    let dir = Dir::new();
    let log = super::ties(&dir);
    let done = shell(
        &log,
        "SELECT 1 AS name_of_column;\n\n  SELECT\n   toool FROM calls;\n\\x\nSELECT 2 AS name_of_column;\n",
    );
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert_eq!(cells(&done.out), ["1", "2"]);
    assert!(done.err.contains("toool") && done.err.contains("at line 4, column 4"), "{}", done.err);
    assert!(done.err.contains("there is no command `\\x`"), "{}", done.err);
    assert_eq!(done.err.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{}", done.err);
    for typed in ["SELECT 'open;\n", "SELECT FROM WHERE;", "DROP TABLE calls;", "\\d nothing\n", "\\q now\n"] {
        let done = shell(&log, typed);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{typed}");
        assert!(done.err.starts_with("error: "), "{typed}: {}", done.err);
    }
}

#[test]
fn tables_and_columns_are_told() {
    let dir = Dir::new();
    let log = super::ties(&dir);
    let tables = shell(&log, "\\d\n").ok();
    for table in ["| calls ", "| loops() ", "| sessions "] {
        assert!(tables.contains(table), "{tables}");
    }
    let columns = shell(&log, "  \\d Sessions;\n").ok();
    assert!(columns.starts_with("sessions: One row for each session"), "{columns}");
    assert!(columns.contains("| loop_calls ") && columns.contains("| bigint "), "{columns}");
    assert!(shell(&log, "\\d loops\n").ok().contains("| wasted_calls "));
}

#[test]
fn timing_is_told_from_when_it_is_asked_for() {
    let dir = Dir::new();
    let log = super::ties(&dir);
    let typed = "SELECT 1;\n\\timing\nSELECT 2;\n\\timing\nSELECT 3;\n\\q\nSELECT 4;\n";
    let out = shell(&log, typed).ok();
    let told: Vec<&str> = out.lines().filter(|line| !line.starts_with('|')).collect();
    let [_, on, _, took, off, _] = told.as_slice() else { panic!("{out}") };
    assert_eq!((*on, *off), ("timing is on", "timing is off"));
    assert!(took.strip_suffix(" ms").unwrap().parse::<f64>().unwrap() >= 0.0, "{took}");
    assert!(shell(&log, "\\?\n").ok().contains("\\timing"));
}

#[test]
fn a_log_that_is_not_there_is_told_at_once() {
    let dir = Dir::new();
    tollbook(&["sql", "--log", &dir.path("nothing")]).cannot("nothing");
}

#[test]
fn a_statement_has_a_longest_length() {
    let dir = Dir::new();
    let log = super::ties(&dir);
    let typed = format!("SELECT 1;\nSELECT '{}';", "x".repeat(1 << 20));
    let done = shell(&log, &typed);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.contains("longer than 1048576 bytes"), "{}", done.err);
}
