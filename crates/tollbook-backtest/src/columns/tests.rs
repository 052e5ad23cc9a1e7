//! Counting against the replay, on random calls.

use proptest::prelude::*;
use tollbook_engine::{Event, Hash128, Kept, Outcome, Record, RecordedArgs, Reset};

use super::*;
use crate::sweep::{Grid, Point, Sweep};

#[derive(Debug, Clone)]
struct Made {
    after_us: i64,
    timed: bool,
    session: Option<u8>,
    grant: Option<u8>,
    tool: u8,
    server: u8,
    bad: bool,
    begins: bool,
    carries_on: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let some = || prop_oneof![1 => Just(None), 9 => (0..3_u8).prop_map(Some)];
    let after_us = prop_oneof![Just(0), 0..90_000_000_i64, Just(60_000_000), Just(30_000_000)];
    let flags = (prop::bool::weighted(0.95), any::<bool>(), prop::bool::weighted(0.05), any::<bool>());
    (after_us, some(), some(), 0..3_u8, 0..2_u8, flags).prop_map(
        |(after_us, session, grant, tool, server, (timed, bad, begins, carries_on))| Made {
            after_us,
            timed,
            session,
            grant,
            tool,
            server,
            bad,
            begins,
            carries_on,
        },
    )
}

fn event(seq: u64, at_us: i64, made: &Made) -> Event {
    let record = Record {
        session: made.session.map(|session| format!("s{session}")),
        grant: made.grant.map(|grant| format!("g{grant}")),
        tool: Some(["get_note", "create_note", "delete_note"][usize::from(made.tool)].to_owned()),
        args: RecordedArgs { kept: Kept::None, hash: Some(Hash128([0; 16])), ..RecordedArgs::default() },
        ..Record::new(Judge::Import, format!("server{}", made.server))
    };
    Event { seq, ts_us: made.timed.then_some(at_us), body: Body::Decision(Box::new(record)) }
}

fn grid(of: &str) -> Grid {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Grid {
        of: of.to_owned(),
        windows: text(&["minute", "hour", "rolling 1m", "rolling 90s"]),
        scopes: text(&["session", "grant", "server", "everyone"]),
        breakers: Vec::new(),
        maxima: vec![0, 1, 2, 3, 5, 8, 40],
    }
}

/// Each instance carries on the one before it, or none.
fn lineage(calls: &[Made]) -> Lineage {
    let begins = calls.iter().filter(|made| made.begins);
    let carries = (1..).zip(begins).filter(|(_, made)| made.carries_on);
    let carried: Vec<_> = carries.map(|(number, _)| (format!("i{number:03}"), carries_on(number))).collect();
    Lineage::of(&carried)
}

fn carries_on(number: usize) -> Carried {
    Carried { server: None, from: vec![format!("i{:03}", number - 1)], sha256: [0; 32], replays: true }
}

fn both(of: &str, calls: &[Made]) -> (Vec<Point>, Vec<Point>) {
    let (grid, lineage) = (grid(of), lineage(calls));
    let (mut sweep, mut columns) = (Sweep::new(&grid).unwrap(), Columns::default());
    let (mut instance, mut at_us, mut seq) = (0, 0, 0);
    sweep.begin("i000", &lineage);
    columns.begin("i000", &lineage);
    for made in calls {
        if made.begins {
            instance += 1;
            sweep.begin(&format!("i{instance:03}"), &lineage);
            columns.begin(&format!("i{instance:03}"), &lineage);
            seq = 0;
            if made.carries_on {
                let body = Body::Carried(carries_on(instance));
                let event = Event { seq, ts_us: Some(at_us), body };
                sweep.event(&EventRef::from(&event), Label::Clean);
                columns.event(&EventRef::from(&event), Label::Clean);
                seq = 1;
            } else {
                at_us = 0;
            }
        }
        at_us += made.after_us;
        let event = event(seq, at_us, made);
        let label = if made.bad { Label::Bad } else { Label::Clean };
        sweep.event(&EventRef::from(&event), label);
        columns.event(&EventRef::from(&event), label);
        seq += 1;
    }
    let mut counted = Sweep::new(&grid).unwrap();
    let threads = calls.len() % 4;
    assert_eq!(counted.count(&columns, threads), 0, "all of it can be counted");
    (sweep.points(), counted.points())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counting_gives_what_the_replay_gives(calls in prop::collection::vec(made(), 0..120)) {
        for of in ["all tools", "category write", "get_note, delete_*"] {
            let (judged, counted) = both(of, &calls);
            prop_assert_eq!(judged, counted);
        }
    }
}

