use std::fs;
use std::sync::Arc;

use tollbook_engine::{Body, Event};

use super::*;
use crate::testing::{decided, ended, files, framed};
use crate::{Log, Options, segment};

fn signer() -> Arc<Signer> {
    Arc::new(Signer::from_secret(&[1; 32]))
}

fn options() -> Options {
    Options { signer: Some(signer()), ..Options::default() }
}

fn evidence() -> Evidence {
    Evidence { keys: vec![signer().public()], heads: Vec::new() }
}

/// A closed log of one instance with two sealed ranges and a policy; its name.
fn log(dir: &Path) -> String {
    let (log, _) = Log::open(dir, Options { seal_events_max: 6, ..options() }).unwrap();
    let json = r#"{"version":"1","default":"deny"}"#;
    log.store_policy(tollbook_engine::policy_hash(json), json).unwrap();
    for n in 0..10 {
        log.append(1_763_880_412_000_000, if n % 2 == 1 { ended(n - 1) } else { decided("a") }).unwrap();
    }
    let name = log.instance().to_owned();
    log.close().unwrap();
    name
}

/// A log whose process died after a head over all of its events; its name and its open segment.
fn dead(dir: &Path, events: u64) -> (String, PathBuf) {
    let (log, _) = Log::open(dir, options()).unwrap();
    for _ in 0..events {
        log.append(7, decided("a")).unwrap();
    }
    let name = log.instance().to_owned();
    drop(log);
    let path = instance::segment_path(dir, &name, 0);
    (name, path)
}

fn faults(dir: &Path) -> Vec<String> {
    let verified = verify(dir, &evidence()).unwrap();
    assert_eq!(verified.verdict(), Verdict::Tampered, "{verified:?}");
    let plain = |fault: &Fault| fault.what.replace(&format!("{}/", dir.display()), "");
    verified.faults.iter().map(plain).collect()
}

#[track_caller]
fn check_intact(dir: &Path) -> Verified {
    let verified = verify(dir, &evidence()).unwrap();
    assert_eq!(verified.verdict(), Verdict::Intact, "{verified:?}");
    verified
}

#[test]
fn a_log_as_it_was_written_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let verified = check_intact(dir.path());
    let [instance] = &verified.instances[..] else { panic!("{verified:?}") };
    let head = instance.head.clone().unwrap();
    assert_eq!((&instance.instance, instance.events, instance.not_covered()), (&name, 10, 0));
    assert_eq!((head.size, head.number), (10, 1));
    assert_eq!(instance.files, 2, "{:?}", files(dir.path()));
    // Another instance beside it, empty, and still one instance after the other.
    Log::open(dir.path(), options()).unwrap().0.close().unwrap();
    assert_eq!(check_intact(dir.path()).instances.len(), 2);
}

#[test]
fn an_open_log_is_intact_and_says_what_no_head_covers() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), options()).unwrap();
    log.append(7, decided("a")).unwrap();
    let verified = check_intact(dir.path());
    assert_eq!((verified.instances[0].events, verified.instances[0].not_covered()), (1, 1));
    drop(log);
    assert_eq!(check_intact(dir.path()).instances[0].not_covered(), 0);
}

#[test]
fn a_log_without_a_key_is_not_called_intact() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
    log.append(7, decided("a")).unwrap();
    let name = log.instance().to_owned();
    log.close().unwrap();
    let verified = verify(dir.path(), &evidence()).unwrap();
    assert_eq!(verified.verdict(), Verdict::Unchecked);
    assert_eq!(
        verified.unchecked,
        [format!("{name}: it has no signed head"), format!("{name}: the list of its files isn't signed")]
    );
}

#[test]
fn another_key_or_none_cannot_check() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    for keys in [Vec::new(), vec![Signer::from_secret(&[2; 32]).public()]] {
        let verified = verify(dir.path(), &Evidence { keys, heads: Vec::new() }).unwrap();
        assert_eq!(verified.verdict(), Verdict::Unchecked, "{verified:?}");
    }
}

/// All bits of all files that the manifest names or that carry a signature; a sample of them in the plain form.
#[test]
fn every_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let step = if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 1 } else { 293 };
    let mut tried = 0_u32;
    for name in files(dir.path()) {
        if name == "lock" {
            continue;
        }
        let path = dir.path().join(&name);
        let bytes = fs::read(&path).unwrap();
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            let verdict = verify(dir.path(), &evidence()).unwrap().verdict();
            // A signature of another key, or none, can't be told from a log that was never signed with ours.
            let found = verdict == Verdict::Tampered || (!name.ends_with(".parquet") && verdict == Verdict::Unchecked);
            assert!(found, "bit {bit} of {name}: {verdict:?}");
            tried += 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(tried > 200, "{tried}");
    check_intact(dir.path());
}

