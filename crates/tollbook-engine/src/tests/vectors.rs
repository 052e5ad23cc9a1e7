//! Conformance vectors: a policy, and a script of calls with what becomes of each.
//!
//! In `fixtures/calls`, `NAME.calls` is a script under `NAME.toll`. A line is
//!
//! ```text
//! TIME TOOL ARGS => +                     let through
//! TIME TOOL ARGS => - REASON [WORD…]      refused
//! TIME TOOL ARGS => hold [WORD…]          held
//! TIME settle LINE END [RESULT]           how the call of that line ended; RESULT is a number
//! TIME approve LINE | TIME refuse LINE    what a person said of that line's hold
//! as GRANT/SESSION/AGENT                  who makes the calls from here on
//! ```
//!
//! TIME is in seconds since 2026-01-05T00:00:00Z, a Monday, or an RFC 3339 instant. A WORD is `by RULE`,
//! `used N` (units in the first limit's window before the call), `frees TIME`, `shadow RULE` or
//! `says "TEXT"`. Blank lines and comments (`#`) aside, every line counts.

use std::path::{Path, PathBuf};

use super::script::{Driver, Made, Step, Told};
use crate::End;

/// 2026-01-05T00:00:00Z.
pub const BEGINS_US: i64 = 1_767_571_200_000_000;

/// Runs a script under a policy and holds each line to what it says.
#[track_caller]
pub fn check(policy: &str, script: &str) {
    run(&mut Driver::new(policy), script);
}

#[track_caller]
pub fn run(driver: &mut Driver, script: &str) {
    let mut who = ["g", "s", "a"].map(str::to_owned);
    let mut steps: Vec<Option<usize>> = Vec::new();
    for (index, line) in script.lines().enumerate() {
        steps.push(None);
        let text = line.split(" #").next().unwrap_or_default().trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix("as ") {
            let mut parts = name.split('/').map(|part| part.trim().to_owned());
            who = [(); 3].map(|()| parts.next().unwrap());
            continue;
        }
        let (asked, expect) =
            text.split_once("=>").map_or((text, None), |(asked, expect)| (asked.trim(), Some(expect.trim())));
        let mut words = asked.splitn(3, ' ');
        let (at_us, word, rest) = (time_us(words.next().unwrap()), words.next().unwrap(), words.next().unwrap_or(""));
        let line_step = |number: &str| steps[number.parse::<usize>().unwrap() - 1].expect("a line with a call");
        let step = match word {
            "settle" => {
                let parts: Vec<&str> = rest.split(' ').collect();
                let end = End::from_word(parts[1]).unwrap();
                Step::Settle {
                    step: line_step(parts[0]),
                    end,
                    result: parts.get(2).map(|result| result.parse().unwrap()),
                }
            }
            "approve" | "refuse" => Step::Answer { step: line_step(rest), approved: word == "approve" },
            word => {
                let [grant, session, agent] = who.clone();
                let (tool, args) = if word == "rest" { rest.split_once(' ').unwrap() } else { (word, rest) };
                let (tool, args, continues) = (tool.to_owned(), args.to_owned(), word == "rest");
                Step::Call(Made { at_us, tool, grant, session, agent, args, continues })
            }
        };
        driver.latest_us = driver.latest_us.max(at_us);
        steps[index] = Some(driver.seqs.len());
        let told = driver.step(&step);
        match (told, expect) {
            (Some(told), Some(expect)) => hold_to(&told, expect, index + 1, line),
            (None, None) => {}
            _ => panic!("line {}: a call has an expectation, and nothing else has: {line}", index + 1),
        }
    }
}

#[track_caller]
fn hold_to(told: &Told, expect: &str, number: usize, line: &str) {
    let mut rest = expect;
    let mut word = || {
        let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        first
    };
    let verdict = word();
    let reason = if verdict == "-" { word() } else { told.reason };
    let expected = match verdict {
        "+" => "allow",
        "-" => "deny",
        other => other,
    };
    let context = || format!("line {number}: {line}\n{told:#?}");
    assert_eq!((told.verdict, told.reason), (expected, reason), "{}", context());
    if let Some((_, text)) = expect.split_once("says ") {
        assert_eq!(told.message.as_deref(), Some(text.trim_matches('"')), "{}", context());
    }
    loop {
        match word() {
            "" | "says" => break,
            "by" => assert_eq!(told.rule, word(), "{}", context()),
            "used" => {
                assert_eq!(told.facts[0].used_micros, (word().parse::<f64>().unwrap() * 1e6) as i64, "{}", context())
            }
            "frees" => {
                let at = word();
                let expected = if at == "never" { None } else { Some(time_us(at)) };
                assert_eq!(told.retry_at_us, expected, "{}", context());
            }
            "shadow" => assert!(told.shadow_rules.contains(&word().to_owned()), "{}", context()),
            other => panic!("line {number}: what is `{other}`?"),
        }
    }
}

fn time_us(text: &str) -> i64 {
    if text.contains('T') {
        return text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    }
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let micros = format!("{places:0<6}").parse::<i64>().unwrap();
    BEGINS_US + whole.parse::<i64>().unwrap() * 1_000_000 + micros
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/calls")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its fixtures")]
fn the_vectors_hold() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let partner = match path.extension().and_then(|extension| extension.to_str()) {
            Some("calls") => path.with_extension("toll"),
            Some("toll") => path.with_extension("calls"),
            _ => panic!("what is {}?", path.display()),
        };
        assert!(partner.exists(), "{} has no {}", path.display(), partner.display());
        if path.extension().is_some_and(|extension| extension == "calls") {
            seen += 1;
            eprintln!("{}", path.display());
            check(&std::fs::read_to_string(&partner).unwrap(), &std::fs::read_to_string(&path).unwrap());
        }
    }
    assert!(seen > 0);
}
