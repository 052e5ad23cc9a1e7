use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::lower::Target;
use crate::policy::{Condition, Day, Group, Op, Pattern, Scope, Window};
use crate::{Code, Decimal, Diagnostic, Policy};

fn read_back(text: &str) -> (Policy, Vec<Diagnostic>) {
    let (policy, _, told) = read(text, Target::Native);
    (policy, told)
}

/// `CODE text` for each thing that is wrong.
fn wrong(text: &str) -> Vec<String> {
    let (_, told) = read_back(text);
    told.iter().map(|one| format!("{} {}", one.code, &text[one.labels[0].span.clone()])).collect()
}

#[test]
fn scalars_stand_on_one_line_and_everything_else_has_lines() {
    let text = r#"{
  "version": "1",
  "default": "deny",
  "hide": ["delete_customer", "create_payout"],
  "tools": {
    "create_refund": {
      "require": [
        {
          "conditions": [
            { "path": "args.amount", "op": "gt", "value": 0 },
            {
              "path": "args.reason",
              "op": "in",
              "value": ["duplicate", "fraudulent"]
            }
          ],
          "on_deny": "no"
        }
      ],
      "deny_if": [
        {
          "conditions": []
        }
      ]
    },
    "list_customers": {}
  }
}
"#;
    let (policy, told) = read_back(text);
    assert_eq!(told, []);
    assert_eq!(policy.to_json(), text);
}

