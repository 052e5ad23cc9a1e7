use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::*;

/// Whatever comes today comes soon.
fn soon(came_soon: bool) -> Soon {
    Soon { came_soon: AtomicBool::new(came_soon), ..Soon::new(Duration::from_secs(86_400)) }
}

/// How often a task was to be polled again.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the next answer is looked for.
fn looks(soon: &Soon) -> bool {
    let woken = Arc::new(Woken::default());
    let mut waits = pin!(soon.answer(pending::<()>()));
    assert!(waits.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&woken)))).is_pending());
    woken.0.load(Ordering::Relaxed) > 0
}

#[test]
fn only_the_answer_of_a_server_that_answers_soon_is_looked_for() {
    assert!(!looks(&soon(false)), "it has not answered yet, or not soon");
    let soon = soon(true);
    assert!(looks(&soon));
    let mut other = pin!(soon.answer(pending::<()>()));
    assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(!looks(&soon), "another answer is waited for as well");
}

#[test]
fn what_is_not_waited_for_any_more_is_not_owed() {
    let soon = soon(true);
    assert!(looks(&soon) && looks(&soon));
    assert_eq!(soon.owes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn each_answer_tells_whether_the_next_one_is_looked_for() {
    let some_polls = || async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        "answer"
    };
    let soon = soon(false);
    for _ in 0..2 {
        assert_eq!(soon.answer(some_polls()).await, "answer");
        assert!(soon.came_soon.load(Ordering::Relaxed));
    }
    let late = Soon { came_soon: AtomicBool::new(true), ..Soon::new(Duration::ZERO) };
    assert_eq!(late.answer(some_polls()).await, "answer");
    assert!(!late.came_soon.load(Ordering::Relaxed));
}
