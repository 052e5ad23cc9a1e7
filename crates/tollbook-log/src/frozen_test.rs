//! Logs that older versions wrote, which must stay readable for ever, and damaged ones, which must be
//! told from good ones with a clear message.
//!
//! `fixtures/log/format-1` holds a log with sealed files and an open segment, its public key, and its events
//! as text. It was written once, by `TOLLBOOK_WRITE_FROZEN=1 cargo test -p tollbook-log frozen`, and is
//! never written again. `fixtures/log/damaged.tsv` has one damage a line: the file, what is done to it, and
//! what `verify` says of it first; the same command writes that anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollbook_engine::{Activated, Body, Bounds, Gap, LimitFact, Opened};

use crate::testing::{all_events, ended, files, record};
use crate::verify::{Evidence, Verdict, verify};
use crate::{Log, Options, PublicKey, Signer, export};

const NOW: i64 = 1_795_416_412_000_000; // 2026-11-23T06:46:52Z

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/log")
}

/// A copy of the frozen log: reading one must not change it.
fn copy() -> tempfile::TempDir {
    let (from, to) = (fixtures().join("format-1/log"), tempfile::tempdir().unwrap());
    for name in files(&from) {
        let target = to.path().join(&name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&name), target).unwrap();
    }
    to
}

fn evidence() -> Evidence {
    let key = fs::read_to_string(fixtures().join("format-1/key.pub")).unwrap();
    Evidence { keys: vec![PublicKey::from_text(&key).expect("a key")], heads: Vec::new() }
}

fn told(log: &Path) -> String {
    let all = all_events(log);
    let each = |(name, events): &(String, Vec<_>)| {
        events.iter().map(|event| export::to_json(name, event).unwrap()).collect::<String>()
    };
    all.iter().map(each).collect()
}

/// One event of each kind, the fields of the fullest call all set.
fn write(dir: &Path) {
    let signer = Signer::from_secret(&[42; 32]);
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("key.pub"), format!("{}\n", signer.public())).unwrap();
    let options =
        Options { signer: Some(Arc::new(signer)), seal_events_max: 6, clock: Arc::new(|| NOW), ..Options::default() };
    let log_dir = dir.join("log");
    let (log, _) = Log::open(&log_dir, options).unwrap();
    let json = r#"{"version":"1","default":"deny"}"#;
    let hash = tollbook_engine::policy_hash(json);
    log.store_policy(hash, json).unwrap();
    let mut full = record("create_charge");
    full.agent = Some("desk/1.4".into());
    full.args = tollbook_engine::RecordedArgs {
        kept: tollbook_engine::Kept::Read,
        json: Some(r#"{"args.amount":12.5}"#.into()),
        keys: Some(vec!["amount".into()]),
        hash: Some(tollbook_engine::hash128(b"{}")),
        bytes: Some(15),
    };
    full.rule = Some("/tools/create_charge/limits/create_charge_rate".into());
    full.message = Some("naïve ✓\n\0".into());
    full.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    full.limits = vec![LimitFact {
        counter: "create_charge_rate".into(),
        owner: "create_charge".into(),
        scope: "grant".into(),
        key: "g".into(),
        window_s: 60,
        rolling: false,
        window_start_us: NOW - NOW % 60_000_000,
        used_before_micros: 29_000_000,
        amount_micros: Some(1_500_000),
        max_micros: 30_000_000,
        frees_at_us: Some(NOW + 8_000_000),
        shadow: true,
    }];
    full.shadow_rules = vec!["/all_tools/limits/x".into()];
    (full.loop_period, full.loop_repeats, full.approval) = (Some(2), Some(3), Some("a-1".into()));
    let bodies = [
        Body::Opened(Opened { engine: "0.1.0".into(), bounds: Bounds::default(), imported_from: None }),
        Body::Activated(Activated { server: "files".into(), grant: None, policy: hash }),
        Body::Decision(Box::new(full)),
        Body::Decision(Box::new(record("read"))),
        ended(3),
        Body::Gap(Gap { calls: Some(2), cause: "the disk was full".into() }),
        Body::Decision(Box::new(record("read"))),
        // Late: its call is sealed.
        ended(2),
        ended(6),
    ];
    for (body, n) in bodies.into_iter().zip(0..) {
        log.append(NOW + n * 1_000_000, body).unwrap();
        while n == 6 && crate::Reader::open(&[&log_dir]).unwrap().manifests().all(|manifest| manifest.ranges.is_empty())
        {
            std::thread::yield_now();
        }
    }
    // Not closed: the segment stays open.
    drop(log);
    fs::write(dir.join("events.jsonl"), told(&log_dir)).unwrap();
}

#[test]
fn frozen_format_1_is_read_and_verified() {
    let dir = fixtures().join("format-1");
    if std::env::var_os("TOLLBOOK_WRITE_FROZEN").is_some() && !dir.exists() {
        write(&dir);
    }
    let log = copy();
    let expected = fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert_eq!(told(log.path()), expected);
    let verified = verify(log.path(), &evidence()).unwrap();
    assert_eq!((verified.verdict(), verified.instances[0].events), (Verdict::Intact, 9), "{verified:?}");
    // This version goes on where the other one stopped.
    let (next, recovery) = Log::open(log.path(), Options::default()).unwrap();
    assert_eq!((recovery.segments.len(), recovery.set_aside.len()), (1, 0), "{recovery:?}");
    next.close().unwrap();
    assert_eq!(told(log.path()), expected);
}

/// `file<TAB>damage<TAB>what verify says first`. A file is the first one whose path begins so.
#[test]
fn damaged_logs_are_told_with_a_clear_message() {
    let table = fs::read_to_string(fixtures().join("damaged.tsv")).unwrap();
    let mut cases = 0;
    let mut told = String::new();
    for line in table.lines() {
        if line.starts_with('#') {
            told += &format!("{line}\n");
            continue;
        }
        let [file, damage, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let log = copy();
        let name = files(log.path()).into_iter().find(|name| name.starts_with(file)).expect(file);
        let path = log.path().join(&name);
        let mut bytes = fs::read(&path).unwrap();
        match damage.split_once(' ') {
            Some(("flip", at)) => {
                let at: usize = at.parse().unwrap();
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            Some(("cut", left)) => fs::write(&path, &bytes[..left.parse().unwrap()]).unwrap(),
            Some(("write", text)) => fs::write(&path, text).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let verified = verify(log.path(), &evidence()).unwrap();
        let first = verified.faults.first().map(ToString::to_string).or_else(|| verified.unchecked.first().cloned());
        let found = first.unwrap_or_else(|| "intact".to_owned()).replace(&format!("{}/", log.path().display()), "");
        let name = &verified.instances[0].instance;
        told += &format!("{file}\t{damage}\t{}\n", found.replace(name, "<instance>"));
        cases += 1;
    }
    if std::env::var_os("TOLLBOOK_WRITE_FROZEN").is_some() {
        fs::write(fixtures().join("damaged.tsv"), &told).unwrap();
    }
    assert_eq!(told, table);
    assert!(cases >= 10, "{cases}");
}
