//! Questions to logs: `loops()`, the tables beside `calls`, the reports, and how answers are written.

mod shell;

use std::process::{Command, Stdio};

use crate::program::{Client, Dir, TOLLBOOK, query, ran, root, shared, tollbook};

fn imported(dir: &Dir, trace: &str) -> String {
    let log = dir.path("log");
    tollbook(&["import", "--log", &log, trace]).ok();
    log
}

fn ties(dir: &Dir) -> String {
    imported(dir, root().join("fixtures/query/ties.jsonl").to_str().unwrap())
}

/// The truth about loops was found by brute force.
#[test]
fn loops_are_those_of_the_traces_and_no_others() {
    let Some(shared) = shared() else { return };
    for name in ["tau2_runs", "taubench", "openhands"] {
        let dir = Dir::new();
        let log = imported(&dir, shared.join(format!("traces/{name}.jsonl.gz")).to_str().unwrap());
        let truth = std::fs::read_to_string(shared.join(format!("traces/{name}.loops.csv"))).unwrap();
        let mut expect: Vec<&str> = truth.lines().skip(1).collect();
        expect.sort_unstable();
        let sql = "SELECT session || ',' || start_in_session || ',' || period || ',' || repeats || ',' || calls || ',' \
                   || array_to_string(tools, '|') AS row FROM loops()";
        let mut found: Vec<String> = query(&log, sql).iter().map(|row| row.trim_matches('"').to_owned()).collect();
        found.sort_unstable();
        assert_eq!(found, expect, "{name}");
    }
    let dir = Dir::new();
    let log = imported(&dir, shared.join("traces/entire_dev.jsonl.gz").to_str().unwrap());
    assert_eq!(query(&log, "SELECT count(*) FROM loops()"), ["0"]);
}

#[test]
fn order_is_by_seq_and_lost_arguments_are_never_a_loop() {
    let dir = Dir::new();
    let log = ties(&dir);
    let sql = "SELECT session, start_in_session, period, repeats, calls, wasted_calls, array_to_string(tools, ' '), \
               errors, results, still_running FROM loops() ORDER BY session";
    assert_eq!(
        query(&log, sql),
        [
            "alternating,0,2,4,8,6,poll wait,0,unknown,true",
            "block,0,3,3,9,6,a b,3,unknown,true",
            "keys,0,1,3,3,2,get,0,unknown,true",
        ]
    );
}

#[test]
fn loops_join_with_calls_and_sessions_count_them() {
    let dir = Dir::new();
    let log = ties(&dir);
    let sql = "SELECT calls.tool FROM loops() AS l JOIN calls ON calls.instance = l.instance AND calls.seq = l.start_seq \
               WHERE l.period = 2";
    assert_eq!(query(&log, sql), ["wait"]);
    let sql = "SELECT session, calls, loops, loop_calls FROM sessions ORDER BY session";
    assert_eq!(
        query(&log, sql),
        ["alternating,8,1,8", "block,11,1,9", "cursor,6,0,0", "keys,3,1,3", "lost,6,0,0", "twice,2,0,0"]
    );
}

#[test]
fn limits_and_policies_are_tables() {
    let dir = Dir::new();
    let log = dir.path("log");
    tollbook(&["demo", "--log", &log]).ok();
    let facts = query(&log, "SELECT count(*) FROM limits");
    assert_eq!(facts, query(&log, "SELECT sum(cardinality(limits)) FROM calls"));
    assert_ne!(facts, ["0"]);
    let counters = query(&log, "SELECT DISTINCT counter FROM limits WHERE tool = 'update_invoice' ORDER BY 1");
    assert!(counters.contains(&"update_invoice_rate".to_owned()), "{counters:?}");
    let judged = query(&log, "SELECT calls FROM policies WHERE calls > 0");
    assert_eq!(judged, query(&log, "SELECT count(*) FROM calls WHERE policy_hash IS NOT NULL"));
    assert_eq!(query(&log, "SELECT count(*) FROM policies WHERE source LIKE '{%' AND first_ts <= last_ts"), ["1"]);
}

