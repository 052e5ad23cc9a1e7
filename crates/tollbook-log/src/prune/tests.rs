use std::fs;
use std::sync::Arc;

use super::*;
use crate::proof::{ProveError, prove};
use crate::status::status;
use crate::testing::{all_events, decided, ended, files};
use crate::verify::{Evidence, Verdict, verify};
use crate::{Log, Options};

const DAY_US: i64 = 86_400_000_000;

fn signer() -> Signer {
    Signer::from_secret(&[1; 32])
}

fn options(before_us: i64) -> PruneOptions {
    PruneOptions { before_us, grace_s: 0, signer: Some(signer()), now_us: 100 * DAY_US }
}

/// A closed log with a range of seven events for each of four days; its name.
fn log(dir: &Path) -> String {
    let options = Options { signer: Some(Arc::new(signer())), seal_events_max: 7, ..Options::default() };
    let (log, _) = Log::open(dir, options).unwrap();
    for n in 0..28 {
        let ts_us = i64::try_from(n / 7).unwrap() * DAY_US + 1;
        log.append(ts_us, if n % 2 == 1 { ended(n - 1) } else { decided("a") }).unwrap();
        while log.synced_below() > 0 && n % 7 == 6 && !sealed(dir, n / 7) {
            log.maybe_seal().unwrap();
            std::thread::yield_now();
        }
    }
    let name = log.instance().to_owned();
    log.close().unwrap();
    name
}

/// Whether the ranges before the `count`th are sealed, so that the next segment isn't kept waiting and grows.
fn sealed(dir: &Path, count: u64) -> bool {
    Reader::open(&[dir]).unwrap().manifests().map(|manifest| manifest.ranges.len() as u64).sum::<u64>() >= count
}

fn no_state(_: &Reader, _: &str, _: u64) -> Result<Option<Vec<u8>>, String> {
    Ok(None)
}

#[track_caller]
fn check_intact(dir: &Path, name: &str) -> u64 {
    let evidence = Evidence { keys: vec![signer().public()], heads: Vec::new() };
    let verified = verify(dir, &evidence).unwrap();
    assert_eq!(verified.verdict(), Verdict::Intact, "{verified:?}");
    let found = verified.instances.iter().find(|found| found.instance == name).unwrap();
    assert_eq!(found.not_covered(), 0);
    found.events
}

#[test]
fn what_is_left_verifies_replays_and_proves() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let all = all_events(dir.path()).remove(0).1;
    let before = files(dir.path());
    let reader = Reader::open(&[dir.path()]).unwrap();
    let firsts: Vec<u64> = reader.manifests().next().unwrap().ranges.iter().map(|range| range.first_seq).collect();
    assert!(firsts.len() >= 3, "{firsts:?}");
    let mut state_at = |reader: &Reader, instance: &str, seq: u64| {
        let events = reader.events(instance).map_err(|error| error.to_string())?;
        let seen = events.take_while(|event| event.as_ref().is_ok_and(|event| event.seq < seq)).count();
        Ok(Some(format!("{seen} events from {}", reader.first_seq(instance).unwrap()).into_bytes()))
    };
    // Nothing is older than the first day.
    assert_eq!(prune(dir.path(), &options(0), None, &mut state_at).unwrap(), Pruned::default());
    assert_eq!(files(dir.path()), before);
    let mut first_left = 0;
    for (day, told) in [(1, 1), (3, 2)] {
        let done = prune(dir.path(), &options(day * DAY_US), None, &mut state_at).unwrap();
        let (was, _) = (first_left, day);
        first_left = done.pruned[0].1;
        assert!(first_left > was && firsts.contains(&first_left), "{done:?}");
        assert!(!done.deleted.is_empty() && done.deleted.iter().all(|path| !path.exists()), "{done:?}");
        assert_eq!(check_intact(dir.path(), &name), 28 + told);
        let reader = Reader::open(&[dir.path()]).unwrap();
        assert_eq!(reader.first_seq(&name).unwrap(), first_left);
        let snapshot = reader.snapshot(&name).unwrap().unwrap();
        assert_eq!(String::from_utf8(snapshot).unwrap(), format!("{} events from {was}", first_left - was));
        let left = reader.events(&name).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let from = usize::try_from(first_left).unwrap();
        assert_eq!(left[..28 - from], all[from..]);
        let last = &left.last().unwrap().body;
        assert_eq!(*last, Body::Pruned(PrunedEvent { first_seq: first_left, before_us: day * DAY_US }));
        for seq in first_left..28 + told {
            let (event, _) = prove(dir.path(), Some(&name), seq).unwrap().check(&[signer().public()]).unwrap();
            assert_eq!(event.seq, seq);
        }
        assert!(matches!(prove(dir.path(), Some(&name), first_left - 1), Err(ProveError::Pruned { .. })));
        let found = status(dir.path()).unwrap().instances.remove(0);
        assert_eq!((found.pruned, found.holes.len()), (Some((first_left, day * DAY_US)), 0));
    }
    let names = files(dir.path());
    assert_eq!(names.iter().filter(|name| name.starts_with("snapshots/")).count(), 1, "{names:?}");
    // The process that comes next finds nothing to set aside.
    let (log, recovery) = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!(recovery, crate::Recovery::default());
    log.close().unwrap();
}