#[test]
fn a_requirement_of_nothing_is_dropped() {
    let text = r#"{"version": "1", "default": "deny", "tools": {"a": {"require": [{"conditions": []}]}}}"#;
    assert!(read_back(text).0.tools["a"].is_empty());
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    for (text, expected) in [
        (r#"{"version": "1", "default": "deny", "tols": {}}"#, vec!["P0112 \"tols\""]),
        (
            r#"{"version": "1", "default": "deny", "tools": {"a": {"limits": [{"counter": "c", "window": "minute"}]}}}"#,
            vec!["P0114 {"],
        ),
        (r#"{"version": "1", "default": "maybe"}"#, vec!["P0115 \"maybe\""]),
        (r#"{"version": "2", "default": "deny"}"#, vec!["P0116 \"2\""]),
        (r#"{"version": "1", "default": "deny", "groups": {}}"#, vec!["P0117 \"groups\""]),
        (r#"{"version": "1", "default": "deny", "tools": {"a": {"break": []}}}"#, vec!["P0117 \"break\""]),
        (r#"{"version": "1", "default": "deny", "hide": ["create_*"]}"#, vec!["P0117 \"create_*\""]),
        (
            r#"{"version": "1", "default": "deny", "tools": {"a": {"limits": [{"counter": "c", "window": "15m", "max": 1, "scope": "session"}]}}}"#,
            vec!["P0117 \"15m\"", "P0117 \"session\""],
        ),
        (
            r#"{"version": "1", "default": "deny", "tools": {"a": {"deny_if": [{"conditions": [{"path": "args.x", "op": "lt", "value": "1"}]}]}}}"#,
            vec!["P0223 \"1\""],
        ),
        (
            r#"{"version": "1", "default": "deny", "tools": {"a": {"deny_if": [{"conditions": [{"path": "x", "op": "eq", "value": null}]}]}}}"#,
            vec!["P0115 \"x\"", "P0113 null"],
        ),
        (r#"{"version": "1", "default": "deny", "default": "allow"}"#, vec!["P0111 \"default\""]),
        (r#"{"version": "1", "default": "deny""#, vec!["P0110 "]),
        ("[]", vec!["P0113 ["]),
        ("{}", vec!["P0114 {", "P0201 {"]),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn the_pointer_is_in_the_message() {
    let text = r#"{"version": "1", "default": "deny", "tools": {"a/b": {"limit": []}}}"#;
    let told = read_back(text).1;
    assert_eq!(told[0].message, "unknown key at `/tools/a~1b/limit`");
    assert_eq!(told[0].help, ["did you mean `limits`?"]);
}

#[test]
fn a_counter_that_two_tools_name_is_doubtful() {
    let limit = r#"{"limits": [{"counter": "c", "window": "day", "max": 1}]}"#;
    let text = format!(r#"{{"version": "1", "default": "deny", "tools": {{"a": {limit}, "b": {limit}}}}}"#);
    let (_, told) = read_back(&text);
    assert_eq!(
        told.iter().map(|one| (one.code, one.severity)).collect::<Vec<_>>(),
        [(Code::CounterShared, crate::Severity::Warning)]
    );
}

// Generated policies: every part of the model, with values that are valid.

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_.-]{0,8}|[ -)+-~é/\"\\\\]{1,6}"
}

fn scope() -> impl Strategy<Value = Scope> {
    prop::sample::select(vec![Scope::Grant, Scope::Session, Scope::Agent, Scope::Server, Scope::Everyone])
}

fn any_path() -> impl Strategy<Value = Path> {
    vec("[a-z]{1,4}|[a-z\\.\\[\\]\" é]{0,4}", 0..3).prop_map(|keys| Path { keys })
}

fn number() -> impl Strategy<Value = Decimal> {
    "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,8})?(e-?[0-9]{1,3})?".prop_map(|text| Decimal::parse(&text).unwrap())
}

fn scalar() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        number().prop_map(Literal::Number),
        "\\PC{0,6}".prop_map(Literal::String)
    ]
}

fn condition_of() -> impl Strategy<Value = Condition> {
    let ordered = prop::sample::select(vec![Op::Lt, Op::Lte, Op::Gt, Op::Gte]);
    let plain = prop::sample::select(vec![Op::Eq, Op::Neq, Op::Contains, Op::NotContains]);
    let pattern = prop::sample::select(vec![Op::Regex, Op::NotRegex]);
    let member = prop::sample::select(vec![Op::In, Op::NotIn]);
    let test = prop_oneof![
        (ordered, number().prop_map(Literal::Number)),
        (plain, scalar()),
        (pattern, "[a-z^$.]{0,6}".prop_map(Literal::String)),
        (member, vec(scalar(), 1..4).prop_map(Literal::List)),
        (Just(Op::Exists), any::<bool>().prop_map(Literal::Bool)),
    ];
    (any_path(), test).prop_map(|(path, (op, value))| Condition { path, op, value })
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of("\\PC{0,12}")
}

fn rule_of(alternatives: bool) -> impl Strategy<Value = Rule> {
    let all = vec(condition_of(), 1..3).prop_map(|all| (all, vec![]));
    let some = vec(vec(condition_of(), 1..3), 2..4).prop_map(|some| (vec![], some));
    let either =
        (all, some, any::<bool>()).prop_map(move |(all, some, first)| if first || !alternatives { all } else { some });
    (either, text(), any::<bool>()).prop_map(|((conditions, any_of), on_deny, shadow)| Rule {
        conditions,
        any_of,
        on_deny,
        shadow,
    })
}

fn window() -> impl Strategy<Value = Window> {
    let span = prop::sample::select(vec!["15m", "90s", "1d", "6h"])
        .prop_map(|text| Window::Span(crate::lexer::decode::duration(text).unwrap()));
    prop_oneof![Just(Window::Minute), Just(Window::Hour), Just(Window::Day), span]
}

fn limit_of(group: bool) -> impl Strategy<Value = Limit> {
    let count =
        if group { prop_oneof![Just(Some(Count::Total)), Just(Some(Count::Each))].boxed() } else { Just(None).boxed() };
    let how = (count, window(), any::<bool>(), 0..=10_000_u64);
    (how, option::of(any_path()), scope(), text(), any::<bool>()).prop_map(
        |((count, window, rolling, max), of, scope, on_deny, shadow)| Limit {
            counter: String::new(),
            count,
            window,
            rolling,
            max,
            of,
            scope,
            on_deny,
            shadow,
        },
    )
}

fn rules_of(group: bool) -> impl Strategy<Value = Rules> {
    let limits = (vec(limit_of(group), 0..3), btree_set(name(), 3)).prop_map(|(mut limits, names)| {
        limits.iter_mut().zip(names).for_each(|(limit, name)| limit.counter = name);
        limits
    });
    let days = btree_set(prop::sample::select(Day::WEEK.to_vec()), 1..8);
    let hours = (days, 0..1_440_u16, 0..1_440_u16, text(), any::<bool>()).prop_map(
        |(days, from_minute, to_minute, on_deny, shadow)| OnlyDuring {
            days: days.into_iter().collect(),
            from_minute,
            to_minute,
            zone: "Europe/London".to_owned(),
            on_deny,
            shadow,
        },
    );
    let on = prop_oneof![
        Just(Run::IdenticalCalls),
        Just(Run::IdenticalResults),
        Just(Run::Failures),
        (2..=8_u8).prop_map(|period_max| Run::Cycle { period_max }),
    ];
    let breaks = (on, 1..=125_u32, 1..=100_000_u32, text(), any::<bool>())
        .prop_map(|(on, after, within_s, on_deny, shadow)| Break { on, after, within_s, on_deny, shadow });
    let approve = (name(), vec(vec(condition_of(), 1..3), 0..3), 1..=100_000_u32, text(), any::<bool>())
        .prop_map(|(by, any_of, within_s, on_deny, shadow)| Approve { by, any_of, within_s, on_deny, shadow });
    let judged = (vec(rule_of(true), 0..3), vec(rule_of(false), 0..3));
    (judged, vec(hours, 0..2), vec(breaks, 0..2), limits, vec(approve, 0..2)).prop_map(
        |((require, deny_if), only_during, breaks, limits, approve)| Rules {
            require,
            deny_if,
            only_during,
            breaks,
            limits,
            approve,
        },
    )
}

fn selector_of() -> impl Strategy<Value = Selector> {
    prop_oneof![name().prop_map(Selector::Name), pattern_of()]
}

fn pattern_of() -> impl Strategy<Value = Selector> {
    let category = prop::sample::select(crate::CATEGORIES.to_vec());
    prop_oneof![
        "[a-z_]{0,3}\\*[a-z.]{0,3}".prop_map(Selector::Glob),
        category.prop_map(|name| Selector::Category(name.to_owned()))
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let groups = btree_map(name(), (vec(selector_of(), 1..4), rules_of(true)), 0..3)
        .prop_map(|groups| groups.into_iter().map(|(name, (of, rules))| Group { name, of, rules }).collect());
    let patterns = btree_map(pattern_of(), rules_of(false), 0..3)
        .prop_map(|patterns| patterns.into_iter().map(|(of, rules)| Pattern { of, rules }).collect());
    let default = prop_oneof![Just(Default::Allow), Just(Default::Deny)];
    let hide = btree_set(selector_of(), 0..3).prop_map(|hide| hide.into_iter().collect());
    let tools = btree_map(name(), rules_of(false), 0..4);
    (option::of("\\PC{0,8}"), default, hide, rules_of(false), groups, patterns, tools).prop_map(
        |(name, default, hide, all_tools, groups, patterns, tools)| {
            let mut policy = Policy { name, default, hide, all_tools, groups, patterns, tools };
            if policy.version() == VERSION_1 {
                policy.name = None;
            }
            policy
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_document_says_all_of_its_policy(policy in policy()) {
        let text = policy.to_json();
        let (back, told) = read_back(&text);
        prop_assert_eq!(told, vec![], "{}", text);
        prop_assert_eq!(&back, &policy);
        prop_assert_eq!(back.to_json(), text);
    }

    #[test]
    fn a_damaged_document_never_panics(policy in policy(), at in any::<prop::sample::Index>(), with in "\\PC{0,3}|null|\\[|1") {
        let mut text = policy.to_json();
        let mut from = at.index(text.len());
        while !text.is_char_boundary(from) { from -= 1; }
        let to = text[from..].char_indices().nth(2).map_or(text.len(), |(offset, _)| from + offset);
        text.replace_range(from..to, &with);
        let _ = read_back(&text);
    }
}
