use std::fs;
use std::sync::Arc;

use super::*;
use crate::schema::Kind;
use crate::testing::{all_events, decided, ended, files};
use crate::verify::{Evidence, Verdict, verify};
use crate::{Log, Options, Reader};

const NOW: i64 = 1_763_880_412_000_000;

fn signer() -> Signer {
    Signer::from_secret(&[1; 32])
}

fn options() -> CompactOptions {
    CompactOptions { events_max: 1000, grace_s: 60, signer: Some(signer()), now_us: NOW }
}

fn open(dir: &Path) -> Log {
    let options = Options { seal_events_max: 5, signer: Some(Arc::new(signer())), ..Options::default() };
    Log::open(dir, options).unwrap().0
}

/// Appends calls and their outcomes, the outcome of every third call some calls later.
fn fill(log: &Log, events: u64) {
    for n in 0..events {
        log.append(NOW, if n % 3 == 2 { ended(n / 2) } else { decided("a") }).unwrap();
    }
}

fn verdict(dir: &Path) -> Verdict {
    let evidence = Evidence { keys: vec![signer().public()], heads: Vec::new() };
    let verified = verify(dir, &evidence).unwrap();
    assert!(verified.faults.is_empty(), "{verified:?}");
    verified.verdict()
}

#[test]
fn small_ranges_become_one_and_nothing_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 23);
    let name = log.instance().to_owned();
    log.close().unwrap();
    let before = all_events(dir.path());
    let ranges = Manifest::load(dir.path(), &name).unwrap().unwrap().ranges.len();
    assert!(ranges > 2, "{ranges}");
    let compacted = compact(dir.path(), &options()).unwrap();
    assert_eq!(compacted.merged, [(name.clone(), ranges, 1)]);
    assert_eq!(all_events(dir.path()), before);
    assert_eq!(verdict(dir.path()), Verdict::Intact);
    // All outcomes are in their calls' rows now, and there is nothing left to merge.
    assert!(Reader::open(&[dir.path()]).unwrap().late_outcomes().unwrap().len() < 8);
    assert!(compact(dir.path(), &options()).unwrap().merged.is_empty());
}

#[test]
fn a_reader_at_work_sees_each_call_once_before_and_after_and_old_files_go_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 23);
    log.close().unwrap();
    let at_work = Reader::open(&[dir.path()]).unwrap();
    let name = at_work.instances().next().unwrap().to_owned();
    let seqs =
        |reader: &Reader| -> Vec<u64> { reader.events(&name).unwrap().map(|event| event.unwrap().seq).collect() };
    compact(dir.path(), &options()).unwrap();
    assert_eq!(seqs(&at_work), (0..23).collect::<Vec<_>>());
    assert_eq!(seqs(&Reader::open(&[dir.path()]).unwrap()), (0..23).collect::<Vec<_>>());
    // A process that opens the log meanwhile doesn't take them for strays.
    let (log, recovery) = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!(recovery, crate::Recovery::default());
    log.close().unwrap();
    let too_soon = CompactOptions { now_us: NOW + 59_999_999, ..options() };
    assert!(compact(dir.path(), &too_soon).unwrap().deleted.is_empty());
    assert_eq!(seqs(&at_work), (0..23).collect::<Vec<_>>());
    let later = CompactOptions { now_us: NOW + 60_000_000, ..options() };
    assert!(compact(dir.path(), &later).unwrap().deleted.len() > 4);
    let calls: Vec<String> = files(dir.path()).into_iter().filter(|path| path.starts_with("calls/")).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(seqs(&Reader::open(&[dir.path()]).unwrap()), (0..23).collect::<Vec<_>>());
    assert_eq!(verdict(dir.path()), Verdict::Intact);
}

#[test]
fn a_process_that_is_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let sealed = || Reader::open(&[dir.path()]).unwrap().sealed_files(Kind::Calls).len();
    fill(&log, 16);
    while sealed() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(compact(dir.path(), &options()).unwrap().merged.len(), 1);
    fill(&log, 16);
    log.close().unwrap();
    assert_eq!(all_events(dir.path())[0].1.len(), 32);
    assert_eq!(verdict(dir.path()), Verdict::Intact);
}

#[test]
fn a_crash_before_the_switch_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 12);
    let name = log.instance().to_owned();
    log.close().unwrap();
    let path = manifest::path(dir.path(), &name);
    let (before, old) = (all_events(dir.path()), fs::read(&path).unwrap());
    compact(dir.path(), &options()).unwrap();
    fs::write(&path, old).unwrap();
    assert_eq!(all_events(dir.path()), before);
    let (log, recovery) = Log::open(dir.path(), Options::default()).unwrap();
    assert!(!recovery.set_aside.is_empty());
    log.close().unwrap();
    assert_eq!(all_events(dir.path()), before);
}

#[test]
fn a_signed_log_is_left_alone_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 12);
    let name = log.instance().to_owned();
    log.close().unwrap();
    for (signer, why) in [
        (None, "it is signed, and there is no key"),
        (Some(Signer::from_secret(&[2; 32])), "it isn't signed with this key"),
    ] {
        let compacted = compact(dir.path(), &CompactOptions { signer, ..options() }).unwrap();
        assert_eq!(compacted, Compacted { left: vec![(name.clone(), why.to_owned())], ..Compacted::default() });
    }
    let error = compact(&dir.path().join("nowhere"), &options()).unwrap_err();
    assert!(matches!(error, CompactError::NoLog(_)));
}

#[test]
fn ranges_are_grouped_up_to_the_bound_and_not_across_a_gap() {
    let range = |first_seq, last_seq| SealedRange { first_seq, last_seq, root: None, files: Vec::new() };
    let ranges = [range(0, 3), range(4, 7), range(8, 9), range(20, 21), range(22, 22), range(23, 99)];
    let lengths = |events_max| groups(&ranges, events_max).iter().map(|group| group.len()).collect::<Vec<_>>();
    assert_eq!(lengths(10), [3, 2]);
    assert_eq!(lengths(8), [2, 2]);
    assert_eq!(lengths(2), [0; 0]);
    assert_eq!(lengths(1000), [3, 3]);
}
