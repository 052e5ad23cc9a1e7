use std::path::PathBuf;

use super::*;
use crate::schema::Kind;
use crate::testing::{all_events, decided, ended, files};
use crate::{Log, OpenError, Options, Reader};

/// A log whose process died after these events, its open segment and its bytes.
fn dead(dir: &Path, events: u64) -> (String, PathBuf, Vec<u8>) {
    let (log, _) = Log::open(dir, Options::default()).expect("a log");
    for n in 0..events {
        let body = if n % 3 == 2 { ended(n - 1) } else { decided("a") };
        log.append(i64::try_from(n).unwrap(), body).unwrap();
    }
    let name = log.instance().to_owned();
    drop(log);
    let path = instance::segment_path(dir, &name, 0);
    let bytes = fs::read(&path).unwrap();
    (name, path, bytes)
}

/// Opens and closes the log, as the next process does.
fn reopen(dir: &Path) -> Recovery {
    let (log, recovery) = Log::open(dir, Options::default()).expect("a log");
    log.close().expect("closed");
    recovery
}

fn seqs(dir: &Path, instance: &str) -> Vec<u64> {
    let all = all_events(dir);
    let (_, events) = all.iter().find(|(name, _)| name == instance).expect("the instance");
    events.iter().map(|event| event.seq).collect()
}

#[track_caller]
fn check_whole(dir: &Path, name: &str, events: u64) {
    assert_eq!(seqs(dir, name), (0..events).collect::<Vec<_>>());
    let recovery = reopen(dir);
    assert!(recovery.unreadable.is_empty(), "{recovery:?}");
    assert_eq!(seqs(dir, name), (0..events).collect::<Vec<_>>());
    assert_eq!(reopen(dir), Recovery::default());
    let left: Vec<_> =
        files(dir).into_iter().filter(|path| path.starts_with("open/") || path.ends_with(".tmp")).collect();
    assert!(left.iter().all(|path| path.starts_with("damaged/")) || left.is_empty(), "{left:?}");
}

#[test]
fn what_a_dead_process_left_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, _) = dead(dir.path(), 10);
    let recovery = reopen(dir.path());
    let expected = RecoveredSegment {
        instance: name.clone(),
        path,
        events: 10,
        newly_sealed: 10,
        end: SegmentEnd::Clean,
        bytes_lost: 0,
    };
    assert_eq!(recovery, Recovery { segments: vec![expected], ..Recovery::default() });
    check_whole(dir.path(), &name, 10);
}

#[test]
fn a_crash_before_the_manifest_leaves_files_that_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, _) = dead(dir.path(), 10);
    let bytes = fs::read(&path).unwrap();
    let segment = segment::read(&bytes).unwrap();
    seal::write_range(dir.path(), &name, 0, &segment.records).unwrap();
    check_whole(dir.path(), &name, 10);
}

#[test]
fn a_crash_after_the_manifest_leaves_a_segment_that_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, bytes) = dead(dir.path(), 10);
    let segment = segment::read(&bytes).unwrap();
    assert_eq!(seal::seal(dir.path(), &name, 0, &segment.records, None).unwrap(), 10);
    assert!(path.exists());
    check_whole(dir.path(), &name, 10);
    assert!(!path.exists());
}

#[test]
fn a_crash_at_each_file_is_recovered() {
    // Each file of the sealed state in turn is still under its temporary name, and those after it aren't there.
    let sealed = tempfile::tempdir().unwrap();
    let (name, path, bytes) = dead(sealed.path(), 10);
    let segment = segment::read(&bytes).unwrap();
    seal::seal(sealed.path(), &name, 0, &segment.records, None).unwrap();
    let is_sealed = |path: &String| !path.starts_with("open/") && path != "lock";
    let mut written: Vec<_> = files(sealed.path()).into_iter().filter(is_sealed).collect();
    written.sort_by_key(|path| path.starts_with("manifests/"));
    assert_eq!(written.len(), 2, "{written:?}");
    for crash in 0..written.len() {
        for torn in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let put = |from: &str, to: &str, half: bool| {
                let content = fs::read(sealed.path().join(from)).unwrap();
                let to = dir.path().join(to);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(to, &content[..if half { content.len() / 2 } else { content.len() }]).unwrap();
            };
            put(path.strip_prefix(sealed.path()).unwrap().to_str().unwrap(), &format!("open/{name}.0.seg"), false);
            for file in &written[..crash] {
                put(file, file, false);
            }
            put(&written[crash], &format!("{}.{name}.tmp", written[crash]), torn);
            check_whole(dir.path(), &name, 10);
        }
    }
}

