//! What SQL answers, as files: `fixtures/query/*.slt`, in the form of sqllogictest.
//!
//! The log that a file asks has the file's name: `ties.slt` asks what was imported from `ties.jsonl`, and
//! `refusals.slt` what [`refusals`] records. `TOLLBOOK_SLT=rewrite cargo test -p tollbook-query slt` puts the
//! answers of today into the files.

use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer};
use tollbook_engine::{End, Judge, LimitFact, Outcome, PolicyHash, Record, Verdict};
use tollbook_log::import::{ImportOptions, import};
use tollbook_log::{Log, Options};

use crate::late::tests::record;
use crate::{Answer, LogDir, QueryError, Session, output};

const DAY_US: i64 = 86_400_000_000;

struct Asked {
    runtime: tokio::runtime::Runtime,
    session: Session,
}

impl DB for Asked {
    type Error = QueryError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, QueryError> {
        let answer = self.runtime.block_on(self.session.ask(sql))?;
        let types = answer.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 | DataType::Utf8View => DefaultColumnType::Text,
            DataType::Float64 => DefaultColumnType::FloatingPoint,
            other if other.is_integer() => DefaultColumnType::Integer,
            _ => DefaultColumnType::Any,
        });
        Ok(DBOutput::Rows { types: types.collect(), rows: rows(&answer) })
    }
}

/// The rows as texts, in which nothing is empty.
fn rows(answer: &Answer) -> Vec<Vec<String>> {
    let rows = output::texts_with_null(answer, "NULL").unwrap();
    let shown = |text: String| if text.is_empty() { "(empty)".to_owned() } else { text };
    rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect()
}

fn check(file: &Path, log: &Path) {
    let open = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let logs = vec![LogDir { name: "log".to_owned(), ..LogDir::open(log).unwrap() }];
        let session = runtime.block_on(Session::open(logs, crate::Options::default())).unwrap();
        Ok::<_, QueryError>(Asked { runtime, session })
    };
    let mut runner = Runner::new(move || std::future::ready(open()));
    runner.with_column_validator(sqllogictest::strict_column_validator);
    if std::env::var_os("TOLLBOOK_SLT").is_some() {
        let separator = " ";
        let written = runner.update_test_file(
            file,
            separator,
            sqllogictest::default_validator,
            default_normalizer,
            default_column_validator,
        );
        return futures::executor::block_on(written).unwrap();
    }
    runner.run_file(file).unwrap_or_else(|error| panic!("{error}"));
}

/// Calls of three days, one segment a day: let through, refused by a rule and by a limit, held, refused by the
/// gateway, failed, still in flight, and one whose outcome came the day after.
fn refusals(dir: &Path) {
    let (log, _) = Log::open(dir, Options { seal_events_max: 6, ..Options::default() }).unwrap();
    let call = |day: i64, session: &str, tool: Option<&str>, verdict, reason: &str, rule: Option<&str>, used: i64| {
        let fact = LimitFact {
            counter: "calls-per-day".into(),
            owner: tool.unwrap_or_default().into(),
            scope: "grant".into(),
            key: "team".into(),
            window_s: 86_400,
            rolling: false,
            window_start_us: day * DAY_US,
            used_before_micros: used * 1_000_000,
            amount_micros: Some(1_000_000),
            max_micros: 2_000_000,
            frees_at_us: (used >= 2).then_some((day + 1) * DAY_US),
            shadow: false,
        };
        let made = Record {
            judged_by: if tool.is_some() { Judge::Engine } else { Judge::Gateway },
            session: Some(session.to_owned()),
            grant: Some("team".to_owned()),
            agent: Some("bot/1".to_owned()),
            tool: tool.map(str::to_owned),
            policy: tool.map(|_| PolicyHash([7; 32])),
            verdict: Some(verdict),
            reason: Some(reason.to_owned()),
            rule: rule.map(str::to_owned),
            category: tool.map(|tool| if tool == "get" { "read" } else { "write" }.to_owned()),
            limits: if tool == Some("put") { vec![fact] } else { Vec::new() },
            ..record()
        };
        log.append(day * DAY_US + used * 1_000_000, tollbook_engine::Body::Decision(Box::new(made))).unwrap()
    };
    let ended = |call_seq: u64, day: i64, end, result_bytes| {
        let outcome =
            Outcome { call_seq, end, upstream_us: Some(1500), result_bytes: Some(result_bytes), result_hash: None };
        log.append(day * DAY_US + 9_000_000, tollbook_engine::Body::Outcome(outcome)).unwrap();
    };
    let limit = Some("/tools/put/limits/calls-per-day");
    let get = call(0, "one", Some("get"), Verdict::Allow, "allowed", None, 0);
    ended(get, 0, End::Ok, 10);
    let put = call(0, "one", Some("put"), Verdict::Allow, "allowed", None, 0);
    ended(put, 0, End::ToolError, 20);
    let late = call(0, "one", Some("put"), Verdict::Allow, "allowed", None, 1);
    call(0, "one", Some("put"), Verdict::Deny, "limit", limit, 2);
    ended(late, 1, End::Ok, 30);
    call(1, "two", Some("drop"), Verdict::Deny, "deny", Some("/tools/drop/deny"), 0);
    call(1, "two", Some("drop"), Verdict::Hold, "approve", Some("/tools/drop/approve"), 1);
    call(1, "two", None, Verdict::Deny, "duplicate_key", None, 2);
    call(1, "two", Some("put"), Verdict::Allow, "allowed", None, 0);
    call(2, "two", Some("get"), Verdict::Allow, "allowed", None, 0);
    log.close().unwrap();
}

#[test]
fn slt_files_are_answered_as_they_say() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/query");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&fixtures).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        let records = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("ties" | "arguments") => Some(file.with_extension("jsonl")),
            _ => None,
        };
        match records {
            Some(records) => drop(import(dir.path(), &records, &ImportOptions::default()).unwrap()),
            None => refusals(dir.path()),
        }
        check(&file, dir.path());
    }
}
