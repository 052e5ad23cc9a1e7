//! What the tests of several modules need: events of every shape, and directories that go away.

use proptest::prelude::*;
use tollbook_engine::{
    Activated, Answered, Body, Bounds, Carried, ClockBack, End, Event, Expired, Frozen, Gap, Hash128, Judge, Kept,
    LimitFact, Mode, Opened, Outcome, PolicyHash, Pruned, Record, RecordedArgs, Reset, Verdict,
};

/// A plain call.
pub fn record(tool: &str) -> Record {
    Record {
        session: Some("s-1".into()),
        grant: Some("g".into()),
        request_id: Some("1".into()),
        tool: Some(tool.into()),
        policy: Some(PolicyHash([7; 32])),
        verdict: Some(Verdict::Allow),
        decide_ns: Some(900),
        ..Record::new(Judge::Engine, "files")
    }
}

pub fn decided(tool: &str) -> Body {
    Body::Decision(Box::new(record(tool)))
}

pub fn ended(call_seq: u64) -> Body {
    Body::Outcome(Outcome {
        call_seq,
        end: End::Ok,
        upstream_us: Some(5),
        result_bytes: Some(10),
        result_hash: Some(Hash128([3; 16])),
    })
}

pub fn decision(seq: u64) -> Event {
    Event { seq, ts_us: Some(1_763_880_000_000_000 + i64::try_from(seq).unwrap()), body: decided("read_file") }
}

fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[a-z_]{0,12}",
        1 => Just("null".to_owned()),
        1 => Just("\0\u{1f}\u{7f}\u{2028}\u{feff}\u{10ffff}\"\\\r\n".to_owned()),
    ]
}

fn word<T: Copy + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = T> {
    (0..of.len()).prop_map(move |at| of[at])
}

fn hash() -> impl Strategy<Value = Hash128> {
    any::<[u8; 16]>().prop_map(Hash128)
}

fn opt<S: Strategy>(of: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    proptest::option::of(of)
}

fn fact() -> impl Strategy<Value = LimitFact> {
    (
        (nasty(), nasty(), nasty(), nasty(), any::<u64>(), any::<bool>()),
        (any::<i64>(), any::<i64>(), opt(any::<i64>()), any::<i64>(), opt(any::<i64>()), any::<bool>()),
    )
        .prop_map(|(a, b)| LimitFact {
            counter: a.0,
            owner: a.1,
            scope: a.2,
            key: a.3,
            window_s: a.4,
            rolling: a.5,
            window_start_us: b.0,
            used_before_micros: b.1,
            amount_micros: b.2,
            max_micros: b.3,
            frees_at_us: b.4,
            shadow: b.5,
        })
}

fn args() -> impl Strategy<Value = RecordedArgs> {
    (
        word(&[Kept::None, Kept::Read, Kept::Full]),
        opt(nasty()),
        opt(proptest::collection::vec(nasty(), 0..4)),
        opt(hash()),
        opt(any::<u64>()),
    )
        .prop_map(|(kept, json, keys, hash, bytes)| RecordedArgs { kept, json, keys, hash, bytes })
}

fn any_record() -> impl Strategy<Value = Record> {
    (
        (
            word(&[Judge::Engine, Judge::Gateway, Judge::Import]),
            nasty(),
            opt(nasty()),
            opt(nasty()),
            opt(nasty()),
            opt(nasty()),
            opt(nasty()),
            args(),
        ),
        (
            opt(any::<[u8; 32]>().prop_map(PolicyHash)),
            word(&[Mode::Enforce, Mode::Shadow]),
            opt(word(&[Verdict::Allow, Verdict::Deny, Verdict::Hold, Verdict::Unknown])),
            opt(nasty()),
            opt(nasty()),
            opt(nasty()),
            proptest::collection::vec(fact(), 0..3),
        ),
        (
            opt(any::<u64>()),
            opt(nasty()),
            opt(nasty()),
            proptest::collection::vec(nasty(), 0..3),
            opt(any::<u32>()),
            opt(any::<u32>()),
            opt(nasty()),
            opt(nasty()),
            opt(any::<u64>()),
        ),
    )
        .prop_map(|(a, b, c)| Record {
            judged_by: a.0,
            server: a.1,
            session: a.2,
            grant: a.3,
            agent: a.4,
            request_id: a.5,
            tool: a.6,
            args: a.7,
            policy: b.0,
            mode: b.1,
            verdict: b.2,
            reason: b.3,
            rule: b.4,
            message: b.5,
            limits: b.6,
            decide_ns: c.0,
            trace_id: c.1,
            label: c.2,
            shadow_rules: c.3,
            loop_period: c.4,
            loop_repeats: c.5,
            approval: c.6,
            category: c.7,
            continues: c.8,
        })
}