#[test]
fn categories_are_told_by_the_name_or_by_the_user() {
    let dir = Dir::new();
    let line = |seq, tool: &str, args: &str| {
        format!(
            "{{\"ts\":\"2026-01-05T09:00:00Z\",\"seq\":{seq},\"session\":\"s\",\"server\":\"x\",\"tool\":\"{tool}\",\"args\":{args}}}\n"
        )
    };
    let text = [
        line(0, "get_user", "{}"),
        line(1, "delete_user", "{}"),
        line(2, "Bash", "{\"command\":\"ls -l\"}"),
        line(3, "Bash", "{\"command\":\"rm -r x\"}"),
    ];
    let log = imported(&dir, &dir.file("t.jsonl", &text.concat()));
    let sql = "SELECT category FROM calls ORDER BY seq";
    let plain = query(&log, sql);
    assert_eq!((plain[0].as_str(), plain[1].as_str()), ("read", "destructive"));
    assert_eq!(plain[2], plain[3]);
    let file = dir.file(
        "categories.toml",
        "[[category]]\ntool = 'Ba*'\npath = 'command'\nmatches = '^ls '\nis = 'read'\n\n\
         [[category]]\ntool = 'Bash'\nis = 'destructive'\n",
    );
    let ask = |file: &str, sql: &str| tollbook(&["query", "--log", &log, "--categories", file, "--format", "csv", sql]);
    assert_eq!(ask(&file, sql).ok(), "category\nread\ndestructive\nread\ndestructive\n");
    // A gateway keeps the paths that the policy reads, each as one key.
    let policy = dir.file("p.toll", "default allow\ntool get_customer {\n    deny when args.id == \"c_9\"\n}\n");
    let read = dir.path("read");
    let mut gateway = Client::through_gateway(&policy, &read);
    gateway.call(1, "get_customer", "{\"id\":\"c_1\"}");
    gateway.call(2, "get_customer", "{\"id\":\"x_1\"}");
    gateway.end().ok();
    let by_id =
        dir.file("id.toml", "[[category]]\ntool = 'get_customer'\npath = 'id'\nmatches = '^x_'\nis = 'financial'\n");
    let out = tollbook(&["query", "--log", &read, "--categories", &by_id, "--format", "csv", sql]).ok();
    assert_eq!(out, "category\nread\nfinancial\n");
    let bad = dir.file("bad.toml", "[[category]]\ntool = 'x'\nis = 'rude'\n");
    ask(&bad, sql).cannot("`rude` is no category");
    let half = dir.file("half.toml", "[[category]]\ntool = 'x'\npath = 'a'\nis = 'read'\n");
    ask(&half, sql).cannot("only one of `path` and `matches`");
    let out = tollbook(&["report", "tools", "--log", &log, "--write-only", "--format", "csv"]).ok();
    assert!(out.contains("delete_user,destructive,1") && !out.contains("get_user"), "{out}");
}

#[test]
fn every_report_answers_and_can_be_narrowed() {
    let dir = Dir::new();
    let log = dir.path("log");
    tollbook(&["demo", "--log", &log]).ok();
    for report in ["rates", "loops", "headroom", "denials", "sessions", "tools", "latency", "errors"] {
        for more in [&[][..], &["--format", "json"], &["--since", "7d", "--grant", "local", "--write-only"]] {
            let out = tollbook(&[&["report", report, "--log", &log], more].concat()).ok();
            assert!(!out.is_empty(), "{report}");
        }
        let sql = tollbook(&["report", report, "--log", &log, "--sql", "--tool", "it's"]).ok();
        assert!(sql.contains("AND tool = 'it''s'"), "{sql}");
        for page in sql.split(";\n") {
            tollbook(&["query", "--log", &log, page]).ok();
        }
    }
    tollbook(&["report", "rates", "--log", &log, "--since", "soon"]).cannot("cannot read the time `soon`");
}

