//! Planted truth: sessions of known use, and stuck ones among them.

use tollbook_engine::{Body, Event, EventRef, Hash128, Judge, Kept, Record, RecordedArgs};

use super::*;
use crate::Label;
use crate::bootstrap::Random;

fn hits(random: &mut Random, percent: u64) -> bool {
    random.next() % 100 < percent
}

fn record(session: usize) -> Record {
    Record {
        session: Some(format!("s{session}")),
        tool: Some("t".into()),
        args: RecordedArgs { kept: Kept::None, hash: Some(Hash128([0; 16])), ..RecordedArgs::default() },
        ..Record::new(Judge::Import, "srv")
    }
}

/// Sessions, an hour after one another, that make their calls in one second each.
fn columns(sessions: &[Vec<Label>]) -> Columns {
    let mut columns = Columns::default();
    columns.begin("i", &crate::Lineage::default());
    let mut seq = 0;
    for (session, labels) in sessions.iter().enumerate() {
        for label in labels {
            let ts_us = i64::try_from(session).unwrap() * 3_600_000_000;
            let body = Body::Decision(Box::new(record(session)));
            columns.event(&EventRef::from(&Event { seq, ts_us: Some(ts_us), body }), *label);
            seq += 1;
        }
    }
    columns
}

/// Use of which each call more has a chance of 70 %: 99 of 100 sessions stay within 13.
fn used(random: &mut Random) -> usize {
    let mut calls = 1;
    while hits(random, 70) {
        calls += 1;
    }
    calls
}
const PLANTED: u64 = 13;

fn planted(seed: u64, stuck: usize) -> Columns {
    let mut random = Random(seed);
    let mut sessions: Vec<Vec<Label>> = (0..500).map(|_| vec![Label::Clean; used(&mut random)]).collect();
    for place in 0..stuck {
        let calls = [vec![Label::Clean; 3], vec![Label::Bad; 60]].concat();
        sessions.insert(1 + place * 490 / stuck, calls);
    }
    columns(&sessions)
}

#[test]
fn the_interval_covers_the_planted_knee_at_its_rate() {
    let mut covered = 0;
    for seed in 0..200 {
        let advice = recommend(&planted(seed, 4), &[], &Terms::default()).expect("four sessions are stuck");
        let Knee { at, low, high, highest } = advice.knee;
        assert!(low <= at && high.is_none_or(|high| at <= high && high <= highest), "{seed}: {:?}", advice.knee);
        covered += u32::from((low..=high.unwrap_or(u64::MAX)).contains(&PLANTED));
        assert!(advice.max > highest.min(high.unwrap_or(u64::MAX)), "{seed}: there is room above healthy use");
        assert!(advice.refused.bad > 0 && advice.refused.sessions * 100 <= 504, "{seed}: {:?}", advice.refused);
        let (least, most) = advice.plateau;
        assert!(least <= advice.max && advice.max <= most && most < 63, "{seed}: {:?}", advice.plateau);
    }
    // Of 200 at 95 %, fewer than 180 is a chance of one in a thousand.
    assert!(covered >= 180, "{covered} of 200");
}

/// Why the knee's ends are order statistics: what a bootstrap over few sessions says of a high quantile is too sure.
#[test]
fn a_bootstrap_of_the_knee_would_not_cover_it_at_its_rate() {
    let (mut by_order, mut by_bootstrap) = (0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut used: Vec<u32> = (0..150).map(|_| u32::try_from(used(&mut random)).unwrap()).collect();
        used.sort_unstable();
        let found = knee(&used, 10).unwrap();
        by_order += u32::from((found.low..=found.high.unwrap_or(u64::MAX)).contains(&PLANTED));
        let mut knees: Vec<u64> = (0..200)
            .map(|_| {
                let one = |_| used[usize::try_from(random.next() % 150).unwrap()];
                let mut drawn: Vec<u32> = (0..150).map(one).collect();
                drawn.sort_unstable();
                knee(&drawn, 10).unwrap().at
            })
            .collect();
        knees.sort_unstable();
        by_bootstrap += u32::from((knees[5]..=knees[194]).contains(&PLANTED));
    }
    assert!(by_order >= 180 && by_bootstrap < 180, "order {by_order}, bootstrap {by_bootstrap} of 200");
}

