//! The house as `crates/README.md` draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::program::root;

/// The table of who may use whom, and what each crate really uses, must be the same.
#[test]
fn the_dependency_table_is_what_the_crates_use() {
    let readme = fs::read_to_string(root().join("crates/README.md")).unwrap();
    let code = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(|name| format!("tollbook-{}", name.trim_start_matches("tollbook-")))
            .collect()
    };
    let mut told = BTreeMap::new();
    for line in readme.lines().filter(|line| line.starts_with("| `tollbook-")) {
        let cells: Vec<&str> = line.split('|').collect();
        let uses: BTreeSet<String> = code(cells[2]).into_iter().collect();
        told.insert(code(cells[1])[0].clone(), uses);
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let mut uses = BTreeSet::new();
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line == "[dependencies]";
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if in_dependencies && name.starts_with("tollbook-") {
                uses.insert(name.to_owned());
            }
        }
        let name = manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        found.insert(name, uses);
    }
    assert_eq!(told, found);
    assert!(found.len() <= 7, "seven crates is the ceiling");
}

#[test]
fn the_pure_crates_are_kept_pure_by_lint() {
    for name in ["tollbook-policy", "tollbook-engine", "tollbook-backtest"] {
        let text = fs::read_to_string(root().join("crates").join(name).join("clippy.toml")).unwrap();
        for method in ["std::time::SystemTime::now", "std::time::Instant::now", "std::fs::read", "std::env::var"] {
            assert!(text.contains(&format!("\"{method}\"")), "{name} may call {method}");
        }
    }
}

/// Every test file is named in a `mod`, so that none is forgotten.
#[test]
fn no_test_file_was_forgotten() {
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "{stem}.rs is in no `mod`");
        }
    }
}

/// A module over 600 lines wants dividing.
#[test]
fn no_file_is_too_long() {
    fn visit(dir: &std::path::Path, long: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, long);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_stem().unwrap() != "tests"
            {
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                if lines > 600 {
                    long.push(format!("{}: {lines}", path.display()));
                }
            }
        }
    }
    let mut long = Vec::new();
    visit(&root().join("crates"), &mut long);
    assert!(long.is_empty(), "{long:?}");
}