#[test]
fn the_report_of_loops_keeps_polling_apart() {
    let dir = Dir::new();
    let call = |seq: u32, session: &str, hour: u32| {
        format!(
            "{{\"ts\":\"2026-01-05T{hour:02}:00:00Z\",\"seq\":{seq},\"session\":\"{session}\",\"server\":\"x\",\"tool\":\"t\",\"args\":{{}}}}\n"
        )
    };
    let mut text = String::new();
    for seq in 0..4 {
        text += &call(seq, "stuck", 9);
    }
    for seq in 0..5 {
        text += &call(seq, "waiting", 9 + seq);
    }
    let log = imported(&dir, &dir.file("t.jsonl", &text));
    let rows = tollbook(&["report", "loops", "--log", &log, "--format", "csv"]).ok();
    let told: Vec<_> = rows
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            format!("{} {} {}", cells[0], cells[6], cells[11])
        })
        .collect();
    assert_eq!(told, ["stuck 3 unknown", "waiting 4 polling"], "{rows}");
    let object = tollbook(&["report", "loops", "--log", &log, "--format", "json"]).ok();
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["loops"].as_array().unwrap().len(), 2);
    assert_eq!(object["in_all"][0]["of_sessions"], 2, "{object}");
    assert!(object["by_tools"].is_array());
    let page = tollbook(&["report", "loops", "--log", &log]).ok();
    assert!(page.contains("In all, polling apart") && page.contains("results_unknown"), "{page}");
}

#[test]
fn answers_come_in_every_format() {
    let dir = Dir::new();
    let log = ties(&dir);
    let ask = |format: &str| {
        let sql = "SELECT 'a|b' AS x, count(*) AS n FROM calls";
        Command::new(TOLLBOOK).args(["query", "--log", &log, "--format", format, sql]).output().unwrap()
    };
    let text = |format: &str| ran(ask(format)).ok();
    assert_eq!(text("json"), "[{\"x\":\"a|b\",\"n\":36}]\n");
    assert_eq!(text("jsonl"), "{\"x\":\"a|b\",\"n\":36}\n");
    assert_eq!(text("csv"), "x,n\na|b,36\n");
    assert_eq!(text("markdown"), "| x    |  n |\n|------|----|\n| a\\|b | 36 |\n");
    let parquet = ask("parquet").stdout;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}

#[test]
fn a_query_comes_from_an_argument_a_file_or_standard_input() {
    let dir = Dir::new();
    let log = ties(&dir);
    let file = dir.file("q.sql", "SELECT count(*) AS n\nFROM calls\n");
    let expect = "n\n36\n";
    assert_eq!(tollbook(&["query", "--log", &log, "--format", "csv", "-f", &file]).ok(), expect);
    let input = std::fs::File::open(&file).unwrap();
    let piped = Command::new(TOLLBOOK)
        .args(["query", "--log", &log, "--format", "csv"])
        .stdin(Stdio::from(input))
        .output()
        .unwrap();
    assert_eq!(ran(piped).ok(), expect);
}

#[test]
fn several_logs_are_one_with_a_column_that_says_which() {
    let (one, two) = (Dir::new(), Dir::new());
    let (first, second) = (ties(&one), ties(&two));
    let sql = "SELECT log, count(*) FROM calls GROUP BY log ORDER BY 2, 1";
    let out = tollbook(&["query", "--log", &first, "--log", &second, "--format", "csv", sql]).ok();
    for log in [&first, &second] {
        assert!(out.contains(&format!("{log},36\n")), "{out}");
    }
}

