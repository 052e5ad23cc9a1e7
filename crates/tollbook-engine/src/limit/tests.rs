use super::*;

const MS: i64 = 1_000;

/// `+` for a call that fits and is charged, `-` for one that doesn't, at each millisecond.
#[track_caller]
fn check(measure: Measure, at_ms: &[i64], expect: &str) {
    let mut usage = measure.usage(0);
    let mut found = String::new();
    for at in at_ms {
        let at_us = at * MS;
        usage.advance(measure.start_us(at_us));
        let fits = measure.probe(Some(&usage), measure.start_us(at_us), 1).fits;
        if fits {
            usage.charge(at_us, 1);
        }
        found.push(if fits { '+' } else { '-' });
    }
    assert_eq!(found, expect, "{measure:?} at {at_ms:?}");
}

fn plain(max: i64) -> Measure {
    Measure { length_us: 60_000 * MS, rolling: false, max_micros: max }
}

fn rolling(max: i64) -> Measure {
    Measure { rolling: true, ..plain(max) }
}

#[test]
fn a_plain_window_is_half_open() {
    check(plain(1), &[0, 59_999, 60_000], "+-+");
}

#[test]
fn a_plain_window_is_aligned_so_twice_its_maximum_fits_across_the_edge() {
    check(plain(2), &[59_998, 59_999, 60_000, 60_001, 60_002], "++++-");
}

#[test]
fn windows_before_1970_are_aligned_too() {
    check(plain(1), &[-60_000, -1, 0], "+-+");
}

#[test]
fn a_window_that_is_held_is_the_one_that_would_be_worked_out() {
    let length_us = plain(1).length_us;
    for start_us in [-length_us, 0, length_us, plain(1).start_us(i64::MAX)] {
        let usage = plain(1).usage(start_us);
        let held = |at_us| plain(1).current_us(&usage, at_us);
        assert_eq!(held(start_us - 1), None);
        for at_us in [start_us, start_us.saturating_add(length_us - 1)] {
            assert_eq!(held(at_us), Some(plain(1).start_us(at_us)));
        }
        assert_eq!(start_us.checked_add(length_us).and_then(held), None);
    }
}

#[test]
fn a_call_that_would_overflow_its_counter_does_not_fit() {
    let mut usage = plain(i64::MAX).usage(0);
    usage.charge(0, i64::MAX);
    assert!(!plain(i64::MAX).probe(Some(&usage), 0, 1).fits);
    assert!(plain(i64::MAX).probe(Some(&usage), 0, 0).fits);
}

#[test]
fn a_rolling_window_admits_its_maximum_in_any_half_open_span() {
    check(rolling(2), &[59_998, 59_999, 60_000, 119_997, 119_998, 119_999, 119_999], "++--++-");
    check(rolling(1), &[0, 59_999, 60_000], "+-+");
}

#[test]
fn calls_at_the_same_instant_count_each() {
    check(plain(2), &[5, 5, 5], "++-");
    check(rolling(2), &[5, 5, 5], "++-");
}

#[test]
fn a_maximum_of_zero_refuses_every_call() {
    check(plain(0), &[0, 60_000], "--");
    check(rolling(0), &[0, 60_000], "--");
}

#[test]
fn it_tells_when_a_call_fits_again() {
    let measure = rolling(3);
    let mut usage = measure.usage(0);
    for at in [10, 20, 30] {
        usage.charge(at * MS, 1);
    }
    assert_eq!(measure.probe(Some(&usage), 40 * MS, 1).frees_at_us, Some(60_010 * MS));
    assert_eq!(measure.probe(Some(&usage), 40 * MS, 3).frees_at_us, Some(60_030 * MS));
    assert_eq!(measure.probe(Some(&usage), 40 * MS, 4).frees_at_us, None);
    let usage = Usage::Plain { start_us: 0, used_micros: 1 };
    assert_eq!(plain(1).probe(Some(&usage), plain(1).start_us(40 * MS), 1).frees_at_us, Some(60_000 * MS));
    assert_eq!(plain(1).probe(Some(&usage), plain(1).start_us(40 * MS), 2).frees_at_us, None);
}

#[test]
fn giving_back_touches_only_the_window_that_was_charged() {
    let mut usage = Usage::Plain { start_us: 60, used_micros: 2 };
    usage.give_back(0, 59, 1);
    assert_eq!(usage, Usage::Plain { start_us: 60, used_micros: 2 });
    usage.give_back(60, 61, 1);
    usage.give_back(60, 61, 5);
    assert_eq!(usage, Usage::Plain { start_us: 60, used_micros: 0 });

    let mut usage = rolling(9).usage(0);
    usage.charge(1, 4);
    usage.charge(2, 5);
    usage.give_back(0, 1, 4);
    usage.give_back(0, 1, 4);
    assert_eq!(
        usage,
        Usage::Rolling { charges: Box::new(VecDeque::from([Charge { at_us: 2, micros: 5 }])), used_micros: 5 }
    );
}
