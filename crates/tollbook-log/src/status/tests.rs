use std::sync::Arc;

use super::*;
use crate::testing::{decided, ended};
use crate::{Log, Options, Signer};

#[test]
fn a_log_is_counted_sealed_and_open() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Some(Arc::new(Signer::from_secret(&[1; 32])));
    let (log, _) = Log::open(dir.path(), Options { signer, ..Options::default() }).unwrap();
    for n in 0..4 {
        log.append(n * 1_000_000, if n == 3 { ended(0) } else { decided("a") }).unwrap();
    }
    let found = status(dir.path()).unwrap().instances.remove(0);
    assert_eq!((found.calls, found.sealed_calls, found.open_segments, found.segments), (3, 0, 1, 0));
    assert!(found.is_alive && found.head.is_some());
    log.close().unwrap();
    let found = status(dir.path()).unwrap().instances.remove(0);
    assert_eq!((found.calls, found.sealed_calls, found.open_segments, found.segments), (3, 3, 0, 1));
    assert_eq!((found.times_us, found.is_alive), (Some((0, 2_000_000)), false));
    assert_eq!(found.head.unwrap().0.size, 4);
    assert!(found.sealed_bytes > 1000 && found.unreadable.is_none());
}

#[test]
fn damage_is_told_with_the_instance_and_what_was_set_aside_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
    log.append(7, decided("a")).unwrap();
    let name = log.instance().to_owned();
    log.close().unwrap();
    fs::create_dir(dir.path().join(DAMAGED_DIR)).unwrap();
    fs::write(dir.path().join(DAMAGED_DIR).join("x.seg"), "12345").unwrap();
    fs::write(manifest::path(dir.path(), &name), "{").unwrap();
    let found = status(dir.path()).unwrap();
    assert!(found.instances[0].unreadable.as_ref().unwrap().ends_with("isn't a manifest"));
    assert_eq!(found.set_aside.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [5]);
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(status(empty.path()), Err(ReadError::NoLog(_))));
}