fn one_call() -> Made {
    Made {
        after_us: 0,
        timed: true,
        session: Some(0),
        grant: Some(0),
        tool: 0,
        server: 0,
        bad: false,
        begins: false,
        carries_on: false,
    }
}

/// What counting says of a call and another event.
fn check(bodies: Vec<Body>, expected: Option<Inexact>) {
    let mut columns = Columns::default();
    columns.begin("i", &Lineage::default());
    columns.event(&EventRef::from(&event(0, 10, &one_call())), Label::Clean);
    for (body, seq) in bodies.into_iter().zip(1..) {
        columns.event(&EventRef::from(&Event { seq, ts_us: Some(20), body }), Label::Clean);
    }
    assert_eq!(columns.lay_out(&[], Scope::Session).err(), expected);
}

#[test]
fn it_says_where_counting_is_not_exact() {
    let ended =
        |end| Body::Outcome(Outcome { call_seq: 0, end, upstream_us: None, result_bytes: None, result_hash: None });
    check(vec![ended(End::Ok)], None);
    check(vec![ended(End::ToolError)], None);
    check(vec![ended(End::Lost)], None);
    check(vec![ended(End::Unreachable)], Some(Inexact::GivenBack));
    check(vec![ended(End::RpcError)], Some(Inexact::GivenBack));
    check(vec![Body::Reset(Reset { counter: None, key: None, by: None })], Some(Inexact::Reset));
    let Event { body, .. } = event(1, 0, &one_call());
    check(vec![body.clone()], None);
    let mut columns = Columns::default();
    columns.begin("i", &Lineage::default());
    for ts_us in [20, 10] {
        columns.event(&EventRef::from(&Event { seq: 0, ts_us: Some(ts_us), body: body.clone() }), Label::Clean);
    }
    assert_eq!(columns.lay_out(&[], Scope::Session).err(), Some(Inexact::Unordered));
}

#[test]
fn units_given_back_on_another_tool_do_no_harm() {
    let mut columns = Columns::default();
    columns.begin("i", &Lineage::default());
    columns.event(&EventRef::from(&event(0, 10, &one_call())), Label::Clean);
    columns.event(&EventRef::from(&event(1, 10, &Made { tool: 1, ..one_call() })), Label::Clean);
    let outcome = Outcome { call_seq: 1, end: End::RpcError, upstream_us: None, result_bytes: None, result_hash: None };
    columns.event(&EventRef::from(&Event { seq: 2, ts_us: Some(20), body: Body::Outcome(outcome) }), Label::Clean);
    let of = |tool: &str| [Selector::Name(tool.to_owned())];
    assert_eq!(columns.lay_out(&of("get_note"), Scope::Session).map(|layout| layout.calls()), Ok(1));
    assert_eq!(columns.lay_out(&of("create_note"), Scope::Session).err(), Some(Inexact::GivenBack));
}

#[test]
fn a_count_answers_for_every_maximum() {
    let mut columns = Columns::default();
    columns.begin("i", &Lineage::default());
    for (seq, bad) in [false, false, true, true, false].into_iter().enumerate() {
        let made = Made { bad, ..one_call() };
        let label = if bad { Label::Bad } else { Label::Clean };
        columns.event(&EventRef::from(&event(u64::try_from(seq).unwrap(), 0, &made)), label);
    }
    let counts = columns.lay_out(&[], Scope::Session).unwrap().plain(&[60_000_000], 1).remove(0);
    let at = |max| {
        let Refused { clean, bad, sessions, stuck } = counts.at(max);
        (clean, bad, sessions, stuck)
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6].map(at),
        [(3, 2, 1, 1), (2, 2, 1, 1), (1, 2, 1, 1), (1, 1, 1, 1), (1, 0, 1, 0), (0, 0, 0, 0), (0, 0, 0, 0)]
    );
    assert_eq!(counts.highest(), 5);
    let steps: Vec<_> = counts.steps().into_iter().map(|(max, refused)| (max, refused.clean + refused.bad)).collect();
    assert_eq!(steps, [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)]);
}

