//! The engine and the reference agree on every decision and every fact, on random policies and scripts.
//!
//! `cargo test` runs some ten thousand calls; `TOLLBOOK_CASES=…` sets the number of scripts.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::reference::Reference;
use super::script::{Driver, Made, Step, policy};
use crate::End;

const S: i64 = 1_000_000;
/// Two days before a change of clocks in London.
const BEGINS_US: i64 = 1_774_569_540 * S;

fn condition() -> impl Strategy<Value = String> {
    let atom = select(vec![
        "args.n > 2",
        "args.n <= 3.5",
        "args.n == 1",
        "args.n != 2",
        "args.n in [1, 2, \"a\"]",
        "args.n not in [1, true]",
        "args.n exists",
        "args.n missing",
        "args.s matches \"^a\"",
        "args.s contains \"b\"",
        "args.l contains 1",
        "args.s == \"a\"",
        "args.o.k == true",
        "args.o.k exists",
        "args.n < 0",
    ]);
    let leaf = (any::<bool>(), atom)
        .prop_map(|(negated, atom)| if negated { format!("not ({atom})") } else { atom.to_owned() });
    leaf.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), select(vec!["and", "or"]), inner).prop_map(|(a, op, b)| format!("({a}) {op} ({b})"))
    })
}

fn limit(group: bool) -> impl Strategy<Value = String> {
    let count = if group { vec!["total ", "each "] } else { vec![""] };
    let window = vec!["minute", "hour", "day", "30s", "15m", "rolling minute", "rolling 45s", "rolling hour"];
    let scope = vec!["", " per session", " per agent", " per server", " per everyone", " per grant"];
    (select(count), 0..5_u32, prop::bool::weighted(0.3), select(window), select(scope)).prop_map(
        |(count, max, amount, window, scope)| {
            let (max, of) = if amount { (max * 3, " of args.n") } else { (max, "") };
            format!("limit {count}{max}{of} per {window}{scope}")
        },
    )
}

fn clause(group: bool) -> impl Strategy<Value = String> {
    let within = || select(vec!["20s", "90s", "10m"]);
    let clause = prop_oneof![
        4 => limit(group),
        1 => condition().prop_map(|condition| format!("require {condition}")),
        1 => condition().prop_map(|condition| format!("deny when {condition}")),
        1 => select(vec!["mon..fri 09:00..17:00", "sun 01:00..02:30", "fri..sun 22:00..02:00"])
            .prop_map(|hours| format!("only during {hours} \"Europe/London\"")),
        1 => (1..4_u32, within()).prop_map(|(after, within)| format!("break after {after} identical calls within {within}")),
        1 => (1..3_u32, within()).prop_map(|(after, within)| format!("break after {after} identical results within {within}")),
        1 => (1..3_u32, within()).prop_map(|(after, within)| format!("break after {after} failures within {within}")),
        1 => (2..4_u32, 2..4_u32, within())
            .prop_map(|(after, period, within)| format!("break after {after} repeats of a cycle up to {period} calls within {within}")),
        2 => (prop::option::of(condition()), within()).prop_map(|(condition, within)| {
            let when = condition.map(|condition| format!(" when {condition}")).unwrap_or_default();
            format!("approve by \"x\"{when} within {within}")
        }),
    ];
    (prop::bool::weighted(0.15), clause, prop::bool::weighted(0.2)).prop_map(|(shadow, clause, because)| {
        let (shadow, because) =
            (if shadow { "shadow " } else { "" }, if because { " because \"so it is\"" } else { "" });
        format!("    {shadow}{clause}{because}\n")
    })
}

fn block(head: &'static str, group: bool) -> impl Strategy<Value = String> {
    prop::collection::vec(clause(group), 0..4).prop_map(move |clauses| {
        // Counters by name, so that two limits of a block never share one.
        let named = clauses.iter().enumerate().map(|(index, clause)| match clause.contains("limit ") {
            true => match clause.split_once(" because ") {
                Some((limit, because)) => format!("{limit} as c{index} because {because}"),
                None => format!("{} as c{index}\n", clause.trim_end()),
            },
            false => clause.clone(),
        });
        format!("{head} {{\n{}}}\n", named.collect::<String>())
    })
}

