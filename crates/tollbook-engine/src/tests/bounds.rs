//! Every map has a bound, and what is forgotten changes no answer.

use super::script::Driver;
use super::vectors::run;
use crate::Bounds;

const POLICY: &str = "default allow\ntool t { limit 1 per minute per session }\n";

fn bounded(policy: &str, bounds: Bounds) -> Driver {
    Driver::bounded(policy, bounds)
}

#[test]
fn a_call_that_needs_a_key_beyond_the_bound_is_refused() {
    let mut driver = bounded(POLICY, Bounds { keys_max: 2, ..Bounds::default() });
    let script = "as g/s1/a\n0 t {} => +\nas g/s2/a\n0 t {} => +\nas g/s3/a\n1 t {} => - state_full\n\
                  as g/s1/a\n1 t {} => - limit\nas g/s3/a\n59 t {} => - state_full\n60 t {} => +\n60 other {} => +";
    run(&mut driver, script);
    assert_eq!(driver.state.keys(), 1, "keys whose windows are past were dropped");
}

#[test]
fn a_unit_given_back_makes_room() {
    let mut driver = bounded(POLICY, Bounds { keys_max: 1, ..Bounds::default() });
    let script = "as g/s1/a\n0 t {} => +\nas g/s2/a\n0 t {} => - state_full\n0 settle 2 unreachable\n0 t {} => +";
    run(&mut driver, script);
}

/// The call's own key is idle when room is made for another of its keys.
#[test]
fn a_key_that_is_dropped_to_make_room_is_charged_all_the_same() {
    let policy = "default allow\ntool t {\n limit 1 per minute per grant\n limit 1 per minute per session\n}\n";
    let mut driver = bounded(policy, Bounds { keys_max: 2, ..Bounds::default() });
    let script = "as g/s1/a\n0 t {} => +\nas g/s2/a\n60 t {} => +\nas g/s3/a\n61 t {} => - limit";
    run(&mut driver, script);
}

#[test]
fn idle_keys_are_dropped_without_being_asked_for() {
    let mut driver = bounded(POLICY, Bounds::default());
    let calls: String = (0..20_000).map(|n| format!("as g/s{n}/a\n{} t {{}} => +\n", n / 10)).collect();
    run(&mut driver, &calls);
    // 600 sessions a minute: no more are held than twice what was live at a sweep, or the least swept.
    assert!(driver.state.keys() <= 2_048, "{} keys are held", driver.state.keys());
}

#[test]
fn rolling_charges_are_bounded_together() {
    let policy = "default allow\ntool t { limit 5 per rolling minute per session }\n";
    let mut driver = bounded(policy, Bounds { rolling_charges_max: 3, ..Bounds::default() });
    let script = "as g/s1/a\n0 t {} => +\n1 t {} => +\nas g/s2/a\n2 t {} => +\n3 t {} => - state_full\n60 t {} => +\n60 t {} => - state_full";
    run(&mut driver, script);
}

#[test]
fn sessions_that_breakers_look_back_on_are_bounded() {
    let policy = "default allow\nall tools { break after 2 identical calls within 60s }\n";
    let mut driver = bounded(policy, Bounds { sessions_max: 2, ..Bounds::default() });
    let script = "as g/s1/a\n0 t {} => +\nas g/s2/a\n10 t {} => +\nas g/s3/a\n11 t {} => - state_full\n\
                  as g/s1/a\n11 t {} => +\n11 t {} => - break\nas g/s3/a\n70 t {} => +";
    run(&mut driver, script);
}

#[test]
fn open_approvals_are_bounded() {
    let policy = "default allow\ntool t { approve by \"x\" within 60s }\n";
    let mut driver = bounded(policy, Bounds { approvals_max: 1, ..Bounds::default() });
    let script = "0 t {\"n\":1} => hold\n1 t {\"n\":2} => - state_full\n2 t {\"n\":1} => hold\n60 t {\"n\":2} => hold";
    run(&mut driver, script);
}

#[test]
fn calls_in_flight_are_bounded_and_the_oldest_is_given_up() {
    let policy = "default allow\ntool t { limit 3 per day per grant }\n";
    let mut driver = bounded(policy, Bounds { in_flight_max: 2, ..Bounds::default() });
    let script = "0 t {} => + used 0\n0 t {} => + used 1\n0 t {} => + used 2\n0 settle 1 unreachable\n0 t {} => - limit\n\
                  0 settle 2 unreachable\n0 t {} => + used 2";
    run(&mut driver, script);
    assert_eq!(driver.state.in_flight(), 2);
}

/// Shadow limits never refuse, not even for want of room.
#[test]
fn what_is_only_measured_goes_unmeasured_before_it_refuses() {
    let policy = "default allow\ntool t { shadow limit 1 per day per session }\n";
    let mut driver = bounded(policy, Bounds { keys_max: 1, ..Bounds::default() });
    run(&mut driver, "as g/s1/a\n0 t {} => +\nas g/s2/a\n0 t {} => +\n0 t {} => +");
}
