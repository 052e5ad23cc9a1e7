use super::*;

fn charge(micros: i64) -> Charged {
    Charged { counter: Handle::default(), start_us: 0, micros }
}

/// Calls of these numbers, each with two charges that tell its number.
fn put(flight: &mut Flight, calls: impl Iterator<Item = u64>) {
    for seq in calls {
        let number = i64::try_from(seq).unwrap();
        if let Some(charges) = flight.put(seq, 0, None, 0) {
            charges.extend([charge(number), charge(-number)]);
            flight.keep(10_000);
        }
    }
}

fn settle(flight: &mut Flight, seq: u64) -> Option<Vec<i64>> {
    let charges = flight.settle(seq)?.charges.iter().map(|charge| charge.micros).collect();
    flight.forget_settled();
    Some(charges)
}

#[test]
fn each_call_keeps_its_own_charges_in_whatever_order_calls_end() {
    let mut flight = Flight::default();
    put(&mut flight, 0..300);
    // Most of the middle ends first, so that the queues are put together anew.
    for seq in (1..300).filter(|seq| seq % 7 != 0) {
        let number = i64::try_from(seq).unwrap();
        assert_eq!(settle(&mut flight, seq), Some(vec![number, -number]));
        assert_eq!(settle(&mut flight, seq), None, "it ended already");
    }
    put(&mut flight, 300..310);
    assert_eq!(flight.len(), 43 + 10);
    for seq in (0..310).rev().filter(|seq| seq % 7 == 0 || *seq >= 300) {
        let number = i64::try_from(seq).unwrap();
        assert_eq!(settle(&mut flight, seq), Some(vec![number, -number]));
    }
    for queue in [&flight.recent, &flight.old] {
        assert_eq!((queue.calls.len(), queue.settled), (0, 0));
    }
}

#[test]
fn a_number_that_does_not_grow_is_left_out() {
    let mut flight = Flight::default();
    put(&mut flight, [5, 5, 6].into_iter());
    assert_eq!(flight.len(), 2);
    assert_eq!(settle(&mut flight, 6), Some(vec![6, -6]));
}

#[test]
fn a_call_that_does_not_end_stands_in_no_later_ones_way() {
    let mut flight = Flight::default();
    // Every tenth goes on for ever, or until much later.
    for seq in 0..10_000 {
        put(&mut flight, seq..=seq);
        if seq % 10 != 0 {
            assert!(settle(&mut flight, seq).is_some());
        }
    }
    assert_eq!((flight.len(), flight.settled() <= BEHIND_MAX), (1_000, true));
    assert!(flight.recent.calls.len() <= 2 * BEHIND_MAX);
    // What a snapshot tells is the same, wherever a call stands.
    let mut again = Flight::read(flight.written());
    for seq in (0..10_000).step_by(10) {
        let number = i64::try_from(seq).unwrap();
        assert_eq!(settle(&mut flight, seq), Some(vec![number, -number]));
        assert_eq!(settle(&mut again, seq), Some(vec![number, -number]));
    }
    assert_eq!((flight.len(), again.len()), (0, 0));
}

#[test]
fn calls_that_ended_in_an_earlier_snapshot_are_read_as_such() {
    let mut flight = Flight::default();
    put(&mut flight, 0..3);
    let mut written = flight.written();
    written[1].settled = true;
    let mut again = Flight::read(written);
    assert_eq!((again.len(), again.settled()), (2, 1));
    assert_eq!(settle(&mut again, 1), None);
    assert_eq!(settle(&mut again, 2), Some(vec![2, -2]));
}
