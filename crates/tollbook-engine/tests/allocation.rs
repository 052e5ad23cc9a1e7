//! What the engine asks of the allocator. A binary of its own, because it counts for the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it stands")]

use allocation_counter::measure;
use tollbook_engine::{Args, Bounds, Call, End, Engine, State, Verdict, canonical, hash128};
use tollbook_policy::Target;
use tollbook_policy::json::parse;

fn engine(text: &str) -> Engine {
    Engine::compile(&tollbook_policy::read("p.toll", text, Target::Native).unwrap().policy, "srv").unwrap()
}

const POLICY: &str = "default deny\n\
    all tools { limit 1_000_000 per hour per session\n break after 9 identical calls within 5m }\n\
    tool t {\n require args.s matches \"^pi_\"\n deny when args.amount > 10_000\n\
    limit 900_000 of args.amount per day per grant\n limit 10_000 per rolling minute per grant\n}\n";

#[test]
fn an_allowed_call_with_known_keys_allocates_nothing() {
    let engine = engine(POLICY);
    let mut state = State::new(Bounds::default(), 7);
    let nodes: Vec<String> = (0..10).map(|n| format!(r#"{{"s":"pi_{n}","amount":{n}}}"#)).collect();
    let parsed: Vec<_> = nodes.iter().map(|text| parse(text.as_bytes()).unwrap()).collect();
    let hashes: Vec<_> = parsed.iter().map(|node| hash128(canonical(node).as_bytes())).collect();
    let mut decide = |seq: u64| {
        let which = usize::try_from(seq).unwrap() % nodes.len();
        let call = Call {
            at_us: Some(1_767_603_600_000_000 + i64::try_from(seq).unwrap() * 10_000),
            session: Some("session"),
            grant: Some("grant"),
            agent: None,
            tool: "t",
            category: None,
            args: Args::whole(Some(&parsed[which]), hashes[which]),
            continues: false,
            codes: None,
        };
        let verdict = engine.decide(&mut state, seq, &call).verdict;
        state.settle(seq, End::Ok, Some(hashes[which]));
        verdict
    };
    // Until every table and queue has the size that it needs.
    (0..10_000).for_each(|seq| assert_eq!(decide(seq), Verdict::Allow));
    let counted = measure(|| (10_000..11_000).for_each(|seq| assert_eq!(decide(seq), Verdict::Allow)));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

/// The figure stands in `benches/README.md`.
#[test]
fn a_live_session_takes_less_than_this() {
    let sessions = if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 1_000_000 } else { 100_000 };
    let engine = engine("default allow\nall tools { limit 60 per minute per session }\n");
    let node = parse(b"{}").unwrap();
    let hash = hash128(b"{}");
    let mut state = State::new(Bounds::default(), 7);
    let counted = measure(|| {
        for seq in 0..sessions {
            let session = format!("20261123T064652Z-{seq:08x}");
            let call = Call {
                at_us: Some(1_767_603_600_000_000),
                session: Some(&session),
                grant: Some("grant"),
                agent: None,
                tool: "t",
                category: None,
                args: Args::whole(Some(&node), hash),
                continues: false,
                codes: None,
            };
            engine.decide(&mut state, seq, &call);
            state.settle(seq, End::Ok, None);
        }
    });
    let bytes_each = counted.bytes_current / i64::try_from(sessions).unwrap();
    eprintln!("{sessions} sessions: {} bytes, {bytes_each} each", counted.bytes_current);
    assert!(bytes_each < 250, "{bytes_each} bytes a session");
    assert_eq!(state.keys(), usize::try_from(sessions).unwrap());
}
