use std::fs::{self, File};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::*;
use crate::schema::Kind;
use crate::testing::{all_events, decided, ended, files};
use crate::{Reader, segment};

const NOW: i64 = 1_763_880_412_000_000; // 2025-11-23T06:46:52Z

fn options() -> Options {
    Options { clock: Arc::new(|| NOW), ..Options::default() }
}

fn open(dir: &Path, options: Options) -> Log {
    let (log, recovery) = Log::open(dir, options).expect("a log");
    assert_eq!(recovery, Recovery::default());
    log
}

fn seqs(dir: &Path) -> Vec<u64> {
    let all = all_events(dir);
    assert_eq!(all.len(), 1);
    all[0].1.iter().map(|event| event.seq).collect()
}

/// A file whose writes or syncs fail once it is told to.
struct Failing {
    file: File,
    writes: Arc<AtomicBool>,
    syncs: Arc<AtomicBool>,
    synced: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl SegmentFile for Failing {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.written.fetch_add(1, Ordering::SeqCst);
        if self.writes.load(Ordering::SeqCst) {
            // Half of it arrives.
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
        }
        self.file.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.synced.fetch_add(1, Ordering::SeqCst);
        self.file.sync()
    }
}

#[derive(Default)]
struct Seam {
    writes: Arc<AtomicBool>,
    syncs: Arc<AtomicBool>,
    synced: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Seam {
    fn options(&self, durability: Durability) -> Options {
        let (writes, syncs) = (self.writes.clone(), self.syncs.clone());
        let (synced, written) = (self.synced.clone(), self.written.clone());
        let file_seam: FileSeam = Arc::new(move |file| {
            let (writes, syncs) = (writes.clone(), syncs.clone());
            Arc::new(Failing { file, writes, syncs, synced: synced.clone(), written: written.clone() })
        });
        Options { durability, file_seam, ..options() }
    }
}

#[test]
fn events_are_numbered_and_their_times_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    assert!(log.instance().starts_with("20251123T064652Z-"));
    assert_eq!(log.append(100, decided("a")), Ok(0));
    assert_eq!(log.append(90, decided("b")), Ok(1));
    assert_eq!(log.append(110, ended(0)), Ok(2));
    let events = all_events(dir.path()).remove(0).1;
    assert_eq!(events.iter().map(|event| event.ts_us).collect::<Vec<_>>(), [Some(100), Some(100), Some(110)]);
    log.close().expect("closed");
    assert_eq!(all_events(dir.path()).remove(0).1, events);
}

#[test]
fn closing_leaves_parquet_and_its_manifest_and_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    let name = log.instance().to_owned();
    log.append(NOW, decided("a")).unwrap();
    log.append(NOW, ended(0)).unwrap();
    // A minute before and after midnight.
    log.append(NOW + 62_000_000_000, decided("b")).unwrap();
    log.append(NOW + 62_000_000_000, ended(7)).unwrap();
    log.close().expect("closed");
    let range = "000000000000-000000000003.parquet";
    assert_eq!(
        files(dir.path()),
        [
            format!("calls/date=2025-11-23/{name}-{range}"),
            format!("calls/date=2025-11-24/{name}-{range}"),
            "lock".into(),
            format!("manifests/{name}.json"),
            format!("outcomes/{name}-{range}"),
        ]
    );
    assert_eq!(seqs(dir.path()), [0, 1, 2, 3]);
}

#[test]
fn an_empty_log_closes_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), options()).close().expect("closed");
    assert_eq!(files(dir.path()), ["lock"]);
}

#[test]
fn segments_are_sealed_by_number_while_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { seal_events_max: 10, ..options() });
    for n in 0..95 {
        log.append(NOW + n, decided("a")).unwrap();
        if n == 50 {
            assert_eq!(seqs(dir.path()), (0..=50).collect::<Vec<_>>());
        }
    }
    assert_eq!(seqs(dir.path()), (0..95).collect::<Vec<_>>());
    log.close().expect("closed");
    assert_eq!(seqs(dir.path()), (0..95).collect::<Vec<_>>());
    let reader = Reader::open(&[dir.path()]).unwrap();
    let ranges = &reader.manifests().next().unwrap().ranges;
    assert!(ranges.len() >= 5, "{ranges:?}");
    assert!(reader.open_batches(Kind::Calls).unwrap().is_empty());
}