#[test]
fn healthy_use_is_that_of_clean_calls() {
    let mut columns = Columns::default();
    columns.begin("i", &Lineage::default());
    // Three clean calls within a minute, a bad one among them; a fourth just outside.
    for (seq, (at_us, label)) in
        [(0, Label::Clean), (1, Label::Bad), (1, Label::Clean), (59_999_999, Label::Clean), (60_000_000, Label::Clean)]
            .into_iter()
            .enumerate()
    {
        columns.event(&EventRef::from(&event(u64::try_from(seq).unwrap(), at_us, &one_call())), label);
    }
    let layout = columns.lay_out(&[], Scope::Session).unwrap();
    assert_eq!(layout.healthy(60_000_000), [3]);
    assert_eq!(layout.healthy(1), [1]);
    assert_eq!((layout.labels(), layout.days(), layout.first_us()), ((4, 1), 1, vec![Some(0)]));
    assert_eq!(layout.only(&[false]).calls(), 0);
    assert_eq!(layout.busiest(60_000_000), [Busy { value: 0, start_us: 0, clean: 3, calls: 4 }]);
    assert_eq!(columns.name(Scope::Session, 0), "s0");
}

/// Two that ran at the same time had counters of their own each; one server's go on without the other's.
#[test]
fn it_says_where_instances_carry_on_more_than_one() {
    let call = |server: u8| event(9, 10, &Made { server, ..one_call() });
    let carried = |server: Option<&str>, from: &[&str]| Carried {
        server: server.map(str::to_owned),
        from: from.iter().map(|name| (*name).to_owned()).collect(),
        sha256: [0; 32],
        replays: true,
    };
    let check = |instances: &[(&str, &[Carried], &[u8])], expected: Option<Inexact>| {
        let all = instances.iter().flat_map(|(name, all, _)| all.iter().map(|one| ((*name).to_owned(), one.clone())));
        let lineage = Lineage::of(&all.collect::<Vec<_>>());
        let mut columns = Columns::default();
        for (name, all, servers) in instances {
            columns.begin(name, &lineage);
            let carried = all.iter().map(|one| Event { seq: 0, ts_us: Some(10), body: Body::Carried(one.clone()) });
            for event in carried.chain(servers.iter().map(|server| call(*server))) {
                columns.event(&EventRef::from(&event), Label::Clean);
            }
        }
        assert_eq!(columns.lay_out(&[], Scope::Grant).err(), expected, "{instances:?}");
    };
    let (zero, one) = (Some("server0"), Some("server1"));
    check(&[("a", &[], &[0]), ("b", &[carried(zero, &["a"])], &[0]), ("c", &[carried(zero, &["b"])], &[0])], None);
    check(&[("a", &[], &[0]), ("b", &[], &[0]), ("c", &[carried(zero, &["a", "b"])], &[0])], Some(Inexact::Carried));
    // The other of the two has never seen this server.
    check(&[("a", &[], &[0]), ("b", &[], &[1]), ("c", &[carried(zero, &["a", "b"])], &[0])], None);
    let both = [carried(zero, &["a"]), carried(one, &["b"])];
    check(&[("a", &[], &[0]), ("b", &[], &[1]), ("c", &both, &[0, 1])], Some(Inexact::Carried));
    check(&[("a", &[], &[0, 1]), ("b", &[carried(zero, &["a"])], &[0])], None);
    check(&[("a", &[], &[0, 1]), ("b", &[carried(zero, &["a"])], &[0, 1])], Some(Inexact::Carried));
    let both = [carried(zero, &["a"]), carried(one, &["a"])];
    check(&[("a", &[], &[0, 1]), ("b", &both, &[0, 1])], None);
    let unrecorded = Carried { replays: false, ..carried(None, &["a"]) };
    check(&[("a", &[], &[0]), ("b", &[unrecorded], &[0])], Some(Inexact::Carried));
}
