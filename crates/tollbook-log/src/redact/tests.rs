use std::fs;

use tollbook_engine::{ArgPath, Body, RecordedArgs};

use super::*;
use crate::testing::{files, record};
use crate::{Log, Options, Reader, export};

fn kept(kept: Kept, json: &str, reads: &[&[&str]]) -> RecordedArgs {
    let node = json::parse(json.as_bytes()).unwrap();
    let reads: Vec<ArgPath> =
        reads.iter().map(|keys| Path { keys: keys.iter().map(|key| (*key).to_owned()).collect() }.into()).collect();
    ArgsRef::keep(kept, Some(&node), &reads).to_recorded()
}

#[track_caller]
fn check(paths: &str, args: RecordedArgs, kept: Kept, left: Option<&str>) {
    let args = ArgsRef::from(&args);
    let redacted = Redaction::parse(paths).unwrap().apply(args.clone());
    assert_eq!((redacted.kept, redacted.json.as_deref()), (kept, left));
    assert_eq!((redacted.keys, redacted.hash, redacted.bytes), (args.keys, args.hash, args.bytes));
}

#[test]
fn arguments_in_full_become_the_paths_that_are_left() {
    let full = |json| kept(Kept::Full, json, &[]);
    let json = r#"{"a":{"b":1,"password":"x"},"api_key":"y","list":[{"password":"z"}],"n":[1,2],"odd key":{}}"#;
    let left = r#"{"args.a.b":1,"args.n":[1,2],"args[\"odd key\"]":{}}"#;
    check("args.api_key, args.*.password, args.list.*.password", full(json), Kept::Read, Some(left));
    check(r#"args["odd key"]"#, full(r#"{"odd key":1,"b":null}"#), Kept::Read, Some(r#"{"args.b":null}"#));
    // Nothing there to take out.
    check("args.api_key.x,args.q", full(r#"{"api_key":"y"}"#), Kept::Full, Some(r#"{"api_key":"y"}"#));
    check("", full(r#"{"api_key":"y"}"#), Kept::Full, Some(r#"{"api_key":"y"}"#));
    check("args.*", full(r#"{"api_key":"y"}"#), Kept::Read, Some("{}"));
}

#[test]
fn paths_that_a_policy_reads_are_left_out() {
    let json = r#"{"a":{"b":1,"password":"x"},"api_key":"y"}"#;
    let read = || kept(Kept::Read, json, &[&["a"], &["a", "b"], &["a", "password"], &["api_key"], &["gone"]]);
    check(
        "args.api_key",
        read(),
        Kept::Read,
        Some(r#"{"args.a":{"b":1,"password":"x"},"args.a.b":1,"args.a.password":"x","args.gone":null}"#),
    );
    check("args.*.password", read(), Kept::Read, Some(r#"{"args.a.b":1,"args.api_key":"y","args.gone":null}"#));
    check("args.a", read(), Kept::Read, Some(r#"{"args.api_key":"y","args.gone":null}"#));
    check("args.a", kept(Kept::None, json, &[]), Kept::None, None);
    let broken = RecordedArgs { kept: Kept::Full, json: Some("{".into()), ..RecordedArgs::default() };
    check("args.a", broken, Kept::None, None);
}

#[test]
fn what_is_no_path_is_named() {
    for wrong in ["api_key", "args", "args.", "args.a b", "args.a,,args.b", "args.a*", "args[1]", "args[\"a\"", ","] {
        assert!(Redaction::parse(wrong).is_err(), "{wrong}");
    }
    let error = Redaction::parse("args.a, key").unwrap_err().to_string();
    assert!(error.starts_with("`key` isn't a path of arguments"), "{error}");
}

/// In the open segment and in the sealed files, as bytes and as what readers make of them.
#[test]
fn a_secret_is_in_no_file_of_the_log() {
    const SECRET: &str = "hunter2-hunter2";
    let json = format!(r#"{{"amount":12,"api_key":"{SECRET}","db":{{"password":"{SECRET}","user":"u"}}}}"#);
    let redaction = Redaction::parse("args.api_key, args.*.password").unwrap();
    let redacted = |args: RecordedArgs| redaction.apply(ArgsRef::from(&args)).to_recorded();
    let choices = [
        kept(Kept::Read, &json, &[&["amount"]]),
        kept(Kept::None, &json, &[]),
        redacted(kept(Kept::Full, &json, &[])),
        redacted(kept(Kept::Read, &json, &[&["amount"], &["db"], &["api_key"]])),
    ];
    for args in choices {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
        let mut record = record("pay");
        record.args = args;
        log.append(7, Body::Decision(Box::new(record))).unwrap();
        let told = || {
            let mut bytes: Vec<u8> =
                files(dir.path()).iter().flat_map(|name| fs::read(dir.path().join(name)).unwrap()).collect();
            let reader = Reader::open(&[dir.path()]).unwrap();
            export::export(&reader, export::Format::Jsonl, &export::Choice::default(), &mut bytes).unwrap();
            bytes
        };
        let open = told();
        log.close().unwrap();
        for bytes in [open, told()] {
            let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(holds("pay") && !holds(SECRET));
        }
    }
    // The same look finds it where it is kept.
    assert!(kept(Kept::Full, &json, &[]).json.unwrap().contains(SECRET));
}