/// A copy of a log has its instances' names too.
#[test]
fn loops_of_several_logs_are_not_mixed() {
    let (one, two) = (Dir::new(), Dir::new());
    let (first, second) = (ties(&one), two.path("log"));
    assert!(Command::new("cp").args(["-r", &first, &second]).status().unwrap().success());
    let ask = |sql: &str| tollbook(&["query", "--log", &first, "--log", &second, "--format", "csv", sql]).ok();
    let sql = "SELECT log, count(*), sum(calls), min(start_in_session) FROM loops() GROUP BY log";
    let out = ask(sql);
    for log in [&first, &second] {
        assert!(out.contains(&format!("{log},3,20,0\n")), "{out}");
    }
    assert!(ask("SELECT count(*), sum(loops) FROM sessions").ends_with("\n12,6\n"));
    let report = ["report", "loops", "--log", &first, "--log", &second, "--format", "csv"];
    assert_eq!(tollbook(&report).ok().lines().filter(|row| row.starts_with("block,")).count(), 2);
}

/// The breaker looks at what was let through, `loops()` at what was attempted; under shadow that is the same.
#[test]
fn the_breaker_and_loops_agree_on_the_same_calls() {
    let dir = Dir::new();
    let policy = dir.file(
        "p.toll",
        "default allow\nall tools {\n    shadow break after 3 identical calls within 1d\n    \
         shadow break after 3 repeats of a cycle up to 8 calls within 1d\n}\n",
    );
    let log = dir.path("log");
    let mut gateway = Client::through_gateway(&policy, &log);
    // Capital letters are the calls that carry a run on which has stood there three times.
    let letters = "aaaAAxabababABAyabcabcabcAxxyyyzzaabaabaabAABxabcdefghabcdefghabcdefghABaaab";
    for (id, letter) in (1..).zip(letters.chars()) {
        gateway.call(id, "get_customer", &format!("{{\"id\":\"{}\"}}", letter.to_ascii_lowercase()));
    }
    gateway.end().ok();
    let stopped: Vec<bool> = query(&log, "SELECT cardinality(shadow_rules) > 0 FROM calls ORDER BY seq")
        .iter()
        .map(|row| row == "true")
        .collect();
    let expect: Vec<bool> = letters.chars().map(|letter| letter.is_ascii_uppercase()).collect();
    assert_eq!(stopped, expect);
    let mut within = vec![false; letters.len()];
    let mut sure = within.clone();
    for row in query(&log, "SELECT start_in_session, period, repeats FROM loops()") {
        let [start, period, repeats] = row.split(',').map(|cell| cell.parse().unwrap()).collect::<Vec<usize>>()[..]
        else {
            panic!("{row}")
        };
        let (from, whole) = (start + 3 * period, start + repeats * period);
        sure[from..whole].fill(true);
        // A run may end within a block.
        let end = (whole + period - 1).min(letters.len());
        within[from..end].fill(true);
    }
    for (place, stopped) in stopped.into_iter().enumerate() {
        assert!(stopped || !sure[place], "call {place} of a loop was let through");
        assert!(within[place] || !stopped, "call {place} of no loop was stopped");
    }
}

#[test]
fn an_error_says_where_it_is_in_the_sql() {
    let dir = Dir::new();
    let log = ties(&dir);
    tollbook(&["query", "--log", &log, "SELECT tool FRM calls"])
        .cannot("end of statement, found: calls at Line: 1, Column: 17");
    tollbook(&["query", "--log", &log, "SELECT tool,\n  tol FROM calls"]).cannot("line 2, column 3");
    tollbook(&["query", "--log", &log, "SELECT * FROM loops(1)"]).cannot("loops() takes no argument");
    tollbook(&["query", "--log", &log, "DROP TABLE calls"]).cannot("DDL not supported");
}

