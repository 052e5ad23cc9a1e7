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
}

fn made() -> impl Strategy<Value = Made> {
    let some = || prop_oneof![1 => Just(None), 9 => (0..3_u8).prop_map(Some)];
    let after_us = prop_oneof![Just(0), 0..90_000_000_i64, Just(60_000_000), Just(30_000_000)];
    let flags = (prop::bool::weighted(0.95), any::<bool>(), prop::bool::weighted(0.05));
    (after_us, some(), some(), 0..3_u8, 0..2_u8, flags).prop_map(
        |(after_us, session, grant, tool, server, (timed, bad, begins))| Made {
            after_us,
            timed,
            session,
            grant,
            tool,
            server,
            bad,
            begins,
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

fn both(of: &str, calls: &[Made]) -> (Vec<Point>, Vec<Point>) {
    let grid = grid(of);
    let (mut sweep, mut columns) = (Sweep::new(&grid).unwrap(), Columns::default());
    sweep.begin("i", &crate::Lineage::default());
    columns.begin();
    let (mut at_us, mut seq) = (0, 0);
    for made in calls {
        if made.begins {
            sweep.begin("i", &crate::Lineage::default());
            columns.begin();
            (at_us, seq) = (0, 0);
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
    Made { after_us: 0, timed: true, session: Some(0), grant: Some(0), tool: 0, server: 0, bad: false, begins: false }
}

/// What counting says of a call and another event.
fn check(bodies: Vec<Body>, expected: Option<Inexact>) {
    let mut columns = Columns::default();
    columns.begin();
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
    columns.begin();
    for ts_us in [20, 10] {
        columns.event(&EventRef::from(&Event { seq: 0, ts_us: Some(ts_us), body: body.clone() }), Label::Clean);
    }
    assert_eq!(columns.lay_out(&[], Scope::Session).err(), Some(Inexact::Unordered));
}

#[test]
fn units_given_back_on_another_tool_do_no_harm() {
    let mut columns = Columns::default();
    columns.begin();
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
    columns.begin();
    for (seq, bad) in [false, false, true, true, false].into_iter().enumerate() {
        let made = Made { bad, ..one_call() };
        let label = if bad { Label::Bad } else { Label::Clean };
        columns.event(&EventRef::from(&event(u64::try_from(seq).unwrap(), 0, &made)), label);
    }
    let counts = columns.lay_out(&[], Scope::Session).unwrap().plain(&[60_000_000], 1).remove(0);
    let at = |max| {
        let Refused { clean, bad, sessions } = counts.at(max);
        (clean, bad, sessions)
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6].map(at),
        [(3, 2, 1), (2, 2, 1), (1, 2, 1), (1, 1, 1), (1, 0, 1), (0, 0, 0), (0, 0, 0)]
    );
    assert_eq!(counts.highest(), 5);
    let steps: Vec<_> = counts.steps().into_iter().map(|(max, refused)| (max, refused.clean + refused.bad)).collect();
    assert_eq!(steps, [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)]);
}

#[test]
fn healthy_use_is_that_of_clean_calls() {
    let mut columns = Columns::default();
    columns.begin();
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