#[test]
fn temporary_files_are_set_aside_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (name, ..) = dead(dir.path(), 1);
    fs::create_dir_all(dir.path().join("calls/date=2026-11-23")).unwrap();
    let temporary = dir.path().join(format!("calls/date=2026-11-23/x.parquet.{name}.tmp"));
    fs::write(&temporary, "half").unwrap();
    let stray = dir.path().join(format!("calls/{name}-000000000007-000000000009.parquet"));
    fs::write(&stray, "PAR1").unwrap();
    let recovery = reopen(dir.path());
    let from: Vec<_> = recovery.set_aside.iter().map(|aside| (aside.from.clone(), aside.why.as_str())).collect();
    assert_eq!(from, [(temporary, "it was never finished"), (stray, "no manifest names it")]);
    assert_eq!(fs::read_to_string(&recovery.set_aside[0].to).unwrap(), "half");
    assert_eq!(reopen(dir.path()), Recovery::default());
}

#[test]
fn the_files_of_a_live_process_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
    log.append(0, decided("a")).unwrap();
    let temporary = dir.path().join(format!("open/x.{}.tmp", log.instance()));
    fs::write(&temporary, "half").unwrap();
    assert_eq!(reopen(dir.path()), Recovery::default());
    assert!(temporary.exists());
    fs::remove_file(temporary).unwrap();
    log.close().unwrap();
}

#[test]
fn a_torn_end_is_cut_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (name, _, bytes) = dead(dir.path(), 4);
    let header = segment::header(&name, 0).len();
    for cut in header..=bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = instance::segment_path(dir.path(), &name, 0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = segment::read(&bytes[..cut]).unwrap().records.len() as u64;
        let recovery = reopen(dir.path());
        if cut == header {
            assert_eq!(recovery, Recovery::default());
            continue;
        }
        let found = &recovery.segments[0];
        assert_eq!((found.events, found.newly_sealed), (whole, whole));
        assert_eq!(found.bytes_lost > 0, matches!(found.end, SegmentEnd::Torn { .. }));
        assert!(recovery.set_aside.is_empty());
        if whole > 0 {
            assert_eq!(seqs(dir.path(), &name), (0..whole).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_damaged_segment_is_set_aside_and_what_stands_before_the_damage_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, mut bytes) = dead(dir.path(), 10);
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let error = Reader::open(&[dir.path()]).unwrap().events(&name).map(drop).unwrap_err().to_string();
    assert!(error.contains("bad checksum") && error.contains(&path.display().to_string()), "{error}");
    let recovery = reopen(dir.path());
    assert!(matches!(recovery.segments[0].end, SegmentEnd::Damaged { .. }));
    assert_eq!(fs::read(&recovery.set_aside[0].to).unwrap(), bytes);
    assert_eq!(seqs(dir.path(), &name), (0..recovery.segments[0].events).collect::<Vec<_>>());
    assert!((3..7).contains(&recovery.segments[0].events));
    assert_eq!(reopen(dir.path()), Recovery::default());
}

#[test]
fn a_segment_of_a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, mut bytes) = dead(dir.path(), 3);
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(dir.path(), Options::default()).map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Recovery(RecoveryError::Newer { path: named, .. }) if *named == path));
    let error = Reader::open(&[dir.path()]).unwrap().events(&name).map(drop).unwrap_err().to_string();
    assert!(error.ends_with("the segment has format 9; this version reads formats up to 1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_that_is_no_segment_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path, _) = dead(dir.path(), 0);
    fs::write(&path, "what is this").unwrap();
    let recovery = reopen(dir.path());
    assert_eq!(recovery.set_aside[0].why, "the file doesn't begin as a segment does");
    assert_eq!(fs::read_to_string(&recovery.set_aside[0].to).unwrap(), "what is this");
}

#[test]
fn an_unreadable_manifest_is_reported_and_nothing_of_it_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path, _) = dead(dir.path(), 3);
    fs::create_dir_all(dir.path().join("manifests")).unwrap();
    fs::write(dir.path().join(format!("manifests/{name}.json")), "{").unwrap();
    let recovery = reopen(dir.path());
    assert_eq!(recovery.unreadable.len(), 1);
    assert!(path.exists());
    assert!(Reader::open(&[dir.path()]).is_err());
}

#[test]
fn an_outcome_after_its_calls_segment_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { seal_events_max: 2, ..Options::default() }).unwrap();
    log.append(1, decided("a")).unwrap();
    log.append(2, decided("b")).unwrap();
    log.append(3, ended(0)).unwrap();
    log.append(4, ended(1)).unwrap();
    log.close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let late: Vec<u64> = reader.late_outcomes().unwrap().iter().map(|(_, event)| event.seq).collect();
    assert_eq!(late, [2, 3]);
    assert_eq!(reader.sealed_files(Kind::Outcomes).len(), 1);
}
