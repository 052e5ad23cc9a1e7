use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path as StorePath;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use tollbook_engine::{Body, End, Hash128, Outcome, Record};
use tollbook_log::{Log, Options, Reader};

use crate::late::tests::record;
use crate::{LogDir, QueryError, Session, Store, output};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

fn open_log(dir: &Path, seal_events_max: u64) -> Log {
    Log::open(dir, Options { seal_events_max, ..Options::default() }).unwrap().0
}

fn call(session: &str, tool: &str) -> Body {
    let made = Record { session: Some(session.to_owned()), tool: Some(tool.to_owned()), ..record() };
    Body::Decision(Box::new(made))
}

/// Four days of calls, one segment a day, each day with a session and a tool of its own.
fn four_days(dir: &Path) {
    let log = open_log(dir, 600);
    for number in 0..1200_i64 {
        let day = number / 300;
        let mut call = call(&format!("session-{day}"), &format!("tool_{day}"));
        if let Body::Decision(record) = &mut call {
            record.args.hash =
                Some(Hash128(u128::from(number.unsigned_abs()).wrapping_mul(u128::MAX / 7).to_le_bytes()));
        }
        let call_seq = log.append(day * DAY_US + number % 300 * SECOND_US, call).unwrap();
        let outcome =
            Outcome { call_seq, end: End::Ok, upstream_us: Some(7), result_bytes: Some(1), result_hash: None };
        log.append(day * DAY_US + number % 300 * SECOND_US, Body::Outcome(outcome)).unwrap();
    }
    log.close().unwrap();
}

async fn session(log: LogDir) -> Session {
    Session::open(vec![log], crate::Options::default()).await.unwrap()
}

async fn asked(session: &Session, sql: &str) -> Vec<String> {
    let rows = output::texts(&session.ask(sql).await.unwrap()).unwrap();
    rows.into_iter().map(|row| row.join(" ")).collect()
}

/// The number that a metric of EXPLAIN ANALYZE has, units of bytes included.
async fn metric(session: &Session, condition: &str, name: &str) -> f64 {
    let sql = format!("EXPLAIN ANALYZE SELECT count(DISTINCT args_hash) FROM calls WHERE {condition}");
    let plan = asked(session, &sql).await.join(" ");
    let (_, told) = plan.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{plan}"));
    let told = told.split_once("→ ").filter(|_| name.contains("pruned")).map_or(told, |(_, matched)| matched);
    let mut words = told.split([' ', ',', ']']);
    let number: f64 = words.next().unwrap().parse().unwrap_or_else(|_| panic!("{told}"));
    match words.next() {
        Some("K" | "KB") => number * 1000.0,
        Some("M" | "MB") => number * 1e6,
        _ => number,
    }
}

#[tokio::test]
async fn of_one_day_one_session_or_one_tool_little_is_read() {
    let dir = tempfile::tempdir().unwrap();
    four_days(dir.path());
    let session = session(LogDir::open(dir.path()).unwrap()).await;
    let all = metric(&session, "true", "bytes_scanned").await;
    for condition in ["ts >= '1970-01-02' AND ts < '1970-01-03'", "session = 'session-1'", "tool = 'tool_1'"] {
        let some = metric(&session, condition, "bytes_scanned").await;
        assert!(some < all / 2.0, "{condition}: {some} of {all} bytes");
    }
    // What the manifest rules out isn't even in the plan.
    let sql = "EXPLAIN SELECT count(tool) FROM calls WHERE ts >= '1970-01-02' AND ts < '1970-01-03'";
    let plan = asked(&session, sql).await.join(" ");
    assert!(plan.contains("date=1970-01-02") && !plan.contains("date=1970-01-01"), "{plan}");
    assert!(!plan.contains("date=1970-01-03"), "{plan}");
}

/// `m` lies between the least and the greatest session and tool of every file, so only bloom filters know.
#[tokio::test]
async fn bloom_filters_rule_out_what_bounds_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path(), 100);
    for number in 0..400_i64 {
        let name = if number == 150 {
            "m"
        } else if number % 2 == 0 {
            "a"
        } else {
            "z"
        };
        log.append(number * SECOND_US, call(name, name)).unwrap();
    }
    log.close().unwrap();
    let session = session(LogDir::open(dir.path()).unwrap()).await;
    for condition in ["session = 'm'", "tool = 'm'"] {
        let left = metric(&session, condition, "row_groups_pruned_bloom_filter").await;
        assert!(left <= 1.0, "{condition}: {left}");
    }
    assert_eq!(asked(&session, "SELECT seq FROM calls WHERE session = 'm'").await, ["150"]);
}

