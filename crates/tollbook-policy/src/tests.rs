//! The fixtures, and the laws that hold for the whole crate.
//!
//! `accept/NAME.toll` must compile to `accept/NAME.json`; `reject/P0103-what.toll` (or `.json`) must
//! be refused as `.txt` beside it says, with the code in its name first. With UPDATE_GOLDENS=1 what
//! is expected is written anew instead of compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

mod editor;
mod schema;

/// How many cases a law is tried on: `TOLLBOOK_CASES` of them, if it is set.
#[expect(clippy::disallowed_methods, reason = "how long a test may take is said outside of it")]
pub fn cases(usual: u32) -> u32 {
    std::env::var("TOLLBOOK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

fn fixtures(kind: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/policy")).join(kind)
}

#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// File names of a directory, sorted.
#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn names(kind: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fixtures(kind)).unwrap();
    let names: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.is_empty());
    names.into_iter().collect()
}

#[expect(clippy::disallowed_methods, reason = "goldens are files, and written anew on request")]
fn check_golden(path: &Path, found: &str) {
    if std::env::var("UPDATE_GOLDENS").is_ok() {
        std::fs::write(path, found).unwrap();
    }
    assert_eq!(found, text_of(path), "{}", path.display());
}

fn told(name: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    render(name, text, diagnostics, false)
}

#[test]
fn what_is_accepted_compiles_to_its_document_and_back() {
    let mut seen = BTreeSet::new();
    for name in names("accept") {
        let (stem, extension) = name.rsplit_once('.').unwrap();
        if extension == "json" {
            seen.insert(stem.to_owned());
            assert!(fixtures("accept").join(format!("{stem}.toll")).exists(), "{name} is an orphan");
            continue;
        }
        assert_eq!(extension, "toll", "{name} is an orphan");
        let path = fixtures("accept").join(&name);
        let text = text_of(&path);
        let read = read(&name, &text, Target::Native).unwrap_or_else(|all| panic!("{}", told(&name, &text, &all)));
        let document = read.policy.to_json();
        check_golden(&path.with_extension("json"), &document);
        let again = super::read("x.json", &document, Target::Native)
            .unwrap_or_else(|all| panic!("{}", told("x.json", &document, &all)));
        assert_eq!(again.policy.to_json(), document, "{name}");
        let ids: Vec<&String> = again.rules.keys().collect();
        assert_eq!(ids, read.rules.keys().collect::<Vec<_>>(), "{name}");
        if read.policy.version() == VERSION_1 {
            let strict = super::read(&name, &text, Target::PolicyLayer);
            assert_eq!(strict.map(|strict| strict.policy), Ok(read.policy), "{name}");
        }
        assert!(again.policy.version() != VERSION_1 || super::read("x.json", &document, Target::PolicyLayer).is_ok());
    }
    assert!(seen.len() >= 12);
}

/// The three policies of the language's design are among them.
#[test]
fn what_is_accepted_is_in_the_one_style() {
    for name in names("accept").iter().filter(|name| name.ends_with(".toll")) {
        let path = fixtures("accept").join(name);
        let formatted = format(&text_of(&path)).unwrap();
        check_golden(&path, &formatted);
    }
}

/// Mutated real policies: whatever still reads can be linted, compared and formatted.
#[test]
fn a_policy_without_one_of_its_tokens_panics_nothing() {
    for name in names("accept").iter().filter(|name| name.ends_with(".toll")) {
        let text = text_of(&fixtures("accept").join(name));
        let whole = read(name, &text, Target::Native).unwrap();
        for cut in text.split_inclusive(char::is_whitespace).filter(|piece| !piece.trim().is_empty()) {
            let shorter = text.replacen(cut, " ", 1);
            let Ok(found) = read(name, &shorter, Target::Native) else { continue };
            let _ = lint(name, &shorter, &found, Known::default());
            let _ = diff(&whole.policy, &found.policy);
            let _ = diff(&found.policy, &whole.policy);
            let _ = found.policy.to_toll();
        }
    }
}

#[test]
fn what_is_refused_is_told_as_its_golden_says() {
    for name in names("reject") {
        let (stem, extension) = name.rsplit_once('.').unwrap();
        let path = fixtures("reject").join(&name);
        if extension == "txt" {
            let inputs = ["toll", "json"].map(|input| path.with_extension(input).exists());
            assert_eq!(inputs.iter().filter(|there| **there).count(), 1, "{name} is an orphan");
            continue;
        }
        let code = stem.split('-').next().unwrap();
        let target = if code.starts_with("P03") { Target::PolicyLayer } else { Target::Native };
        let text = text_of(&path);
        let Err(all) = read(&name, &text, target) else { panic!("{name} is accepted") };
        assert!(all.iter().any(|one| one.code.as_str() == code), "{name}: {}", told(&name, &text, &all));
        check_golden(&path.with_extension("txt"), &told(&name, &text, &all));
    }
}

