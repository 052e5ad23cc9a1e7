use tollbook_engine::Engine;
use tollbook_log::{Log, Options, Reader};
use tollbook_policy::Target;

use super::super::{Connection, End, Manner, OnLogFailure, Step};
use super::*;
use crate::headers::Headers;

const POLICY: &str = "default deny\ntool t { limit 4 per day per grant }\n";

fn desk(dir: &std::path::Path, on_log_failure: OnLogFailure) -> Desk {
    let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
    let engine = Engine::compile(&policy, "srv").unwrap();
    let (log, _) = Log::open(dir, Options::default()).unwrap();
    let manner = Manner { on_log_failure, waits_for_sync: true, ..Manner::usual() };
    let mut desk = Desk::open(log, manner, Box::new(|| 1_000)).unwrap();
    desk.activate(engine, None, &policy).unwrap();
    desk
}

/// From here on the desk's log takes no more records, as after a failed write.
fn break_log(desk: &Desk) {
    drop(desk.log.as_ref().unwrap().reopen().unwrap());
}

/// `+` where the call goes on, and with what sequence number; `-` and the answer's code where it doesn't.
fn told(desk: &mut Desk, connection: &mut Connection, id: u64, tool: &str) -> String {
    let params = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
    let frame = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
    match desk.from_client(connection, frame.as_bytes(), &Headers::default()) {
        Step::Forward { call, .. } => format!("+ {:?}", call.map(|call| call.seq)),
        Step::Answer(answer) | Step::Refuse(answer) => {
            let answer = String::from_utf8(answer).unwrap();
            let codes = ["log_unavailable", "default_deny"];
            format!("- {}", codes.into_iter().find(|code| answer.contains(code)).unwrap_or(&answer))
        }
        Step::Drop => "dropped".to_owned(),
    }
}

fn gaps(dir: &std::path::Path) -> Vec<tollbook_engine::Gap> {
    let reader = Reader::open(&[dir]).unwrap();
    let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap());
    events.filter_map(|event| if let Body::Gap(gap) = event.unwrap().body { Some(gap) } else { None }).collect()
}

#[test]
fn calls_are_refused_until_the_log_is_back_and_the_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), OnLogFailure::Refuse);
    let mut connection = Connection::new("srv", "g", "s");
    assert_eq!(told(&mut desk, &mut connection, 1, "t"), "+ Some(2)");
    break_log(&desk);
    desk.gap.tried = Some(Instant::now());
    assert_eq!(told(&mut desk, &mut connection, 2, "t"), "- log_unavailable");
    assert_eq!(told(&mut desk, &mut connection, 3, "t"), "- log_unavailable");
    desk.gap.tried = None;
    assert_eq!(told(&mut desk, &mut connection, 4, "t"), "+ Some(4)", "after opened, carried, activated and gap");
    // The answer to a call of the old log is no event of the new one.
    desk.from_server(&mut connection, br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#);
    assert_eq!(told(&mut desk, &mut connection, 5, "t"), "+ Some(5)");
    assert_eq!(told(&mut desk, &mut connection, 6, "t"), "+ Some(6)");
    let refused = told(&mut desk, &mut connection, 7, "t");
    assert!(refused.contains("[POLICY DENIED]"), "the call of the old log counts in the new one: {refused}");
    desk.close().unwrap();
    let gaps = gaps(dir.path());
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].calls, Some(2));
}

#[test]
fn calls_that_may_go_on_are_judged_all_the_same_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), OnLogFailure::Allow);
    let mut connection = Connection::new("srv", "g", "s");
    break_log(&desk);
    desk.gap.tried = Some(Instant::now());
    assert_eq!(told(&mut desk, &mut connection, 1, "t"), "+ Some(2)");
    assert_eq!(told(&mut desk, &mut connection, 2, "other"), "- default_deny");
    assert!(desk.goes_on_unrecorded());
    desk.gap.tried = None;
    assert_eq!(told(&mut desk, &mut connection, 3, "t"), "+ Some(4)");
    desk.close().unwrap();
    assert_eq!(gaps(dir.path())[0].calls, Some(3));
}

/// A sequence number of the old log is another call's in the new one.
#[test]
fn a_call_of_the_old_log_that_is_not_forwarded_ends_nothing_in_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), OnLogFailure::Refuse);
    let (mut early, mut late) = (Connection::new("srv", "g", "s"), Connection::new("srv", "g", "t"));
    let frame = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t"}}}}"#);
    let take = |desk: &mut Desk, connection: &mut Connection, id| {
        let step = desk.from_client(connection, frame(id).as_bytes(), &Headers::default());
        let Step::Forward { call: Some(call), .. } = step else { panic!("{step:?}") };
        call
    };
    take(&mut desk, &mut early, 1);
    take(&mut desk, &mut early, 2);
    let old = take(&mut desk, &mut early, 3);
    break_log(&desk);
    let new = take(&mut desk, &mut late, 1);
    assert_eq!(old.seq, new.seq, "after opened, carried, activated and gap");
    assert!(matches!(desk.recorded(old), Some(Err(_))) && matches!(desk.recorded(new), Some(Ok(_))));
    let told = desk.not_forwarded(&mut early, old, End::Unreachable).unwrap();
    assert!(String::from_utf8(told).unwrap().contains(r#""id":3"#));
    assert_eq!(desk.state.in_flight(), 1, "the new call is still open");
}

/// Each has a number of its own, so that its unit can go back.
#[test]
fn calls_that_go_on_unrecorded_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), OnLogFailure::Allow);
    let mut connection = Connection::new("srv", "g", "s");
    break_log(&desk);
    desk.gap.tried = Some(Instant::now());
    for id in 1..=6 {
        assert_eq!(
            told(&mut desk, &mut connection, id, "t"),
            format!("+ Some({})", id + 1),
            "each gives its unit back"
        );
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#);
        desk.from_server(&mut connection, answer.as_bytes());
    }
    desk.gap.tried = None;
    assert_eq!(told(&mut desk, &mut connection, 7, "t"), "+ Some(4)");
    desk.close().unwrap();
    assert_eq!(gaps(dir.path())[0].calls, Some(6));
}
