use std::sync::Arc;

use super::*;
use crate::manifest::Manifest;
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

/// Parquet that somebody crafted, its new size and SHA-256 in a manifest that nobody signed: an answer that
/// names the file, or the rows as they are, but never a panic.
#[test]
fn crafted_parquet_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
    log.append(7, decided("a")).unwrap();
    let name = log.instance().to_owned();
    log.close().unwrap();
    let mut manifest = Manifest::load(dir.path(), &name).unwrap().unwrap();
    let relative = manifest.ranges[0].files[0].path.clone();
    let path = dir.path().join(&relative);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    // The footer, and with its length whatever it is taken for; then the pages.
    let places = (good.len() - 1600..good.len()).step_by(11).chain((4..good.len() - 1600).step_by(97));
    for (place, n) in places.zip(0_u32..) {
        let mut bytes = good.clone();
        bytes[place] = if n % 2 == 0 { bytes[place] ^ (1 << (n % 8)) } else { 0xff };
        fs::write(&path, &bytes).unwrap();
        let file = &mut manifest.ranges[0].files[0];
        (file.bytes, file.sha256) = (bytes.len() as u64, disk::sha256(&path).unwrap());
        manifest.store(dir.path(), None).unwrap();
        let found = status(dir.path()).unwrap().instances.remove(0);
        let verified = crate::verify::verify(dir.path(), &crate::verify::Evidence::default()).unwrap();
        let events = Reader::open(&[dir.path()]).unwrap().events(&name).unwrap().collect::<Result<Vec<_>, _>>();
        let told = [
            found.unreadable,
            verified.faults.first().map(ToString::to_string),
            events.err().map(|error| error.to_string()),
        ];
        for told in told.into_iter().flatten().filter(|told| !told.contains("of event") && !told.contains("recorded")) {
            assert!(told.contains(&relative) || told.contains("don't hold event"), "{told}");
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
}