#[test]
fn what_it_stops_is_told_with_how_far_that_is_known() {
    let advice = recommend(&planted(7, 10), &[], &Terms::default()).unwrap();
    let Interval { low, high } = advice.stops.expect("ten sessions are stuck");
    let stopped = advice.refused.bad * 10_000 / advice.evidence.bad;
    assert_eq!(advice.evidence.stuck, 10);
    assert!(low <= stopped && stopped <= high, "{advice:?}");
    // Nobody can tell from nine.
    assert_eq!(recommend(&planted(7, 9), &[], &Terms::default()).unwrap().stops, None);
}

#[test]
fn on_noise_it_declines() {
    for seed in 0..200 {
        let nothing_bad = recommend(&planted(seed, 0), &[], &Terms::default()).unwrap_err();
        assert!(matches!(nothing_bad, Declined::NothingBad { highest } if highest >= PLANTED), "{nothing_bad:?}");
        // Bad calls that lie anywhere are no faster than the clean ones.
        let mut random = Random(seed);
        let label = |random: &mut Random| if hits(random, 5) { Label::Bad } else { Label::Clean };
        let noise: Vec<Vec<Label>> =
            (0..500).map(|_| (0..used(&mut random)).map(|_| label(&mut random)).collect()).collect();
        match recommend(&columns(&noise), &[], &Terms::default()) {
            Err(Declined::NoRoom { bad }) => assert!(bad > 0),
            Ok(advice) => {
                let use_of_all = advice.knee.high.unwrap_or(advice.knee.highest);
                assert!(advice.max > use_of_all + use_of_all / 4, "{seed}: nothing tight: {advice:?}");
            }
            Err(other) => panic!("{seed}: {other:?}"),
        }
    }
}

#[test]
fn it_says_what_is_missing() {
    let few = columns(&vec![vec![Label::Clean, Label::Bad]; 99]);
    assert_eq!(recommend(&few, &[], &Terms::default()), Err(Declined::Sessions { found: 99, needed: 100 }));
    let short = columns(&vec![vec![Label::Clean, Label::Bad]; 40]);
    let terms = Terms { sessions_min: 40, ..Terms::default() };
    assert_eq!(recommend(&short, &[], &terms), Err(Declined::Days { found: 2, needed: 3 }));
    let terms = Terms { days_min: 2, ..terms };
    assert_eq!(recommend(&short, &[], &terms), Err(Declined::NoRoom { bad: 40 }));
}

#[test]
fn walk_forward_judges_later_sessions() {
    let advice = recommend(&planted(7, 10), &[], &Terms::default()).unwrap();
    let forward = advice.forward.expect("stuck sessions lie in both parts");
    assert_eq!((forward.chosen_on, forward.judged_on), (357, 153));
    assert!(forward.refused.bad > 0 && forward.refused.bad < forward.calls.1, "{forward:?}");
    assert_eq!(forward.calls.1 % 60, 0, "{forward:?}");
}

#[test]
fn ends_of_a_binomial() {
    // From a table of the binomial distribution; 0 says nothing.
    for (n, per_cent, expected) in
        [(0, 1, (0, 0)), (100, 0, (0, 0)), (100, 1, (3, 0)), (368, 1, (8, 1)), (367, 1, (8, 0)), (1_000, 5, (64, 37))]
    {
        assert_eq!(binomial_ends(n, f64::from(per_cent) / 100.0), expected, "{n} {per_cent}");
    }
}

#[test]
fn numbers_that_a_person_would_write() {
    assert_eq!(a_person_would_write(9, 31), [9, 10, 12, 15, 20, 25, 30]);
    for (least, expected) in [(0, 1), (1, 1), (9, 9), (11, 12), (61, 80), (81, 100), (101, 120), (1_300, 1_500)] {
        assert_eq!(round_up(least), expected, "{least}");
    }
}
