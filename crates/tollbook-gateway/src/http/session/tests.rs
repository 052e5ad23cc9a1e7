use std::sync::Barrier;

use tollbook_log::{Log, Options};

use super::*;
use crate::desk::{Desk, Manner};

fn sessions(dir: &std::path::Path) -> Sessions {
    let (log, _) = Log::open(dir, Options::default()).unwrap();
    let manner = Manner::usual();
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

/// However many conversations a grant's agent begins, another grant's gets in, and room comes back.
#[test]
fn no_grant_takes_all_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let mut sessions = sessions(dir.path());
    let given =
        |sessions: &Sessions, grant: &str, n: usize| sessions.given("srv", grant, &format!("{grant}{n}")).map(drop);
    let silent = |sessions: &Sessions, grant: &str, n: usize| sessions.silent("srv", grant, &n.to_string()).map(drop);
    let begun = |sessions: &Sessions, grant: &str, of: usize| {
        let begun = |how: &dyn Fn(&Sessions, &str, usize) -> Result<(), NoSession>| {
            (0..of).filter(|n| how(sessions, grant, *n).is_ok()).count()
        };
        [begun(&given), begun(&silent)]
    };
    assert_eq!(begun(&sessions, "stuck", 2_000), [750, 750]);
    assert_eq!(begun(&sessions, "other", 10), [10, 10]);
    let stuck = |n| (given(&sessions, "stuck", n), silent(&sessions, "stuck", n));
    assert_eq!(stuck(1_999), (Err(NoSession::TooMany), Err(NoSession::TooMany)));
    assert_eq!(stuck(0), (Ok(()), Ok(())), "one that is going on goes on");
    // There is room for it again once less than three quarters are taken.
    (0..11).for_each(|n| sessions.end("srv", &format!("stuck{n}")));
    assert_eq!((stuck(1_999).0, stuck(1_998).0), (Ok(()), Err(NoSession::TooMany)));
    assert_eq!(sessions.open(), (740 + 10) + (750 + 10));
    sessions.idle = Duration::ZERO;
    assert_eq!(sessions.open(), 0);
    sessions.idle = Duration::from_secs(60);
    assert_eq!(begun(&sessions, "stuck", 2_000), [750, 750], "those that were idle are over");
}