#[test]
fn segments_are_sealed_by_size_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { seal_bytes_max: 1, ..options() });
    log.append(NOW, decided("a")).unwrap();
    log.append(NOW, decided("a")).unwrap();
    log.close().expect("closed");
    assert_eq!(Reader::open(&[dir.path()]).unwrap().sealed_files(Kind::Calls).len(), 2);

    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = now.clone();
    let log = open(dir.path(), Options { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..options() });
    log.append(NOW, decided("a")).unwrap();
    log.maybe_seal().unwrap();
    log.append(NOW, decided("a")).unwrap();
    now.fetch_add(3_600_000_000, Ordering::SeqCst);
    log.maybe_seal().unwrap();
    log.append(NOW, decided("a")).unwrap();
    log.close().expect("closed");
    let reader = Reader::open(&[dir.path()]).unwrap();
    let rows: Vec<u64> = reader.sealed_files(Kind::Calls).iter().map(|(_, file)| file.rows).collect();
    assert_eq!(rows, [2, 1]);
}

#[test]
fn readers_see_all_that_was_recorded_once_while_segments_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { seal_events_max: 20, ..options() });
    let recorded = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..600 {
                let body = if n % 3 == 2 { ended(n - 2) } else { decided("a") };
                assert_eq!(log.append(NOW, body), Ok(n));
                recorded.store(n + 1, Ordering::SeqCst);
            }
        });
        while recorded.load(Ordering::SeqCst) < 600 {
            let before = recorded.load(Ordering::SeqCst);
            let reader = Reader::open(&[dir.path()]).unwrap();
            let events = reader.events(log.instance()).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
            assert!(events.len() as u64 >= before);
            assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
            // The rows of the three tables are the same events, each of them once.
            let sealed: u64 =
                Kind::ALL.iter().flat_map(|kind| reader.sealed_files(*kind)).map(|(_, file)| file.rows).sum();
            let batches = |kind| reader.open_batches(kind).unwrap();
            let open: usize = Kind::ALL.iter().flat_map(|kind| batches(*kind)).map(|batch| batch.num_rows()).sum();
            let ends = events.iter().filter(|event| matches!(event.body, Body::Outcome(_))).count();
            let merged = ends - reader.late_outcomes().unwrap().len();
            assert_eq!(sealed + (open + merged) as u64, events.len() as u64);
        }
    });
    log.close().expect("closed");
    assert_eq!(seqs(dir.path()), (0..600).collect::<Vec<_>>());
}

#[test]
fn a_failed_write_poisons_the_log_and_loses_nothing_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), seam.options(Durability::Write));
    log.append(NOW, decided("a")).unwrap();
    seam.writes.store(true, Ordering::SeqCst);
    let error = log.append(NOW, decided("b")).unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    seam.writes.store(false, Ordering::SeqCst);
    assert_eq!(log.append(NOW, decided("c")), Err(error.clone()));
    assert_eq!(log.maybe_seal(), Err(error.clone()));
    assert!(log.failure().is_some());
    assert!(log.close().is_err());
    let (log, recovery) = Log::open(dir.path(), options()).unwrap();
    assert_eq!((recovery.segments[0].events, recovery.segments[0].newly_sealed), (1, 1));
    assert!(recovery.segments[0].bytes_lost > 0);
    log.close().unwrap();
    assert_eq!(seqs(dir.path()), [0]);
}

#[test]
fn events_that_come_together_are_handed_over_in_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), seam.options(Durability::Write));
    // Less than the time after which they would be synced.
    let before = seam.written.load(Ordering::SeqCst);
    let last = (0..20).map(|_| log.put(NOW, &BodyRef::Other(&decided("a"))).unwrap()).last().unwrap();
    log.hand_over(last).unwrap();
    log.hand_over(3).unwrap();
    assert!(seam.written.load(Ordering::SeqCst) <= before + 2, "one, and one where a sync came between");
    // An append takes along what was put before.
    log.put(NOW, &BodyRef::Other(&decided("b"))).unwrap();
    let last = log.append(NOW, decided("c")).unwrap();
    assert_eq!(log.hand_over(last + 1), Err(AppendError::NotAppended(last + 1)));
    assert_eq!(seqs(dir.path()), (0..=last).collect::<Vec<_>>());
}

#[test]
fn a_failed_write_says_which_of_those_that_were_put_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), seam.options(Durability::Write));
    let safe = log.put(NOW, &BodyRef::Other(&decided("a"))).unwrap();
    log.hand_over(safe).unwrap();
    seam.writes.store(true, Ordering::SeqCst);
    let lost =
        [log.put(NOW, &BodyRef::Other(&decided("b"))).unwrap(), log.put(NOW, &BodyRef::Other(&decided("c"))).unwrap()];
    let error = log.hand_over(lost[1]).unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    seam.writes.store(false, Ordering::SeqCst);
    assert_eq!(log.hand_over(safe), Ok(()));
    assert_eq!(lost.map(|seq| log.hand_over(seq)), [Err(error.clone()), Err(error.clone())]);
    assert_eq!(log.put(NOW, &BodyRef::Other(&decided("d"))), Err(error));
}

