use super::*;
use crate::tests::script::{Driver, Made, Step};
use crate::tests::vectors::run;
use crate::{Bounds, End};

const POLICY: &str = "default allow\n\
    all tools { limit 40 per rolling minute per session\n break after 4 identical calls within 10m }\n\
    tool a { limit 9 of args.n per hour per grant\n break after 2 identical results within 5m }\n\
    tool b { approve by \"x\" when args.n > 2 within 5m\n limit 5 per minute per agent }\n";

/// Steps without chance in them, of every kind.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for n in 0..600_usize {
        let made = Made {
            continues: false,
            at_us: i64::try_from(n).unwrap() * 1_700_000,
            tool: ["a", "b", "c"][n % 3].to_owned(),
            grant: format!("g{}", n % 5),
            session: format!("s{}", n % 7),
            agent: "p".to_owned(),
            args: format!("{{\"n\":{}}}", n * 7 % 4),
        };
        steps.push(Step::Call(made));
        match n % 5 {
            0 => steps.push(Step::Settle { step: steps.len() - 1, end: End::Ok, result: Some(1) }),
            1 => steps.push(Step::Settle { step: steps.len() - 1, end: End::RpcError, result: None }),
            2 => steps.push(Step::Answer { step: steps.len() - 1, approved: n % 2 == 0 }),
            _ => {}
        }
    }
    steps
}

fn bounds() -> Bounds {
    Bounds { keys_max: 20, sessions_max: 6, ..Bounds::default() }
}

#[test]
fn a_restored_state_decides_like_the_one_that_never_stopped() {
    let mut never_stopped = Driver::bounded(POLICY, bounds());
    let mut restored = Driver::bounded(POLICY, bounds());
    let mut verdicts = std::collections::BTreeSet::new();
    for (number, step) in steps().iter().enumerate() {
        if number % 13 == 0 {
            restored.state = State::restore(&restored.state.snapshot(), number as u64).unwrap();
        }
        let told = restored.step(step);
        assert_eq!(told, never_stopped.step(step), "step {number}");
        verdicts.extend(told.map(|told| told.reason));
        assert_eq!(restored.state.snapshot(), never_stopped.state.snapshot(), "step {number}");
    }
    assert!(verdicts.len() >= 5, "the script is too tame: {verdicts:?}");
}

/// Not the seed, not the process: only the events.
#[test]
fn the_same_events_give_the_same_bytes() {
    let mut driver = Driver::bounded(POLICY, bounds());
    driver.state = State::new(bounds(), 99);
    let mut other = Driver::bounded(POLICY, bounds());
    for step in steps() {
        driver.step(&step);
        other.step(&step);
    }
    assert_eq!(driver.state.snapshot(), other.state.snapshot());
    // The figure of another process, on another day.
    assert_eq!(crate::hash128(&other.state.snapshot()).to_string(), "7c198f94830ce526583e9401e7e30aea");
}

/// They told the counters of a pattern's block by the tool alone.
#[test]
fn counters_of_earlier_snapshots_go_on() {
    let mut driver = Driver::new("default deny\ntool a* { limit 2 per day per grant }\n");
    run(&mut driver, "0 ab {} => + used 0");
    let bytes = driver.state.snapshot();
    let owner = b"\x6c/patterns/a*";
    let at = bytes.windows(owner.len()).position(|part| part == owner).unwrap();
    let earlier = [&bytes[..at], b"\x60", &bytes[at + owner.len()..]].concat();
    driver.state = State::restore(&earlier, 0).unwrap();
    run(&mut driver, "1 ab {} => + used 1\n2 ab {} => - limit");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let mut driver = Driver::bounded(POLICY, bounds());
    steps().iter().take(50).for_each(|step| drop(driver.step(step)));
    let bytes = driver.state.snapshot();
    for end in 0..bytes.len() {
        assert!(State::restore(&bytes[..end], 0).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(State::restore(&longer, 0).is_err());
    // A damaged one is refused or restored, and never panics.
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        if let Ok(state) = State::restore(&damaged, 0) {
            driver.state = state;
            steps().iter().take(20).for_each(|step| drop(driver.step(step)));
        }
    }
}
