use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tollbook_engine::{Engine, Verdict};
use tollbook_log::{Log, Options, Reader};
use tollbook_policy::Target;

use super::super::{Manner, Step};
use super::*;
use crate::headers::Headers;

const POLICY: &str = "default deny\ntool pay { approve by \"ada\" within 10m }\n";
const MINUTE_US: i64 = 60_000_000;

struct Case {
    dir: tempfile::TempDir,
    minute: Arc<AtomicI64>,
    desk: Desk,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
        let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
        let manner = Manner::usual();
        let minute = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&minute);
        let mut desk = Desk::open(log, manner, Box::new(move || clock.load(Ordering::Relaxed) * MINUTE_US)).unwrap();
        desk.activate(Engine::compile(&policy, "srv").unwrap(), None, &policy).unwrap();
        Self { dir, minute, desk }
    }

    /// Asks to pay so much, and returns the approvals that wait then.
    fn ask(&mut self, minute: i64, amount: i64) -> Vec<String> {
        assert!(!self.passes(minute, amount));
        self.desk.held.keys().cloned().collect()
    }

    /// Whether one may pay so much.
    fn passes(&mut self, minute: i64, amount: i64) -> bool {
        self.minute.store(minute, Ordering::Relaxed);
        let params = format!(r#"{{"name":"pay","arguments":{{"amount":{amount}}}}}"#);
        let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let step = self.desk.from_client(&mut Connection::new("srv", "g", "s"), frame.as_bytes(), &Headers::default());
        matches!(step, Step::Forward { .. })
    }

    fn answer(&mut self, approval: &str, approved: bool) {
        let answer = Request::Answer { approval: approval.to_owned(), approved, by: None };
        assert!(matches!(self.desk.operate(answer), Response::Done { .. }));
    }

    fn expire(&mut self, minutes: impl IntoIterator<Item = i64>) {
        for minute in minutes {
            self.minute.store(minute, Ordering::Relaxed);
            self.desk.expire();
        }
    }

    /// What the log says of approvals: at what minute, which, and what.
    fn told(mut self) -> Vec<(i64, String, &'static str)> {
        self.desk.close().unwrap();
        let reader = Reader::open(&[self.dir.path()]).unwrap();
        let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap()).map(Result::unwrap);
        let told = events.filter_map(|event| {
            let (approval, what) = match event.body {
                Body::Decision(record) if record.verdict == Some(Verdict::Allow) => (record.approval?, "passed"),
                Body::Decision(record) => (record.approval?, "held"),
                Body::Answered(answered) => (answered.approval, "answered"),
                Body::Expired(expired) => (expired.approval, "expired"),
                _ => return None,
            };
            Some((event.ts_us.unwrap() / MINUTE_US, approval, what))
        });
        told.collect()
    }
}

#[test]
fn the_log_tells_which_calls_nobody_answered() {
    let mut case = Case::new();
    let first = case.ask(1, 5).remove(0);
    let second = case.ask(4, 6).into_iter().find(|approval| *approval != first).unwrap();
    case.answer(&second, false);
    case.expire([10, 11, 12, 20, 30]);
    let first_again = case.ask(31, 5).remove(0);
    assert_ne!(first_again, first);
    // Whoever looks sees nothing that is over, whether or not it was recorded before.
    case.minute.store(45, Ordering::Relaxed);
    assert!(matches!(case.desk.operate(Request::Approvals), Response::Approvals(held) if held.is_empty()));
    let expect = [
        (1, &first, "held"),
        (4, &second, "held"),
        (4, &second, "answered"),
        (11, &first, "expired"),
        (31, &first_again, "held"),
        (45, &first_again, "expired"),
    ];
    let told = case.told();
    assert_eq!(told, expect.map(|(minute, approval, what)| (minute, approval.clone(), what)));
}

#[test]
fn the_log_tells_which_calls_were_let_pass_and_never_made() {
    let mut case = Case::new();
    let made = case.ask(1, 5).remove(0);
    case.answer(&made, true);
    let left = case.ask(2, 6).remove(0);
    case.minute.store(8, Ordering::Relaxed);
    case.answer(&left, true);
    assert!(case.passes(9, 5));
    // Its time counts from the answer.
    case.expire([11, 12, 17, 18, 19, 40]);
    let again = case.ask(41, 6).remove(0);
    let expect = [
        (1, &made, "held"),
        (1, &made, "answered"),
        (2, &left, "held"),
        (8, &left, "answered"),
        (9, &made, "passed"),
        (18, &left, "expired"),
        (41, &again, "held"),
    ];
    let told = case.told();
    assert_eq!(told, expect.map(|(minute, approval, what)| (minute, approval.clone(), what)));
}
