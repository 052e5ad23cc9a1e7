use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;
use tollbook_engine::{Body, Outcome, Record};

use super::*;
use crate::testing::{self, decided, ended};
use crate::{Log, Options, seal};

/// A log whose events 0 to 4 are sealed and 5 to 8 are open.
fn log(dir: &Path) -> Log {
    let (log, _) = Log::open(dir, Options { seal_events_max: 5, ..Options::default() }).expect("a log");
    for n in 0..9 {
        let body = if n % 2 == 1 { ended(n - 1) } else { decided("a") };
        log.append(1_763_880_412_000_000, body).unwrap();
        // The seal of the first five is done before more than five others come.
        while n == 5 && Reader::open(&[dir]).unwrap().sealed_files(Kind::Calls).is_empty() {
            std::thread::yield_now();
        }
    }
    log
}

#[test]
fn open_and_sealed_rows_have_one_schema_and_meet_without_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let reader = Reader::open(&[dir.path()]).unwrap();
    let sealed = reader.sealed_files(Kind::Calls);
    assert_eq!(sealed.iter().map(|(_, file)| file.rows).collect::<Vec<_>>(), [3]);
    let open = reader.open_batches(Kind::Calls).unwrap();
    assert_eq!(open.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let file = fs::File::open(&sealed[0].0).unwrap();
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(builder.schema().fields(), open[0].schema().fields());
    // The outcome of call 4 came when that was sealed.
    let late = reader.late_outcomes().unwrap();
    assert_eq!(late.iter().map(|(_, event)| event.seq).collect::<Vec<_>>(), [5]);
    let seqs: Vec<u64> = reader.events(log.instance()).unwrap().map(|event| event.unwrap().seq).collect();
    assert_eq!(seqs, (0..9).collect::<Vec<_>>());
    assert!(matches!(reader.events("nobody").map(drop), Err(ReadError::NoInstance(_))));
}

#[test]
fn parquet_is_sorted_with_bloom_filters_and_a_page_index() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path()).close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let file = fs::File::open(&reader.sealed_files(Kind::Calls)[0].0).unwrap();
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let group = builder.metadata().row_group(0);
    assert_eq!(group.sorting_columns().unwrap()[0].column_idx, 1);
    for column in group.columns() {
        let path = column.column_path().string();
        let has_filter = ["session", "tool", "args_hash"].contains(&path.as_str());
        assert_eq!(column.bloom_filter_offset().is_some(), has_filter, "{path}");
        assert!(column.statistics().is_some() && column.column_index_offset().is_some(), "{path}");
    }
}

#[test]
fn a_missing_or_damaged_sealed_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path()).close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let name = reader.instances().next().unwrap().to_owned();
    let path = reader.sealed_files(Kind::Calls)[0].0.clone();
    let bytes = fs::read(&path).unwrap();
    let failure = || {
        let events: Result<Vec<_>, _> = reader.events(&name).unwrap().collect();
        let error = events.expect_err("the file isn't as it was");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        error
    };
    fs::write(&path, &bytes[1..]).unwrap();
    assert!(matches!(failure(), ReadError::DamagedFile { .. }));
    fs::write(&path, vec![0; bytes.len()]).unwrap();
    assert!(matches!(failure(), ReadError::DamagedFile { .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(failure(), ReadError::MissingFile(_)));
}

#[test]
fn a_file_that_lacks_rows_of_its_range_is_found() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path()).close().unwrap();
    let manifest_path = fs::read_dir(dir.path().join("manifests")).unwrap().next().unwrap().unwrap().path();
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&manifest_path).unwrap()).unwrap();
    manifest.ranges[0].last_seq -= 1;
    fs::write(&manifest_path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let events: Result<Vec<_>, _> = reader.events(&manifest.instance).unwrap().collect();
    assert!(matches!(events, Err(ReadError::Sequence { seq: 4, .. })), "{events:?}");
}

#[test]
fn rows_that_stand_in_two_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path()).close().unwrap();
    let manifest_path = fs::read_dir(dir.path().join("manifests")).unwrap().next().unwrap().unwrap().path();
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&manifest_path).unwrap()).unwrap();
    let twice = manifest.ranges[0].files[0].clone();
    manifest.ranges[0].files.push(twice);
    fs::write(&manifest_path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let events: Result<Vec<_>, _> = reader.events(&manifest.instance).unwrap().collect();
    assert!(matches!(events, Err(ReadError::Sequence { seq: 0, .. })), "{events:?}");
}

#[test]
fn a_directory_without_a_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(&[dir.path()]).map(drop).unwrap_err().to_string();
    assert_eq!(error, format!("there is no log in `{}`", dir.path().display()));
}

/// A call as a replay that reads this sees it.
fn as_read(record: &mut Record, reads: Reads) {
    let whole = record.clone();
    *record = Record {
        session: whole.session,
        grant: whole.grant,
        agent: whole.agent,
        tool: whole.tool,
        category: whole.category,
        continues: whole.continues,
        ..Record::new(whole.judged_by, whole.server)
    };
    if reads.args {
        (record.args.kept, record.args.json, record.args.keys) = (whole.args.kept, whole.args.json, whole.args.keys);
    }
    if reads.args_hash {
        record.args.hash = whole.args.hash;
    }
    if reads.decision {
        (record.verdict, record.reason, record.rule) = (whole.verdict, whole.reason, whole.rule);
        record.approval = whole.approval;
    }
    if reads.rest {
        (record.request_id, record.args.bytes, record.policy) = (whole.request_id, whole.args.bytes, whole.policy);
        (record.mode, record.message, record.limits) = (whole.mode, whole.message, whole.limits);
        (record.decide_ns, record.trace_id, record.label) = (whole.decide_ns, whole.trace_id, whole.label);
        record.shadow_rules = whole.shadow_rules;
        (record.loop_period, record.loop_repeats) = (whole.loop_period, whole.loop_repeats);
    }
}