/// Beside `NAME.toll` may stand the version in force, `NAME.old`.
#[test]
fn what_is_doubtful_is_told_and_read_all_the_same() {
    for name in names("warn").iter().filter(|name| name.ends_with(".toll") || name.ends_with(".json")) {
        let text = text_of(&fixtures("warn").join(name));
        let read = read(name, &text, Target::Native).unwrap();
        let old = fixtures("warn").join(name).with_extension("old");
        let old = old.exists().then(|| super::read("old.toll", &text_of(&old), Target::Native).unwrap().policy);
        let warnings = lint(name, &text, &read, Known { catalog: None, against: old.as_ref() });
        assert!(warnings.iter().any(|one| name.starts_with(one.code.as_str())), "{name}");
        check_golden(&fixtures("warn").join(name).with_extension("txt"), &told(name, &text, &warnings));
    }
}

/// `catalog/tools.json` is the catalog.
#[test]
fn what_a_catalog_contradicts_is_told_as_its_golden_says() {
    let catalog = Catalog::read(&text_of(&fixtures("catalog").join("tools.json"))).unwrap();
    for name in names("catalog").iter().filter(|name| name.ends_with(".toll")) {
        let path = fixtures("catalog").join(name);
        let text = text_of(&path);
        let read = read(name, &text, Target::Native).unwrap();
        let all = catalog.check(&text, &read.policy, &read.rules);
        assert!(all.iter().any(|one| name.starts_with(one.code.as_str())), "{name}");
        check_golden(&path.with_extension("txt"), &told(name, &text, &all));
    }
}

#[test]
fn every_code_has_a_fixture() {
    let all = [names("reject"), names("warn"), names("catalog"), names("test")].concat();
    // A file that is too large is made by the parser's own test: it would be 10 MiB of nothing.
    for code in Code::ALL.iter().filter(|code| **code != Code::TooLarge) {
        let prefix = format!("{code}-");
        assert!(all.iter().any(|name| name.starts_with(&prefix)), "{code} has no fixture");
    }
}

#[test]
fn the_telnyx_policy_is_the_design_s_document() {
    let text =
        "policy \"telnyx\"\n\ndefault deny\n\ntool create_integration_secret {\n    limit 30 per minute per grant\n}\n";
    let expected = r#"{
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
    for target in [Target::Native, Target::PolicyLayer] {
        assert_eq!(read("telnyx.toll", text, target).unwrap().policy.to_json(), expected);
    }
}

#[test]
fn syntax_and_meaning_are_told_together_in_the_order_of_the_text() {
    let text = "tool a {\n limit 3 per 7m\n limit 3 pre day\n}\ngroup g of a { limit 1 per day }\n";
    let codes: Vec<&str> =
        read("p.toll", text, Target::Native).unwrap_err().iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["P0201", "P0205", "P0103", "P0208"]);
}

#[test]
fn a_document_of_the_superset_is_refused_by_the_strict_target() {
    let text = r#"{ "version": "tollbook/1", "default": "deny" }"#;
    assert!(read("p.json", text, Target::Native).is_ok());
    let codes: Vec<Code> = read("p.json", text, Target::PolicyLayer).unwrap_err().iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::UnknownVersion]);
}

#[test]
fn a_text_that_is_too_large_is_refused_whole() {
    let large = format!("default deny\n{}", "#".repeat(10 * 1024 * 1024));
    for name in ["p.toll", "p.json"] {
        let codes: Vec<Code> = read(name, &large, Target::Native).unwrap_err().iter().map(|one| one.code).collect();
        assert_eq!(codes, [Code::TooLarge]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|[a-z {}\"\\[\\]:,.0-9\n]*") {
        for name in ["p.toll", "p.json"] {
            for target in [Target::Native, Target::PolicyLayer] {
                if let Err(all) = read(name, &text, target) {
                    prop_assert!(!all.is_empty());
                    prop_assert!(!render(name, &text, &all, false).is_empty());
                    prop_assert!(render_json(&text, &all).starts_with('['));
                }
            }
        }
    }

    #[test]
    fn a_policy_cut_short_is_refused_or_read_without_a_panic(at in any::<prop::sample::Index>()) {
        let text = include_str!("../../../fixtures/policy/accept/billing.toll");
        let cut = &text[..at.index(text.len())];
        let _ = read("p.toll", cut, Target::Native);
    }
}
