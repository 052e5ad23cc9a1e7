//! What does a decision cost, and what does that depend on?
//!
//! `cargo bench -p tollbook-engine --bench decide`. Peers: `benches/peers`. Results: `benches/README.md`.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench fails where it stands"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use tollbook_engine::run::Runs;
use tollbook_engine::{Args, Bounds, Call, Decision, Engine, Hash128, State, canonical, hash128};
use tollbook_policy::json::parse;
use tollbook_policy::{Policy, Target};

/// A policy of this many tools, each with one condition on an argument and one limit.
fn policy(tools: usize) -> Policy {
    let mut text = String::from("default deny\n");
    for tool in 0..tools {
        text.push_str(&format!(
            "tool tool_{tool} {{\n deny when args.amount > 10_000\n limit 1_000_000_000 per day per session\n}}\n"
        ));
    }
    tollbook_policy::read("bench.toll", &text, Target::Native).expect("a good policy").policy
}

/// Arguments of 270 bytes.
const ARGS: &str = r#"{"customer":"cus_0123456789abcdef","amount":4200,"currency":"usd","reason":"requested_by_customer","metadata":{"order":"ord_20261123_000117","channel":"chat","agent":"support-7"},"lines":[{"sku":"A-1","count":2},{"sku":"B-22","count":1}],"note":"as agreed by telephone today"}"#;

fn frame() -> String {
    format!(r#"{{"jsonrpc":"2.0","id":117,"method":"tools/call","params":{{"name":"tool_7","arguments":{ARGS}}}}}"#)
}

/// A state that holds a counter for each of these sessions.
fn state_with(engine: &Engine, sessions: &[String]) -> State {
    let mut state = State::new(Bounds::default(), 1);
    let node = parse(ARGS.as_bytes()).expect("good arguments");
    for (seq, session) in (0..).zip(sessions) {
        engine.decide(&mut state, seq, &call(session, Args::whole(Some(&node), Hash128([0; 16]))));
        state.settle(seq, tollbook_engine::End::Ok, None);
    }
    state
}

fn call<'a>(session: &'a str, args: Args<'a>) -> Call<'a> {
    Call {
        at_us: Some(1_767_603_600_000_000),
        session: Some(session),
        grant: Some("g"),
        agent: None,
        tool: "tool_7",
        category: None,
        args,
        continues: false,
        codes: None,
    }
}

/// One decision on parsed arguments and a known key, facts included, and its settlement.
fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let node = parse(ARGS.as_bytes()).expect("good arguments");
    let args = Args::whole(Some(&node), Hash128([7; 16]));
    for (tools, keys) in [(46, 1), (46, 10_000), (46, 1_000_000), (10, 10_000), (100, 10_000), (1_000, 10_000)] {
        let engine = Engine::compile(&policy(tools), "bench").expect("a good policy");
        let sessions: Vec<String> = (0..keys).map(|session| format!("session-{session:07}")).collect();
        let mut state = state_with(&engine, &sessions);
        let mut decision = Decision::default();
        let (mut seq, mut next) = (u64::try_from(keys).unwrap_or(0), 0);
        group.bench_function(BenchmarkId::new("known key", format!("{tools} tools, {keys} keys")), |bencher| {
            bencher.iter(|| {
                seq += 1;
                // A stride that visits the keys far apart.
                next = (next + 7_919) % keys;
                engine.decide_into(&mut decision, &mut state, seq, &call(&sessions[next], args));
                state.settle(seq, tollbook_engine::End::Ok, None);
                black_box(decision.verdict)
            });
        });
    }
    group.finish();
}

/// From the bytes of a frame to the decision; hashing the arguments apart.
fn from_bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bytes");
    let engine = Engine::compile(&policy(46), "bench").expect("a good policy");
    let sessions = vec!["session".to_owned()];
    let mut state = state_with(&engine, &sessions);
    let frame = frame();
    let mut seq = 1;
    group.bench_function("frame to decision", |bencher| {
        bencher.iter(|| {
            seq += 1;
            let node = parse(frame.as_bytes()).expect("a good frame");
            let args = node.get("params").and_then(|params| params.get("arguments"));
            let decision = engine.decide(&mut state, seq, &call("session", Args::whole(args, Hash128([7; 16]))));
            state.settle(seq, tollbook_engine::End::Ok, None);
            black_box(decision.verdict)
        });
    });
    group.bench_function("read 270 bytes of arguments", |bencher| {
        bencher.iter(|| black_box(parse(ARGS.as_bytes())).is_ok())
    });
    group.bench_function("the same into serde_json::Value", |bencher| {
        bencher.iter(|| black_box(serde_json::from_str::<serde_json::Value>(ARGS)).is_ok());
    });
    let node = parse(ARGS.as_bytes()).expect("good arguments");
    group.bench_function("canonical form", |bencher| bencher.iter(|| black_box(canonical(&node)).len()));
    let text = canonical(&node);
    group.bench_function("hash", |bencher| bencher.iter(|| hash128(black_box(text.as_bytes()))));
    group.finish();
}

/// The detector of cycles of period 1 to 8, over 10,000 sessions.
fn cycles(criterion: &mut Criterion) {
    let calls: Vec<(usize, u64)> = (0..100_000_u64).map(|n| ((n * 7_919 % 10_000) as usize, n % 5)).collect();
    criterion.benchmark_group("runs").throughput(criterion::Throughput::Elements(100_000)).bench_function(
        "push, 10,000 sessions",
        |bencher| {
            bencher.iter_batched_ref(
                || vec![Runs::default(); 10_000],
                |sessions| {
                    for (session, id) in &calls {
                        sessions[*session].push(std::num::NonZeroU64::new(id + 1));
                    }
                    sessions[0].length(8)
                },
                BatchSize::LargeInput,
            );
        },
    );
}

criterion_group!(benches, decisions, from_bytes, cycles);
criterion_main!(benches);
