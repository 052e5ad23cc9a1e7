use super::*;
use crate::End;
use crate::tests::script::{Driver, Made, Step};
use crate::tests::vectors::{BEGINS_US, run};

const POLICY: &str = "default allow\n\
    all tools { limit 9 per rolling minute per session\n break after 4 identical calls within 10m }\n\
    tool a { limit 9 of args.n per hour per grant\n break after 2 identical results within 5m }\n\
    tool b { limit 5 per minute per agent }\n";

fn carried(driver: &Driver, at_us: i64) -> State {
    State::carried(Bounds::default(), [&driver.state], None, at_us)
}

/// Whoever restarts at any call, none being in flight, is told what the one is told that never stopped.
#[test]
fn counters_and_runs_go_on_as_though_nothing_had_happened() {
    let (mut never_stopped, mut restarted) = (Driver::new(POLICY), Driver::new(POLICY));
    let mut reasons = std::collections::BTreeSet::new();
    for n in 0..900_usize {
        let at_us = BEGINS_US + i64::try_from(n).unwrap() * 1_700_000;
        let made = Made {
            continues: false,
            at_us,
            tool: ["a", "b", "c"][n % 7 % 3].to_owned(),
            grant: format!("g{}", n % 5),
            session: format!("s{}", n % 4),
            agent: "p".to_owned(),
            args: format!("{{\"n\":{}}}", n * 7 / 50 % 4),
        };
        if n % 11 == 0 {
            restarted.state = carried(&restarted, at_us);
        }
        let told = restarted.step(&Step::Call(made.clone()));
        assert_eq!(told, never_stopped.step(&Step::Call(made)), "call {n}");
        reasons.extend(told.map(|told| told.reason));
        let end = [End::Ok, End::RpcError, End::ToolError][n % 3];
        let settle = Step::Settle { step: restarted.seqs.len() - 1, end, result: Some(u8::try_from(n / 60).unwrap()) };
        restarted.step(&settle);
        never_stopped.step(&settle);
    }
    assert!(reasons.len() >= 3, "the script is too tame: {reasons:?}");
    let bytes = |driver: &Driver| carried(driver, BEGINS_US + 2_000_000_000).snapshot();
    assert_eq!(bytes(&restarted).len(), bytes(&never_stopped).len(), "nothing is left behind");
}

const ROLLING: &str = "default deny\ntool t { limit 5 per rolling minute per grant }\n\
    tool u { limit 5 per minute per grant }\n";

/// What two processes have counted, each by itself, counts for the one that follows both.
#[test]
fn what_several_states_have_counted_adds_up() {
    let (mut one, mut other) = (Driver::new(ROLLING), Driver::new(ROLLING));
    run(&mut one, "0 t {} => +\n20 t {} => + used 1\n20 u {} => +");
    run(&mut other, "10 t {} => +\n30 u {} => +\n30 u {} => +");
    let mut heir = Driver::new(ROLLING);
    let at_us = BEGINS_US + 40_000_000;
    heir.state = State::carried(Bounds::default(), [&one.state, &other.state], None, at_us);
    run(
        &mut heir,
        "40 t {} => + used 3\n40 t {} => + used 4\n40 t {} => - limit used 5 frees 60\n\
         40 u {} => + used 3\n40 u {} => + used 4\n40 u {} => - limit used 5 frees 60\n\
         61 t {} => + used 4\n61 u {} => + used 0\n71 t {} => + used 4",
    );
}

#[test]
fn one_server_goes_on_without_another() {
    let mut other = Driver::new(ROLLING);
    run(&mut other, "0 t {} => +");
    let at_us = BEGINS_US + 1;
    let elsewhere = State::carried(Bounds::default(), [&other.state], Some("elsewhere"), at_us);
    assert_eq!((elsewhere.keys(), carried(&other, at_us).keys()), (0, 1));
    let server = other.engine.server().to_owned();
    assert_eq!(State::carried(Bounds::default(), [&other.state], Some(&server), at_us).keys(), 1);
}

/// A clock that was ahead doesn't shut a tool until it is that late.
#[test]
fn what_was_counted_by_a_clock_that_was_ahead_counts_as_now() {
    let mut ahead = Driver::new(ROLLING);
    run(&mut ahead, "9000 t {} => +\n9000 u {} => +\n9001 u {} => +");
    let mut heir = Driver::new(ROLLING);
    heir.state = carried(&ahead, BEGINS_US + 100_000_000);
    run(&mut heir, "100 t {} => + used 1\n100 u {} => + used 2\n161 t {} => + used 0\n161 u {} => + used 0");
}

#[test]
fn windows_that_have_passed_are_left_behind_and_calls_in_flight_stay_charged() {
    let mut earlier = Driver::new(ROLLING);
    run(&mut earlier, "0 t {} => +\n50 u {} => +\n59 t {} => +");
    let mut heir = Driver::new(ROLLING);
    heir.state = carried(&earlier, BEGINS_US + 60_000_000);
    assert_eq!((heir.state.keys(), heir.state.in_flight()), (1, 0));
    run(&mut heir, "60 t {} => + used 1\n60 u {} => + used 0");
}
