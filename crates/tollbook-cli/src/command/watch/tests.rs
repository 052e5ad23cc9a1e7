use std::sync::mpsc::channel;
use std::time::Duration;

use super::watch;

/// What changed after it was read and before it was looked at would otherwise never be read.
#[test]
fn files_are_read_anew_once_at_first_and_then_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toll");
    std::fs::write(&file, "default allow\n").unwrap();
    let (sender, reloaded) = channel();
    let files = vec![file.clone()];
    let _asks = watch(files.clone(), move || {
        sender.send(()).unwrap();
        files.clone()
    });
    let soon = Duration::from_secs(20);
    reloaded.recv_timeout(soon).expect("it is read anew at first");
    assert!(reloaded.recv_timeout(Duration::from_millis(1_500)).is_err(), "nothing has changed");
    std::fs::write(&file, "default deny\n").unwrap();
    reloaded.recv_timeout(soon).expect("it has changed");
}
