use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, form: Form, toll: &str, notes: &[&str]) {
    let imported = import(text, form).unwrap();
    assert_eq!(imported.policy.to_toll(), toll);
    assert_eq!(imported.notes.len(), notes.len(), "{:#?}", imported.notes);
    for (found, expected) in imported.notes.iter().zip(notes) {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn intercept_s_rules_become_requirements_and_limits() {
    check(
        r#"
version: "1"
description: Stripe
hide: [delete_customer]
tools:
  create_charge:
    rules:
      - name: cap
        action: evaluate
        conditions:
          - { path: args.amount, op: lte, value: 50000 }
          - { path: args.currency, op: in, value: [usd, eur] }
        on_deny: "Too much."
      - name: budget
        conditions:
          - { path: state.create_charge.spent, op: lt, value: 1000 }
        state: { counter: spent, window: day, increment_from: args.amount }
        on_deny: Spent.
      - rate_limit: 5/hour
  wipe:
    rules:
      - action: deny
        on_deny: Never.
  list: {}
  "*":
    rules:
      - rate_limit: 60/minute
"#,
        Form::Intercept,
        "\
default allow

all tools {
    limit 60 per minute per grant
}

allow list
hide delete_customer

tool create_charge {
    require args.amount <= 50_000 and args.currency in [\"usd\", \"eur\"]
        because \"Too much.\"

    limit 999 of args.amount per day per grant as spent
        because \"Spent.\"
    limit 5 per hour per grant
}

tool wipe {
    deny
        because \"Never.\"
}
",
        &[
            "without a default",
            "description",
            "names of rules",
            "negative amount",
            "for each grant",
            "`5/hour`",
            "`60/minute`",
            "judged before",
            "all tools together",
        ],
    );
}

#[test]
fn older_forms_say_what_changed() {
    check(
        r#"{"tools": {
            "pay": {"action": "deny", "reason": "Ask a person."},
            "send": {"rate_limit": {"max": 10, "window": 60}, "rules": [
                {"action": "deny", "reason": "no", "conditions": [{"path": "args.to", "op": "regex", "value": "^\\+1900"}]}]},
            "odd": {"rate_limit": {"max": 10, "window": 7}}}}"#,
        Form::Older,
        "\
default deny

tool odd {
    limit 10 per rolling 7s per session
}

tool pay {
    deny
        because \"Ask a person.\"
}

tool send {
    deny when args.to matches \"^\\\\+1900\"
        because \"no\"

    limit 10 per 60s per session
}
",
        &["no default", "each session", "aligned in UTC", "is rolling here"],
    );
}

#[test]
fn what_cannot_be_carried_over_is_refused_with_its_place() {
    for (text, form, expected) in [
        (
            "tools: {a: {rules: [{action: shout}]}}",
            Form::Intercept,
            "expected the action evaluate or deny at `/tools/a/rules/0`",
        ),
        ("tools: {a: {rule: []}}", Form::Intercept, "unknown key `rule`"),
        (
            "tools: {a: {rules: [{rate_limit: 5/week}]}}",
            Form::Intercept,
            "per minute, hour or day at `/tools/a/rules/0/rate_limit`",
        ),
        ("a: 1\na: 2", Form::Intercept, "isn't YAML"),
        ("[", Form::Older, "the JSON text ends"),
        (
            r#"{"tools": {"a": {"action": "deny", "conditions": [{"path": "args.x", "op": "lt", "value": "1"}]}}}"#,
            Form::Older,
            "only numbers are in order",
        ),
        (r#"{"tools": {"a": {"rate_limit": {"max": 1, "window": 0}}}}"#, Form::Older, "a number of seconds"),
    ] {
        let error = import(text, form).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(import(&"- ".repeat(100_000), Form::Intercept).unwrap_err().contains("nests deeper"));
    assert!(import(&"[".repeat(100_000), Form::Intercept).unwrap_err().contains("nests deeper"));
    assert!(import(&"x".repeat(IMPORT_BYTES_MAX + 1), Form::Older).unwrap_err().contains("bytes"));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(text in "\\PC*|[a-z {}\"\\[\\]:,.0-9\n&*?>|-]*") {
        let _ = import(&text, Form::Intercept);
        let _ = import(&text, Form::Older);
    }
}
