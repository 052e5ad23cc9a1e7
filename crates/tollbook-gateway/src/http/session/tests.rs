use std::sync::Barrier;

use tollbook_engine::{Kept, Mode};
use tollbook_log::redact::Redaction;
use tollbook_log::{Log, Options};

use super::*;
use crate::desk::{Desk, Manner, OnLogFailure};

fn sessions(dir: &std::path::Path) -> Sessions {
    let (log, _) = Log::open(dir, Options::default()).unwrap();
    let (redaction, on_log_failure) = (Redaction::default(), OnLogFailure::Refuse);
    let manner =
        Manner { mode: Mode::Enforce, kept: Kept::Read, redaction, on_log_failure, waits_for_sync: false, seed: 0 };
    let desk = Desk::open(log, manner, Box::new(|| 1_000)).unwrap();
    Sessions::new(Arc::new(Mutex::new(desk)), [7; 32], Duration::from_secs(60), 1_000)
}

/// Requests that begin a conversation at once are of one conversation.
#[test]
fn whoever_comes_at_once_shares_a_connection() {
    const AT_ONCE: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let sessions = sessions(dir.path());
    for n in 0..300 {
        let (barrier, name) = (Barrier::new(AT_ONCE), n.to_string());
        let begin = || {
            barrier.wait();
            (sessions.given("srv", "g", &name).unwrap(), sessions.silent("srv", "g", &name).unwrap().1)
        };
        let begun = std::thread::scope(|threads| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| threads.spawn(begin)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let one = |(given, silent): &(SharedConnection, SharedConnection)| {
            Arc::ptr_eq(given, &begun[0].0) && Arc::ptr_eq(silent, &begun[0].1)
        };
        assert!(begun.iter().all(one), "{n}");
    }
}
