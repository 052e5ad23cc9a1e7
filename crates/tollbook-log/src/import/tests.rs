use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tollbook_engine::{End, Kept, Outcome, Record};

use super::*;
use crate::schema::Kind;
use crate::testing::{all_events, files};
use crate::{Log, Options, Reader, Recovery};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/log/import/sessions.jsonl");

fn take(log: &Path, path: &Path) -> ImportReport {
    import(log, path, &ImportOptions::default()).expect("imported")
}

fn take_text(text: &str) -> (tempfile::TempDir, Result<ImportReport, ImportError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    fs::write(&path, text).unwrap();
    let report = import(&dir.path().join("log"), &path, &ImportOptions::default());
    (dir, report)
}

fn events(log: &Path) -> Vec<Event> {
    let mut all = all_events(log);
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

fn record(event: &Event) -> &Record {
    match &event.body {
        Body::Decision(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Calls as their labels, outcomes as that of their call with a prime.
fn order(events: &[Event]) -> String {
    let label = |seq: u64| record(&events[usize::try_from(seq).unwrap()]).label.clone().unwrap();
    let word = |event: &Event| match &event.body {
        Body::Decision(_) => label(event.seq),
        Body::Outcome(outcome) => format!("{}'", label(outcome.call_seq)),
        _ => "open".to_owned(),
    };
    events.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_trace_becomes_an_instance_in_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let report = take(dir.path(), Path::new(FIXTURE));
    let events = events(dir.path());
    // b began first, and its call was done when a's began; a's second call says an earlier time than its first and keeps its place; the session
    // without times comes last, each of its outcomes directly after its call.
    assert_eq!(order(&events), "open b0 b0' a0 a1 a0' b1 a2 a2' n0 n0' n1");
    assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
    let imported = &report.imported;
    assert_eq!(
        (imported.calls, imported.calls_without_time, imported.outcomes, imported.sessions, imported.rejected),
        (7, 2, 4, 3, 0)
    );
    assert_eq!((imported.name.as_str(), report.already), ("sessions.jsonl", false));
    // Its own times are kept, though they go back.
    let a1 = events
        .iter()
        .find(|event| matches!(&event.body, Body::Decision(record) if record.label.as_deref() == Some("a1")));
    assert_eq!(a1.unwrap().ts_us, Some(1_767_258_001_000_000));
}

#[test]
fn what_the_source_tells_is_kept_and_what_it_lost_is_unknown() {
    let text = concat!(
        r#"{"ts":"2026-01-01T00:00:00.5Z","seq":0,"session":"s","agent":"m","server":"web","tool":"get","#,
        r#""args":{"b": 1.50,"a":"\u0041"},"is_error":true,"result_bytes":12,"result_sha":"00ff","#,
        r#""done_ts":"2026-01-01T01:00:01+01:00","user":{"x":[]}}"#,
        "\n",
        r#"{"tool":"lost","args":null,"is_error":null,"ts":null}"#,
        "\n",
        r#"{"tool":"text","args":"not {json"}"#,
    );
    let (dir, report) = take_text(text);
    report.unwrap();
    let events = events(&dir.path().join("log"));
    let get = record(&events[1]);
    assert_eq!(get.args.json.as_deref(), Some(r#"{"a":"A","b":1.5}"#));
    assert_eq!(get.args.keys.as_deref(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
    assert_eq!((get.args.kept, get.args.bytes), (Kept::Full, Some(24)));
    assert_eq!(get.args.hash, Some(tollbook_engine::hash128(br#"{"a":"A","b":1.5}"#)));
    assert_eq!((get.grant.as_deref(), get.server.as_str(), get.verdict), (Some("import"), "web", None));
    let outcome = Outcome {
        call_seq: 1,
        end: End::ToolError,
        upstream_us: Some(500_000),
        result_bytes: Some(12),
        result_hash: Some(tollbook_engine::hash128(b"00ff")),
    };
    assert_eq!(events[2].body, Body::Outcome(outcome));
    let lost = record(&events[3]);
    assert_eq!((&lost.args, &lost.session, events[3].ts_us), (&tollbook_engine::RecordedArgs::default(), &None, None));
    let text = record(&events[4]);
    assert_eq!((text.args.json.as_deref(), &text.args.keys), (Some(r#""not {json""#), &None));
    assert_eq!(events.len(), 5);
}

#[test]
fn the_same_file_is_taken_in_once_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let first = take(dir.path(), Path::new(FIXTURE));
    let copy = dir.path().join("copy.jsonl");
    fs::copy(FIXTURE, &copy).unwrap();
    let second = take(dir.path(), &copy);
    assert!(second.already);
    assert_eq!(second.imported, first.imported);
    assert_eq!(events(dir.path()).len(), 12);
    // The mark for people comes from the manifest.
    let mark = dir.path().join(format!("imports/{}.json", first.imported.sha256));
    fs::remove_file(&mark).unwrap();
    assert!(take(dir.path(), &copy).already);
    assert!(mark.exists());
}

#[test]
fn a_crash_in_the_middle_neither_doubles_nor_loses() {
    let dir = tempfile::tempdir().unwrap();
    let report = take(dir.path(), Path::new(FIXTURE));
    let whole = events(dir.path());
    // All is written but the manifest.
    fs::remove_file(dir.path().join(format!("manifests/{}.json", report.instance))).unwrap();
    fs::write(dir.path().join(format!("open/{}.lock", report.instance)), "").unwrap();
    assert!(all_events(dir.path()).is_empty());
    assert!(!take(dir.path(), Path::new(FIXTURE)).already);
    assert_eq!(events(dir.path()), whole);
    // The same, and a gateway starts before the import is tried again.
    fs::remove_file(dir.path().join(format!("manifests/{}.json", report.instance))).unwrap();
    let (log, recovery) = Log::open(dir.path(), Options::default()).unwrap();
    assert!(recovery.set_aside.iter().all(|aside| aside.why == "no manifest names it"));
    assert_eq!(recovery.set_aside.len(), 3, "{recovery:?}");
    log.close().unwrap();
    assert!(!take(dir.path(), Path::new(FIXTURE)).already);
    assert_eq!(events(dir.path()), whole);
    let (log, recovery) = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!(recovery, Recovery::default());
    log.close().unwrap();
}

#[test]
fn an_import_that_another_process_is_at_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let instance = take(dir.path(), Path::new(FIXTURE)).instance;
    let claim = Claim::take(dir.path(), &instance).unwrap().unwrap();
    let error = import(dir.path(), Path::new(FIXTURE), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::Busy(_)));
    claim.end().unwrap();
}

#[test]
fn bad_lines_are_counted_named_and_kept() {
    let bad = [
        r#"{"tool":"a","tool":"b"}"#,
        "[1]",
        r#"{"session":"s"}"#,
        r#"{"tool":7}"#,
        r#"{"tool":"a","ts":"yesterday"}"#,
        r#"{"tool":"a","seq":-1}"#,
        r#"{"tool":"a","is_error":"no"}"#,
        r#"{"tool":"#,
    ];
    let text = format!("{}\n\n{{\"tool\":\"good\"}}\n", bad.join("\n"));
    let (dir, report) = take_text(&text);
    let report = report.unwrap();
    assert_eq!((report.imported.calls, report.imported.rejected), (1, 8));
    let named: Vec<_> = report.rejected.iter().map(|rejected| format!("{}: {}", rejected.line, rejected.why)).collect();
    assert_eq!(
        named,
        [
            "1: the key `tool` stands twice in one object, again at byte 12",
            "2: it isn't a JSON object",
            "3: it has no `tool`",
            "4: `tool` is `7`, where a string was expected",
            "5: `ts` is `\"yesterday\"`, where a time as in 2026-11-23T06:46:52Z was expected",
        ]
    );
    let kept = fs::read_to_string(report.rejected_file.unwrap()).unwrap();
    assert_eq!(kept, format!("{}\n", bad.join("\n")));
    drop(dir);
}

#[test]
fn a_line_beyond_the_bound_is_kept_whole() {
    let long = format!(r#"{{"tool":"{}"}}"#, "a".repeat(LINE_BYTES_MAX));
    let (_dir, report) = take_text(&format!("{long}\n{{\"tool\":\"good\"}}\n"));
    let report = report.unwrap();
    assert_eq!((report.imported.calls, report.rejected[0].line), (1, 1));
    assert_eq!(fs::read_to_string(report.rejected_file.unwrap()).unwrap(), format!("{long}\n"));
}

#[test]
fn a_file_without_any_record_is_an_error_and_leaves_nothing() {
    for (text, expected) in [
        ("", "holds no records"),
        ("\n \n", "holds no records"),
        ("x\ny\n", "holds no tool-call records: none of its 2 lines is one; line 1: not JSON at byte 0"),
    ] {
        let (dir, report) = take_text(text);
        let error = report.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(files(dir.path()), ["log/lock", "trace.jsonl"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let error = import(dir.path(), Path::new("nowhere.jsonl"), &ImportOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `nowhere.jsonl`");
}

#[test]
fn gzip_is_known_by_its_content_and_a_cut_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&fs::read(FIXTURE).unwrap()).unwrap();
    let gzip = gzip.finish().unwrap();
    let path = dir.path().join("trace");
    fs::write(&path, &gzip[..gzip.len() / 2]).unwrap();
    assert!(matches!(import(dir.path(), &path, &ImportOptions::default()), Err(ImportError::Read { .. })));
    fs::write(&path, &gzip).unwrap();
    assert_eq!(take(dir.path(), &path).imported.calls, 7);
}

#[test]
fn real_traces_are_taken_in_whole() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces");
    if !shared.is_dir() {
        eprintln!("skipped: no ../shared");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut calls = 0;
    for (name, expected, sessions, untimed) in [
        ("tau2_runs", 4_389, 353, 0),
        ("taubench", 1_164, 182, 1_164),
        ("openhands", 105, 3, 0),
        ("entire_dev", 7_674, 113, 0),
    ] {
        // Small ranges, so that outcomes come after their call's range.
        let options = ImportOptions { seal_events_max: 3000, ..ImportOptions::default() };
        let report = import(dir.path(), &shared.join(format!("{name}.jsonl.gz")), &options).unwrap();
        let imported = report.imported;
        assert_eq!((imported.calls, imported.sessions, imported.rejected), (expected, sessions, 0), "{name}");
        assert_eq!(imported.calls_without_time, untimed, "{name}");
        let reader = Reader::open(&[dir.path()]).unwrap();
        let events: Vec<Event> = reader.events(&report.instance).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(events.len() as u64, 1 + imported.calls + imported.outcomes);
        calls += expected;
    }
    let reader = Reader::open(&[dir.path()]).unwrap();
    let rows: u64 = reader.sealed_files(Kind::Calls).iter().map(|(_, file)| file.rows).sum();
    assert_eq!(rows, calls);
}