#[test]
fn a_failed_sync_poisons_the_log_and_wakes_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), seam.options(Durability::Fsync));
    let first = log.append(NOW, decided("a")).unwrap();
    log.recorded(first).wait().expect("synced");
    seam.syncs.store(true, Ordering::SeqCst);
    let second = log.append(NOW, decided("b")).unwrap();
    let error = log.recorded(second).wait().unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    seam.syncs.store(false, Ordering::SeqCst);
    assert_eq!(log.append(NOW, decided("c")), Err(error));
}

#[test]
fn one_sync_serves_all_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), seam.options(Durability::Fsync));
    let started = seam.synced.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let seq = log.append(NOW, decided("a")).unwrap();
                    log.recorded(seq).wait().unwrap();
                    assert!(log.synced_below() > seq);
                }
            });
        }
    });
    let syncs = seam.synced.load(Ordering::SeqCst) - started;
    assert!(syncs < 400, "{syncs} syncs for 400 calls");
    log.close().unwrap();
    assert_eq!(seqs(dir.path()), (0..400).collect::<Vec<_>>());
}

/// A task costs less to wake than a thread, and is woken all the same where the log fails.
#[tokio::test]
async fn tasks_wait_as_threads_do() {
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = Arc::new(open(dir.path(), seam.options(Durability::Fsync)));
    let started = seam.synced.load(Ordering::SeqCst);
    let one = |log: Arc<Log>| async move {
        for _ in 0..50 {
            let seq = log.append(NOW, decided("a")).unwrap();
            log.recorded(seq).await.unwrap();
            assert!(log.synced_below() > seq);
        }
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(one(Arc::clone(&log)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let syncs = seam.synced.load(Ordering::SeqCst) - started;
    assert!(syncs < 400, "{syncs} syncs for 400 calls");
    seam.syncs.store(true, Ordering::SeqCst);
    let last = log.append(NOW, decided("b")).unwrap();
    assert!(log.recorded(last).await.unwrap_err().to_string().contains("the disk is gone"));
}

#[test]
fn waiting_hands_over_what_a_relaxed_log_keeps_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { durability: Durability::Relaxed, ..options() });
    let seq = log.append(NOW, decided("a")).unwrap();
    log.wait_synced(seq).unwrap();
    assert_eq!(seqs(dir.path()), [0]);
    assert_eq!(log.wait_synced(1), Err(AppendError::NotAppended(1)));
    drop(log);
    assert_eq!(seqs(dir.path()), [0]);
}

#[test]
fn a_record_that_is_too_large_is_refused_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    let error = log.append(NOW, decided(&"a".repeat(segment::FRAME_BYTES_MAX))).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
    assert_eq!(log.append(NOW, decided("a")), Ok(0));
    log.close().unwrap();
    assert_eq!(seqs(dir.path()), [0]);
}

#[test]
fn two_processes_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let one = open(dir.path(), options());
    one.append(NOW, decided("a")).unwrap();
    // The first is alive: nothing is recovered, and its segment stays.
    let two = open(dir.path(), options());
    two.append(NOW, decided("b")).unwrap();
    one.append(NOW, ended(0)).unwrap();
    assert_ne!(one.instance(), two.instance());
    one.close().unwrap();
    two.close().unwrap();
    let mut lengths: Vec<_> = all_events(dir.path()).iter().map(|(_, events)| events.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 2]);
}

