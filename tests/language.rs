//! The commands that work on policies, as they are typed. What they say in full is tested in the
//! crates; here is how they end, and that they touch what they should.

use std::fs;

use crate::program::{Dir, root, tollbook};

fn fixture(name: &str) -> String {
    root().join("fixtures/policy").join(name).to_str().unwrap().to_owned()
}

#[test]
fn fmt_writes_the_one_style_and_check_and_diff_write_nothing() {
    let dir = Dir::new();
    let file = dir.file("p.toll", "default deny allow a # why\n");
    assert_eq!(tollbook(&["fmt", "--check", &file]).code, Some(1));
    let diff = tollbook(&["fmt", "--diff", &file]);
    assert!(diff.code == Some(1) && diff.out.contains("+allow a  # why"), "{}", diff.out);
    assert_eq!(fs::read_to_string(&file).unwrap(), "default deny allow a # why\n");
    tollbook(&["fmt", &file]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "default deny\n\nallow a  # why\n");
    tollbook(&["fmt", "--check", &file]).ok();
}

#[test]
fn what_was_compiled_is_decompiled_and_compiled_again() {
    let dir = Dir::new();
    let json = tollbook(&["compile", &fixture("accept/billing.toll")]).ok();
    let toll = tollbook(&["decompile", &dir.file("p.json", &json)]).ok();
    assert_eq!(tollbook(&["compile", &dir.file("p.toll", &toll)]).ok(), json);
    let map = tollbook(&["compile", "--source-map", &fixture("accept/billing.toll")]).ok();
    assert!(map.contains("\"/groups/billing_writes/limits/0\""), "{map}");
}

#[test]
fn globs_are_written_out_for_a_catalog() {
    let dir = Dir::new();
    let file = dir.file("p.toll", "default deny\nallow *_invoices\ntool category write { limit 3 per day }\n");
    assert_eq!(tollbook(&["compile", "--target", "policylayer", &file]).code, Some(1));
    let catalog = fixture("catalog/tools.json");
    let json = tollbook(&["compile", "--target", "policylayer", "--catalog", &catalog, &file]).ok();
    assert!(json.contains("\"list_invoices\": {}") && json.contains("update_note_rate_day"), "{json}");
    let wrong = dir.file("wrong.toll", "default deny\nallow list_invoise\n");
    let checked = tollbook(&["check", "--format", "github", "--catalog", &catalog, &wrong]);
    assert!(
        checked.code == Some(1) && checked.out.contains("line=2,col=7,") && checked.out.contains("title=P0224::"),
        "{}",
        checked.out
    );
}

#[test]
fn tests_and_single_calls_are_judged() {
    let out = tollbook(&["test", "--coverage", &fixture("accept/billing.toll")]).ok();
    assert!(out.contains("2 passed, 0 failed") && out.contains("clauses decided something"), "{out}");
    assert_eq!(tollbook(&["test", &fixture("test/P0401-not-as-expected.toll")]).code, Some(1));
    let args = r#"{"payment_intent": "pi_1", "reason": "duplicate", "amount": 10001, "currency": "usd"}"#;
    let eval = tollbook(&["eval", &fixture("accept/refunds.toll"), "--tool", "create_refund", "--args", args]);
    assert!(eval.code == Some(1) && eval.out.contains("/tools/create_refund/deny_if/args.amount-gt"), "{}", eval.out);
    tollbook(&["eval", &fixture("accept/refunds.toll"), "--tool", "list_customers"]).ok();
    tollbook(&["eval", &fixture("accept/refunds.toll"), "--tool", "x", "--args", "[1]"]).cannot("a JSON object");
}

#[test]
fn lint_diff_explain_and_classify_answer() {
    let dir = Dir::new();
    let old = dir.file("old.toll", "default deny\n\ntool get_x {\n    approve by \"a\"\n}\n");
    assert_eq!(tollbook(&["lint", &old]).code, Some(1));
    tollbook(&["lint", "--fix", &old]).ok();
    assert!(fs::read_to_string(&old).unwrap().contains("approve by \"a\" within 1h\n"));
    let new = dir.file("new.toll", "default deny\n\nallow get_x\n");
    let diff = tollbook(&["diff", &old, &new]).ok();
    assert!(diff.starts_with("looser"), "{diff}");
    assert_eq!(tollbook(&["diff", "--fail-on", "looser", &old, &new]).code, Some(1));
    tollbook(&["diff", "--fail-on", "looser", &new, &old]).ok();
    assert!(tollbook(&["explain", "p0204"]).ok().starts_with("P0204: unknown unit of time\n"));
    tollbook(&["explain", "P9999"]).cannot("no code");
    let classes = tollbook(&["classify", "--format", "json", &fixture("catalog/tools.json")]).ok();
    assert!(classes.contains("\"category\": \"destructive\""), "{classes}");
}

#[test]
fn an_import_says_what_changed() {
    let dir = Dir::new();
    let yaml = dir.file("p.yaml", "tools:\n  pay:\n    rules:\n      - rate_limit: 5/hour\n");
    let imported = tollbook(&["decompile", "--from", "intercept", &yaml]);
    assert!(imported.err.contains("without a default"), "{}", imported.err);
    let toll = imported.ok();
    assert!(toll.contains("limit 5 per hour per grant"), "{toll}");
    tollbook(&["check", &dir.file("p.toll", &toll)]).ok();
}