#[test]
fn a_damaged_file_is_named_and_left_out_only_if_asked_for() {
    let dir = Dir::new();
    let log = ties(&dir);
    let calls = std::path::Path::new(&log).join("calls/date=2026-01-05");
    let file = std::fs::read_dir(calls).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let sql = "SELECT count(*), min(tool), min(args_hash) FROM calls";
    let mut garbled = bytes.clone();
    let end = bytes.len() - 8;
    garbled[end - 40..end].fill(0xff);
    for damaged in [bytes[..bytes.len() / 2].to_vec(), garbled] {
        std::fs::write(&file, damaged).unwrap();
        let ran = tollbook(&["query", "--log", &log, sql]);
        assert!(ran.err.contains(name), "{}", ran.err);
        ran.cannot("is damaged");
        let skipped = tollbook(&["query", "--log", &log, "--skip-damaged", "--format", "csv", sql]);
        assert!(skipped.err.contains(name), "{}", skipped.err);
        assert!(skipped.ok().contains("\n0,"));
    }
}

#[test]
fn a_query_over_its_memory_fails_and_says_so() {
    let dir = Dir::new();
    let log = ties(&dir);
    let ask = |limit: &str, what: &str| {
        let sql = format!("{what} FROM generate_series(1, 3000) a CROSS JOIN generate_series(1, 1000) b");
        tollbook(&["query", "--log", &log, "--memory-limit", limit, "--format", "csv", &sql])
    };
    ask("4", "SELECT array_agg(a.value)").cannot("takes more memory than --memory-limit gives it");
    // The rows of the answer count too: they are kept until they are written.
    ask("20", "SELECT a.value, b.value").cannot("for the answer");
    // What can be is spilled: three million numbers take 24 MB.
    let sorted = "SELECT count(*) AS n FROM (SELECT row_number() OVER (ORDER BY a.value * b.value) AS n";
    let sorted =
        format!("{sorted} FROM generate_series(1, 3000) a CROSS JOIN generate_series(1, 1000) b) WHERE n > 10");
    let out = tollbook(&["query", "--log", &log, "--memory-limit", "20", "--format", "csv", &sorted]).ok();
    assert_eq!(out, "n\n2999990\n");
}

#[test]
fn the_schema_is_told() {
    let out = tollbook(&["schema"]).ok();
    assert!(out.contains("calls: One row for each call") && out.contains("| decide_ns "), "{out}");
    let one = tollbook(&["schema", "loops"]).ok();
    assert!(one.contains("wasted_calls") && !one.contains("decide_ns"), "{one}");
    for (function, column) in [("rates", "rolling_peak"), ("backtest()", "certainty")] {
        assert!(tollbook(&["schema", function]).ok().contains(column), "{function}");
    }
    assert!(tollbook(&["schema", "calls"]).ok().contains("json_get_int"));
    tollbook(&["schema", "nothing"]).cannot("there is no table `nothing`");
}

#[test]
fn rates_are_of_plain_and_of_rolling_windows() {
    let dir = Dir::new();
    let call = |seq: u32, time: &str, tool: &str| {
        format!(
            "{{\"ts\":\"2026-01-05T{time}Z\",\"seq\":{seq},\"session\":\"s\",\"server\":\"x\",\"tool\":\"{tool}\",\"args\":{{}}}}\n"
        )
    };
    let times = ["09:00:40", "09:00:50", "09:01:10", "09:01:39.999999", "09:01:40"];
    let text: String = (0..).zip(times).map(|(seq, time)| call(seq, time, "a")).collect();
    let log = imported(&dir, &dir.file("t.jsonl", &(text + &call(5, "10:00:00", "b"))));
    // A call at the edge of a rolling window is outside.
    let sql = "SELECT tool, calls, peak, date_part('minute', peak_start), rolling_peak, typical, windows_in_use \
               FROM rates('minute', 'tool') ORDER BY tool";
    assert_eq!(query(&log, sql), ["a,5,3,1,4,2.5,2", "b,1,1,0,1,1.0,1"]);
    assert_eq!(query(&log, "SELECT calls, peak, rolling_peak FROM rates('hour')"), ["6,5,6"]);
    for (call, says) in [
        ("rates()", "rates() lacks a window"),
        ("rates('fortnight')", "`fortnight` is no window"),
        ("rates('minute', 'mood')", "calls can't be counted by `mood`"),
    ] {
        tollbook(&["query", "--log", &log, &format!("SELECT * FROM {call}")]).cannot(says);
    }
}