/// All that a replay hands over, with texts of its own.
fn replayed(reader: &Reader, instance: &str, reads: Reads) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    reader.replay(instance, reads)?.each(|event| {
        events.push(event.to_event());
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    Ok(events)
}

#[test]
fn a_replay_puts_sealed_open_and_late_events_into_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let reader = Reader::open(&[dir.path()]).unwrap();
    let events = reader.events(log.instance()).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(replayed(&reader, log.instance(), Reads::ALL).unwrap(), events);
    let seqs = |events: &[Event]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&replayed(&reader, log.instance(), Reads::default()).unwrap()), (0..9).collect::<Vec<_>>());
    let mut first = Vec::new();
    let enough = reader.replay(log.instance(), Reads::default()).unwrap().each(|event| {
        first.push(event.seq);
        Ok::<_, ReadError>(if event.seq < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    assert!(enough.is_ok() && first == [0, 1, 2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a replay doesn't ask for is as if it weren't known, and the rest is what was recorded.
    #[test]
    fn a_replay_sees_of_each_row_what_it_asks_for(events in testing::events(30), asked in any::<[bool; 6]>()) {
        let [args, args_hash, decision, result_hash, ended, rest] = asked;
        let reads = Reads { args, args_hash, decision, result_hash, ended, rest };
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<Vec<u8>> = events.iter().map(Event::to_bytes).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        seal::seal(dir.path(), "i", 0, &records, None).unwrap();
        if !records.is_empty() {
            let reader = Reader::open(&[dir.path()]).unwrap();
            // With an outcome that lies in a file of its own, all of it comes, so outcomes are asked by their end alone.
            let seen = |mut events: Vec<Event>| {
                for event in &mut events {
                    match &mut event.body {
                        Body::Decision(record) => as_read(record, reads),
                        Body::Outcome(outcome) if reads != Reads::ALL => {
                            event.ts_us = None;
                            *outcome = Outcome { upstream_us: None, result_bytes: None, result_hash: None, ..outcome.clone() };
                        }
                        _ => {}
                    }
                }
                events
            };
            let found = replayed(&reader, "i", reads).unwrap();
            let calls = |events: &[Event]| -> Vec<Event> {
                events.iter().filter(|event| matches!(event.body, Body::Decision(_))).cloned().collect()
            };
            prop_assert_eq!(calls(&found), calls(&seen(events.clone())));
            prop_assert_eq!(seen(found), seen(events));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sealed_events_come_back_exactly(events in testing::events(30), cut in 0_usize..30) {
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<Vec<u8>> = events.iter().map(Event::to_bytes).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let cut = cut.min(records.len());
        seal::seal(dir.path(), "i", 0, &records[..cut], None).unwrap();
        // What is sealed already isn't sealed again.
        let newly = seal::seal(dir.path(), "i", 0, &records, None).unwrap();
        prop_assert_eq!(newly, (records.len() - cut) as u64);
        if !records.is_empty() {
            let back = testing::all_events(dir.path()).remove(0).1;
            prop_assert_eq!(back.iter().map(Event::to_bytes).collect::<Vec<_>>(), records);
        }
    }
}

/// The codes of names are theirs alone since the event that they tell, and go on from batch to batch of a file.
#[test]
fn equal_codes_are_equal_names() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { seal_events_max: 5_000, ..Options::default() }).expect("a log");
    for n in 0..12_000_u64 {
        let name = |kind: &str, of: u64| format!("{kind}{}", (n * n + n / 7) % of);
        let some = |kind: &str, of: u64| (n % 5 > 0).then(|| name(kind, of));
        let record = Record {
            server: name("files", 3),
            session: some("s", 700),
            grant: some("g", 20),
            agent: some("a", 2),
            tool: some("t", 50),
            category: some("c", 4),
            ..testing::record("t")
        };
        log.append(1_763_880_412_000_000, Body::Decision(Box::new(record))).unwrap();
    }
    log.close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let instance = reader.instances().next().unwrap();
    let (mut names, mut coded, mut since) = (BTreeMap::new(), 0, BTreeSet::new());
    let replay = reader.replay(instance, Reads::default()).unwrap().each(|event| {
        let (Some(record), Some(codes)) = (event.record(), event.codes) else { return Ok(ControlFlow::Continue(())) };
        coded += 1;
        since.insert(codes.since_seq);
        let columns = [
            (codes.server, Some(record.server)),
            (codes.session, record.session),
            (codes.grant, record.grant),
            (codes.agent, record.agent),
            (codes.tool, record.tool),
            (codes.category, record.category),
        ];
        for (column, (code, name)) in columns.into_iter().enumerate() {
            let Some(name) = name else { continue };
            let known = names.entry((codes.since_seq, column, code)).or_insert_with(|| name.to_owned());
            assert_eq!(known, name, "{} {column} {code}", event.seq);
        }
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    });
    replay.unwrap();
    let files = reader.sealed_files(Kind::Calls).len();
    assert!(files > 1 && since.len() == files, "{since:?} of {files} files");
    assert_eq!(coded, 12_000);
}
