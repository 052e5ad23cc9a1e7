//! The README says what is so: its console blocks are run.

use std::fs;
use std::process::Command;

use crate::program::{Dir, TOLLBOOK, ran, root, tollbook};

/// Each fenced block of a language in a text.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// A console block is a list of `$ command` lines, each with what it prints; `…` in that stands for
/// anything. They run in one directory, in which the policies of the README lie.
#[test]
fn the_console_blocks_are_what_happens() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let dir = Dir::new();
    for toll in blocks(&readme, "toll") {
        let name = toll.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
        dir.file(name, &toll);
    }
    let path =
        format!("{}:{}", std::path::Path::new(TOLLBOOK).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let console = blocks(&readme, "console");
    assert!(!console.is_empty());
    for block in console {
        for step in block.split("$ ").skip(1) {
            let (command, expect) = step.split_once('\n').unwrap();
            let ended =
                Command::new("bash").args(["-c", command]).env("PATH", &path).current_dir(dir.path("")).output();
            let ended = ran(ended.unwrap());
            let found = format!("{}{}", ended.out, ended.err);
            assert!(matches(&found, expect.trim_end()), "$ {command}\nexpected:\n{expect}\nfound:\n{found}");
        }
    }
}

fn matches(found: &str, expect: &str) -> bool {
    let mut rest = found.trim_end();
    let mut parts = expect.split('…');
    let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
        if part.is_empty() {
            return true;
        }
    }
    rest.is_empty()
}

#[test]
fn the_demo_shows_all_of_it() {
    let dir = Dir::new();
    let log = dir.path("log");
    let out = tollbook(&["demo", "--log", &log]).ok();
    for part in [
        "\"counter\": \"update_invoice_rate\"",
        "36 sessions make ",
        "[POLICY DENIED] The limit for this call is reached. (limit; retry_after_ms=",
        "| update_invoice     | deny     | limit ",
        "peak_per_minute",
        "fidelity 100.00 % (",
        "newly refused ",
        &format!("The log is in {log}"),
    ] {
        assert!(out.contains(part), "expected `{part}` in:\n{out}");
    }
    let again = Dir::new();
    let second = tollbook(&["demo", "--log", &again.path("log")]).ok();
    assert_eq!(out.replace(&log, ""), second.replace(&again.path("log"), ""), "the same seed shows the same");
}
