use std::sync::Arc;

use crate::checkpoint::{self, Head};
use crate::testing::{decided, files};
use crate::{Log, Options, Signer};

fn options() -> Options {
    Options { signer: Some(Arc::new(Signer::from_secret(&[1; 32]))), ..Options::default() }
}

fn head(log: &Log) -> Head {
    let note = std::fs::read_to_string(checkpoint::path(log.dir(), log.instance())).unwrap();
    Head::open(&note, &[Signer::from_secret(&[1; 32]).public()]).expect("a signed head")
}

#[test]
fn an_instance_has_a_head_from_the_start_and_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _) = Log::open(dir.path(), options()).unwrap();
    let (two, _) = Log::open(dir.path(), options()).unwrap();
    assert_eq!((head(&one).size, head(&one).number), (0, 1));
    assert_eq!((head(&two).size, head(&two).number), (0, 2));
    let left = files(dir.path());
    assert!(left.contains(&format!("checkpoints/{}", one.instance())), "{left:?}");
}

#[test]
fn a_head_follows_the_sync_without_another_call() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { head_within_s: 0, ..options() }).unwrap();
    log.append(7, decided("a")).unwrap();
    while head(&log).size == 0 {
        std::thread::yield_now();
    }
    assert_eq!(log.head_failure(), None);
}

#[test]
fn a_whole_segment_is_covered_and_a_head_is_never_ahead_of_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { seal_events_max: 5, ..options() }).unwrap();
    for _ in 0..12 {
        log.append(7, decided("a")).unwrap();
        assert!(head(&log).size <= log.synced_below());
    }
    while head(&log).size < 5 {
        std::thread::yield_now();
    }
    assert!(head(&log).size <= log.synced_below());
}

#[test]
fn a_head_that_cannot_be_written_is_told_and_recording_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { head_within_s: 0, ..options() }).unwrap();
    let heads = dir.path().join(checkpoint::DIR);
    std::fs::remove_dir_all(&heads).unwrap();
    std::fs::write(&heads, "in the way").unwrap();
    log.append(7, decided("a")).unwrap();
    while log.head_failure().is_none() {
        std::thread::yield_now();
    }
    log.append(7, decided("a")).unwrap();
    std::fs::remove_file(&heads).unwrap();
    log.close().unwrap();
    let note = std::fs::read_dir(&heads).unwrap().next().unwrap().unwrap().path();
    assert_eq!(Head::peek(&std::fs::read_to_string(note).unwrap()).unwrap().size, 2);
}
