use std::fs;

use super::*;
use crate::Options;
use crate::testing::decided;
use crate::verify::{Evidence, verify};

fn open(dir: &Path) -> Log {
    Log::open(dir, Options { clock: std::sync::Arc::new(|| 1_795_416_412_000_000), ..Options::default() }).unwrap().0
}

fn carried(log: &Log, seq: u64, server: Option<&str>, from: &[&str]) {
    let sha256 = log.keep_carried(seq, b"counters").unwrap();
    let from = from.iter().map(|name| (*name).to_owned()).collect();
    let body = Body::Carried(Carried { server: server.map(str::to_owned), from, sha256, replays: true });
    assert_eq!(log.append(1, body).unwrap(), seq);
}

/// An instance that has recorded a call and has ended.
fn ended(dir: &Path, left: Option<&[u8]>) -> String {
    let log = open(dir);
    log.append(1, decided("a")).unwrap();
    if let Some(state) = left {
        log.leave(1, state).unwrap();
    }
    let name = log.instance().to_owned();
    log.close().unwrap();
    name
}

#[test]
fn what_one_has_left_is_taken_once_for_each_server() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (one, two) = (ended(dir, Some(b"five")), ended(dir, None));
    let heir = open(dir);
    let earlier = || Reader::open(&[dir]).unwrap().earlier().unwrap();
    let told = |server: &str| earlier().left_behind(server).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(told("a"), [one.as_str(), &two], "the one that is recording hasn't ended");
    carried(&heir, 0, Some("a"), &[&one]);
    assert_eq!((told("a"), told("b")), (vec![two.clone()], vec![one.clone(), two.clone()]));
    carried(&heir, 1, None, &[&two]);
    assert_eq!((told("a"), told("b")), (vec![], vec![one.clone()]));
    let name = heir.instance().to_owned();
    heir.close().unwrap();
    assert_eq!((told("a"), told("b")), (vec![name.clone()], vec![one.clone(), name.clone()]), "sealed as well");

    let reader = Reader::open(&[dir]).unwrap();
    assert_eq!((reader.left(&one).unwrap(), reader.left(&two).unwrap()), (Some(b"five".to_vec()), None));
    let (_, event) = &reader.earlier().unwrap().carried[0];
    assert_eq!(reader.carried(&name, 0, event).unwrap(), Some(b"counters".to_vec()));
    let path = dir.join(carried_within(&name, 0));
    fs::write(&path, b"Counters").unwrap();
    let damaged = reader.carried(&name, 0, event).unwrap_err().to_string();
    assert!(damaged.contains("its SHA-256 isn't that of the event"), "{damaged}");
    let verified = verify(dir, &Evidence::default()).unwrap();
    let faults: Vec<_> = verified.faults.iter().map(|fault| (fault.seq, fault.path.as_deref())).collect();
    assert_eq!(faults, [(Some(0), Some(path.as_path()))], "{verified:?}");
    fs::remove_file(&path).unwrap();
    assert_eq!(reader.carried(&name, 0, event).unwrap(), None);
}

/// They began in the same second by a clock that stands still.
#[test]
fn an_instance_sorts_after_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let live = open(dir.path());
    let names: Vec<String> = (0..4).map(|_| ended(dir.path(), None)).collect();
    assert!(live.instance() < names[0].as_str() && names.is_sorted(), "{names:?}");
}

#[test]
fn no_two_take_up_what_was_left_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = Carrying::begin(dir.path()).unwrap();
    let (sent, taken) = std::sync::mpsc::channel();
    let log = dir.path().to_owned();
    let second = std::thread::spawn(move || {
        let carrying = Carrying::begin(&log);
        sent.send(()).unwrap();
        drop(carrying.unwrap());
    });
    assert!(taken.recv_timeout(std::time::Duration::from_millis(100)).is_err());
    drop(first);
    taken.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    second.join().unwrap();
}