#[test]
fn a_place_that_cannot_be_a_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Log::open(&file, options()).map(drop).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` is not a directory", file.display()));
    let below = file.join("log");
    let error = Log::open(&below, options()).map(drop).unwrap_err().to_string();
    assert_eq!(error, format!("cannot create the directory `{}`", below.display()));
}

#[test]
fn a_policy_is_kept_once_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    let json = r#"{"version":"1","default":"deny"}"#;
    let hash = tollbook_engine::policy_hash(json);
    let policy = || Reader::open(&[dir.path()]).unwrap().policy(hash);
    assert!(matches!(policy(), Err(PolicyError::Missing(_))));
    log.store_policy(hash, json).unwrap();
    log.store_policy(hash, json).unwrap();
    assert_eq!(policy().unwrap(), json);
    assert!(matches!(log.store_policy(hash, "{}"), Err(PolicyError::Damaged { .. })));
    fs::write(dir.path().join(format!("policies/{hash}.json")), "{}").unwrap();
    assert!(matches!(policy(), Err(PolicyError::Damaged { .. })));
    log.store_policy(hash, json).unwrap();
    assert_eq!(policy().unwrap(), json);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_that_takes_nothing_is_named() {
    let error = Log::open(Path::new("/proc/tollbook"), options()).map(drop).unwrap_err().to_string();
    assert_eq!(error, "cannot create the directory `/proc/tollbook`");
}

#[test]
fn nobody_else_can_be_an_instance_that_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    assert!(Claim::take(dir.path(), log.instance()).unwrap().is_none());
    assert!(instance::is_alive(dir.path(), log.instance()));
    let name = log.instance().to_owned();
    log.close().unwrap();
    assert!(!instance::is_alive(dir.path(), &name));
}

/// The disk is full in the middle of a signed log: what was recorded before is there, nothing twice, and
/// what is there verifies.
#[test]
fn a_full_disk_loses_nothing_that_was_recorded() {
    let signer = Arc::new(Signer::from_secret(&[1; 32]));
    for full_at in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let seam = Seam::default();
        let options = Options { signer: Some(signer.clone()), seal_events_max: 4, ..seam.options(Durability::Write) };
        let log = open(dir.path(), options);
        let mut recorded = 0;
        for n in 0..14 {
            seam.writes.store(n >= full_at, Ordering::SeqCst);
            match log.append(NOW, decided("a")) {
                Ok(seq) => {
                    assert_eq!(seq, recorded);
                    recorded += 1;
                }
                Err(error) => assert!(matches!(error, AppendError::Failed(_)), "{error}"),
            }
        }
        assert_eq!(recorded, full_at);
        drop(log);
        let again = Options { signer: Some(signer.clone()), ..self::options() };
        Log::open(dir.path(), again).unwrap().0.close().unwrap();
        let all: Vec<_> = all_events(dir.path()).into_iter().flat_map(|(_, events)| events).collect();
        assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), (0..full_at).collect::<Vec<_>>());
        let evidence = crate::verify::Evidence { keys: vec![signer.public()], heads: Vec::new() };
        let verified = crate::verify::verify(dir.path(), &evidence).unwrap();
        assert_eq!(verified.verdict(), crate::verify::Verdict::Intact, "full at {full_at}: {verified:?}");
    }
}

/// With `--on-log-failure allow` calls go on while the log can't be written; when it can again, the gap is in it.
#[test]
fn a_log_that_failed_is_opened_anew_and_tells_of_the_gap() {
    let signer = Arc::new(Signer::from_secret(&[1; 32]));
    let dir = tempfile::tempdir().unwrap();
    let seam = Seam::default();
    let log = open(dir.path(), Options { signer: Some(signer.clone()), ..seam.options(Durability::Write) });
    let first = log.instance().to_owned();
    log.append(NOW, decided("a")).unwrap();
    seam.writes.store(true, Ordering::SeqCst);
    let mut unrecorded = 0;
    for _ in 0..5 {
        unrecorded += u64::from(log.append(NOW, decided("b")).is_err());
    }
    let cause = log.failure().unwrap();
    // The disk is still full: nothing is lost by trying.
    assert!(matches!(log.reopen().map(drop), Err(OpenError::Append(_))));
    assert!(log.append(NOW, decided("b")).is_err());
    seam.writes.store(false, Ordering::SeqCst);
    let (again, recovery) = log.reopen().unwrap();
    assert!(recovery.not_vouched.is_empty() && recovery.unreadable.is_empty(), "{recovery:?}");
    assert_ne!(again.instance(), first);
    let gap = Body::Gap(tollbook_engine::Gap { calls: Some(unrecorded), cause });
    again.append(NOW, gap.clone()).unwrap();
    again.append(NOW, decided("c")).unwrap();
    assert!(log.append(NOW, decided("d")).is_err());
    drop(log);
    let name = again.instance().to_owned();
    again.close().unwrap();
    let all = all_events(dir.path());
    let of = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, events)| events.as_slice());
    assert_eq!(of(&first).unwrap().len(), 1);
    assert_eq!((of(&name).unwrap().len(), &of(&name).unwrap()[0].body), (2, &gap));
    let evidence = crate::verify::Evidence { keys: vec![signer.public()], heads: Vec::new() };
    let verified = crate::verify::verify(dir.path(), &evidence).unwrap();
    assert_eq!(verified.verdict(), crate::verify::Verdict::Intact, "{verified:?}");
}
