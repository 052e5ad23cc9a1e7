//! One decision of ours beside one of the peers', in one run.
//!
//! The policy has 46 tools, each with one condition on an argument and one limit per session. Cedar and regorus have
//! no limits and governor no conditions, so each is measured at what it does.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request, RestrictedExpression};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use limitador::RateLimiter as Limitador;
use limitador::limit::{Context as LimitContext, Expression, Limit, Namespace, Predicate};
use tollbook_engine::{Args, Bounds, Call, Decision, End, Engine, Hash128, State};
use tollbook_policy::Target;
use tollbook_policy::json::parse;

const ARGS: &str = r#"{"customer":"cus_0123456789abcdef","amount":4200,"currency":"usd"}"#;
const KEYS: [usize; 3] = [1, 10_000, 1_000_000];

fn sessions(keys: usize) -> Vec<String> {
    (0..keys).map(|session| format!("session-{session:07}")).collect()
}

fn tollbook(criterion: &mut Criterion) {
    let mut text = String::from("default deny\n");
    for tool in 0..46 {
        text.push_str(&format!(
            "tool tool_{tool} {{\n deny when args.amount > 10_000\n limit 1_000_000_000 per day per session\n}}\n"
        ));
    }
    let policy = tollbook_policy::read("bench.toll", &text, Target::Native).expect("a good policy").policy;
    let engine = Engine::compile(&policy, "bench").expect("a good policy");
    let node = parse(ARGS.as_bytes()).expect("good arguments");
    for keys in KEYS {
        let sessions = sessions(keys);
        let mut state = State::new(Bounds::default(), 1);
        let call = |session| Call {
            at_us: Some(1_767_603_600_000_000),
            session: Some(session),
            grant: None,
            agent: None,
            tool: "tool_7",
            category: None,
            args: Args::whole(Some(&node), Hash128([7; 16])),
            continues: false,
            codes: None,
        };
        let mut seq = 0;
        for session in &sessions {
            engine.decide(&mut state, seq, &call(session));
            state.settle(seq, End::Ok, None);
            seq += 1;
        }
        let mut next = 0;
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("tollbook: condition and limit, facts", keys), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut decision = Decision::default();
                let mut left = rounds;
                while left > 0 {
                    // As many calls in flight as a busy gateway has; they end off the clock.
                    let calls = left.min(64);
                    let first = seq;
                    let began = Instant::now();
                    for _ in 0..calls {
                        next = (next + 7_919) % keys;
                        engine.decide_into(&mut decision, &mut state, seq, &call(&sessions[next]));
                        black_box(&decision);
                        seq += 1;
                    }
                    spent += began.elapsed();
                    (first..seq).for_each(|ended| state.settle(ended, End::Ok, None));
                    left -= calls;
                }
                spent
            });
        });
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("tollbook: condition and limit, facts, settled", keys), |bencher| {
            let mut decision = Decision::default();
            bencher.iter(|| {
                next = (next + 7_919) % keys;
                engine.decide_into(&mut decision, &mut state, seq, &call(&sessions[next]));
                state.settle(seq, End::Ok, None);
                seq += 1;
                black_box(decision.verdict)
            });
        });
    }
}

fn governor_keyed(criterion: &mut Criterion) {
    for keys in KEYS {
        let sessions = sessions(keys);
        let quota = Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not zero"));
        let limiter = RateLimiter::keyed(quota);
        sessions.iter().for_each(|session| drop(limiter.check_key(session)));
        let mut next = 0;
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("governor: keyed check", keys), |bencher| {
            // In batches, as ours is: the clock is read once for each.
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut left = rounds;
                while left > 0 {
                    let calls = left.min(64);
                    let began = Instant::now();
                    for _ in 0..calls {
                        next = (next + 7_919) % keys;
                        let _ = black_box(limiter.check_key(&sessions[next])).is_ok();
                    }
                    spent += began.elapsed();
                    left -= calls;
                }
                spent
            });
        });
    }
}

fn cedar(criterion: &mut Criterion) {
    let uid = |text: &str| -> EntityUid { text.parse().expect("a good id") };
    let context = || {
        Context::from_pairs([("amount".to_owned(), RestrictedExpression::new_long(4_200))]).expect("a good context")
    };
    let request =
        Request::new(uid(r#"Agent::"a""#), uid(r#"Action::"tool_7""#), uid(r#"Server::"s""#), context(), None).expect("a good request");
    for tools in [1, 46] {
        let mut text = String::new();
        let first = if tools == 1 { 7 } else { 0 };
        for tool in first..first + tools {
            text.push_str(&format!(
                "permit(principal, action == Action::\"tool_{tool}\", resource);\n\
                 forbid(principal, action == Action::\"tool_{tool}\", resource) when {{ context.amount > 10000 }};\n"
            ));
        }
        let policies: PolicySet = text.parse().expect("good policies");
        let (authorizer, entities) = (Authorizer::new(), Entities::empty());
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("cedar: condition alone, request built beforehand, policies", 2 * tools), |bencher| {
            bencher.iter(|| black_box(authorizer.is_authorized(&request, &policies, &entities)).decision());
        });
    }
}

/// Rego keeps nothing between calls, so the limit is left out: it would have to come with the input.
fn regorus(criterion: &mut Criterion) {
    let input = regorus::Value::from_json_str(&format!(r#"{{"tool":"tool_7","args":{ARGS}}}"#)).expect("good input");
    for tools in [1, 46] {
        let first = if tools == 1 { 7 } else { 0 };
        let mut text = String::from("package bench\ndefault allow := false\n");
        for tool in first..first + tools {
            text.push_str(&format!(
                "allow if {{\n input.tool == \"tool_{tool}\"\n not input.args.amount > 10000\n}}\n"
            ));
        }
        let mut engine = regorus::Engine::new();
        engine.add_policy("bench.rego".to_owned(), text).expect("a good policy");
        let mut judge = || {
            engine.set_input(input.clone());
            engine.eval_rule("data.bench.allow".to_owned()).expect("an answer")
        };
        assert_eq!(judge(), regorus::Value::from(true));
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("regorus: condition alone, input built beforehand, tools", tools), |bencher| {
            bencher.iter(|| black_box(judge()));
        });
    }
}

fn limitador_in_memory(criterion: &mut Criterion) {
    for limits in [1, 46] {
        let limiter = Limitador::new(1_000_000);
        let first = if limits == 1 { 7 } else { 0 };
        for tool in first..first + limits {
            let condition = Predicate::parse(format!("tool == 'tool_{tool}'")).expect("a good condition");
            let variable = Expression::parse("session").expect("a good variable");
            limiter.add_limit(Limit::new("bench", 1_000_000_000, 86_400, [condition], [variable]));
        }
        let namespace = Namespace::from("bench");
        let values = std::collections::HashMap::from([
            ("tool".to_owned(), "tool_7".to_owned()),
            ("session".to_owned(), "session-0000001".to_owned()),
        ]);
        criterion.benchmark_group("decide").bench_function(BenchmarkId::new("limitador: limit alone, in memory, limits", limits), |bencher| {
            bencher.iter(|| {
                let context: LimitContext<'_> = values.clone().into();
                black_box(limiter.check_rate_limited_and_update(&namespace, &context, 1)).is_ok()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = tollbook, governor_keyed, cedar, regorus, limitador_in_memory
}
criterion_main!(benches);
