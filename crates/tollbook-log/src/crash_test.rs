//! A scripted run on a disk that breaks: at each step in turn, for good or for that one step. Whatever the step,
//! what was acknowledged is there afterwards, nothing is there twice, and the log verifies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compact::{CompactOptions, compact};
use crate::disk::faults::{self, Plan};
use crate::prune::{PruneOptions, prune};
use crate::testing::{all_events, decided};
use crate::verify::{Evidence, Verdict, verify};
use crate::{Log, Manifest, Options, Reader, SegmentFile, Signer};

const DAY_US: i64 = 86_400_000_000;

/// A segment's file, its writes cut in the middle where they fail.
struct Breaking {
    file: File,
    dir: PathBuf,
}

impl SegmentFile for Breaking {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        faults::step(&self.dir).inspect_err(|_| self.file.append(&bytes[..bytes.len() / 2]).unwrap())?;
        self.file.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        faults::step(&self.dir)?;
        self.file.sync()
    }
}

fn signer() -> Signer {
    Signer::from_secret(&[1; 32])
}

fn options(dir: &Path) -> Options {
    let dir = dir.to_owned();
    Options {
        signer: Some(Arc::new(signer())),
        seal_events_max: 2,
        file_seam: Arc::new(move |file| Arc::new(Breaking { file, dir: dir.clone() })),
        ..Options::default()
    }
}

/// Records on two days, closes, compacts, prunes the first day and records again. Says what was acknowledged, by
/// instance: how many events, the first of them 0.
fn run(dir: &Path) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    for day in [1, 2] {
        if let Ok((log, _)) = Log::open(dir, options(dir)) {
            for n in 0..5 {
                if let Ok(seq) = log.append(day * DAY_US + n, decided("a")) {
                    acknowledged.insert(log.instance().to_owned(), seq + 1);
                }
            }
            let _ = log.close();
        }
        let signer = Some(signer());
        let _ = compact(dir, &CompactOptions { events_max: 4, grace_s: 0, signer, now_us: 9 * DAY_US });
    }
    let options = PruneOptions { before_us: 2 * DAY_US, grace_s: 0, signer: Some(signer()), now_us: 9 * DAY_US };
    let _ = prune(dir, &options, None, &mut |_, _, _| Ok(Some(vec![1, 2, 3])));
    acknowledged
}

/// Runs with these steps failing, looks at what is left, and says how many steps there were.
fn check(fails: Range<u64>) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::begin(dir.path(), fails.clone());
    let acknowledged = run(dir.path());
    let steps = plan.steps();
    drop(plan);
    let (log, recovery) = Log::open(dir.path(), options(dir.path())).unwrap();
    assert!(recovery.not_vouched.is_empty() && recovery.unreadable.is_empty(), "{fails:?}: {recovery:?}");
    log.close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let first: BTreeMap<&str, u64> =
        reader.manifests().map(|manifest| (manifest.instance.as_str(), Manifest::first_seq(manifest))).collect();
    let all: BTreeMap<String, Vec<u64>> = all_events(dir.path())
        .into_iter()
        .map(|(name, events)| (name, events.iter().map(|event| event.seq).collect()))
        .collect();
    for (name, count) in &acknowledged {
        let first = first.get(name.as_str()).copied().unwrap_or(0);
        let seqs = all.get(name).map(Vec::as_slice).unwrap_or_default();
        assert!(first + seqs.len() as u64 >= *count, "{fails:?}: {count} acknowledged, from {first} {seqs:?}");
        assert!(seqs.iter().copied().eq((first..).take(seqs.len())), "{fails:?}: {seqs:?}");
    }
    let evidence = Evidence { keys: vec![signer().public()], heads: Vec::new() };
    let verified = verify(dir.path(), &evidence).unwrap();
    assert_eq!(verified.verdict(), Verdict::Intact, "{fails:?}: {verified:?}");
    steps
}

#[test]
fn nothing_acknowledged_is_lost_whichever_step_is_the_last_or_fails() {
    let steps = check(u64::MAX..u64::MAX);
    assert!(steps > 100, "{steps}");
    let stride = if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 1 } else { 3 };
    for step in (0..steps).step_by(stride) {
        check(step..u64::MAX);
        check(step..step + 1);
    }
}