/// Rows of a query in DuckDB over the log's Parquet files; None, said aloud, where there is no DuckDB.
fn duckdb(log: &str, sql: &str) -> Option<Vec<String>> {
    let target = std::path::Path::new(TOLLBOOK).ancestors().nth(2).unwrap().to_owned();
    let venv = target.join("duckdb-venv");
    let python = venv.join("bin/python");
    let run = |program: &std::path::Path, args: &[&str]| {
        Command::new(program).args(args).output().is_ok_and(|done| done.status.success())
    };
    let there = run(&python, &["-c", "import duckdb"])
        || run("python3".as_ref(), &["-m", "venv", venv.to_str().unwrap()])
            && run(&python, &["-m", "pip", "install", "--quiet", "duckdb==2.0.0"]);
    if !there {
        assert!(std::env::var_os("CI").is_none(), "no DuckDB");
        eprintln!("skipped: no DuckDB");
        return None;
    }
    let script = "import duckdb, sys\nduckdb.sql(\"create view calls as from read_parquet('\" + sys.argv[1] + \
                  \"/calls/**/*.parquet', union_by_name = true)\")\n\
                  for row in duckdb.sql(sys.argv[2]).fetchall(): print(*('' if v is None else v for v in row), sep=',')";
    let done = Command::new(python).args(["-c", script, log, sql]).env("TZ", "UTC").output().unwrap();
    Some(ran(done).ok().lines().map(str::to_owned).collect())
}

#[test]
fn the_portable_reports_give_the_same_rows_in_duckdb() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let mut log = String::new();
    for name in ["tau2_runs", "taubench", "entire_dev"] {
        log = imported(&dir, shared.join(format!("traces/{name}.jsonl.gz")).to_str().unwrap());
    }
    let seconds = |column: &str| format!("CAST(floor(date_part('epoch', {column})) AS BIGINT) AS {column}");
    let compare = |log: &str, report: &str, columns: &str| {
        let sql = tollbook(&["report", report, "--log", log, "--sql"]).ok();
        // The first page: what follows knows the category, which is no column of imported files.
        let first = sql.split(";\n").next().unwrap();
        let sql = format!("SELECT {columns} FROM ({first})");
        let mut ours = query(log, &sql);
        let Some(mut theirs) = duckdb(log, &sql) else { return };
        assert!(!ours.is_empty(), "{report}");
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{report}");
    };
    let refusals = refusals(&dir);
    compare(
        &refusals,
        "denials",
        &format!("rule, reason, tool, calls, sessions, {}, {}", seconds("first"), seconds("last")),
    );
    for report in ["sessions", "tools"] {
        let columns = if report == "sessions" {
            "session, agent, calls, share, tools, refusals, errors"
        } else {
            "tool, category, calls, CAST(10 * percent AS BIGINT) AS p, share, sessions, refusals, errors, in_flight"
        };
        compare(&refusals, report, columns);
    }
    for (report, columns) in [
        (
            "rates",
            format!(
                "tool, calls, peak_per_minute, peak, CAST(10 * typical_per_minute AS BIGINT) AS t, minutes_in_use, {}, \
                 over_time, calls_without_time",
                seconds("busiest_minute")
            ),
        ),
        (
            "errors",
            format!("tool, outcome, calls, CAST(10 * percent_of_tool AS BIGINT) AS p, sessions, {}", seconds("first")),
        ),
    ] {
        compare(&log, report, &columns);
    }
}

