use tollbook_engine::{Body, Event, Judge, Reason, Record, Verdict};

use super::*;
use crate::Certainty;

fn call(seq: u64, session: Option<&str>) -> Event {
    let record =
        Record { session: session.map(str::to_owned), tool: Some("t".into()), ..Record::new(Judge::Import, "srv") };
    Event { seq, ts_us: None, body: Body::Decision(Box::new(record)) }
}

fn judged(candidate: Verdict) -> Judged {
    let (recorded, certainty, reason) = (Verdict::Allow, Certainty::Exact, Reason::Limit);
    Judged { recorded, candidate, certainty, rule: None, reason }
}

fn a_loop(session: &str, calls: Range<u64>, polls: bool) -> Loop {
    Loop { instance: "i".into(), session: session.into(), calls, polls }
}

/// Calls as `session` and `+` or `-`, what a candidate makes of them, and what it catches: loops, those that look
/// like polling, and calls that were wasted after them.
#[track_caller]
fn check(loops: &[Loop], calls: &str, expected: (u64, u64, u64)) {
    let mut loops = Loops::of(loops.to_vec());
    loops.begin("i");
    let mut caught = Caught::default();
    for (seq, call_of) in (0_u64..).zip(calls.split_whitespace()) {
        let (session, verdict) = call_of.split_at(1);
        let event = call(seq, (session != ".").then_some(session));
        let place = loops.event(&EventRef::from(&event));
        caught.add(place, &judged(if verdict == "-" { Verdict::Deny } else { Verdict::Allow }));
    }
    assert_eq!((caught.loops, caught.polls, caught.wasted), expected, "{calls}");
}

#[test]
fn a_loop_is_stopped_once_and_what_follows_of_it_is_wasted() {
    let in_a = [a_loop("a", 1..5, false)];
    check(&in_a, "a+ a+ a+ a+ a+ a+", (0, 0, 0));
    check(&in_a, "a- a+ a+ a+ a+ a-", (0, 0, 0));
    check(&in_a, "a+ a+ a- a- a- a-", (1, 0, 2));
    check(&in_a, "a+ a+ a+ a+ a- a-", (1, 0, 0));
    // Other sessions' calls, and those of none, move nothing.
    check(&in_a, "b- a+ .- a+ b- a- b- a+ .- a+", (1, 0, 2));
}

#[test]
fn loops_of_many_sessions_are_counted_one_by_one() {
    let several = [a_loop("a", 0..3, true), a_loop("a", 2..6, false), a_loop("b", 0..3, false)];
    check(&several, "a+ b+ a+ b+ a- b+ a+ a+ a+", (2, 1, 3));
    check(&several, "a+ b- a- b+ a+ b+ a+ a- a+", (3, 1, 1 + 1 + 2));
}

#[test]
fn another_instance_has_loops_of_its_own() {
    let mut loops = Loops::of([a_loop("a", 0..3, false)]);
    assert_eq!(loops.all(), 1);
    let mut caught = Caught::default();
    for instance in ["h", "i", "j"] {
        loops.begin(instance);
        let event = call(0, Some("a"));
        caught.add(loops.event(&EventRef::from(&event)), &judged(Verdict::Hold));
    }
    assert_eq!((caught.loops, caught.wasted), (1, 2));
}
