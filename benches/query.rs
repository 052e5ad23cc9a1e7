//! What questions cost, beside DuckDB over the same Parquet in the same run.
//!
//! `cargo bench -p tollbook-cli --bench query`: ten million calls in the shape of the real traces, made from a
//! seed. `TOLLBOOK_BENCH_CALLS` asks for another number, `TOLLBOOK_BENCH_LOG` names a log that is there already (or
//! is made there), and words behind `--` choose questions by name. `TOLLBOOK_PYTHON` is a Python that has DuckDB
//! (`pip install duckdb==2.0.0 pytz`); without one our own times stand alone.
//!
//! Each question is asked three times, in turns with DuckDB, and the least time counts. DuckDB is given the
//! report's own SQL where that is portable, and otherwise the same question in its own words, in
//! `benches/peers/duckdb`, as it is where it answers another wording faster.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints figures, and stops where something is wrong"
)]

mod duckdb;
#[path = "query/traces.rs"]
mod traces;
mod traffic;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duckdb::DuckDb;
use tollbook_query::{Filter, LogDir, Options, Report, Session};

// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMES: u32 = 3;
const COLD_TIMES: usize = 11;

/// Questions by name, and how DuckDB is asked.
const QUESTIONS: [(&str, Question, Option<&str>); 9] = [
    ("rates", Question::Report(Report::Rates), None),
    ("denials", Question::Report(Report::Denials), None),
    ("errors", Question::Report(Report::Errors), None),
    ("sessions", Question::Report(Report::Sessions), None),
    ("tools", Question::Report(Report::Tools), Some(include_str!("peers/duckdb/tools.sql"))),
    ("latency", Question::Report(Report::Latency), Some(include_str!("peers/duckdb/latency.sql"))),
    ("headroom", Question::Report(Report::Headroom), Some(include_str!("peers/duckdb/headroom.sql"))),
    (
        "loops()",
        Question::Sql("SELECT count(*), sum(calls) FROM loops()"),
        Some(include_str!("peers/duckdb/loops.sql")),
    ),
    (
        "loops() with what came of them",
        Question::Sql(
            "SELECT count(*), sum(calls), sum(errors), count(*) FILTER (WHERE results = 'same'), max(span) FROM loops()",
        ),
        Some(include_str!("peers/duckdb/loops_ends.sql")),
    ),
];

#[derive(Clone, Copy)]
enum Question {
    Report(Report),
    Sql(&'static str),
}

/// The largest share of memory that this process ever held, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1000
}

/// From the start of the process to its answer, the median, with the least and the most.
fn cold(log: &Path, session: &str) {
    let sql = format!("SELECT seq, tool, decision, outcome FROM calls WHERE session = '{session}' ORDER BY seq");
    let ask = || {
        let start = Instant::now();
        let mut tollbook = Command::new(env!("CARGO_BIN_EXE_tollbook"));
        let done = tollbook.args(["query", "--format", "csv", "--log"]).arg(log).arg(&sql).output().unwrap();
        assert!(done.status.success() && done.stdout.len() > 40, "{}", String::from_utf8_lossy(&done.stderr));
        start.elapsed()
    };
    let mut took: Vec<Duration> = (0..COLD_TIMES).map(|_| ask()).collect();
    took.sort();
    let ms = |place: usize| took.get(place).unwrap().as_secs_f64() * 1000.0;
    let (least, median, most) = (ms(0), ms(COLD_TIMES / 2), ms(COLD_TIMES - 1));
    println!("| one session, from the start of the process | {median:.0} ms ({least:.0} to {most:.0}) | | |");
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let (dir, _kept) = traces::log();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    let mut duckdb = DuckDb::start(&dir, threads);
    let open = || runtime.block_on(Session::open(vec![LogDir::open(&dir).unwrap()], options())).unwrap();
    let ask = |session: &Session, sql: &str| {
        let start = Instant::now();
        let answer = runtime.block_on(session.ask(sql)).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let texts = tollbook_query::output::texts(&answer).unwrap();
        (seconds, texts)
    };
    println!("| question | ours | DuckDB | ratio |\n|---|---|---|---|");
    for (name, question, theirs) in QUESTIONS {
        if !is_wanted(name) {
            continue;
        }
        let sql = match question {
            Question::Report(report) => report.sql(&Filter::default()),
            Question::Sql(sql) => sql.to_owned(),
        };
        let (mut ours, mut duck) = (f64::INFINITY, f64::INFINITY);
        // One for all three times, as DuckDB's is: both remember what they found in the files' footers.
        let mut session = open();
        for _ in 0..TIMES {
            if matches!(question, Question::Sql(_)) {
                // It would remember the loops.
                session = open();
            }
            let (seconds, texts) = ask(&session, &sql);
            ours = ours.min(seconds);
            if let Some(duckdb) = &mut duckdb {
                let answer = duckdb.ask(theirs.unwrap_or(&sql));
                assert_eq!(texts.len() as u64, answer.rows, "{name}");
                is_same(name, &texts, &answer.whole);
                duck = duck.min(answer.seconds);
            }
        }
        println!("| {name} | {ours:.2} s | {duck:.2} s | {:.1} |", duck / ours);
        if name == "loops()" {
            println!("(most memory so far: {} MB)", peak_mb());
        }
    }
    if is_wanted("cold") {
        let sql = "SELECT session FROM calls WHERE seq > 100000 AND seq < 100100 AND session IS NOT NULL LIMIT 1";
        let answer = runtime.block_on(open().ask(sql)).unwrap();
        let texts = tollbook_query::output::texts(&answer).unwrap();
        cold(&dir, texts.first().and_then(|row| row.first()).unwrap());
    }
}

/// Compares the whole numbers of both answers.
fn is_same(name: &str, ours: &[Vec<String>], theirs: &[Vec<Option<i64>>]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            if let (Ok(ours), Some(theirs)) = (ours.parse::<i64>(), theirs) {
                assert_eq!(ours, *theirs, "{name}");
            }
        }
    }
}

fn options() -> Options {
    Options { categories: Some(Arc::new(Recorded)), ..Options::default() }
}

/// The categories that were recorded, and no others.
#[derive(Debug)]
struct Recorded;

impl tollbook_query::Categories for Recorded {
    fn category(&self, _: &str, _: Option<&str>) -> Option<&'static str> {
        None
    }

    fn overridden(&self, _: &str, _: Option<&str>) -> Option<&'static str> {
        None
    }

    fn overrides(&self) -> bool {
        false
    }

    fn looks_at_args(&self) -> bool {
        false
    }
}
