use proptest::prelude::*;

use super::*;
use crate::layout::Layout;
use crate::testing::{self, decision};

/// Events through all three tables and back, in order.
fn there_and_back(events: &[Event]) -> Vec<Event> {
    let bytes: Vec<Vec<u8>> = events.iter().map(Event::to_bytes).collect();
    let layout = Layout::of(bytes.iter().map(Vec::as_slice)).expect("records");
    let mut back = Vec::new();
    let mut bytes_back: Vec<(u64, Vec<u8>)> = Vec::new();
    for batch in layout.batches(Kind::Calls, "i").expect("calls") {
        for (call, done) in call_events(&batch).expect("calls back") {
            back.push(call);
            back.extend(done);
        }
        call_bytes(&batch, |seq, bytes| bytes_back.push((seq, bytes.to_vec()))).expect("bytes back");
    }
    // Without events between rows and bytes.
    assert_eq!(bytes_back, back.iter().map(|event| (event.seq, event.to_bytes())).collect::<Vec<_>>());
    for batch in layout.batches(Kind::Outcomes, "i").expect("outcomes") {
        back.extend(outcome_events(&batch).expect("outcomes back"));
    }
    for batch in layout.batches(Kind::Events, "i").expect("events") {
        back.extend(other_events(&batch).expect("events back"));
    }
    back.sort_by_key(|event| event.seq);
    back
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_come_back_from_rows_exactly(events in testing::events(40)) {
        let back = there_and_back(&events);
        prop_assert_eq!(back.iter().map(Event::to_bytes).collect::<Vec<_>>(),
            events.iter().map(Event::to_bytes).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_bytes_are_those_of_a_librarys_encoder(events in testing::events(20)) {
        for event in events {
            prop_assert_eq!(event.to_bytes(), minicbor::to_vec(&event).unwrap());
        }
    }
}

#[test]
fn an_outcome_goes_into_its_calls_row_once() {
    let done = |seq, call_seq| Event {
        seq,
        ts_us: None,
        body: Body::Outcome(Outcome {
            call_seq,
            end: tollbook_engine::End::Ok,
            upstream_us: None,
            result_bytes: None,
            result_hash: None,
        }),
    };
    // The second outcome of call 0, one of itself, one of a call to come and one of nothing.
    let events = [decision(0), done(1, 0), done(2, 0), done(3, 3), done(4, 5), decision(5), done(6, 99)];
    let bytes: Vec<Vec<u8>> = events.iter().map(Event::to_bytes).collect();
    let layout = Layout::of(bytes.iter().map(Vec::as_slice)).expect("records");
    assert_eq!(layout.outcomes.len(), 4);
    assert_eq!(there_and_back(&events), events);
}

#[test]
fn names_that_real_logs_hold_come_back() {
    let names =
        ["a".repeat(10_010), "echo<|channel|>commentary".into(), "\0\u{1}\u{7f}\r\n\"\\".into(), "名前🦀".into()];
    let events: Vec<Event> = (0_u64..)
        .zip(names)
        .map(|(seq, name)| {
            let mut event = decision(seq);
            if let Body::Decision(record) = &mut event.body {
                record.tool = Some(name);
            }
            event
        })
        .collect();
    assert_eq!(there_and_back(&events), events);
}

#[test]
fn a_wrong_word_is_named() {
    let batch = calls("i", &[decision(7)], &[None]).expect("a row");
    let mut columns = batch.columns().to_vec();
    columns[3] = text([Some("oracle")].into_iter());
    let wrong = RecordBatch::try_new(batch.schema(), columns).expect("a batch");
    let error = call_events(&wrong).expect_err("no such judge");
    assert_eq!(error.to_string(), "column `judged_by` holds `oracle` in the row of event 7");
}
