//! What replaying costs, beside DuckDB over the same calls in the same run.
//!
//! `cargo bench -p tollbook-cli --no-default-features --bench replay`: ten million calls in the shape of the real
//! traces, made from a seed. `TOLLBOOK_BENCH_CALLS` asks for another number, `TOLLBOOK_BENCH_LOG` names a log that is
//! there already (or is made there), and the words `replay` and `candidates` choose. `TOLLBOOK_PYTHON` is a Python that has DuckDB (`pip install duckdb==2.0.0 pytz`);
//! without one our own times stand alone.
//!
//! The replay reads the sealed Parquet and judges each call by a policy of three limits and a breaker, on one
//! thread. The candidates are counted over columns that were read before, as DuckDB counts over a table in memory.
//! Each figure is the least of three.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints figures of numbers that are small, and stops where something is wrong"
)]

mod duckdb;
#[path = "query/traces.rs"]
mod traces;
mod traffic;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use tollbook_backtest::{Candidate, Columns, Counts, Label, Lineage};
use tollbook_log::{ReadError, Reader};
use tollbook_policy::Target;
use tollbook_policy::policy::Scope;

use duckdb::DuckDb;

// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMES: u32 = 3;

const POLICY: &str = r#"default allow
all tools {
    limit 30 per minute per session
    limit 200 per rolling hour per session
    limit 100_000 per day per grant
    break after 3 identical calls within 10m
}
"#;

/// Windows in seconds, and the maxima that are tried of each.
const WINDOWS_S: [i64; 8] = [10, 30, 60, 300, 900, 3_600, 21_600, 86_400];
const MAXIMA: [u64; 8] = [1, 2, 5, 10, 20, 30, 50, 100];

/// The least of three times, in seconds, with what was found the last time.
fn least<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = Instant::now();
        let found = work();
        (start.elapsed().as_secs_f64(), found)
    };
    let (mut seconds, mut found) = timed();
    for _ in 1..TIMES {
        let (again, anew) = timed();
        (seconds, found) = (seconds.min(again), anew);
    }
    (seconds, found)
}

/// Every event of the log: the calls that the candidate judged, and those that it refuses.
fn replay(log: &Path) -> (u64, u64) {
    let policy = tollbook_policy::read("bench.toll", POLICY, Target::Native).expect("a good policy").policy;
    let mut candidate = Candidate::new(policy).expect("a good policy");
    let reader = Reader::open(&[log]).unwrap();
    let mut calls = 0;
    for instance in reader.instances() {
        candidate.begin(instance, &Lineage::default());
        let replayed = reader.replay(instance, candidate.reads()).unwrap().each(|event| {
            calls += u64::from(candidate.event(event).is_some());
            Ok::<_, ReadError>(ControlFlow::Continue(()))
        });
        replayed.unwrap();
    }
    (calls, candidate.report().all.change.newly_refused)
}

fn columns(log: &Path) -> Columns {
    let reader = Reader::open(&[log]).unwrap();
    let mut columns = Columns::default();
    for instance in reader.instances() {
        columns.begin(instance, &Lineage::default());
        let read = reader.replay(instance, Columns::READS).unwrap().each(|event| {
            columns.event(event, Label::Clean);
            Ok::<_, ReadError>(ControlFlow::Continue(()))
        });
        read.unwrap();
    }
    columns
}

/// How many calls each maximum of a plain window refuses, in one query for all maxima.
fn plain_sql(window_s: i64) -> String {
    let maxima: Vec<String> = MAXIMA.iter().map(|max| format!("sum(greatest(n - {max}, 0))")).collect();
    let window_us = window_s * 1_000_000;
    let sums = maxima.join(", ");
    format!("SELECT {sums} FROM (SELECT count(*) AS n FROM timed GROUP BY session, us // {window_us})")
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let (dir, _kept) = traces::log();
    if is_wanted("replay") {
        let (seconds, (calls, refused)) = least(|| replay(&dir));
        let rate = calls as f64 / seconds;
        println!("replay: {calls} calls, {refused} refused, {seconds:.2} s, {rate:.0} calls/s");
    }
    if is_wanted("candidates") {
        candidates(&dir);
    }
}

fn candidates(dir: &Path) {
    let start = Instant::now();
    let columns = columns(dir);
    let threads = std::thread::available_parallelism().unwrap().get();
    println!("columns read in {:.2} s", start.elapsed().as_secs_f64());
    let (lay_out, layout) = least(|| columns.lay_out(&[], Scope::Session).unwrap());
    let (plain, counted) = least(|| {
        let counts = layout.plain(&WINDOWS_S.map(|window_s| window_s * 1_000_000), threads);
        let refused = |counts: &Counts| MAXIMA.map(|max| counts.at(max)).map(|refused| refused.clean + refused.bad);
        counts.iter().map(refused).collect::<Vec<_>>()
    });
    let kept = layout.plain(&[60_000_000], threads).remove(0);
    let (kept, _) = least(|| (0..1_000).map(|max| kept.at(max).clean).sum::<u64>());
    let (rolling, _) = least(|| WINDOWS_S.map(|window_s| layout.rolling(window_s * 1_000_000, &MAXIMA)));
    println!("layout {lay_out:.3} s; 64 plain candidates {plain:.3} s; 64 rolling candidates {rolling:.3} s");
    println!("any other maximum of a window that was counted: {:.1} ns", kept * 1e6);

    let Some(mut duckdb) = DuckDb::start(dir, threads) else { return };
    duckdb.ask("CREATE TABLE timed AS SELECT session, epoch_us(ts) AS us, seq FROM calls WHERE session IS NOT NULL");
    let (theirs, _) = least(|| {
        for (window_s, ours) in WINDOWS_S.iter().zip(&counted) {
            let answer = duckdb.ask(&plain_sql(*window_s));
            let refused = answer.whole.first().and_then(|row| row.first()).copied().flatten();
            assert_eq!(refused, i64::try_from(*ours.first().unwrap()).ok(), "{window_s} s");
        }
    });
    let one = "SELECT count(*) FROM (SELECT us - lag(us, 30) OVER (PARTITION BY session ORDER BY seq) AS span \
               FROM timed) WHERE span < 60000000";
    let (lag, _) = least(|| duckdb.ask(one));
    println!(
        "DuckDB: 8 group-bys {theirs:.2} s ({:.1} times); lag for one window {lag:.2} s",
        theirs / (plain + lay_out)
    );
}
