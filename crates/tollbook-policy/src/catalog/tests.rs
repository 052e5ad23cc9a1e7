use super::*;
use crate::{Target, read};

const CATALOG: &str = r#"{"tools": [
    {"name": "create_invoice", "inputSchema": {"type": "object", "properties": {
        "amount": {"type": "number"}, "currency": {"type": "string"}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "customer": {"type": "object", "properties": {"id": {"type": "string"}}}, "tags": {"type": "array"}, "any": {"$ref": "x"}}}},
    {"name": "list_invoices", "inputSchema": {"type": "object", "properties": {}, "additionalProperties": false}},
    {"name": "get_anything", "inputSchema": {"type": "object"}}]}"#;

#[track_caller]
fn told(toll: &str) -> Vec<String> {
    let catalog = Catalog::read(CATALOG).unwrap();
    let text = format!("default deny\n{toll}");
    let read = read("p.toll", &text, Target::Native).unwrap();
    let told = catalog.check(&text, &read.policy, &read.rules);
    let line = |one: &crate::Diagnostic| {
        let label = &one.labels[0];
        format!("{} {} | {} | {}", one.code, &text[label.span.clone()], label.text, one.help.join(""))
    };
    told.iter().map(line).collect()
}

#[test]
fn what_is_there_is_not_told() {
    let clauses = "require args.amount > 1 require args.customer.id matches \"^c\" deny when args.note == \"x\" or args.any == 1
        deny when args.tags contains 1 deny when args.currency in [1, \"usd\"] limit 3 of args.amount per day approve by \"x\" when args.amount > 1";
    assert_eq!(
        told(&format!(
            "tool create_invoice {{ {clauses} }} hide *, category financial allow get_* tool get_anything {{ deny when args.x == 1 }}"
        )),
        [""; 0]
    );
    assert_eq!(
        told(
            "all tools { deny when args.amount > 1 } group g of create_invoice, list_invoices { deny when args.note exists }"
        ),
        [""; 0]
    );
}

#[test]
fn what_is_not_there_is_told_with_what_was_meant() {
    for (toll, expected) in [
        (
            "allow create_invoise",
            "P0224 create_invoise | the catalog has no tool `create_invoise` | did you mean `create_invoice`?",
        ),
        ("hide \"x y\"", "P0224 \"x y\" | the catalog has no tool `x y` | "),
        ("allow void_*", "P0224 void_* | no tool of the catalog matches `void_*` | "),
        (
            "tool create_invoice { deny when args.amuont > 1 }",
            "P0225 args.amuont | `create_invoice` has no such argument | did you mean `amount`?",
        ),
        (
            "tool list_invoices { require args.page exists }",
            "P0225 args.page | `list_invoices` has no such argument | ",
        ),
        (
            "tool create_invoice { deny when args.customer.name exists }",
            "P0225 args.customer.name | `create_invoice` has no such argument | ",
        ),
        (
            "tool create_invoice { deny when args.amount == \"1\" }",
            "P0226 args.amount | `args.amount` is of the type number; it is compared with a string | ",
        ),
        (
            "tool create_invoice { deny when args.currency > 1 }",
            "P0226 args.currency | `args.currency` is of the type string; it is compared with a number | ",
        ),
        (
            "tool create_invoice { deny when args.amount matches \"1\" }",
            "P0226 args.amount | `args.amount` is of the type number; a pattern is matched against a string | ",
        ),
        (
            "tool create_invoice { limit 3 of args.currency per day }",
            "P0226 args.currency | `args.currency` is of the type string; an amount that is added up is a number | ",
        ),
    ] {
        assert_eq!(told(toll), [expected], "{toll}");
    }
}

#[test]
fn globs_and_categories_are_written_out() {
    let catalog = Catalog::read(CATALOG).unwrap();
    let text = "default deny tool *_invoice* { limit 3 per minute limit 2 per day as own } tool create_invoice { limit 9 per hour deny }
        tool category read { require args.x exists } hide category financial";
    let policy = read("p.toll", text, Target::Native).unwrap().policy;
    let out = catalog.write_out(&policy);
    assert_eq!(
        out.to_toll(),
        "\
default deny

hide create_invoice

tool create_invoice {
    deny

    limit 3 per minute per grant
    limit 2 per day per grant as own
    limit 9 per hour per grant
}

tool get_anything {
    require args.x exists
}

tool list_invoices {
    require args.x exists

    limit 3 per minute per grant
    limit 2 per day per grant as own
}
"
    );
}

#[test]
fn every_form_of_a_saved_list_is_read() {
    let list = r#"[{"name": "a"}]"#;
    for text in [
        list.to_owned(),
        format!(r#"{{"tools": {list}}}"#),
        format!(r#"{{"jsonrpc": "2.0", "id": 1, "result": {{"tools": {list}}}}}"#),
    ] {
        assert_eq!(Catalog::read(&text).unwrap().tools.keys().collect::<Vec<_>>(), ["a"]);
    }
    for text in ["{}", "[{}]", "[", "{\"tools\": 1}"] {
        assert!(Catalog::read(text).is_err(), "{text}");
    }
}