fn bounds() -> impl Strategy<Value = Bounds> {
    any::<[u64; 5]>().prop_map(|[keys_max, in_flight_max, sessions_max, approvals_max, rolling_charges_max]| Bounds {
        keys_max,
        in_flight_max,
        sessions_max,
        approvals_max,
        rolling_charges_max,
    })
}

fn body() -> impl Strategy<Value = Body> {
    let end =
        [End::Ok, End::ToolError, End::RpcError, End::Unreachable, End::Timeout, End::Cancelled, End::Lost].as_slice();
    let ended = (prop_oneof![4 => 0_u64..40, 1 => any::<u64>()], word(Vec::leak(end.to_vec())), opt(any::<u64>()))
        .prop_flat_map(|(call_seq, end, upstream_us)| {
            (opt(any::<u64>()), opt(hash())).prop_map(move |(result_bytes, result_hash)| {
                Body::Outcome(Outcome { call_seq, end, upstream_us, result_bytes, result_hash })
            })
        });
    prop_oneof![
        4 => any_record().prop_map(|record| Body::Decision(Box::new(record))).boxed(),
        4 => ended.boxed(),
        1 => (nasty(), bounds(), opt(nasty()))
            .prop_map(|(engine, bounds, imported_from)| Body::Opened(Opened { engine, bounds, imported_from })).boxed(),
        1 => (nasty(), opt(nasty()), any::<[u8; 32]>())
            .prop_map(|(server, grant, policy)| Body::Activated(Activated { server, grant, policy: PolicyHash(policy) })).boxed(),
        1 => (opt(any::<u64>()), nasty()).prop_map(|(calls, cause)| Body::Gap(Gap { calls, cause })).boxed(),
        1 => (nasty(), any::<bool>(), opt(nasty()))
            .prop_map(|(approval, approved, by)| Body::Answered(Answered { approval, approved, by })).boxed(),
        1 => nasty().prop_map(|approval| Body::Expired(Expired { approval })).boxed(),
        1 => (opt(nasty()), opt(nasty()), opt(nasty()))
            .prop_map(|(counter, key, by)| Body::Reset(Reset { counter, key, by })).boxed(),
        1 => (nasty(), any::<bool>(), opt(nasty()))
            .prop_map(|(grant, frozen, by)| Body::Frozen(Frozen { grant, frozen, by })).boxed(),
        1 => (opt(nasty()), proptest::collection::vec(nasty(), 0..3), any::<[u8; 32]>(), any::<bool>())
            .prop_map(|(server, from, sha256, replays)| Body::Carried(Carried { server, from, sha256, replays })).boxed(),
        1 => any::<u64>().prop_map(|behind_us| Body::ClockBack(ClockBack { behind_us })).boxed(),
        1 => (any::<u64>(), any::<i64>())
            .prop_map(|(first_seq, before_us)| Body::Pruned(Pruned { first_seq, before_us })).boxed(),
    ]
}

/// Up to `most` events of any shape, numbered from 0.
pub fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((opt(any::<i64>()), body()), 0..=most)
        .prop_map(|all| (0_u64..).zip(all).map(|(seq, (ts_us, body))| Event { seq, ts_us, body }).collect())
}

/// All that a log holds, by instance.
pub fn all_events(dir: &std::path::Path) -> Vec<(String, Vec<Event>)> {
    let reader = crate::Reader::open(&[dir]).expect("a log");
    let events = |name: &str| reader.events(name).expect("an instance").collect::<Result<Vec<_>, _>>().expect("events");
    reader.instances().map(|name| (name.to_owned(), events(name))).collect()
}

/// Names of the files below a directory, sorted.
pub fn files(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Appends a record's frame.
pub fn framed(out: &mut Vec<u8>, record: &[u8]) {
    crate::segment::frame_into(out, |out| out.extend_from_slice(record)).expect("a small record");
}
