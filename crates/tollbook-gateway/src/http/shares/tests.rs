use super::*;

/// Grants ask for room as often as they like, one after the other; how much does each get?
#[track_caller]
fn check(most: usize, asks: &[(&str, usize)], expect: &[usize]) {
    let shares = Arc::new(Mutex::new(Shares::new(most)));
    let permits: Vec<Vec<Permit>> =
        asks.iter().map(|(grant, times)| (0..*times).filter_map(|_| Permit::of(&shares, grant)).collect()).collect();
    assert_eq!(permits.iter().map(Vec::len).collect::<Vec<_>>(), expect, "{most} {asks:?}");
    drop(permits);
    let left = lock(&shares);
    assert!(left.all == 0 && left.by_grant.is_empty(), "{left:?}");
}

#[test]
fn the_last_quarter_is_for_those_who_hold_less_than_a_quarter() {
    check(100, &[("a", 500)], &[75]);
    check(100, &[("a", 500), ("b", 500)], &[75, 25]);
    check(100, &[("a", 500), ("b", 10), ("c", 500)], &[75, 10, 15]);
    check(100, &[("a", 40), ("b", 40), ("a", 500), ("c", 500)], &[40, 35, 0, 25]);
    check(100, &[("a", 10), ("b", 10), ("c", 10)], &[10, 10, 10]);
}

#[test]
fn little_room_is_whose_comes_first() {
    check(0, &[("a", 2)], &[0]);
    check(1, &[("a", 2), ("b", 1)], &[1, 0]);
    check(3, &[("a", 9), ("b", 1)], &[3, 0]);
    check(4, &[("a", 9), ("b", 9)], &[3, 1]);
}
