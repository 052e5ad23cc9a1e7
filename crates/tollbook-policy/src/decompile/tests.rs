use proptest::prelude::*;

use crate::document::tests::policy;
use crate::{Target, format, read};

#[test]
fn a_document_is_read_aloud() {
    let json = r#"{"version": "tollbook/1", "name": "p", "default": "deny", "hide": ["a*", "limit"],
        "groups": {"my group": {"of": ["x", {"category": "write"}], "limits": [
            {"counter": "my group_rate", "count": "each", "window": "minute", "max": 10000, "scope": "grant"},
            {"counter": "own", "count": "total", "window": "90s", "rolling": true, "max": 3, "of": "args.n", "scope": "session", "shadow": true, "on_deny": "no"}]}},
        "tools": {"b": {}, "a": {}, "t": {
            "require": [{"any_of": [[{"path": "args.a", "op": "gte", "value": 100000.50}], [{"path": "args[\"x.y\"]", "op": "exists", "value": false}, {"path": "args.b", "op": "not_regex", "value": "^x"}]]}],
            "deny_if": [{"conditions": []}],
            "only_during": [{"days": ["sun", "mon", "tue", "fri"], "from": "08:00", "to": "18:00", "zone": "UTC"}],
            "approve": [{"by": "finance", "within_s": 5400}],
            "break": [{"on": "cycle", "after": 3, "period_max": 4, "within_s": 90}]}}}"#;
    let text = "\
policy \"p\"

default deny

group \"my group\" of x, category write {
    limit each 10_000 per minute per grant
    shadow limit total 3 of args.n per rolling 90s per session as own
        because \"no\"
}

allow a, b
hide a*, \"limit\"

tool t {
    require args.a >= 100000.5 or args[\"x.y\"] missing and not args.b matches \"^x\"

    deny

    only during mon..tue, fri, sun 08:00..18:00 \"UTC\"

    break after 3 repeats of a cycle up to 4 calls within 90s

    approve by \"finance\" within 90m
}
";
    assert_eq!(read("p.json", json, Target::Native).unwrap().policy.to_toll(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2_000)))]

    /// Law 1.
    #[test]
    fn compiling_what_was_decompiled_gives_the_document(policy in policy()) {
        let json = policy.to_json();
        let text = policy.to_toll();
        let back = read("p.toll", &text, Target::Native);
        prop_assert!(back.is_ok(), "{:?} in {}", back, text);
        prop_assert_eq!(back.unwrap().policy.to_json(), json, "{}", text);
        prop_assert_eq!(format(&text), Ok(text.clone()));
    }
}