/// A session over sealed files and open records sees what was there when it was opened, whatever is recorded and
/// sealed meanwhile.
#[test]
fn a_session_sees_the_log_as_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path(), 50);
    let end = AtomicBool::new(false);
    let append = |number: i64| log.append(number * SECOND_US, call("s", "t")).unwrap();
    (0..120).for_each(|number| assert_eq!(append(number), number.unsigned_abs()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 120;
            while !end.load(Ordering::Relaxed) && number < 3000 {
                append(number);
                number += 1;
            }
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut before = 0;
        for _ in 0..10 {
            let session = runtime.block_on(session(LogDir::open(dir.path()).unwrap()));
            let look =
                || runtime.block_on(asked(&session, "SELECT count(*), max(seq) + 1, count(DISTINCT seq) FROM calls"));
            let first = look();
            let counts: Vec<i64> = first[0].split(' ').map(|count| count.parse().unwrap()).collect();
            assert!(counts[0] >= 120 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
            assert!(counts[0] >= before);
            before = counts[0];
            assert_eq!(look(), first);
        }
        end.store(true, Ordering::Relaxed);
    });
    log.close().unwrap();
}

/// A log of which nothing is left here: manifests, sealed files and open segments are all read from another store,
/// by tables, late outcomes, `loops()` and a replay alike.
#[tokio::test]
async fn another_store_is_a_url_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path(), 4);
    for number in 0..4 {
        log.append(number * SECOND_US, call("s", "t")).unwrap();
    }
    let late = Outcome { call_seq: 3, end: End::ToolError, upstream_us: None, result_bytes: None, result_hash: None };
    log.append(9 * SECOND_US, Body::Outcome(late)).unwrap();
    log.close().unwrap();
    // This one is open still.
    let log = open_log(dir.path(), 100);
    log.append(20 * SECOND_US, call("other", "t")).unwrap();
    let events = |reader: &Reader| {
        let all = reader.instances().flat_map(|instance| reader.events(instance).unwrap());
        all.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let here = events(&LogDir::open(dir.path()).unwrap().reader);
    let memory = InMemory::new();
    let mut dirs = vec![dir.path().to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let within = entry.path().strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(entry.path()).unwrap();
            memory.put(&StorePath::from(format!("logs/one/{within}")), bytes.into()).await.unwrap();
        }
    }
    drop(log);
    dir.close().unwrap();
    let url = ObjectStoreUrl::parse("memory://elsewhere").unwrap();
    let elsewhere = Arc::new(memory) as Arc<dyn ObjectStore>;
    let log = tollbook_log::Store::new(elsewhere, StorePath::from("logs/one"), "memory://elsewhere/logs/one");
    let log = LogDir::at(Store::new(log, url)).unwrap();
    assert_eq!(events(&log.reader), here);
    let session = session(log).await;
    assert_eq!(asked(&session, "SELECT count(*), count(outcome), max(outcome) FROM calls").await, ["5 1 tool_error"]);
    assert_eq!(asked(&session, "SELECT repeats, errors FROM loops()").await, ["4 1"]);
}

/// A byte of a sealed file changed, here and there, with a manifest to match: an answer, or an error that names the
/// file, and never a panic.
#[test]
fn crafted_parquet_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path(), 100);
    for number in 0..100 {
        log.append(number * SECOND_US, call("s", "t")).unwrap();
    }
    log.close().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (path, sum) = {
        let log = LogDir::open(dir.path()).unwrap();
        let files = log.reader.sealed_files(tollbook_log::schema::Kind::Calls);
        (files[0].0.clone(), files[0].1.sha256.clone())
    };
    let manifest = std::fs::read_dir(dir.path().join("manifests")).unwrap().next().unwrap().unwrap().path();
    let (good, signed) = (std::fs::read(&path).unwrap(), std::fs::read_to_string(&manifest).unwrap());
    let (mut answers, mut errors) = (0, 0);
    for at in (4..good.len()).step_by(101) {
        let mut crafted = good.clone();
        crafted[at] ^= 0x55;
        std::fs::write(&path, &crafted).unwrap();
        let new: String = {
            use sha2::{Digest, Sha256};
            Sha256::digest(&crafted).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        std::fs::write(&manifest, signed.replace(&sum, &new)).unwrap();
        let session = runtime.block_on(session(LogDir::open(dir.path()).unwrap()));
        for sql in ["SELECT * FROM calls WHERE session = 's'", "SELECT * FROM loops()"] {
            match runtime.block_on(session.ask(sql)) {
                Ok(_) => answers += 1,
                Err(QueryError::Damaged { path: named, .. }) => {
                    assert_eq!(named.file_name(), path.file_name(), "byte {at}");
                    errors += 1;
                }
                Err(error) => panic!("byte {at}, {sql}: {error}"),
            }
        }
    }
    assert!(errors > 20 && answers > 0, "{errors} errors, {answers} answers");
}
