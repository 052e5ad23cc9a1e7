//! `grammar/policy.schema.json`, the JSON Schema of a policy's document, made here from what the
//! reader takes, and held against every document of the fixtures and against generated ones.

use serde_json::{Value, json};

use super::*;
use crate::policy::{Day, LIMIT_MAX};

fn schema() -> Value {
    let said = |mut properties: Value, required: Value| {
        properties["on_deny"] = json!({ "type": "string", "maxLength": 4096 });
        properties["shadow"] = json!({ "type": "boolean" });
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    };
    let list = |of: &str| json!({ "type": "array", "items": { "$ref": format!("#/$defs/{of}") } });
    let conditions = || list("condition");
    let any_of = || json!({ "type": "array", "minItems": 1, "items": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/condition" } } });
    let ops = [
        "eq",
        "neq",
        "lt",
        "lte",
        "gt",
        "gte",
        "in",
        "not_in",
        "exists",
        "regex",
        "contains",
        "not_regex",
        "not_contains",
    ];
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 1024 });
    let within = json!({ "type": "integer", "minimum": 1, "maximum": 366 * 86_400 });
    let time = json!({ "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" });
    let days: Vec<String> = Day::WEEK.iter().map(ToString::to_string).collect();
    let rules = |extra: Value| {
        let mut properties = json!({
            "require": list("require"), "deny_if": list("deny_if"), "limits": list("limit"),
            "only_during": list("only_during"), "approve": list("approve"), "break": list("break"),
        });
        let more = extra.as_object().unwrap();
        let required: Vec<&String> = more.keys().collect();
        for (key, value) in more {
            properties[key] = value.clone();
        }
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    };
    let selector = json!({ "anyOf": [name, { "type": "object", "properties": { "category": { "enum": CATEGORIES } }, "required": ["category"], "additionalProperties": false }] });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy's document",
        "description": "Version \"1\" is the JSON policy format; \"tollbook/1\" is its superset. `tollbook check` is the authority.",
        "type": "object",
        "properties": {
            "version": { "enum": [VERSION_1, VERSION_TOLLBOOK_1] },
            "name": { "type": "string", "maxLength": 4096 },
            "default": { "enum": ["allow", "deny"] },
            "hide": list("selector"),
            "all_tools": { "$ref": "#/$defs/rules" },
            "groups": { "type": "object", "additionalProperties": { "$ref": "#/$defs/group" } },
            "patterns": list("pattern"),
            "tools": { "type": "object", "additionalProperties": { "$ref": "#/$defs/rules" } },
        },
        "required": ["version", "default"],
        "additionalProperties": false,
        "$defs": {
            "selector": selector,
            "rules": rules(json!({})),
            "group": rules(json!({ "of": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/selector" } } })),
            "pattern": rules(json!({ "of": { "$ref": "#/$defs/selector" } })),
            "require": said(json!({ "conditions": conditions(), "any_of": any_of() }), json!([])),
            "deny_if": said(json!({ "conditions": conditions() }), json!(["conditions"])),
            "condition": {
                "type": "object",
                "properties": {
                    "path": { "type": "string", "pattern": "^args" },
                    "op": { "enum": ops },
                    "value": { "anyOf": [scalar, { "type": "array", "minItems": 1, "items": scalar }] },
                },
                "required": ["path", "op", "value"],
                "additionalProperties": false,
            },
            "limit": said(json!({
                "counter": name,
                "count": { "enum": ["total", "each"] },
                "window": { "type": "string", "pattern": "^(minute|hour|day|[0-9]+[smhd])$" },
                "rolling": { "type": "boolean" },
                "max": { "type": "integer", "minimum": 0, "maximum": LIMIT_MAX },
                "of": { "type": "string", "pattern": "^args" },
                "scope": { "enum": ["grant", "session", "agent", "server", "everyone"] },
            }), json!(["counter", "window", "max"])),
            "only_during": said(json!({
                "days": { "type": "array", "minItems": 1, "items": { "enum": days } },
                "from": time, "to": time,
                "zone": { "type": "string", "maxLength": 64 },
            }), json!(["days", "from", "to", "zone"])),
            "approve": said(json!({ "by": name, "conditions": conditions(), "any_of": any_of(), "within_s": within }), json!(["by", "within_s"])),
            "break": said(json!({
                "on": { "enum": ["identical_calls", "identical_results", "failures", "cycle"] },
                "after": { "type": "integer", "minimum": 1, "maximum": 1_000 },
                "period_max": { "type": "integer", "minimum": 2, "maximum": 8 },
                "within_s": within,
            }), json!(["on", "after", "within_s"])),
        },
    })
}

/// As much of JSON Schema as the schema uses; any other keyword is a failure.
fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    schema.as_object().unwrap().iter().all(|(keyword, wanted)| match keyword.as_str() {
        "$schema" | "title" | "description" | "$defs" => true,
        "$ref" => fits(value, root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap(), root),
        "anyOf" => wanted.as_array().unwrap().iter().any(|one| fits(value, one, root)),
        "enum" => wanted.as_array().unwrap().contains(value),
        "type" => {
            let types = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
            types.iter().any(|one| match one.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "number" => value.is_number(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("{other}"),
            })
        }
        "properties" => wanted
            .as_object()
            .unwrap()
            .iter()
            .all(|(key, schema)| value.get(key).is_none_or(|value| fits(value, schema, root))),
        "required" => wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "additionalProperties" => {
            let known = |key: &String| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            value.as_object().is_none_or(|members| {
                members.iter().all(|(key, value)| known(key) || (wanted.is_object() && fits(value, wanted, root)))
            })
        }
        "items" => value.as_array().is_none_or(|all| all.iter().all(|one| fits(one, wanted, root))),
        "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= wanted.as_u64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap()),
        "minimum" => value.as_u64().is_none_or(|number| number >= wanted.as_u64().unwrap()),
        "maximum" => value.as_u64().is_none_or(|number| number <= wanted.as_u64().unwrap()),
        "pattern" => {
            value.as_str().is_none_or(|text| regex::Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text))
        }
        other => panic!("{other}"),
    })
}

#[test]
fn the_schema_is_the_one_in_the_grammar_directory_and_admits_the_fixtures() {
    let schema = schema();
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../grammar/policy.schema.json"));
    check_golden(path, &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
    for name in names("accept").iter().filter(|name| name.ends_with(".json")) {
        let document: Value = serde_json::from_str(&text_of(&fixtures("accept").join(name))).unwrap();
        assert!(fits(&document, &schema, &schema), "{name}");
    }
    for name in [
        "P0112-unknown-key",
        "P0113-wrong-type",
        "P0114-missing-key",
        "P0115-bad-value",
        "P0116-unknown-version",
        "P0201-no-default-in-json",
    ] {
        let document: Value = serde_json::from_str(&text_of(&fixtures("reject").join(format!("{name}.json")))).unwrap();
        assert!(!fits(&document, &schema, &schema), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn the_schema_admits_every_document_that_is_printed(policy in crate::document::tests::policy()) {
        let schema = schema();
        let json = policy.to_json();
        // A number beyond a float's range is no number to this reader of JSON.
        if let Ok(document) = serde_json::from_str::<Value>(&json) {
            prop_assert!(fits(&document, &schema, &schema), "{}", json);
        }
    }
}
