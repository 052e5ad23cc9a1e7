use std::collections::BTreeMap;

use tollbook_engine::{Event, Reads};

use super::*;
use crate::testing::{decided, ended};

/// A batch of calls by their places, each with its outcome's where that stands in its row.
fn batch(calls: &[(u64, Option<u64>)]) -> CallReader {
    let event = |seq, body| Event { seq, ts_us: Some(0), body };
    let events: Vec<Event> = calls.iter().map(|(seq, _)| event(*seq, decided("a"))).collect();
    let done: Vec<Option<Event>> =
        calls.iter().map(|(seq, done)| done.map(|done_seq| event(done_seq, ended(*seq)))).collect();
    CallReader::new(&rows::calls("i", &events, &done).unwrap(), Reads::ALL).unwrap()
}

/// What batches hand over from place 0 on, one at a time: places, and for outcomes those of their calls. Beside it
/// the first place of what waits in the end.
fn handed_over(batches: &[Vec<(u64, Option<u64>)>], last_seq: u64) -> (Vec<(u64, Option<u64>)>, Option<u64>) {
    let (mut waiting, mut next_seq, mut all) = (Waiting::default(), 0, Vec::new());
    let mut left = None;
    for calls in batches {
        let (calls, mut taken) = (batch(calls), 0);
        loop {
            let mut take = |event: &EventRef<'_>| {
                let of = match &event.body {
                    BodyRef::Other(Body::Outcome(outcome)) => Some(outcome.call_seq),
                    _ => None,
                };
                ControlFlow::Break((event.seq, of))
            };
            let next = waiting.run(&calls, &mut taken, (&mut next_seq, last_seq), &mut take).unwrap();
            let ControlFlow::Break(event) = next else { break };
            all.push(event);
        }
        left = waiting.next_seq(&calls);
        waiting.leave(&calls).unwrap();
    }
    (all, left)
}

#[test]
fn outcomes_come_in_their_turn_however_late() {
    // A call at each place that no outcome has; its outcome comes at once, soon, far away or never.
    let delays = [1, 2, 7, 64, 3, 900, 1_023, 1_024, 1_500, 0, 5, 2_900];
    let (mut outcomes, mut calls, mut expected) = (BTreeMap::new(), Vec::new(), Vec::new());
    for seq in 0..8_000 {
        if let Some(call) = outcomes.get(&seq) {
            expected.push((seq, Some(*call)));
            continue;
        }
        let delay = delays[calls.len() % delays.len()];
        let mut done = seq + delay;
        while delay > 0 && outcomes.contains_key(&done) {
            done += 1;
        }
        let done = (delay > 0 && done < 8_000).then_some(done);
        outcomes.extend(done.map(|done| (done, seq)));
        calls.push((seq, done));
        expected.push((seq, None));
    }
    for rows in [1, 3, 1_000, 8_000] {
        let batches: Vec<_> = calls.chunks(rows).map(<[_]>::to_vec).collect();
        assert_eq!(handed_over(&batches, 7_999), (expected.clone(), None), "{rows} rows a batch");
    }
}

#[test]
fn a_place_that_two_outcomes_claim_is_left_over() {
    let (all, left) = handed_over(&[vec![(0, Some(2)), (1, Some(2))]], 2);
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(left, Some(2));
    // As is one that comes before its call.
    assert_eq!(handed_over(&[vec![(0, None), (1, Some(0))]], 1).1, Some(0));
}

#[test]
fn nothing_is_handed_over_beyond_the_last_place() {
    assert_eq!(handed_over(&[vec![(0, Some(2)), (1, None)]], 1), (vec![(0, None), (1, None)], Some(2)));
}
