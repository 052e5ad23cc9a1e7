use proptest::prelude::*;

use super::*;
use crate::ast::{Comparison, Cond, Relation, Spanned, TestOp};
use crate::policy::{Condition, Day, Literal, Op, Path, Rules, Scope, Window};

fn lowered(text: &str, target: Target) -> (Policy, Places, Vec<Diagnostic>) {
    let (file, told) = crate::parser::parse(text);
    assert_eq!(told, [], "{text}");
    lower(&file, target)
}

fn policy(text: &str) -> Policy {
    let (policy, _, told) = lowered(text, Target::Native);
    assert_eq!(told, [], "{text}");
    policy
}

fn rules(clauses: &str) -> Rules {
    policy(&format!("default deny tool t {{ {clauses} }}")).tools.remove("t").unwrap()
}

fn counters(clauses: &str) -> Vec<String> {
    rules(clauses).limits.into_iter().map(|limit| limit.counter).collect()
}

/// Codes of what is wrong.
fn codes(text: &str, target: Target) -> Vec<&'static str> {
    lowered(text, target).2.iter().map(|told| told.code.as_str()).collect()
}

#[test]
fn a_counter_is_named_by_its_clause_alone() {
    assert_eq!(
        counters(
            "limit 1 per minute limit 1 per hour limit 1 per 15m limit 1 per rolling hour per session
             limit 1 of args.x per day limit 1 per minute per everyone limit 1 per minute per agent as mine"
        ),
        [
            "t_rate",
            "t_rate_hour",
            "t_rate_15m",
            "t_rate_rolling_hour_session",
            "t_total_day",
            "t_rate_everyone",
            "mine"
        ]
    );
}

#[test]
fn equal_counters_of_one_owner_are_told_once() {
    let text = "default deny tool a, b { limit 1 per minute limit 2 per minute per grant }";
    assert_eq!(codes(text, Target::Native), ["P0207"]);
    let blocks = "default deny tool a { limit 1 per minute } tool a { limit 2 per minute }";
    assert_eq!(codes(blocks, Target::Native), ["P0207"]);
    let apart = "default deny tool a { limit 1 per minute } tool b { limit 2 per minute }";
    assert_eq!(codes(apart, Target::Native), [""; 0]);
}

