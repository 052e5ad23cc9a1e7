use tollbook_engine::{Body, Event, Hash128, Judge, Kept, Record, RecordedArgs};

use super::*;

fn grid(windows: &[&str], maxima: &[u64]) -> Grid {
    Grid {
        of: "all tools".to_owned(),
        windows: windows.iter().map(|window| (*window).to_owned()).collect(),
        scopes: vec!["session".to_owned()],
        breakers: Vec::new(),
        maxima: maxima.to_vec(),
    }
}

/// Ten sessions that make five calls in a minute, and one that makes thirty, of which all but the first
/// five are a loop.
fn swept(grid: &Grid) -> Vec<Point> {
    let mut sweep = Sweep::new(grid).unwrap();
    sweep.begin("i", &Lineage::default());
    let mut seq = 0;
    for session in 0..11_u8 {
        for call in 0..if session == 10 { 30 } else { 5_i64 } {
            let args = RecordedArgs { kept: Kept::None, hash: Some(Hash128([session; 16])), ..RecordedArgs::default() };
            let record = Record {
                session: Some(format!("s{session}")),
                tool: Some("t".into()),
                args,
                ..Record::new(Judge::Import, "srv")
            };
            let ts_us = Some(i64::from(session) * 3_600_000_000 + call * 1_000_000);
            let event = Event { seq, ts_us, body: Body::Decision(Box::new(record)) };
            seq += 1;
            let label = if session == 10 && call >= 5 { Label::Bad } else { Label::Clean };
            sweep.event(&EventRef::from(&event), label);
        }
    }
    sweep.points()
}

#[test]
fn the_planted_knee_is_found() {
    let points = swept(&grid(&["minute"], &[1, 2, 4, 5, 6, 10, 30]));
    let figures: Vec<_> = points.iter().map(|p| (p.max, p.refused_clean, p.refused_bad, p.frontier)).collect();
    assert_eq!(
        figures,
        [
            (1, 44, 25, false),
            (2, 33, 25, false),
            (4, 11, 25, false),
            (5, 0, 25, true),
            (6, 0, 24, false),
            (10, 0, 20, false),
            (30, 0, 0, false)
        ]
    );
    assert_eq!(points[0].sessions_touched, 11);
    assert_eq!(points[3].sessions_touched, 0);
}

#[test]
fn a_plateau_is_the_widest_range_by_ratio_that_refuses_the_same_and_stops_something() {
    let mut line = swept(&grid(&["minute"], &[1, 2, 4, 6, 10, 30, 90, 100]));
    let told = |line: &[Point]| -> Vec<u64> { line.iter().filter(|p| p.plateau).map(|p| p.max).collect() };
    assert_eq!(told(&line), [] as [u64; 0], "from 30 on nothing is stopped, and no two before are the same");
    let figures = [(9, 9), (5, 9), (5, 9), (0, 8), (0, 8), (0, 8), (0, 0), (0, 0)];
    for (point, (clean, stopped)) in line.iter_mut().zip(figures) {
        (point.refused_clean, point.refused_bad) = (clean, stopped);
    }
    mark_plateau(&mut line);
    assert_eq!(told(&line), [6, 10, 30]);
}

#[test]
fn breakers_are_judged_beside_limits() {
    let breakers = vec!["identical calls within 10m".to_owned()];
    let points = swept(&Grid { breakers, ..grid(&["minute"], &[3, 5]) });
    let told: Vec<_> = points.iter().map(|p| (p.clause.as_str(), p.refused_clean, p.refused_bad)).collect();
    // Every call of a session is the same, so the fourth and fifth of each are refused too.
    assert_eq!(
        told,
        [
            ("limit 3 per minute per session", 22, 25),
            ("limit 5 per minute per session", 0, 25),
            ("break after 3 identical calls within 10m", 22, 25),
            ("break after 5 identical calls within 10m", 0, 25),
        ]
    );
}

#[test]
fn what_stops_nothing_is_on_no_frontier() {
    let mut points = swept(&grid(&["minute", "hour"], &[40, 60]));
    points.extend(swept(&grid(&["minute"], &[1])));
    let told: Vec<_> = points.iter().map(|p| (p.max, p.refused_bad, p.frontier)).collect();
    assert_eq!(told, [(40, 0, false), (60, 0, false), (40, 0, false), (60, 0, false), (1, 25, true)]);
}

#[test]
fn what_cannot_be_tried_is_told() {
    assert_eq!(Sweep::new(&grid(&["minute"], &vec![1; 1_001])).unwrap_err(), GridError::TooMany(1_001));
    let error = Sweep::new(&grid(&["fortnight"], &[1])).unwrap_err().to_string();
    assert!(error.contains("per fortnight per session"), "{error}");
}
