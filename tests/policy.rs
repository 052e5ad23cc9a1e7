//! `check` and `compile`.

use crate::program::{Dir, tollbook};

const TELNYX: &str = r#"policy "telnyx"

default deny

tool create_integration_secret {
    limit 30 per minute per grant
}
"#;

const TELNYX_JSON: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "create_integration_secret": {
      "limits": [
        { "counter": "create_integration_secret_rate", "window": "minute", "max": 30, "scope": "grant" }
      ]
    }
  }
}
"#;

#[test]
fn the_telnyx_policy_compiles_to_exactly_this() {
    let dir = Dir::new();
    let toll = dir.file("telnyx.toll", TELNYX);
    assert_eq!(tollbook(&["compile", &toll]).ok(), TELNYX_JSON);
    let json = dir.file("telnyx.json", TELNYX_JSON);
    assert_eq!(tollbook(&["compile", &json]).ok(), TELNYX_JSON, "every command takes .json too");
}

#[test]
fn three_mistakes_are_three_errors_at_their_places() {
    let dir = Dir::new();
    let text = "policy \"x\"\n\ndefault deny\n\ntool a {\n    limit 30 per minuet per grant\n    require args.x = 1\n}\n\ntool b {\n    limit per day per grant\n}\n\nallow c\n";
    let file = dir.file("bad.toll", text);
    let ran = tollbook(&["check", &file]);
    assert_eq!(ran.code, Some(1));
    let places: Vec<&str> = ran.out.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
    let expect: Vec<String> = ["6:18", "7:20", "11:11"].iter().map(|place| format!("{file}:{place}")).collect();
    assert_eq!(places, expect, "{}", ran.out);
    assert!(ran.out.contains("did you mean `minute`?"), "{}", ran.out);
    assert!(ran.out.ends_with("3 errors\n"), "{}", ran.out);

    let ran = tollbook(&["check", "--format", "json", &file]);
    assert_eq!(ran.code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told[0]["diagnostics"].as_array().unwrap().len(), 3);
    assert_eq!(told[0]["diagnostics"][0]["labels"][0]["line"], 6);
}

#[test]
fn several_files_are_checked_at_once() {
    let dir = Dir::new();
    let (good, bad) =
        (dir.file("good.toll", TELNYX), dir.file("bad.json", "{\"version\":\"1\",\"default\":\"maybe\"}"));
    let ran = tollbook(&["check", &good, &bad]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains(&format!("{good}: ok, version \"1\", 1 tool")), "{}", ran.out);
    assert!(ran.out.contains("maybe") && ran.out.ends_with("1 error\n"), "{}", ran.out);
}
