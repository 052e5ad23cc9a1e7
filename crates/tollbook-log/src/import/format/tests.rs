use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tollbook_engine::{Body, Event, RecordedArgs};

use super::*;
use crate::import::{ImportOptions, ImportReport, import};
use crate::testing::all_events;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/log/import").join(name)
}

fn take(path: &Path) -> (ImportReport, Vec<Event>) {
    let log = tempfile::tempdir().unwrap();
    let report = import(log.path(), path, &ImportOptions::default()).unwrap();
    // A second time adds nothing.
    assert!(import(log.path(), path, &ImportOptions::default()).unwrap().already);
    let mut all = all_events(log.path());
    assert_eq!(all.len(), 1);
    (report, all.remove(0).1)
}

fn shown(value: Option<&str>) -> &str {
    value.unwrap_or("-")
}

/// Each event in a line: a call with all that tells one from another, an outcome with its call's tool.
fn told(events: &[Event]) -> Vec<String> {
    let tool = |seq: u64| match &events[usize::try_from(seq).unwrap()].body {
        Body::Decision(record) => record.tool.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    let line = |event: &Event| match &event.body {
        Body::Decision(record) => Some(format!(
            "{} {} {} {} {}",
            record.server,
            shown(record.tool.as_deref()),
            shown(record.session.as_deref()),
            shown(record.agent.as_deref()),
            shown(record.args.json.as_deref())
        )),
        Body::Outcome(outcome) => {
            let (us, bytes) = (outcome.upstream_us.unwrap_or(0), outcome.result_bytes.unwrap_or(0));
            Some(format!("  {} {} {us} µs {bytes} bytes", tool(outcome.call_seq), outcome.end.as_str()))
        }
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

fn record(event: &Event) -> &tollbook_engine::Record {
    match &event.body {
        Body::Decision(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn intercept_tells_who_was_refused_and_nothing_of_arguments() {
    let (report, events) = take(&fixture("intercept.jsonl"));
    assert_eq!((report.imported.format.as_str(), report.imported.calls, report.imported.rejected), ("intercept", 3, 0));
    assert_eq!(
        told(&events),
        [
            "billing create_charge c0ffee01 - -",
            "billing create_charge c0ffee01 - -",
            "billing delete_customer c0ffee01 - -"
        ]
    );
    let (first, second, denied) = (record(&events[1]), record(&events[2]), record(&events[3]));
    assert_eq!(first.args.hash.unwrap().to_string(), "5f2b51ca2fdc5baa31ec02e002f69aec");
    assert_eq!(first.args, second.args);
    assert_eq!((&denied.args, denied.verdict), (&RecordedArgs::default(), None));
    assert_eq!((denied.label.as_deref(), denied.rule.as_deref()), (Some("denied"), Some("hidden")));
}

#[test]
fn cloudtrail_is_put_in_order_and_a_bad_record_is_kept() {
    let (report, events) = take(&fixture("cloudtrail.json"));
    assert_eq!(
        (report.imported.format.as_str(), report.imported.calls, report.imported.rejected),
        ("cloudtrail", 2, 1)
    );
    assert_eq!((report.rejected[0].line, report.rejected[0].why.as_str()), (3, "it has no `eventName`"));
    let session = "arn:aws:sts::111122223333:assumed-role/agents/agent-7";
    assert_eq!(
        told(&events),
        [
            format!("ec2.amazonaws.com DescribeInstances {session} aws-sdk-rust/1.3.3 -"),
            "  DescribeInstances ok 0 µs 0 bytes".to_owned(),
            format!(
                r#"s3.amazonaws.com DeleteObject {session} aws-sdk-rust/1.3.3 {{"bucketName":"reports","key":"q1.csv"}}"#
            ),
            "  DeleteObject tool_error 0 µs 0 bytes".to_owned(),
        ]
    );
    assert_eq!(record(&events[3]).label.as_deref(), Some("AccessDenied"));
    // Gzipped, as it lies in a bucket.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trail.json.gz");
    let mut gz = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::default());
    gz.write_all(&fs::read(fixture("cloudtrail.json")).unwrap()).unwrap();
    gz.finish().unwrap();
    assert_eq!(told(&take(&path).1), told(&events));
}

#[test]
fn cloudtrail_may_stand_one_event_a_line() {
    let document: serde_json::Value = serde_json::from_slice(&fs::read(fixture("cloudtrail.json")).unwrap()).unwrap();
    let lines: Vec<String> =
        document["Records"].as_array().unwrap().iter().map(|record| format!("{record}\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trail.jsonl");
    fs::write(&path, lines.concat()).unwrap();
    let (report, _) = take(&path);
    assert_eq!(
        (report.imported.format.as_str(), report.imported.calls, report.imported.rejected),
        ("cloudtrail", 2, 1)
    );
}

#[test]
fn mcp_results_find_their_calls() {
    let (report, events) = take(&fixture("mcp.jsonl"));
    assert_eq!((report.imported.format.as_str(), report.imported.rejected), ("mcp", 1));
    assert_eq!(report.rejected[0].why, "it is a batch");
    let session = format!("{}-1", &report.imported.sha256.chars().take(8).collect::<String>());
    assert_eq!(
        told(&events),
        [
            format!(r#"files read {session} desk/1.4 {{"path":"a.txt"}}"#),
            "  read ok 500000 µs 44 bytes".to_owned(),
            format!(r#"files read {session} desk/1.4 {{"path":"b.txt"}}"#),
            "  read tool_error 100000 µs 66 bytes".to_owned(),
            format!("files rename {session} desk/1.4 -"),
            "  rename rpc_error 100000 µs 48 bytes".to_owned(),
            // The server asked something under the same id, so its end can't be told.
            format!("files summarise {session} desk/1.4 {{}}"),
        ]
    );
    assert_eq!(record(&events[3]).request_id.as_deref(), Some(r#""two""#));
}

#[test]
fn claude_code_blocks_find_their_results_and_a_repeated_one_counts_once() {
    let (report, events) = take(&fixture("claude-code.jsonl"));
    assert_eq!((report.imported.format.as_str(), report.imported.calls), ("claude-code", 2));
    assert_eq!((report.rejected[0].line, report.rejected[0].why.as_str()), (8, "a `tool_use` has no `id`"));
    let session = "5e550000-0000-4000-8000-000000000001";
    assert_eq!(
        told(&events),
        [
            format!(r#"claude-code Read {session} claude-code/2.0.14 {{"file_path":"/home/ada/project/date.rs"}}"#),
            "  Read ok 500000 µs 15 bytes".to_owned(),
            format!(r#"tracker get_issue {session} claude-code/2.0.14 {{"id":17}}"#),
            "  get_issue tool_error 1000000 µs 36 bytes".to_owned(),
        ]
    );
}

#[test]
fn a_format_is_told_by_content_or_by_name() {
    for (name, format) in [
        ("sessions.jsonl", Format::Trace),
        ("intercept.jsonl", Format::Intercept),
        ("cloudtrail.json", Format::CloudTrail),
        ("mcp.jsonl", Format::Mcp),
        ("claude-code.jsonl", Format::ClaudeCode),
    ] {
        assert_eq!(Format::of(&fs::read(fixture(name)).unwrap()), format, "{name}");
        assert_eq!(Format::from_word(format.word()), Some(format));
    }
    assert_eq!(Format::from_word("xml"), None);
    // Said to be something else, its lines are rejected rather than guessed at.
    let log = tempfile::tempdir().unwrap();
    let options = ImportOptions { format: Some(Format::Mcp), ..ImportOptions::default() };
    let error = import(log.path(), &fixture("intercept.jsonl"), &options).unwrap_err().to_string();
    assert!(error.ends_with("line 1: it isn't a JSON-RPC message"), "{error}");
    let options = ImportOptions { format: Some(Format::CloudTrail), ..ImportOptions::default() };
    let error = import(log.path(), &fixture("mcp.jsonl"), &options).unwrap_err().to_string();
    assert!(error.contains("holds no tool-call records"), "{error}");
}
