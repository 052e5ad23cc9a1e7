//! Rolling windows, counted by an interpreter of temporal logic that others wrote.
//!
//! Dogwood remembers every event and counts anew at each decision. A random script of calls goes through both: where
//! our engine lets a call through, Dogwood is told of it, and before each call it is asked whether as many calls of
//! the grant lie in the window as our engine's facts say.

use dogwood_language::{
    Authorizer, Decision, Event, LoweredPolicySet, PolicySchema, ServiceSchema, UNPINNED_EVENT_SCHEMA, Value,
};
use tollbook_engine::{Args, Bounds, Call, Engine, Hash128, State, Verdict};
use tollbook_policy::Target;

const SCHEMA: &str = r#"
namespace Toll {
    entity Agent;
    entity Server;
    type WriteInput = { grant: String, used: Long };
    type WriteOutput = {};
    action "Write" appliesTo {
        principal: [Agent],
        resource: [Server],
        context: { input: WriteInput, output?: WriteOutput }
    };
}
"#;

/// Allows a call whose `used` is what Dogwood counts itself. Calls stand at even seconds and what became of them a
/// second later, because its instants must differ, so a window of `seconds` is two seconds less here.
fn counting(seconds: i64) -> Authorizer {
    let policy = format!(
        "permit (principal, action == Toll::Action::\"Write\", resource)\n\
         when temporal {{ exists (n: Long). (\n\
         (count_within({}s, Toll::Action::\"Write\"::response{{ input.grant: context.input.grant }})) == n\n\
         && n == context.input.used) }};",
        seconds - 2
    );
    let service = ServiceSchema::builder().event_schema_str(UNPINNED_EVENT_SCHEMA).build().expect("an event schema");
    let schema = PolicySchema::from_cedarschema_str(SCHEMA).expect("a schema");
    Authorizer::new(LoweredPolicySet::from_str(&policy, &service, &schema).expect("a policy"))
}

fn event(kind: &str, second: i64, grant: &str, used: i64) -> Event {
    Event::builder("Toll::Action::Write", kind)
        .timestamp(second)
        .principal("Toll::Agent::\"a\"")
        .resource("Toll::Server::\"s\"")
        // What history remembers, and what the policy's context reads.
        .field("input", "grant", Value::String(grant.to_owned()))
        .request_context("input", "grant", Value::String(grant.to_owned()))
        .request_context("input", "used", Value::Int(used))
        .build()
}

#[test]
fn dogwood_counts_as_many_calls_in_a_rolling_window() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut calls, mut refused) = (0, 0);
    for script in 0..20 {
        let (max, seconds) = (random.i64(1..6), 2 * random.i64(5..60));
        let text = format!("default allow\ntool write {{ limit {max} per rolling {seconds}s per grant }}\n");
        let policy = tollbook_policy::read("p.toll", &text, Target::Native).expect("a policy").policy;
        let engine = Engine::compile(&policy, "s").expect("an engine");
        let mut state = State::new(Bounds::default(), 1);
        let mut dogwood = counting(seconds);
        let mut second = 2;
        for seq in 0..60 {
            // Now and then exactly to the edge of a window.
            second += if random.i64(0..5) == 0 { seconds } else { 2 * random.i64(1..=seconds / 4) };
            let grant = ["g1", "g2"][random.usize(0..2)];
            let call = Call {
                at_us: Some(second * 1_000_000),
                session: None,
                grant: Some(grant),
                agent: None,
                tool: "write",
                category: None,
                args: Args::whole(None, Hash128([0; 16])),
                continues: false,
                codes: None,
            };
            let decision = engine.decide(&mut state, seq, &call);
            let used = decision.limits[0].used_before_micros / 1_000_000;
            let told = dogwood.is_authorized(&event("request", second, grant, used)).expect("a decision");
            assert_eq!(
                told.decision(),
                Decision::Allow,
                "script {script}, call {seq}: {used} of {max} per {seconds}s by our count; {:?}",
                told.diagnostics().errors().collect::<Vec<_>>()
            );
            let wrong = dogwood.is_authorized(&event("request", second, grant, used + 1)).expect("a decision");
            assert_eq!(wrong.decision(), Decision::Deny, "script {script}, call {seq}: any count will do");
            if decision.verdict == Verdict::Allow {
                assert!(dogwood.is_authorized(&event("response", second + 1, grant, used)).is_none());
            } else {
                refused += 1;
            }
            calls += 1;
        }
    }
    println!("{calls} calls, {refused} refused");
    assert!(refused > calls / 10, "{refused} of {calls} calls refused: the scripts are too tame");
}
