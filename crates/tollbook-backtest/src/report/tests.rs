use super::*;

#[test]
fn headroom_is_the_smallest_share_that_enough_calls_stay_within() {
    let mut headroom = Headroom::default();
    assert_eq!(headroom.within(500), None);
    for used in 1..=100 {
        headroom.add(used, 200, 1);
    }
    assert_eq!(headroom.calls(), 100);
    assert_eq!(
        [500, 950, 990, 999, 1_000].map(|share| headroom.within(share)),
        [Some(2_500), Some(4_750), Some(4_950), Some(5_000), Some(5_000)]
    );
    headroom.add(i64::MAX, 1, 1);
    assert_eq!(
        headroom.within(1_000),
        u32::try_from(SHARE_MAX).ok(),
        "what is beyond every share is counted as the largest"
    );
}

#[test]
fn the_most_concerned_sessions_are_counted_first() {
    let session =
        |calls, newly_refused, first_refused| SessionTally { calls, newly_refused, newly_allowed: 0, first_refused };
    let by_session = [
        ("a", session(10, 1, Some(10))),
        ("b", session(10, 6, Some(3))),
        ("c", session(5, 0, None)),
        ("d", session(9, 3, Some(2))),
    ];
    let by_session = by_session.map(|(name, tally)| (name.to_owned(), tally)).into();
    let report = Report { by_session, ..Report::default() };
    assert_eq!(report.concentration([1, 2, 5]), [6, 9, 10]);
    assert_eq!((report.sessions_touched(), report.ended_there()), (3, 1));
    assert_eq!(report.exposed(), 7 + 7);
    assert_eq!(report.by_quarter(), [2, 0, 0, 1]);
    assert_eq!([4, 5, 8].map(|first| session(8, 1, Some(first)).quarter()), [Some(1), Some(2), Some(3)]);
}