fn policy_text() -> impl Strategy<Value = String> {
    let optional = |head, group| prop_oneof![2 => Just(String::new()), 1 => block(head, group)];
    (
        select(vec!["default allow\n", "default deny\nallow c\n"]),
        prop_oneof![9 => Just(""), 1 => Just("hide d\n")],
        optional("all tools", false),
        optional("group g of a, b", true),
        optional("tool *a*", false),
        optional("tool category write", false),
        block("tool a", false),
        optional("tool b", false),
    )
        .prop_map(|(default, hide, all, group, pattern, category, a, b)| {
            format!("{default}{hide}{all}{group}{pattern}{category}{a}{b}")
        })
}

fn args() -> impl Strategy<Value = String> {
    let n = vec![
        "",
        "\"n\":1",
        "\"n\":2.0",
        "\"n\":3",
        "\"n\":0.5",
        "\"n\":-1",
        "\"n\":\"1\"",
        "\"n\":null",
        "\"n\":9.125",
        "\"n\":true",
    ];
    let s = vec!["", "\"s\":\"a\"", "\"s\":\"ab\"", "\"s\":\"b\"", "\"s\":7"];
    let more = vec!["", "\"l\":[1,2]", "\"l\":[]", "\"o\":{\"k\":true}", "\"o\":{\"k\":null}", "\"o\":3"];
    // Few different calls, so that some are alike.
    prop_oneof![
        3 => select(vec!["{}".to_owned(), "{\"n\":1}".to_owned(), "{\"n\":1,\"s\":\"a\"}".to_owned()]),
        1 => (select(n), select(s), select(more)).prop_map(|(n, s, more)| {
            let members: Vec<&str> = [n, s, more].into_iter().filter(|member| !member.is_empty()).collect();
            format!("{{{}}}", members.join(","))
        }),
    ]
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let pause = prop_oneof![
        3 => Just(0), 3 => 1..5 * S, 2 => Just(5 * S), 2 => Just(15 * S), 1 => Just(20 * S), 1 => Just(30 * S), 1 => Just(45 * S), 1 => Just(60 * S),
        1 => 1..2_000 * S, 1 => Just(3_600 * S), 1 => Just(-5 * S),
    ];
    let name = |names: [&'static str; 2]| {
        prop::bool::weighted(0.8).prop_map(move |first| names[usize::from(!first)].to_owned())
    };
    let tool = select(vec!["a", "a", "a", "b", "b", "c", "d", "xay"]).prop_map(str::to_owned);
    let who = (name(["g1", "g2"]), name(["s1", "s2"]), name(["p1", "p2"]));
    let made =
        (tool, who, args(), prop::bool::weighted(0.05)).prop_map(|(tool, (grant, session, agent), args, continues)| {
            Step::Call(Made { at_us: 0, tool, grant, session, agent, args, continues })
        });
    let end = select(vec![
        End::Ok,
        End::Ok,
        End::ToolError,
        End::RpcError,
        End::Unreachable,
        End::Timeout,
        End::Cancelled,
        End::Lost,
    ]);
    // How many steps back; turned into a step when the script is known.
    let settle = (0..6_usize, end, prop::option::weighted(0.8, 0..2_u8)).prop_map(|(step, end, result)| Step::Settle {
        step,
        end,
        result,
    });
    let answer = (0..4_usize, prop::bool::weighted(0.8)).prop_map(|(step, approved)| Step::Answer { step, approved });
    (pause, prop_oneof![8 => made, 4 => settle, 2 => answer])
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..80).prop_map(|steps| {
        let mut now_us = BEGINS_US;
        let timed = steps.into_iter().enumerate().map(|(index, (pause, step))| {
            now_us += pause;
            match step {
                Step::Call(made) => Step::Call(Made { at_us: now_us, ..made }),
                Step::Settle { step, end, result } => {
                    Step::Settle { step: index.saturating_sub(1 + step), end, result }
                }
                Step::Answer { step, approved } => Step::Answer { step: index.saturating_sub(1 + step), approved },
            }
        });
        timed.collect()
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told to run longer")]
fn the_engine_agrees_with_the_definition() {
    let cases = std::env::var("TOLLBOOK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let calls = std::cell::Cell::new(0_u64);
    let outcome = runner.run(&(policy_text(), script()), |(text, script)| {
        let mut reference = Reference::new(policy(&text));
        let mut engine = Driver::new(&text);
        for (index, step) in script.iter().enumerate() {
            calls.set(calls.get() + u64::from(matches!(step, Step::Call(_))));
            prop_assert_eq!(
                engine.step(step),
                reference.step(step),
                "step {} of {:#?}\nunder\n{}",
                index,
                &script[..=index],
                text
            );
        }
        Ok(())
    });
    eprintln!("{} calls in {cases} scripts", calls.get());
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
