use tollbook_engine::{Body, End, Hash128, Judge, Kept, Outcome, Record, RecordedArgs, Verdict};
use tollbook_log::schema::Kind;
use tollbook_log::{Log, Options};

use crate::output::{Format, write};
use crate::{LogDir, Session};

/// A call that was let through.
pub fn record() -> Record {
    Record {
        session: Some("s".into()),
        tool: Some("t".into()),
        args: RecordedArgs { kept: Kept::None, json: None, keys: None, hash: Some(Hash128([1; 16])), bytes: Some(2) },
        verdict: Some(Verdict::Allow),
        ..Record::new(Judge::Engine, "x")
    }
}

fn call() -> Body {
    Body::Decision(Box::new(record()))
}

fn ended(call_seq: u64, end: End, result: u8) -> Body {
    let (result_bytes, result_hash) = (Some(u64::from(result)), Some(Hash128([result; 16])));
    Body::Outcome(Outcome { call_seq, end, upstream_us: Some(7), result_bytes, result_hash })
}

/// Three equal calls, sealed before any of them ended, and then these ends: call, how, and result.
fn log_of(results: &[(u64, End, u8)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { seal_events_max: 3, ..Options::default() };
    let (log, _) = Log::open(dir.path(), options).unwrap();
    for second in 0..3 {
        log.append(second * 1_000_000, call()).unwrap();
    }
    for (call, end, result) in results {
        log.append(9_000_000, ended(*call, *end, *result)).unwrap();
    }
    log.close().unwrap();
    dir
}

async fn asked(dir: &tempfile::TempDir, sql: &str) -> String {
    let log = LogDir::open(dir.path()).unwrap();
    assert!(!log.reader.sealed_files(Kind::Outcomes).is_empty(), "nothing came late");
    let session = Session::open(vec![log], crate::Options::default()).await.unwrap();
    let mut text = Vec::new();
    write(&session.ask(sql).await.unwrap(), Format::Csv, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_late_outcome_is_in_the_row_of_its_call() {
    let dir = log_of(&[(1, End::ToolError, 5)]);
    let sql = "SELECT seq, outcome, done_ts, done_seq, upstream_us, result_bytes, result_hash FROM calls ORDER BY seq";
    let hash = "05".repeat(16);
    assert_eq!(
        asked(&dir, sql).await,
        format!(
            "seq,outcome,done_ts,done_seq,upstream_us,result_bytes,result_hash\n0,,,,,,\n\
             1,tool_error,1970-01-01T00:00:09Z,3,7,5,{hash}\n2,,,,,,\n"
        )
    );
}

#[tokio::test]
async fn of_two_outcomes_the_first_counts_and_the_call_stays_one_row() {
    let dir = log_of(&[(1, End::Ok, 5), (1, End::ToolError, 6)]);
    assert_eq!(asked(&dir, "SELECT outcome FROM calls WHERE outcome IS NOT NULL").await, "outcome\nok\n");
    assert_eq!(asked(&dir, "SELECT count(*) AS n FROM calls").await, "n\n3\n");
}

/// What a loop looks like depends on the results, also of those that came late.
#[tokio::test]
async fn loops_know_late_outcomes() {
    let sql = "SELECT repeats, errors, results, looks_like FROM loops()";
    let header = "repeats,errors,results,looks_like\n";
    for (results, row) in [
        (&[(0, End::Ok, 5), (1, End::ToolError, 5), (2, End::Ok, 5)][..], "3,1,same,stuck\n"),
        (&[(0, End::Ok, 5), (1, End::Ok, 5), (2, End::Ok, 6)], "3,0,differ,polling\n"),
        (&[(0, End::Ok, 5), (1, End::Timeout, 5)], "3,1,unknown,unknown\n"),
    ] {
        assert_eq!(asked(&log_of(results), sql).await, format!("{header}{row}"));
    }
}

/// What isn't asked for isn't read, and nothing else depends on that.
#[tokio::test]
async fn each_column_of_loops_is_the_same_alone_and_with_the_others() {
    let dir = log_of(&[(0, End::Ok, 5), (1, End::ToolError, 5), (2, End::Ok, 6)]);
    let all = asked(&dir, "SELECT * FROM loops()").await;
    let (names, row) = all.trim_end().split_once('\n').unwrap();
    assert!(row.contains(",1,differ,PT2S,polling,"), "{row}");
    for (name, value) in names.split(',').zip(row.split(',')) {
        assert_eq!(asked(&dir, &format!("SELECT {name} FROM loops()")).await, format!("{name}\n{value}\n"));
    }
    assert_eq!(asked(&dir, "SELECT count(*) AS n FROM loops() WHERE looks_like = 'polling'").await, "n\n1\n");
}

/// It is looked up by `seq`, whose bounds leave out no page then.
#[tokio::test]
async fn a_filter_of_outcomes_reads_no_page_index() {
    let dir = log_of(&[(1, End::ToolError, 5)]);
    for (condition, pages) in [("outcome = 'ok'", "0 total"), ("outcome = 'ok' AND seq = 1", "1 total")] {
        // Whether a tool is null is told by that index, if it is read.
        let sql = format!("EXPLAIN ANALYZE SELECT tool FROM calls WHERE tool IS NOT NULL AND {condition}");
        let plan = asked(&dir, &sql).await;
        assert!(plan.contains(&format!("page_index_pages_pruned={pages}")), "{condition}: {plan}");
    }
}
