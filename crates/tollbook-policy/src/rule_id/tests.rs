use super::*;
use crate::policy::{Approve, Break, Day, Duration, Literal, Op, Path, Rule, Run, Scope, Unit, Window};

fn condition(key: &str, op: Op) -> Condition {
    Condition { path: Path { keys: vec![key.to_owned()] }, op, value: Literal::Bool(true) }
}

fn limit_of(of: Option<&str>, window: Window, rolling: bool, scope: Scope) -> Limit {
    Limit {
        counter: "c".to_owned(),
        count: None,
        window,
        rolling,
        max: 1,
        of: of.map(|key| Path { keys: vec![key.to_owned()] }),
        scope,
        on_deny: None,
        shadow: false,
    }
}

#[test]
fn a_rule_is_named_by_its_conditions() {
    let rules = Rules {
        require: vec![
            Rule::default(),
            Rule { conditions: vec![condition("a", Op::Gt), condition("b/c", Op::NotIn)], ..Rule::default() },
            Rule { any_of: vec![vec![condition("a", Op::Eq)], vec![condition("b", Op::Exists)]], ..Rule::default() },
        ],
        ..Rules::default()
    };
    let ids = rules.ids(&tool_owner("a/b~c"));
    assert_eq!(
        ids.require,
        [
            "/tools/a~1b~0c/require/always",
            "/tools/a~1b~0c/require/args.a-gt+args[\"b~1c\"]-not_in",
            "/tools/a~1b~0c/require/args.a-eq|args.b-exists",
        ]
    );
}

#[test]
fn a_limit_is_named_by_its_window_and_scope() {
    let rules = Rules {
        limits: vec![
            limit_of(None, Window::Minute, false, Scope::Grant),
            limit_of(Some("amount"), Window::Day, false, Scope::Grant),
            limit_of(None, Window::Hour, true, Scope::Session),
            limit_of(None, Window::Span(Duration { count: 15, unit: Unit::Minute }), false, Scope::Everyone),
        ],
        ..Rules::default()
    };
    assert_eq!(
        rules.ids(ALL_TOOLS).limits,
        [
            "/all_tools/limits/calls-per-minute",
            "/all_tools/limits/args.amount-per-day",
            "/all_tools/limits/calls-per-rolling-hour-session",
            "/all_tools/limits/calls-per-15m-everyone",
        ]
    );
}

#[test]
fn equal_names_are_numbered_and_never_collide() {
    let approve = |by: &str| Approve { by: by.to_owned(), any_of: vec![], within_s: 1, on_deny: None, shadow: false };
    let rules = Rules { approve: ["a", "a", "a-2", "a", "a-2"].map(approve).to_vec(), ..Rules::default() };
    assert_eq!(
        rules.ids("/groups/g").approve,
        [
            "/groups/g/approve/a",
            "/groups/g/approve/a-2",
            "/groups/g/approve/a-2-2",
            "/groups/g/approve/a-3",
            "/groups/g/approve/a-2-3",
        ]
    );
}

#[test]
fn hours_and_breakers_have_names() {
    let rules = Rules {
        only_during: vec![OnlyDuring {
            days: vec![Day::Mon],
            from_minute: 485,
            to_minute: 1080,
            zone: "UTC".to_owned(),
            on_deny: None,
            shadow: false,
        }],
        breaks: vec![Break { on: Run::Cycle { period_max: 4 }, after: 3, within_s: 60, on_deny: None, shadow: false }],
        ..Rules::default()
    };
    let ids = rules.ids("/patterns/create_*");
    assert_eq!(ids.only_during, ["/patterns/create_*/only_during/08:05..18:00"]);
    assert_eq!(ids.breaks, ["/patterns/create_*/break/cycle"]);
}
