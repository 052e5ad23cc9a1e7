use super::*;

#[test]
fn whole_units_and_parts_of_them_make_one_headroom() {
    let mut tally = LimitTally {
        rule: String::new(),
        max_micros: 200_000_000,
        by_units: Vec::new(),
        headroom: Headroom::default(),
        busiest: Vec::new(),
    };
    let mut one_by_one = Headroom::default();
    // Whole, in parts, none, more than are counted by unit, and the most there is.
    for used_micros in [1_000_000, 1_500_000, 0, 7_000_000, 7_000_000, 100_001_000_000, i64::MAX] {
        tally.add(used_micros);
        one_by_one.add(used_micros, 200_000_000, 1);
    }
    assert_eq!(tally.headroom(), one_by_one);
    assert_eq!(tally.headroom().calls(), 7);
}