/// Every field of every record, with the segment's checksums made anew.
#[test]
fn every_record_edited_behind_the_head_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path) = dead(dir.path(), 6);
    let bytes = fs::read(&path).unwrap();
    let records: Vec<Vec<u8>> = segment::read(&bytes).unwrap().records.iter().map(|record| record.to_vec()).collect();
    let write = |records: &[Vec<u8>]| {
        let mut bytes = segment::header(&name, 0);
        records.iter().for_each(|record| framed(&mut bytes, record));
        fs::write(&path, bytes).unwrap();
    };
    let step = if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 1 } else { 7 };
    let mut edits = 0;
    for at in 0..records.len() {
        for byte in (0..records[at].len()).step_by(step) {
            let mut edited = records.clone();
            edited[at][byte] ^= 1;
            write(&edited);
            assert_eq!(verify(dir.path(), &evidence()).unwrap().verdict(), Verdict::Tampered, "byte {byte} of {at}");
            edits += 1;
        }
    }
    assert!(edits > 60, "{edits}");
    let renumbered = |events: &[usize]| -> Vec<Vec<u8>> {
        let event = |(seq, at): (u64, &usize)| Event { seq, ..Event::from_bytes(&records[*at]).unwrap() }.to_bytes();
        (0..).zip(events).map(event).collect()
    };
    let other = Event { seq: 5, ts_us: Some(7), body: decided("b") }.to_bytes();
    for (edited, expected) in [
        // Cut off; deleted in the middle; one inserted; the last one exchanged.
        (records[..5].to_vec(), "event 5 is missing: the log ends there, and a signed head covers 6 events"),
        (renumbered(&[0, 1, 3, 4, 5]), "event 5 is missing: the log ends there, and a signed head covers 6 events"),
        (
            [&records[..5], &[other]].concat(),
            "the events 0 to 5 aren't all as recorded: they differ from a signed head",
        ),
        (Vec::new(), "event 0 is missing: the log ends there, and a signed head covers 6 events"),
    ] {
        write(&edited);
        assert_eq!(faults(dir.path()), [expected]);
    }
    // What comes after the head is told, and can't be vouched for.
    let after: Vec<Vec<u8>> = renumbered(&[0, 1, 2, 3, 4, 5, 0]);
    write(&after);
    assert_eq!(check_intact(dir.path()).instances[0].not_covered(), 1);
    write(&records);
    check_intact(dir.path());
}

#[test]
fn records_in_another_order_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), options()).unwrap();
    let name = log.instance().to_owned();
    log.append(7, decided("a")).unwrap();
    log.append(7, decided("b")).unwrap();
    drop(log);
    let mut bytes = segment::header(&name, 0);
    for (seq, tool) in [(0, "b"), (1, "a")] {
        framed(&mut bytes, &Event { seq, ts_us: Some(7), body: decided(tool) }.to_bytes());
    }
    fs::write(instance::segment_path(dir.path(), &name, 0), bytes).unwrap();
    assert_eq!(faults(dir.path()), ["the events 0 to 1 aren't all as recorded: they differ from a signed head"]);
}

#[test]
fn an_edited_file_is_found_even_with_its_new_sum_in_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let mut manifest = Manifest::load(dir.path(), &name).unwrap().unwrap();
    // The same rows once more, as a file of other bytes: the list has its sum, and the signature doesn't fit.
    let range = manifest.ranges[0].clone();
    let records: Vec<Vec<u8>> = crate::testing::all_events(dir.path())[0].1[..6].iter().map(Event::to_bytes).collect();
    let mut records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let forged = Event { seq: 4, ts_us: Some(7), body: decided("harmless") }.to_bytes();
    records[4] = &forged;
    manifest.ranges[0] = crate::seal::write_range(dir.path(), &name, range.first_seq, &records).unwrap().unwrap();
    let note = manifest.signature.clone();
    manifest.store(dir.path(), None).unwrap();
    let verified = verify(dir.path(), &evidence()).unwrap();
    assert_eq!(verified.faults[0].what, "the events 0 to 9 aren't all as recorded: they differ from a signed head");
    assert_eq!(verified.unchecked.len(), 1);
    manifest.signature = note;
    fs::write(manifest::path(dir.path(), &name), manifest.rendered().unwrap()).unwrap();
    let listed = format!("the list of its files, `manifests/{name}.json`, isn't as it was signed");
    assert_eq!(faults(dir.path())[0], listed);
}

#[test]
fn a_missing_file_and_a_missing_instance_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let name = log(dir.path());
    let sealed: Vec<String> = files(dir.path()).into_iter().filter(|path| path.ends_with(".parquet")).collect();
    let away = dir.path().join("away");
    fs::rename(dir.path().join(&sealed[0]), &away).unwrap();
    let missing = format!("the sealed file `{}` cannot be read: No such file or directory (os error 2)", sealed[0]);
    assert_eq!(faults(dir.path()), [missing]);
    fs::rename(&away, dir.path().join(&sealed[0])).unwrap();
    // Two more instances; then all that tells of the first goes.
    log(dir.path());
    log(dir.path());
    let verified = check_intact(dir.path());
    let heads: Vec<Head> = verified.instances.iter().filter_map(|instance| instance.head.clone()).collect();
    let remove = |name: &str| {
        for path in files(dir.path()).into_iter().filter(|path| path.contains(name)) {
            fs::remove_file(dir.path().join(path)).unwrap();
        }
    };
    remove(&name);
    assert_eq!(faults(dir.path()), ["of the log's instances, number 1 is missing"]);
    // That the last one went shows only against a head that was kept.
    let last = heads.iter().max_by_key(|head| head.number).unwrap();
    remove(&last.instance);
    let verified = verify(dir.path(), &Evidence { heads: heads.clone(), ..evidence() }).unwrap();
    let missing = "all of it is missing; a head says that it had 10 events";
    assert_eq!(verified.faults.iter().filter(|fault| fault.what == missing).count(), 2, "{verified:?}");
}