#[test]
fn what_was_pruned_cannot_be_said_anew() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    prune(dir.path(), &options(2 * DAY_US), None, &mut |_, _, _| Ok(Some(vec![1, 2, 3]))).unwrap();
    check_intact(dir.path(), &name);
    let evidence = Evidence { keys: vec![signer().public()], heads: Vec::new() };
    let told = |evidence: &Evidence| verify(dir.path(), evidence).unwrap().faults;
    // Another state to begin with.
    let manifest = Manifest::load(dir.path(), &name).unwrap().unwrap();
    let path = snapshot_path(dir.path(), &name, manifest.first_seq());
    fs::write(&path, [1, 2, 4]).unwrap();
    assert!(told(&evidence)[0].what.ends_with("its SHA-256 isn't the manifest's"), "{:?}", told(&evidence));
    fs::remove_file(&path).unwrap();
    assert!(told(&evidence)[0].what.ends_with("is missing"), "{:?}", told(&evidence));
    fs::write(&path, [1, 2, 3]).unwrap();
    // Other subtrees, in a manifest that nobody signed.
    let mut forged = manifest.clone();
    forged.pruned.as_mut().unwrap().subtrees[0] = disk::hex(&[7; 32]);
    forged.store(dir.path(), None).unwrap();
    assert!(told(&evidence)[0].what.contains("differ from a signed head"), "{:?}", told(&evidence));
    forged.pruned.as_mut().unwrap().subtrees.pop();
    forged.store(dir.path(), None).unwrap();
    assert!(told(&evidence)[0].what.ends_with("what it says of older events isn't a tree"), "{:?}", told(&evidence));
}

#[test]
fn who_cannot_be_pruned_is_left_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let before = files(dir.path());
    let unsigned = PruneOptions { signer: None, ..options(9 * DAY_US) };
    let done = prune(dir.path(), &unsigned, None, &mut no_state).unwrap();
    assert_eq!(done.left, [(name.clone(), "it is signed, and there is no key".to_owned())]);
    let other = PruneOptions { signer: Some(Signer::from_secret(&[2; 32])), ..options(9 * DAY_US) };
    let done = prune(dir.path(), &other, None, &mut no_state).unwrap();
    assert_eq!(done.left, [(name, "it isn't signed with this key".to_owned())]);
    // A state that can't be made.
    let done = prune(dir.path(), &options(9 * DAY_US), None, &mut |_, _, _| Err("no policy".to_owned())).unwrap();
    assert!(done.left[0].1.ends_with("no policy"), "{done:?}");
    assert_eq!(files(dir.path()), before);
    // A log that is being written.
    let alive = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(alive.path(), Options { seal_events_max: 1, ..Options::default() }).unwrap();
    for _ in 0..3 {
        log.append(1, decided("a")).unwrap();
    }
    while !sealed(alive.path(), 1) {
        std::thread::yield_now();
    }
    let done = prune(alive.path(), &options(9 * DAY_US), None, &mut no_state).unwrap();
    assert_eq!(done.left, [(log.instance().to_owned(), "it is recording".to_owned())]);
}

#[test]
fn a_process_prunes_its_own_instance_while_it_records() {
    let dir = tempfile::tempdir().unwrap();
    let signed = Options { signer: Some(Arc::new(signer())), seal_events_max: 5, ..Options::default() };
    let (log, _) = Log::open(dir.path(), signed).unwrap();
    let name = log.instance().to_owned();
    for day in 0..3 {
        for _ in 0..5 {
            log.append(day * DAY_US + 1, decided("a")).unwrap();
        }
        while !sealed(dir.path(), u64::try_from(day).unwrap()) {
            log.maybe_seal().unwrap();
            std::thread::yield_now();
        }
    }
    let mut told = Vec::new();
    let mut tell = |pruned: PrunedEvent| {
        told.push(pruned.clone());
        log.append(3 * DAY_US, Body::Pruned(pruned)).map(drop).map_err(|error| error.to_string())
    };
    let own = Own { instance: &name, tell: &mut tell };
    let mut state_at = |_: &Reader, _: &str, seq: u64| Ok(Some(vec![u8::try_from(seq).unwrap()]));
    let done = prune(dir.path(), &options(DAY_US), Some(own), &mut state_at).unwrap();
    assert_eq!(done.pruned, [(name.clone(), 5)]);
    assert!(!done.deleted.is_empty() && done.left.is_empty(), "{done:?}");
    assert_eq!(told, [PrunedEvent { first_seq: 5, before_us: DAY_US }]);
    // It goes on, and nothing is missing or there twice.
    log.append(4 * DAY_US, decided("b")).unwrap();
    log.close().unwrap();
    assert_eq!(check_intact(dir.path(), &name), 17);
    let reader = Reader::open(&[dir.path()]).unwrap();
    let left = reader.events(&name).unwrap().map(|event| event.unwrap().seq).collect::<Vec<_>>();
    assert_eq!(left, (5..17).collect::<Vec<_>>());
    assert_eq!(reader.snapshot(&name).unwrap().unwrap(), [5]);
}

#[test]
fn changed_records_are_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let mut manifest = Manifest::load(dir.path(), &name).unwrap().unwrap();
    manifest.ranges[0].root = Some(disk::hex(&[7; 32]));
    manifest.store(dir.path(), Some(&signer())).unwrap();
    let before = files(dir.path());
    let done = prune(dir.path(), &options(9 * DAY_US), None, &mut no_state).unwrap();
    assert_eq!(done.pruned, []);
    assert!(done.left[0].0 == name && done.left[0].1.contains("aren't those that were sealed"), "{done:?}");
    assert_eq!(files(dir.path()), before);
}
