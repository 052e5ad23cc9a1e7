use tollbook_engine::{Answered, Args, ArgsRef, Call, Event, Kept, Opened, Outcome, Record, RecordedArgs, Reset};
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
        let args = ArgsRef::keep(kept, Some(&node), &engine.reads("t", None)).to_recorded();
        let call = Call {
            at_us: Some(at_us),
            session: Some(&session),
            grant: Some("g"),
            agent: None,
            tool: "t",
            category: None,
            args: Args::whole(Some(&node), args.hash.unwrap()),
            continues: false,
            codes: None,
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
    assert_eq!(events.iter().find_map(|event| fidelity.lacks(&EventRef::from(event))).is_some(), policies.is_empty());
    fidelity.begin("i", &Lineage::default());
    events.iter().for_each(|event| fidelity.event(&EventRef::from(event)));
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
    candidate.begin("i", &Lineage::default());
    events.iter().for_each(|event| drop(candidate.event(&EventRef::from(event))));
    let report = candidate.report();
    assert_eq!(report.all.change, crate::Change::default());
    assert_eq!((report.all.calls, report.all.exact(), report.all.refused_before), (60, 60, report.all.refused_after));
}

/// What a call continues is part of the question: no engine answers it.
#[test]
fn the_rest_of_a_call_replays_as_it_was_recorded() {
    let mut live = Live::new(&policy(WATCHED));
    live.continues = Some(2);
    assert_eq!(live.call("edit", "write", "{}").0, Verdict::Allow);
    let policies = BTreeMap::from([(live.engine.policy(), policy(WATCHED))]);
    assert_eq!(replay(&policies, &live.events).share(), Some((1, 1)));
}

/// An engine with a log beside it, one event after another.
struct Live {
    engine: Engine,
    state: State,
    events: Vec<Event>,
    at_us: i64,
    /// What the next calls continue.
    continues: Option<u64>,
}

impl Live {
    fn new(policy: &Policy) -> Self {
        let engine = Engine::compile(policy, "srv").unwrap();
        let bounds = Bounds::default();
        let mut live = Self { state: State::new(bounds, 3), events: Vec::new(), at_us: 0, continues: None, engine };
        live.event(Body::Opened(Opened { engine: "t".into(), bounds, imported_from: None }));
        let policy = live.engine.policy();
        live.event(Body::Activated(Activated { server: "srv".into(), grant: None, policy }));
        live
    }

    fn event(&mut self, body: Body) -> u64 {
        let seq = u64::try_from(self.events.len()).unwrap();
        self.events.push(Event { seq, ts_us: Some(self.at_us), body });
        self.at_us += 1_000_000;
        seq
    }

    /// Makes a call that ends well; its decision's verdict and approval.
    fn call(&mut self, tool: &str, category: &str, args: &str) -> (Verdict, Option<String>) {
        let seq = u64::try_from(self.events.len()).unwrap();
        let node = parse(args.as_bytes()).unwrap();
        let kept = ArgsRef::keep(Kept::Read, Some(&node), &self.engine.reads(tool, Some(category))).to_recorded();
        let call = Call {
            at_us: Some(self.at_us),
            session: Some("s"),
            grant: Some("g"),
            agent: None,
            tool,
            category: Some(category),
            args: Args::whole(Some(&node), kept.hash.unwrap()),
            continues: self.continues.is_some(),
            codes: None,
        };
        let decision = self.engine.decide(&mut self.state, seq, &call);
        let told = (decision.verdict, decision.approval.clone());
        let record = decision.to_record(&self.engine, &call, kept);
        let body = Body::Decision(Box::new(Record { continues: self.continues, ..record }));
        drop(decision);
        self.event(body);
        if told.0 == Verdict::Allow {
            let end = tollbook_engine::End::Ok;
            self.state.settle(seq, end, None);
            let ended = Outcome { call_seq: seq, end, upstream_us: None, result_bytes: None, result_hash: None };
            self.event(Body::Outcome(ended));
        }
        told
    }

    fn answer(&mut self, approval: &str, approved: bool) {
        assert!(self.state.answer(approval, approved, self.at_us));
        self.event(Body::Answered(Answered { approval: approval.to_owned(), approved, by: Some("ada".into()) }));
    }
}

const WATCHED: &str = "default deny\ntool pay { approve by \"ops\" when args.n > 100 within 10m\n limit 3 per day }\n\
    tool category write { limit 2 per day as writes }\n";