#[test]
fn blocks_of_one_tool_are_put_together_in_order() {
    let policy = policy("default deny tool a { limit 1 per minute } allow a tool b, a { limit 2 per hour }");
    let limits = &policy.tools["a"].limits;
    assert_eq!(limits.iter().map(|limit| limit.max).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(policy.tools["b"].limits[0].counter, "b_rate_hour");
    assert_eq!((limits[0].window, limits[0].scope), (Window::Minute, Scope::Grant));
}

/// The operators of each alternative, in order.
fn deny_ops(cond: &str) -> Vec<Vec<Op>> {
    let entries = rules(&format!("deny when {cond}")).deny_if;
    entries.iter().map(|rule| rule.conditions.iter().map(|condition| condition.op).collect()).collect()
}

#[test]
fn not_is_pushed_down_to_the_opposite() {
    use Op::{Eq, Exists, Gte, In, Lt, Neq, NotContains, NotIn, NotRegex};
    assert_eq!(deny_ops("not args.x < 1"), [[Gte]]);
    assert_eq!(deny_ops("not (args.x < 1 or args.y == 2)"), [[Gte, Neq]]);
    assert_eq!(deny_ops("not (args.x >= 1 and not args.y != 2)"), [[Lt], [Neq]]);
    assert_eq!(deny_ops("not (not (args.x == 1))"), [[Eq]]);
    assert_eq!(deny_ops("not args.x matches \"a\" and not args.y contains 1"), [[NotRegex, NotContains]]);
    assert_eq!(deny_ops("not args.x in [1] or not args.x not in [1]"), [[NotIn], [In]]);
    assert_eq!(deny_ops("not args.x exists"), [[Exists]]);
    let missing = &rules("deny when not args.x exists").deny_if[0].conditions[0];
    assert_eq!(missing.value, Literal::Bool(false));
}

#[test]
fn and_is_distributed_over_or() {
    use Op::{Eq, Gt, Lt, Neq};
    assert_eq!(
        deny_ops("(args.a == 1 or args.b != 1) and (args.c < 1 or args.d > 1)"),
        [[Eq, Lt], [Eq, Gt], [Neq, Lt], [Neq, Gt]]
    );
}

#[test]
fn alternatives_are_bounded_before_they_are_made() {
    let pair = "(args.a == 1 or args.b == 1)";
    let of = |n: usize| format!("default deny tool t {{ deny when {} }}", [pair].repeat(n).join(" and "));
    assert_eq!(codes(&of(6), Target::Native), [""; 0]);
    assert_eq!(codes(&of(7), Target::Native), ["P0211"]);
    assert_eq!(codes(&of(5_000), Target::Native), ["P0211"]);
}

#[test]
fn require_with_or_has_lists_and_without_has_conditions() {
    let rules = rules("require args.a exists and args.b exists require args.c exists or args.d exists");
    assert_eq!((rules.require[0].conditions.len(), rules.require[0].any_of.len()), (2, 0));
    assert_eq!((rules.require[1].conditions.len(), rules.require[1].any_of.len()), (0, 2));
}

#[test]
fn days_are_a_week_in_order() {
    let days = |text: &str| rules(&format!("only during {text} 22:00..06:00 \"UTC\"")).only_during.remove(0).days;
    assert_eq!(days("fri..mon, sat"), [Day::Mon, Day::Fri, Day::Sat, Day::Sun]);
    assert_eq!(days("tue"), [Day::Tue]);
}

#[test]
fn version_1_is_taken_whenever_it_is_enough() {
    for (clause, version) in [
        ("limit 3 per day per grant", "1"),
        ("require args.a.b > 1 because \"no\"", "1"),
        ("deny when args.a == 1 or args.b missing", "1"),
        ("limit 3 per 15m", "tollbook/1"),
        ("limit 3 per day because \"no\"", "tollbook/1"),
        ("deny when args[\"a.b\"] == 1", "tollbook/1"),
        ("deny when not args.a contains 1", "tollbook/1"),
        ("shadow deny", "tollbook/1"),
    ] {
        assert_eq!(policy(&format!("policy \"n\" default deny tool t {{ {clause} }}")).version(), version, "{clause}");
        let told = codes(&format!("default deny tool t {{ {clause} }}"), Target::PolicyLayer);
        assert_eq!(told.is_empty(), version == "1", "{clause} {told:?}");
    }
    assert_eq!(policy("default allow hide *").version(), "1");
    assert_eq!(policy("default allow hide create_*").version(), "tollbook/1");
}

#[test]
fn each_rule_has_the_place_of_its_clause() {
    let text = "default deny tool a, b { deny when args.x == 1 or args.x == 2 because \"no\" limit 5 per hour }";
    let (_, places, _) = lowered(text, Target::Native);
    let found: Vec<(&str, &str)> = places.iter().map(|(id, at)| (id.as_str(), &text[at.clone()])).collect();
    let deny = "deny when args.x == 1 or args.x == 2";
    assert_eq!(
        found,
        [
            ("/tools/a/deny_if/args.x-eq", deny),
            ("/tools/a/deny_if/args.x-eq-2", deny),
            ("/tools/a/limits/calls-per-hour", "limit 5 per hour"),
            ("/tools/b/deny_if/args.x-eq", deny),
            ("/tools/b/deny_if/args.x-eq-2", deny),
            ("/tools/b/limits/calls-per-hour", "limit 5 per hour"),
        ]
    );
}

#[test]
fn what_is_written_out_per_tool_is_bounded() {
    let names: Vec<String> = (0..400).map(|n| format!("t{n}")).collect();
    let text = format!("default deny tool {} {{ {} }}", names.join(", "), "deny ".repeat(400));
    assert_eq!(codes(&text, Target::Native), ["P0215"]);
}

#[test]
fn long_texts_are_bounded_as_they_are_written_out() {
    let names: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let deny = format!("deny because \"{}\" ", "x".repeat(4_000));
    let text = format!("default deny tool {} {{ {} }}", names.join(", "), deny.repeat(300));
    assert_eq!(codes(&text, Target::Native), ["P0215"]);
}

#[test]
fn a_shared_counter_is_told_under_the_strict_target_however_it_got_its_name() {
    let by_name = "default deny tool all_tools { limit 3 per minute } all tools { limit 3 per minute }";
    assert_eq!(codes(by_name, Target::PolicyLayer), ["P0316"]);
    assert_eq!(codes(by_name, Target::Native), [""; 0]);
}

// Three-valued logic: what a condition is on some arguments, and what its lists are on the same.

/// True, false or unknown.
type Truth = Option<bool>;

fn and(all: impl Iterator<Item = Truth>) -> Truth {
    let all: Vec<Truth> = all.collect();
    if all.contains(&Some(false)) {
        return Some(false);
    }
    (!all.contains(&None)).then_some(true)
}

fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

fn or(any: impl Iterator<Item = Truth>) -> Truth {
    not(and(any.map(not)))
}

fn key(path: &Path) -> usize {
    path.keys[0].parse().unwrap()
}

fn of_cond(cond: &Cond, truths: &[Truth]) -> Truth {
    match cond {
        Cond::Test(one) => truths[key(&one.path.node)],
        Cond::Not(inner) => not(of_cond(inner, truths)),
        Cond::And(parts) => and(parts.iter().map(|part| of_cond(part, truths))),
        Cond::Or(parts, _) => or(parts.iter().map(|part| of_cond(part, truths))),
    }
}

fn of_condition(condition: &Condition, truths: &[Truth]) -> Truth {
    let truth = truths[key(&condition.path)];
    match condition.op {
        Op::Lt => truth,
        Op::Gte => not(truth),
        other => panic!("{other}"),
    }
}

fn any_cond() -> impl Strategy<Value = Cond> {
    let test = (0..4_usize).prop_map(|key| {
        let value = Literal::Number(crate::Decimal::zero());
        let path = Spanned { span: 0..0, node: Path { keys: vec![key.to_string()] } };
        let op = TestOp::Compare(Relation::Less, Spanned { span: 0..0, node: value });
        Cond::Test(Comparison { span: 0..0, path, op })
    });
    test.prop_recursive(4, 12, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.prop_map(|inner| Cond::Not(Box::new(inner))),
            parts.clone().prop_map(Cond::And),
            parts.prop_map(|parts| Cond::Or(parts, 0..0)),
        ]
    })
}

proptest! {
    #[test]
    fn the_lists_are_what_the_condition_is_in_three_values(
        cond in any_cond(),
        truths in prop::collection::vec(prop::option::of(any::<bool>()), 4),
    ) {
        if let Some(lists) = condition::lists(&cond, Target::Native, &mut Vec::new()) {
            let found = or(lists.iter().map(|list| and(list.iter().map(|one| of_condition(one, &truths)))));
            prop_assert_eq!(found, of_cond(&cond, &truths));
        }
    }
}
