use super::*;
use crate::{Target, read};

fn lists(cond: &str) -> Vec<Vec<Condition>> {
    let text = format!("default deny tool t {{ deny when {cond} }}");
    let policy = read("p.toll", &text, Target::Native).unwrap().policy;
    policy.tools["t"].deny_if.iter().map(|rule| rule.conditions.clone()).collect()
}

#[test]
fn what_is_always_the_same_is_found() {
    for (cond, expected) in [
        ("args.x exists or args.x missing", Some(true)),
        ("args.x exists and args.x missing", Some(false)),
        ("args.x > 5 and args.x < 3", Some(false)),
        ("args.x > 5 and args.x < 6", None),
        ("args.x > 5 or args.x <= 5", None),
        ("args.x == 1 and args.x == \"1\"", Some(false)),
        ("args.x in [1, 2] and args.x not in [1, 2, 3]", Some(false)),
        ("args.x == \"ab\" and args.x matches \"^b\"", Some(false)),
        ("args.x matches \"a\" and not args.x matches \"a\"", Some(false)),
        ("args.x matches \"a\" and args.x contains \"b\"", None),
        ("args.a == 1 and args.a.b exists", Some(false)),
        ("args.a exists and args.a.b exists", None),
        ("args.x contains 1 and args.x matches \"a\"", Some(false)),
    ] {
        assert_eq!(constant(&lists(cond)), expected, "{cond}");
    }
}

#[test]
fn an_example_is_a_call_of_its_case() {
    for (cond, expected) in [
        ("args.x > 10_000", "{\"x\": 10001}"),
        ("args.x > 5 and args.x < 6", "{\"x\": 5.5}"),
        ("args.x < 0", "{\"x\": -1}"),
        ("args.a.b == \"q\" and args.c == true", "{\"a\": {\"b\": \"q\"}, \"c\": true}"),
        ("args.a contains 1 and args.a not in [1]", "{\"a\": [1]}"),
        ("args.a matches \"^x\"", "{\"a\": \"… matches \\\"^x\\\"\"}"),
    ] {
        let lists = lists(cond);
        let space = Space::of(lists.iter().flatten()).unwrap();
        let found = space.cases().find(|case| case.any(&lists)).unwrap().example();
        assert_eq!(found, expected, "{cond}");
    }
}

#[test]
fn too_many_cases_are_not_gone_through() {
    let many: Vec<String> = (0..12).map(|n| format!("args.k{n} == 1")).collect();
    assert_eq!(constant(&lists(&many.join(" and "))), None);
}