#[test]
fn a_tail_cut_off_with_its_head_is_found_against_a_head_that_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { head_within_s: 0, ..options() }).unwrap();
    let head_path = checkpoint::path(dir.path(), log.instance());
    let segment_path = instance::segment_path(dir.path(), log.instance(), 0);
    let size = || Head::peek(&fs::read_to_string(&head_path).unwrap()).unwrap().size;
    for _ in 0..3 {
        log.append(7, decided("a")).unwrap();
    }
    log.wait_synced(2).unwrap();
    while size() < 3 {
        std::thread::yield_now();
    }
    let (old_head, old_segment) = (fs::read(&head_path).unwrap(), fs::read(&segment_path).unwrap());
    log.append(7, decided("b")).unwrap();
    drop(log);
    let kept = Head::open(&fs::read_to_string(&head_path).unwrap(), &evidence().keys).unwrap();
    assert_eq!(kept.size, 4);
    fs::write(&head_path, old_head).unwrap();
    fs::write(&segment_path, old_segment).unwrap();
    check_intact(dir.path());
    let verified = verify(dir.path(), &Evidence { heads: vec![kept], ..evidence() }).unwrap();
    assert_eq!(verified.faults[0].seq, Some(3), "{verified:?}");
}

#[test]
fn what_a_dead_process_left_is_vouched_for_by_the_next_if_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path) = dead(dir.path(), 4);
    // Synced, and never covered: the process died first.
    let mut bytes = fs::read(&path).unwrap();
    framed(&mut bytes, &Event { seq: 4, ts_us: Some(7), body: ended(0) }.to_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_eq!(check_intact(dir.path()).instances[0].not_covered(), 1);
    let (log, recovery) = Log::open(dir.path(), options()).unwrap();
    assert!(recovery.not_vouched.is_empty());
    log.close().unwrap();
    let verified = check_intact(dir.path());
    let recovered = verified.instances.iter().find(|instance| instance.instance == name).unwrap();
    assert_eq!((recovered.events, recovered.not_covered()), (5, 0));
}

#[test]
fn what_was_changed_before_recovery_is_not_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let (name, path) = dead(dir.path(), 4);
    let mut bytes = segment::header(&name, 0);
    for seq in 0..5 {
        framed(&mut bytes, &Event { seq, ts_us: Some(7), body: decided("forged") }.to_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    let (log, recovery) = Log::open(dir.path(), options()).unwrap();
    let why = "the events 0 to 3 aren't all as recorded: they differ from a signed head".to_owned();
    assert_eq!(recovery.not_vouched, [(name, why.clone())]);
    log.close().unwrap();
    assert_eq!(faults(dir.path()), [why]);
}

#[test]
fn a_file_that_is_no_part_of_the_log_and_a_changed_policy_are_told() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let stray = dir.path().join("calls/date=2025-11-23/extra.parquet");
    fs::write(&stray, "x").unwrap();
    let verified = verify(dir.path(), &evidence()).unwrap();
    assert_eq!(verified.verdict(), Verdict::Unchecked);
    assert_eq!(verified.unchecked, [format!("`{}` is no part of the log: no manifest names it", stray.display())]);
    fs::remove_file(&stray).unwrap();
    let policy = files(dir.path()).into_iter().find(|path| path.starts_with("policies/")).unwrap();
    fs::write(dir.path().join(policy), "{}").unwrap();
    assert!(faults(dir.path())[0].contains("is damaged: its SHA-256 is"));
}

#[test]
fn a_directory_without_a_log_is_no_intact_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify(dir.path(), &evidence()), Err(ReadError::NoLog(_))));
}

#[test]
fn an_import_is_signed_and_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/log/import/sessions.jsonl");
    let take = || {
        let options = crate::import::ImportOptions { signer: Some(signer()), ..Default::default() };
        crate::import::import(dir.path(), &fixture, &options).unwrap()
    };
    let instance = take().instance;
    assert_eq!(check_intact(dir.path()).instances[0].not_covered(), 0);
    // As if it had crashed before the head.
    fs::remove_file(checkpoint::path(dir.path(), &instance)).unwrap();
    assert!(take().already);
    let verified = check_intact(dir.path());
    assert!(matches!(crate::testing::all_events(dir.path())[0].1[0].body, Body::Opened(_)));
    assert_eq!(verified.instances[0].events, 12);
}
