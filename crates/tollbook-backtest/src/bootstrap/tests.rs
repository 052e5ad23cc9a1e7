use super::*;

/// Stuck sessions of 1 to 100 bad calls, of which a limit lets 20 through: it stops 80 × 81 / 2 of 100 × 101 / 2.
fn planted(seed: u64, sessions: usize) -> Vec<(u64, u64)> {
    let mut random = Random(seed);
    let calls: Vec<u64> = (1..=100).collect();
    (0..sessions).filter_map(|_| random.one_of(&calls)).map(|calls| (calls.saturating_sub(20), *calls)).collect()
}
const PLANTED: u64 = 3_240 * 10_000 / 5_050;

#[test]
fn it_covers_the_planted_share_at_its_rate() {
    for (stuck, sessions) in [(10, 10), (20, 20), (40, 40), (40, 4_000)] {
        let covers = |seed: &u64| {
            let Interval { low, high } = interval(&planted(seed * 7 + 1, stuck), sessions).unwrap();
            (low..=high).contains(&PLANTED)
        };
        let covered = (0..200).filter(covers).count();
        // Of 200 at 95 %, fewer than 180 is a chance of one in a thousand.
        assert!(covered >= 180, "{covered} of 200 with {stuck} stuck of {sessions}");
    }
}

#[test]
fn the_same_sessions_have_the_same_interval_and_few_have_none() {
    let parts = planted(3, 50);
    assert_eq!(interval(&parts, 500), interval(&parts, 500));
    let Interval { low, high } = interval(&parts, 500).unwrap();
    assert!(low < high && high < 10_000, "{low} {high}");
    assert_eq!(interval(&parts[..9], 500), None);
    assert_eq!(interval(&[(5, 5); 10], 10), Some(Interval { low: 10_000, high: 10_000 }));
    assert_eq!(interval(&[(0, 5); 10], 1_000_000), Some(Interval { low: 0, high: 0 }));
}

#[test]
fn hits_are_binomial() {
    let mut random = Random(1);
    for (sessions, parts) in [(10, 10), (100, 3), (1_000_000, 5_000)] {
        let sum: usize = (0..2_000).map(|_| hits(sessions, parts, &mut random)).sum();
        let beside = u128::try_from(sum.abs_diff(2_000 * parts)).unwrap();
        let (n, p) = (u128::from(sessions), u128::try_from(parts).unwrap());
        // Four standard deviations of the sum, squared and multiplied by the sessions.
        assert!(beside * beside * n <= 16 * 2_000 * p * (n - p), "{sum} of {parts} in {sessions}");
    }
}

#[test]
fn the_ends_are_moved_apart_where_few_sessions_count() {
    // By tables of Student's and of the normal distribution.
    for (clusters, expect) in [(5, 9), (10, 85), (20, 159), (40, 203), (1_000_000, 249)] {
        let found = beyond(clusters, 10_000);
        assert!(found.abs_diff(expect) <= 2, "{found} of {clusters}");
    }
}
