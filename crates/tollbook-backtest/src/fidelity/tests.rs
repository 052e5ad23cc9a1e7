use tollbook_engine::{Activated, Args, Call, Kept, Opened, Outcome, RecordedArgs};
use tollbook_policy::Target;
use tollbook_policy::json::parse;

use super::*;
use crate::Candidate;

fn policy(text: &str) -> Policy {
    tollbook_policy::read("p.toll", text, Target::Native).unwrap().policy
}

const POLICY: &str = "default deny\ntool t {\n deny when args.n > 7\n limit 3 per minute per session\n\
    break after 2 identical calls within 30s\n}\n";

/// The events of a live engine under a policy: calls of several sessions, every third of which never
/// reached its tool.
fn log(text: &str, kept: Kept) -> (BTreeMap<PolicyHash, Policy>, Vec<Event>) {
    let policy = policy(text);
    let engine = Engine::compile(&policy, "srv").unwrap();
    let bounds = Bounds::default();
    let mut state = State::new(bounds, 3);
    let opened = Opened { engine: "t".into(), bounds, imported_from: None };
    let activated = Activated { server: "srv".into(), grant: None, policy: engine.policy() };
    let mut bodies = vec![(0, Body::Opened(opened)), (0, Body::Activated(activated))];
    for n in 0..60_i64 {
        let seq = u64::try_from(bodies.len()).unwrap();
        let (at_us, session) = (n * 4_000_000, format!("s{}", n % 3));
        let text = format!("{{\"n\":{}}}", n * n % 9);
        let node = parse(text.as_bytes()).unwrap();
        let args = RecordedArgs::keep(kept, Some(&node), &engine.reads("t"));
        let call = Call {
            at_us: Some(at_us),
            session: Some(&session),
            grant: Some("g"),
            agent: None,
            tool: "t",
            args: Args::whole(Some(&node), args.hash.unwrap()),
        };
        let decision = engine.decide(&mut state, seq, &call);
        bodies.push((at_us, Body::Decision(Box::new(decision.to_record(&engine, &call, args)))));
        let end = if n % 3 == 0 { tollbook_engine::End::Unreachable } else { tollbook_engine::End::Ok };
        state.settle(seq, end, None);
        let outcome = Outcome { call_seq: seq, end, upstream_us: None, result_bytes: None, result_hash: None };
        bodies.push((at_us, Body::Outcome(outcome)));
    }
    let events = (0..).zip(bodies).map(|(seq, (ts_us, body))| Event { seq, ts_us: Some(ts_us), body }).collect();
    (BTreeMap::from([(engine.policy(), policy)]), events)
}

fn replay(policies: &BTreeMap<PolicyHash, Policy>, events: &[Event]) -> Fidelity {
    let mut fidelity = Fidelity::default();
    policies.iter().for_each(|(hash, policy)| fidelity.policy(*hash, policy.clone()));
    assert_eq!(events.iter().find_map(|event| fidelity.lacks(event)).is_some(), policies.is_empty());
    fidelity.begin("i");
    events.iter().for_each(|event| fidelity.event(event));
    fidelity
}

fn record(event: &mut Event) -> Option<&mut Record> {
    if let Body::Decision(record) = &mut event.body { Some(record) } else { None }
}

#[test]
fn a_log_replayed_under_the_policy_that_wrote_it_gives_back_every_decision() {
    for kept in [Kept::Read, Kept::Full] {
        let (policies, events) = log(POLICY, kept);
        let fidelity = replay(&policies, &events);
        assert_eq!(fidelity.share(), Some((60, 60)));
        assert_eq!((fidelity.unknown, fidelity.different), (0, 0));
    }
}

/// A decision, a fact or an outcome that was changed by hand shows, and is named.
#[test]
fn one_change_by_hand_shows_and_is_named() {
    let (policies, events) = log(POLICY, Kept::Read);
    let denied = events
        .iter()
        .position(|event| matches!(&event.body, Body::Decision(r) if r.verdict == Some(Verdict::Deny)))
        .unwrap();
    let mut changed = events.clone();
    record(&mut changed[denied]).unwrap().verdict = Some(Verdict::Allow);
    let fidelity = replay(&policies, &changed);
    assert_eq!(fidelity.share(), Some((59, 60)));
    assert_eq!(fidelity.differences[0].seq, events[denied].seq);

    let mut changed = events.clone();
    let facts = changed.iter_mut().filter_map(record).find(|record| !record.limits.is_empty()).unwrap();
    facts.limits[0].used_before_micros += 1;
    assert_eq!(replay(&policies, &changed).share(), Some((59, 60)));

    let mut changed = events.clone();
    let outcome = changed
        .iter_mut()
        .find_map(|event| if let Body::Outcome(outcome) = &mut event.body { Some(outcome) } else { None });
    outcome.unwrap().end = tollbook_engine::End::Ok;
    assert!(replay(&policies, &changed).different > 0, "a unit that wasn't given back shows in later counts");
}

#[test]
fn what_the_log_lacks_is_unknown_and_never_counted_as_the_same() {
    let (policies, events) = log(POLICY, Kept::None);
    let fidelity = replay(&policies, &events);
    assert!(fidelity.unknown > 0 && fidelity.different == 0, "{fidelity:?}");
    let (_, events) = log(POLICY, Kept::Read);
    let fidelity = replay(&BTreeMap::new(), &events).unknown;
    assert_eq!(fidelity, 60, "the policy isn't in the log");
}

#[test]
fn the_recorded_policy_as_its_own_candidate_changes_nothing() {
    let (policies, events) = log(POLICY, Kept::Read);
    let mut candidate = Candidate::new(policies.into_values().next().unwrap()).unwrap();
    candidate.begin();
    events.iter().for_each(|event| candidate.event(event));
    let report = candidate.report();
    assert_eq!(report.all.change, crate::Change::default());
    assert_eq!((report.all.calls, report.all.exact(), report.all.refused_before), (60, 60, report.all.refused_after));
}