/// A log with calls that were refused by rules, by a limit, and by the gateway itself.
fn refusals(dir: &Dir) -> String {
    let policy = dir.file(
        "p.toll",
        "default deny\nallow list_customers\ntool get_customer {\n    deny when args.id == \"c_9\"\n    \
         limit 2 per day per grant\n}\n",
    );
    let log = dir.path("refusals");
    let mut gateway = Client::through_gateway(&policy, &log);
    for (id, number) in (1..).zip([1, 9, 9, 2, 3, 4]) {
        gateway.call(id, "get_customer", &format!("{{\"id\":\"c_{number}\"}}"));
    }
    gateway.call(7, "list_customers", "{}");
    gateway.call(8, "create_invoice", "{}");
    gateway.call(9, "get_customer", "{\"id\":\"c_1\",\"id\":\"c_9\"}");
    gateway.end().ok();
    log
}

#[test]
fn calls_are_told_as_they_are_recorded() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    let log = dir.path("log");
    let mut gateway = Client::through_gateway(&policy, &log);
    gateway.call(1, "first", "{}");
    let mut tail = Client::start(TOLLBOOK, &["tail", "--log", &log, "--where", "tool <> 'second'"]);
    assert!(tail.receive().contains("  first  allow"));
    gateway.call(2, "second", "{}");
    gateway.call(3, "third", "{}");
    assert!(tail.receive().contains("  third  allow"));
    gateway.end().ok();
    tail.child.kill().unwrap();
    let wrong = tollbook(&["tail", "--log", &log, "--where", "toool = 'x'"]);
    wrong.cannot("toool");
}

#[test]
fn a_backtest_is_a_table() {
    let dir = Dir::new();
    let log = ties(&dir);
    let candidate = dir.file("c.toll", "default allow\ntool poll {\n    deny\n}\n");
    let sql = format!(
        "SELECT tool, candidate, certainty, count(*) FROM backtest('{candidate}') \
        WHERE session = 'alternating' GROUP BY ALL ORDER BY 1, 2, 3"
    );
    assert_eq!(
        query(&log, &sql),
        ["poll,deny,diverged,3", "poll,deny,exact,1", "wait,allow,diverged,3", "wait,allow,exact,1"]
    );
    let sql = format!("SELECT count(*) FROM backtest('{candidate}') b JOIN calls USING (instance, seq) LIMIT 1");
    assert_eq!(query(&log, &sql), ["36"]);
    tollbook(&["query", "--log", &log, "SELECT * FROM backtest('nothing.toll')"]).cannot("nothing.toll");
    tollbook(&["query", "--log", &log, "SELECT * FROM backtest()"]).cannot("backtest() takes the file of a policy");
}

/// Of one day or one session only the files that can hold it are opened.
#[test]
fn a_query_opens_only_what_it_must() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let log = imported(&dir, shared.join("traces/entire_dev.jsonl.gz").to_str().unwrap());
    let matched = |condition: &str, metric: &str| -> u32 {
        let sql = format!("EXPLAIN ANALYZE SELECT count(DISTINCT args_hash) FROM calls WHERE {condition}");
        let plan = query(&log, &sql).join(" ");
        let (_, told) = plan.split_once(&format!("{metric}=")).expect(&plan);
        let (_, told) = told.split_once("→ ").expect(&plan);
        told.split(' ').next().unwrap().parse().expect(&plan)
    };
    let files = query(&log, "SELECT count(DISTINCT CAST(ts AS DATE)) FROM calls")[0].parse::<u32>().unwrap();
    assert!(files > 10);
    let day = "ts >= '2026-01-10' AND ts < '2026-01-11'";
    assert!(matched(day, "files_ranges_pruned_statistics") <= 2);
    let session = query(&log, "SELECT session FROM sessions WHERE calls > 10 ORDER BY first_ts, session LIMIT 1");
    let session = format!("session = '{}'", session[0]);
    assert!(matched(&session, "row_groups_pruned_bloom_filter") <= 2);
}
