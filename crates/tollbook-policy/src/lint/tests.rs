use super::*;
use crate::{Target, read};

const OLD: &str = "default deny tool create_note { limit 3 per rolling day }";

/// What lints say of a text, as `L0207 place`.
#[track_caller]
fn told_of(text: &str, known: Known<'_>) -> Vec<Diagnostic> {
    let read = read("p.toll", text, Target::Native).unwrap_or_else(|told| panic!("{told:?}"));
    lint("p.toll", text, &read, known)
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let told = told_of(text, Known::default());
    let found: Vec<String> =
        told.iter().map(|one| format!("{} {}", one.code, &text[one.labels[0].span.clone()])).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn nothing_is_said_of_a_policy_without_fault() {
    check(
        "default deny
        allow list_notes
        hide wipe
        tool create_note { require args.size >= 0 require args.to matches \"@\" deny when args.size > 9 or args.to == \"x\" limit 3 per rolling hour limit 9 per rolling day limit 1 per rolling minute per session }
        tool pay { deny }
        group g of a_note, b_note { limit total 3 per rolling day approve by \"x\" when args.n exists within 5m }",
        &[],
    );
}

#[test]
fn tools_are_looked_at_as_a_whole() {
    check("default deny allow create_note", &["L0209 create_note"]);
    check("default deny all tools { limit 5 per rolling day } allow create_note", &[]);
    check("default deny all tools { limit 5 per rolling day per session } allow create_note", &["L0205 create_note"]);
    check("default deny hide w* tool wipe { deny }", &["L0201 wipe"]);
    check("default allow", &["L0210 default allow"]);
}

#[test]
fn what_is_required_may_stand_in_another_block() {
    let deny = "deny when args.n > 1 limit 1 per rolling day";
    check(&format!("default deny tool put_x {{ {deny} }}"), &["L0204 deny when args.n > 1"]);
    check(&format!("default deny all tools {{ require args.n > 0 }} tool put_x {{ {deny} }}"), &[]);
    check(&format!("default deny group g of put_x {{ require args.n > 0 }} tool put_x {{ {deny} }}"), &[]);
    check(
        &format!("default deny group g of put_x, put_y {{ {deny} }} tool put_x {{ require args.n > 0 }}")
            .replace("limit", "limit total"),
        &["L0204 deny when args.n > 1"],
    );
    check(
        &format!("default deny tool put_x {{ require args.n == 1 or args.m == 1 {deny} }}"),
        &["L0204 deny when args.n > 1"],
    );
}

#[test]
fn limits_are_held_against_each_other() {
    let limits = |limits: &str| format!("default deny tool put_x {{ {limits} }}");
    check(&limits("limit 3 per rolling day limit 3 per rolling hour"), &["L0206 limit 3 per rolling hour"]);
    check(&limits("limit 3 per rolling hour limit 9 per rolling day"), &[]);
    check(&limits("limit 3 per rolling day limit 9 per rolling hour per session"), &[]);
    check(
        &limits("limit 3 per day limit 9 per hour"),
        &["L0207 limit 3 per day", "L0206 limit 9 per hour", "L0207 limit 9 per hour"],
    );
    check(&limits("limit 30 per rolling minute"), &["L0213 limit 30 per rolling minute"]);
    check(&limits("shadow limit 3 per day limit 9 per rolling hour"), &[]);
}

#[test]
fn a_comment_silences_its_line_its_clause_or_its_item() {
    let because = "# tollbook: allow L0207 because \"harmless\"";
    check(
        &format!("default deny\ntool put_x {{\n limit 3 per day {because}\n limit 9 per day per session\n}}"),
        &["L0207 limit 9 per day per session"],
    );
    check(
        &format!(
            "default deny\ntool put_x {{\n {because}\n limit 3 per day\n because \"x\"\n limit 9 per day per session\n}}"
        ),
        &["L0207 limit 9 per day per session"],
    );
    check(
        &format!(
            "default deny\n{because}\ntool put_x {{\n limit 3 per day\n limit 9 per day per session\n}}\ntool put_y {{ limit 1 per day }}"
        ),
        &["L0207 limit 1 per day"],
    );
    check(&format!("{}\ndefault allow", because.replace("L0207", "L0210")), &[]);
    check(&format!("default deny {because}\nallow list_notes"), &[&format!("L0214 {because}")]);
    check("default deny # tollbook: allow L0207\nallow list_notes", &["L0214 # tollbook: allow L0207"]);
}

#[test]
fn an_older_version_and_a_catalog_tell_more() {
    let old = read("p.toll", OLD, Target::Native).unwrap().policy;
    let codes =
        |text: &str, known: Known<'_>| told_of(text, known).iter().map(|one| one.code.as_str()).collect::<Vec<_>>();
    let against = Known { against: Some(&old), catalog: None };
    assert_eq!(codes("default deny tool create_note { limit 3 per rolling day as notes }", against), ["L0212"]);
    assert_eq!(
        codes("default deny tool create_note { limit 5 per rolling day limit 3 per rolling day per server }", against),
        [""; 0]
    );
    let catalog = Catalog::read(r#"[{"name": "frob"}, {"name": "list_x"}, {"name": "put_y"}]"#).unwrap();
    let known = Known { against: None, catalog: Some(&catalog) };
    assert_eq!(codes("default allow", known), ["L0210"]);
    assert_eq!(codes("default allow hide frob, put_*", known), [""; 0]);
    assert_eq!(codes("default deny allow category write", known), ["L0209", "L0209"], "frob and put_y");
}

#[test]
fn fixes_keep_the_meaning() {
    let text = "default deny\ntool get_x {\n approve by \"a\" because \"x\"\n approve by \"b\" when args exists\n # tollbook: allow L0209 because \"y\"\n}\n";
    let told = told_of(text, Known::default());
    let (fixed, made) = fixed(text, &told);
    assert_eq!(made, 3);
    assert_eq!(
        fixed,
        text.replace("\"a\"", "\"a\" within 1h")
            .replace("exists", "exists within 1h")
            .replace(" # tollbook: allow L0209 because \"y\"", " ")
    );
    let policy = |text: &str| read("p.toll", text, Target::Native).unwrap().policy;
    assert_eq!(policy(&fixed), policy(text));
}