/// A day with approvals, a reset and categories.
fn watched() -> Live {
    let mut live = Live::new(&policy(WATCHED));
    let (verdict, approval) = live.call("pay", "financial", r#"{"n":500}"#);
    assert_eq!(verdict, Verdict::Hold);
    live.answer(&approval.unwrap(), true);
    assert_eq!(live.call("pay", "financial", r#"{"n":500}"#).0, Verdict::Allow);
    let (verdict, approval) = live.call("pay", "financial", r#"{"n":500}"#);
    assert_eq!(verdict, Verdict::Hold, "an approval is good for one call");
    live.answer(&approval.unwrap(), false);
    assert_eq!(live.call("pay", "financial", r#"{"n":500}"#).0, Verdict::Deny);
    for verdict in [Verdict::Allow, Verdict::Allow, Verdict::Deny] {
        assert_eq!(live.call("edit", "write", "{}").0, verdict);
    }
    live.state.reset(Some("writes"), None);
    live.event(Body::Reset(Reset { counter: Some("writes".into()), key: None, by: None }));
    assert_eq!(live.call("edit", "write", "{}").0, Verdict::Allow);
    live
}

#[test]
fn approvals_resets_and_categories_replay() {
    let live = watched();
    let policies = BTreeMap::from([(live.engine.policy(), policy(WATCHED))]);
    let fidelity = replay(&policies, &live.events);
    assert_eq!((fidelity.share(), fidelity.unknown), (Some((8, 8)), 0), "{:?}", fidelity.differences);

    // Without what the person said, what was let through would have gone on waiting.
    let told = |event: &Event| matches!(event.body, Body::Answered(_));
    let unanswered: Vec<Event> = live.events.iter().filter(|event| !told(event)).cloned().collect();
    assert!(replay(&policies, &unanswered).different > 0);
}

/// From any event on, a replay that begins at a snapshot gives what the whole replay gives.
#[test]
fn a_replay_begins_where_a_snapshot_was_taken() {
    let live = watched();
    for cut in 2..live.events.len() {
        let mut whole = Fidelity::default();
        whole.policy(live.engine.policy(), policy(WATCHED));
        whole.begin("i", &Lineage::default());
        live.events[..cut].iter().for_each(|event| whole.event(&EventRef::from(event)));
        let bytes = whole.snapshot();
        assert_eq!(Fidelity::snapshot_policies(&bytes), Ok(vec![live.engine.policy()]));

        let mut rest = Fidelity::default();
        rest.policy(live.engine.policy(), policy(WATCHED));
        rest.restore("i", &Lineage::default(), &bytes).unwrap();
        live.events[cut..].iter().for_each(|event| rest.event(&EventRef::from(event)));
        assert_eq!((rest.different, rest.unknown), (0, 0), "from {cut}");
        assert_eq!(whole.same + rest.same, 8, "from {cut}");
    }
    assert!(Fidelity::default().restore("i", &Lineage::default(), b"no snapshot").is_err());
}

/// What a person said of a recorded call goes for the candidate's call too.
#[test]
fn a_candidate_takes_the_recorded_answers() {
    let live = watched();
    let mut same = Candidate::new(policy(WATCHED)).unwrap();
    same.begin("i", &Lineage::default());
    live.events.iter().for_each(|event| drop(same.event(&EventRef::from(event))));
    assert_eq!(same.report().all.change, crate::Change::default());

    let otherwise = WATCHED.replace("args.n > 100 within 10m", "args.n > 200 within 20m");
    let mut other = Candidate::new(policy(&otherwise)).unwrap();
    other.begin("i", &Lineage::default());
    live.events.iter().for_each(|event| drop(other.event(&EventRef::from(event))));
    assert_eq!(other.report().by_tool["pay"].change, crate::Change::default());
}

/// The lineage of an instance `b` that carries on an instance `a`.
fn heirs(from: &str) -> Lineage {
    let carried = Carried { server: None, from: vec![from.to_owned()], sha256: [0; 32], replays: true };
    Lineage::of(&[("b".to_owned(), carried)])
}

const DAILY: &str = "default deny\ntool t { limit 9 per day per grant }\n";

/// The events of a process that used eight of nine calls, and those of the next one, which has one more.
fn restarted() -> (BTreeMap<PolicyHash, Policy>, [Vec<Event>; 2], State) {
    let policy = policy(DAILY);
    let engine = Engine::compile(&policy, "srv").unwrap();
    let bounds = Bounds::default();
    let opened = || Body::Opened(Opened { engine: "t".into(), bounds, imported_from: None });
    let activated = Body::Activated(Activated { server: "srv".into(), grant: None, policy: engine.policy() });
    let calls = |state: &mut State, bodies: &mut Vec<Body>, count: u64| {
        for _ in 0..count {
            let seq = u64::try_from(bodies.len()).unwrap();
            let args = RecordedArgs::default();
            let borrowed = (&args).into();
            let call = Call {
                at_us: Some(7),
                session: Some("s"),
                grant: Some("g"),
                agent: None,
                tool: "t",
                category: None,
                args: Args::recorded(&borrowed, None),
                continues: false,
                codes: None,
            };
            let decision = engine.decide(state, seq, &call);
            bodies.push(Body::Decision(Box::new(decision.to_record(&engine, &call, args.clone()))));
        }
    };
    let mut state = State::new(bounds, 1);
    let mut first = vec![opened(), activated.clone()];
    calls(&mut state, &mut first, 8);
    let carried = State::carried(bounds, [&state], Some("srv"), 7);
    let told = Carried { server: Some("srv".into()), from: vec!["a".into()], sha256: [0; 32], replays: true };
    let mut second = vec![opened(), Body::Carried(told), activated];
    let mut state = State::new(bounds, 2);
    state.carry(&carried, None, 7);
    calls(&mut state, &mut second, 3);
    let numbered =
        |bodies: Vec<Body>| (0..).zip(bodies).map(|(seq, body)| Event { seq, ts_us: Some(7), body }).collect();
    (BTreeMap::from([(engine.policy(), policy)]), [numbered(first), numbered(second)], carried)
}

#[test]
fn what_an_instance_carries_on_is_what_the_replay_of_the_earlier_one_has_counted() {
    let (policies, [first, second], carried) = restarted();
    let known = || {
        let mut fidelity = Fidelity::default();
        policies.iter().for_each(|(hash, policy)| fidelity.policy(*hash, policy.clone()));
        fidelity
    };
    let replayed = |state: Option<State>, lineage: Option<Lineage>| {
        let (lacks_state, lineage) = (lineage.is_none(), lineage.unwrap_or_default());
        let mut fidelity = known();
        fidelity.begin("a", &lineage);
        first.iter().for_each(|event| fidelity.event(&EventRef::from(event)));
        fidelity.begin("b", &lineage);
        assert_eq!(fidelity.lacks_state(&EventRef::from(&second[1])), lacks_state);
        state.into_iter().for_each(|state| fidelity.carried(state));
        second.iter().for_each(|event| fidelity.event(&EventRef::from(event)));
        (fidelity.same, fidelity.different, fidelity.differences)
    };
    let verdicts = second.iter().filter_map(|event| record(&mut event.clone()).and_then(|record| record.verdict));
    assert_eq!(verdicts.collect::<Vec<_>>(), [Verdict::Allow, Verdict::Deny, Verdict::Deny]);
    let restored = || State::restore(&carried.snapshot(), 0).unwrap();
    assert_eq!(replayed(Some(restored()), Some(heirs("a"))), (11, 0, Vec::new()));
    assert_eq!(replayed(None, Some(heirs("a"))), (11, 0, Vec::new()), "the replay has it all the same");
    assert_eq!(replayed(Some(restored()), None), (11, 0, Vec::new()), "by itself, from what lies beside");

    let other = State::new(Bounds::default(), 0);
    let (same, different, differences) = replayed(Some(other), Some(heirs("a")));
    assert_eq!((same, different), (8, 4));
    assert_eq!((differences[0].instance.as_str(), differences[0].seq), ("b", 1));
    assert!(differences[0].recorded.contains("carried on from a"), "{differences:?}");
}

/// A looser candidate has used more by the end of the first process, which counts in the second.
#[test]
fn a_candidate_carries_on_what_it_has_counted_itself() {
    let (_, [first, second], _) = restarted();
    let refused = |policy_text: &str, lineage: &Lineage| {
        let mut candidate = Candidate::new(policy(policy_text)).unwrap();
        candidate.begin("a", lineage);
        first.iter().for_each(|event| drop(candidate.event(&EventRef::from(event))));
        candidate.begin("b", lineage);
        second.iter().for_each(|event| drop(candidate.event(&EventRef::from(event))));
        candidate.report().all.refused_after
    };
    let lineage = heirs("a");
    let counts = [9, 10, 11, 4].map(|max| refused(&DAILY.replace('9', &max.to_string()), &lineage));
    assert_eq!(counts, [2, 1, 0, 7]);
    assert_eq!(refused(DAILY, &Lineage::default()), 0, "each by itself");
}
