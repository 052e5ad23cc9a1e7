use super::*;
use crate::{Target, read};

fn policy(text: &str) -> Policy {
    read("p.toll", &format!("default deny {text}"), Target::Native)
        .unwrap_or_else(|told| panic!("{text} {told:?}"))
        .policy
}

/// How tool `t` changed, and what shows it.
#[track_caller]
fn check(old: &str, new: &str, change: Change, because: &[&str]) {
    let tool = |clauses: &str| policy(&format!("tool t {{ {clauses} }}"));
    let all = diff(&tool(old), &tool(new));
    let found = all.iter().find(|one| one.tool == Selector::Name("t".to_owned())).unwrap();
    assert_eq!(found.change, change, "{old} -> {new}: {:?}", found.because);
    assert_eq!(found.because, because, "{old} -> {new}");
    // The other way round it is the opposite.
    let back = diff(&tool(new), &tool(old)).into_iter().find(|one| one.tool == found.tool).unwrap().change;
    let opposite = match change {
        Change::NewlyAllowed | Change::Looser => Change::Tighter,
        Change::Tighter => back,
        same => same,
    };
    assert_eq!(back, opposite, "{new} -> {old}");
}

#[test]
fn conditions_are_compared_case_by_case() {
    check("deny when args.n > 5", "deny when args.n >= 5", Change::Tighter, &["{\"n\": 5} was allowed and is refused"]);
    check(
        "deny when args.n > 5",
        "deny when args.n > 10",
        Change::NewlyAllowed,
        &["{\"n\": 6} was refused and is allowed"],
    );
    check("require args.n > 5", "deny when args.n <= 5", Change::NewlyAllowed, &["{} was refused and is allowed"]);
    check("require args.n > 5 and args.n exists", "require not args.n <= 5", Change::Same, &[]);
    check("require args.a in [1, 2]", "require args.a == 1 or args.a == 2", Change::Same, &[]);
    check(
        "require args.a in [1, 2]",
        "require args.a in [2, 3]",
        Change::Incomparable,
        &["{\"a\": 3} was refused and is allowed", "{\"a\": 1} was allowed and is refused"],
    );
    check(
        "deny when args.s matches \"a\"",
        "deny when args.s matches \"a\" or args.s == \"b\"",
        Change::Tighter,
        &["{\"s\": \"b\"} was allowed and is refused"],
    );
    check("approve by \"x\"", "", Change::Looser, &["{} was held and is allowed"]);
    check("deny", "approve by \"x\"", Change::NewlyAllowed, &["{} was refused and is held"]);
    check("deny when args.a.b == 1", "deny when args.a.b == 1 and args.a exists", Change::Same, &[]);
    check("shadow deny", "", Change::Same, &[]);
}

#[test]
fn limits_hours_and_breakers_are_compared_by_what_they_say() {
    check("limit 5 per hour", "limit 5 per 1h as x", Change::Same, &[]);
    check(
        "limit 5 per hour",
        "limit 9 per hour",
        Change::Looser,
        &["the limit of 5 is 9 now: calls per hour per grant, tool"],
    );
    check("limit 5 per hour", "", Change::Looser, &["the limit of 5 is gone: calls per hour per grant, tool"]);
    check(
        "limit 5 per hour",
        "limit 3 per hour limit 9 per day",
        Change::Tighter,
        &[
            "there is a limit of 9 now: calls per day per grant, tool",
            "the limit of 5 is 3 now: calls per hour per grant, tool",
        ],
    );
    check(
        "limit 5 per hour",
        "limit 5 per rolling hour",
        Change::Incomparable,
        &[
            "the limit of 5 is gone: calls per hour per grant, tool",
            "there is a limit of 5 now: calls per rolling hour per grant, tool",
        ],
    );
    check(
        "break after 3 identical calls within 5m because \"x\"",
        "break after 3 identical calls within 300s",
        Change::Same,
        &[],
    );
    check("", "only during mon 08:00..18:00 \"UTC\"", Change::Tighter, &["new: only during mon 08:00..18:00 \"UTC\""]);
    check("deny limit 5 per hour", "deny", Change::Same, &[]);
}

#[test]
fn tools_come_and_go() {
    let found = |old: &str, new: &str| {
        let name = |tool: &Selector| match tool {
            Selector::Name(text) | Selector::Glob(text) | Selector::Category(text) => text.clone(),
        };
        let all = diff(&policy(old), &policy(new));
        all.iter()
            .filter(|one| one.change != Change::Same)
            .map(|one| format!("{} {}", name(&one.tool), one.change.name()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("allow a", "allow a, b"), ["b newly allowed"]);
    assert_eq!(found("allow a, b", "allow a hide b"), ["b tighter"]);
    assert_eq!(found("allow create_*", "allow create_* tool create_x { deny }"), ["create_x tighter"]);
    assert_eq!(found("allow create_*, create_x", "allow c*"), ["c* newly allowed"]);
    assert_eq!(found("allow category read", "allow category write"), ["write newly allowed", "read tighter"]);
    let open = read("p.toll", "default allow", Target::Native).unwrap().policy;
    let opened = diff(&policy("allow a"), &open);
    assert_eq!(opened.iter().map(|one| one.change).collect::<Vec<_>>(), [Change::NewlyAllowed, Change::Same]);
}

#[test]
fn too_many_cases_are_incomparable() {
    let many: Vec<String> = (0..17).map(|n| format!("args.k{n} == 1")).collect();
    let text = format!("deny when {}", many.join(" and "));
    check(&text, &text, Change::Same, &[]);
    check(
        &text,
        &format!("{text} limit 3 per day"),
        Change::Incomparable,
        &["the conditions tell too many cases apart to go through"],
    );
}
