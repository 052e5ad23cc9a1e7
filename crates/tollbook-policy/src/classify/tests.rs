use super::*;
use crate::catalog::Catalog;

fn by_name(name: &str) -> &'static str {
    Tool::named(name).class().category.name()
}

#[test]
fn the_verb_in_the_name_decides() {
    for (name, expected) in [
        ("list_connections", "read"),
        ("get_connection", "read"),
        ("get_call_control_application", "read"),
        ("list_assistants", "read"),
        ("create_call_control_application", "write"),
        ("create_integration_secret", "write"),
        ("make_call", "execute"),
        ("delete_integration_secret", "destructive"),
        ("vendor_delete_assistant", "destructive"),
        ("getUserById", "read"),
        ("get_payment", "read"),
        ("create_payment", "financial"),
        ("refund", "financial"),
        ("get-or-create-customer", "write"),
        ("initiate_phone_number_order", "financial"),
        ("frobnicate", "write"),
    ] {
        assert_eq!(by_name(name), expected, "{name}");
    }
}

fn class(json: &str) -> Class {
    Catalog::read(&format!("[{json}]")).unwrap().tools.into_values().next().unwrap().class()
}

#[test]
fn description_schema_and_annotations_are_evidence() {
    for (json, expected, evidence) in [
        (r#"{"name": "x", "description": "Lists what is there."}"#, "read", "begins with `lists`"),
        (r#"{"name": "x", "annotations": {"readOnlyHint": true}}"#, "read", "only reads"),
        (r#"{"name": "get_x", "annotations": {"readOnlyHint": false}}"#, "write", "changes something"),
        (r#"{"name": "delete_x", "annotations": {"readOnlyHint": true}}"#, "destructive", "`delete`"),
        (r#"{"name": "move_x", "annotations": {"destructiveHint": true}}"#, "destructive", "may destroy"),
        (
            r#"{"name": "write_x", "description": "Create or overwrite a file. More."}"#,
            "destructive",
            "says `overwrite`",
        ),
        (r#"{"name": "write_x", "description": "Create a file. Delete it later."}"#, "write", "`write`"),
        (
            r#"{"name": "do_it", "inputSchema": {"properties": {"sql": {"type": "string"}}}}"#,
            "execute",
            "argument `sql`",
        ),
        (
            r#"{"name": "add_x", "inputSchema": {"properties": {"amount": {}, "currency": {}}}}"#,
            "financial",
            "a currency",
        ),
    ] {
        let class = class(json);
        assert_eq!(class.category.name(), expected, "{json}");
        assert!(class.evidence.iter().any(|one| one.contains(evidence)), "{json} {:?}", class.evidence);
    }
}

#[test]
fn the_categories_are_those_of_the_language() {
    let all = [Category::Read, Category::Write, Category::Execute, Category::Destructive, Category::Financial];
    assert_eq!(all.map(Category::name), crate::CATEGORIES);
    assert_eq!(all.map(|one| one.risk().name()), ["low", "medium", "high", "critical", "critical"]);
}
