use tollbook_engine::{Body, Judge, Outcome, Record};
use tollbook_policy::Target;

use super::*;
use crate::{Candidate, Lineage};

const SECOND_US: i64 = 1_000_000;

fn call(seq: u64, at_s: i64) -> Event {
    let record = Record { tool: Some("t".into()), session: Some("s".into()), ..Record::new(Judge::Import, "srv") };
    Event { seq, ts_us: Some(at_s * SECOND_US), body: Body::Decision(Box::new(record)) }
}

fn ended(seq: u64, call_seq: u64, at_s: i64, end: End) -> Event {
    let outcome = Outcome { call_seq, end, upstream_us: None, result_bytes: None, result_hash: None };
    Event { seq, ts_us: Some(at_s * SECOND_US), body: Body::Outcome(outcome) }
}

/// What a limit makes of calls at these seconds: refused, passed in the end, seconds waited in all and at most, never.
#[track_caller]
fn check(clause: &str, events: &[Event], expected: (u64, u64, u64, u64, u64)) {
    check_policy(&format!("default allow\nall tools {{ {clause} }}\n"), events, expected);
}

#[track_caller]
fn check_policy(text: &str, events: &[Event], expected: (u64, u64, u64, u64, u64)) {
    let policy = tollbook_policy::read("p.toll", text, Target::Native).unwrap().policy;
    let mut candidate = Candidate::new(policy).unwrap().retrying();
    candidate.begin("i", &Lineage::default());
    events.iter().for_each(|event| drop(candidate.event(&EventRef::from(event))));
    candidate.end();
    let report = candidate.report();
    let Waits { calls, total_us, longest_us, never } = report.waits;
    assert_eq!((report.all.change.newly_refused, calls, total_us / 1_000_000, longest_us / 1_000_000, never), expected);
}

fn at(seconds: &[i64]) -> Vec<Event> {
    (0..).zip(seconds).map(|(seq, at_s)| call(seq, *at_s)).collect()
}

#[test]
fn nothing_waits_where_nothing_is_refused() {
    check("limit 3 per minute per session", &at(&[0, 1, 2, 60]), (0, 0, 0, 0, 0));
}

/// Each by itself would wait until the next minute; together they fill it, and the last goes into the one after.
#[test]
fn what_waits_pushes_back_what_comes_behind_it() {
    check("limit 2 per minute per session", &at(&[0, 1, 10, 20, 30]), (3, 3, 50 + 40 + 90, 90, 0));
    // The call of the next minute finds it full.
    check("limit 2 per minute per session", &at(&[0, 1, 10, 20, 70]), (2, 3, 50 + 40 + 50, 50, 0));
}

#[test]
fn a_rolling_window_lets_one_in_for_each_that_leaves() {
    check("limit 2 per rolling minute per session", &at(&[0, 30, 40, 45]), (2, 2, 20 + 45, 45, 0));
}

#[test]
fn what_can_never_fit_never_passes() {
    check("limit 0 per minute per session", &at(&[0, 1]), (2, 0, 0, 0, 2));
}

/// Units go back when the call that waited turns out not to have reached its tool.
#[test]
fn a_call_that_waited_gives_its_units_back() {
    let mut events = at(&[0, 10, 20]);
    check("limit 1 per minute per session", &events, (2, 2, 50 + 100, 100, 0));
    events.insert(2, ended(9, 1, 11, End::Unreachable));
    check("limit 1 per minute per session", &events, (2, 2, 50 + 40, 50, 0));
}

/// The end of a call that never passes is recorded all the same. Here it has the number that another call has in the
/// reading, whose unit must not go back.
#[test]
fn the_end_of_a_call_that_never_passes_is_no_other_call_s() {
    let of = |tool: &str, seq, at_s| {
        let mut event = call(seq, at_s);
        if let Body::Decision(record) = &mut event.body {
            record.tool = Some(tool.to_owned());
        }
        event
    };
    let policy = "default deny\ntool t { limit 1 per minute per session }\n\
        tool u { only during thu 00:00..00:02 \"UTC\" limit 1 per minute per session }\n";
    let events = [
        of("t", 0, 0),
        of("t", 1, 10),
        of("t", 2, 12),
        of("u", 3, 70),
        of("u", 7, 75),
        ended(8, 7, 130, End::Unreachable),
        of("t", 9, 140),
    ];
    check_policy(policy, &events, (3, 3, 50 + 108 + 40, 108, 1));
}

/// A breaker lets go after a while, and the run begins anew.
#[test]
fn a_run_that_was_broken_goes_on_later() {
    let mut events = at(&[0, 1, 2]);
    for event in &mut events {
        if let Body::Decision(record) = &mut event.body {
            record.args.hash = Some(Hash128([7; 16]));
        }
    }
    check("break after 2 identical calls within 1m", &events, (1, 1, 58, 58, 0));
}
