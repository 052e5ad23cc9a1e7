//! Sentences made from `grammar/policy.ebnf` itself: what it allows, the parser must read.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::parser::parse;

/// The right side of a production.
#[derive(Debug, Clone)]
pub enum Part {
    /// `"word"`
    Written(String),
    /// `IDENT`, or the name of a production.
    Named(String),
    /// One after the other.
    All(Vec<Part>),
    /// One of these.
    Any(Vec<Part>),
    /// `[ … ]`
    Maybe(Box<Part>),
    /// `{ … }`
    Many(Box<Part>),
}

pub fn grammar() -> BTreeMap<String, Part> {
    let text = include_str!("../../../../../grammar/policy.ebnf");
    let plain: String = text.lines().filter(|line| !line.starts_with("(*")).collect::<Vec<_>>().join(" ");
    let mut words: Vec<&str> = plain.split_whitespace().rev().collect();
    let mut productions = BTreeMap::new();
    while let Some(name) = words.pop() {
        assert_eq!(words.pop(), Some("="), "{name}");
        productions.insert(name.to_owned(), choice_of(&mut words));
        assert_eq!(words.pop(), Some(";"), "{name}");
    }
    productions
}

fn choice_of(words: &mut Vec<&str>) -> Part {
    let mut parts = vec![sequence_of(words)];
    while words.last() == Some(&"|") {
        words.pop();
        parts.push(sequence_of(words));
    }
    if parts.len() == 1 { parts.remove(0) } else { Part::Any(parts) }
}

fn sequence_of(words: &mut Vec<&str>) -> Part {
    let mut parts = vec![single(words)];
    while words.last() == Some(&",") {
        words.pop();
        parts.push(single(words));
    }
    Part::All(parts)
}

fn single(words: &mut Vec<&str>) -> Part {
    let first = words.pop().unwrap();
    let mut inside = |close: &str| {
        let inner = choice_of(words);
        assert_eq!(words.pop(), Some(close));
        inner
    };
    match first {
        "(" => inside(")"),
        "[" => Part::Maybe(Box::new(inside("]"))),
        "{" => Part::Many(Box::new(inside("}"))),
        quoted if quoted.starts_with('"') => Part::Written(quoted.trim_matches('"').to_owned()),
        name => Part::Named(name.to_owned()),
    }
}

/// Writes a sentence; each choice is taken from `choices`, and the first way once they are used up.
fn write(part: &Part, grammar: &BTreeMap<String, Part>, choices: &mut Vec<u8>, out: &mut Vec<String>) {
    match part {
        Part::Written(word) => out.push(word.clone()),
        Part::All(parts) => parts.iter().for_each(|part| write(part, grammar, choices, out)),
        Part::Any(parts) => {
            let choice = choices.pop().map_or(parts.len() - 1, usize::from) % parts.len();
            write(&parts[choice], grammar, choices, out);
        }
        Part::Maybe(part) => {
            if choices.pop().is_some_and(|choice| choice % 2 == 0) {
                write(part, grammar, choices, out);
            }
        }
        Part::Many(part) => {
            for _ in 0..choices.pop().map_or(0, |choice| choice % 4) {
                write(part, grammar, choices, out);
            }
        }
        Part::Named(name) => match grammar.get(name) {
            Some(part) => write(part, grammar, choices, out),
            None => out.push(terminal(name).to_owned()),
        },
    }
}

fn terminal(name: &str) -> &'static str {
    match name {
        "IDENT" => "thing_1",
        "WORD" => "limit",
        "STRING" => "\"a \\\"string\\\"\"",
        "GLOB" => "create_*",
        "INT" => "30",
        "NUMBER" => "-1.5e3",
        "DURATION" => "15m",
        "DAY" => "wed",
        "TIME" => "08:00",
        "TIMESTAMP" => "2026-01-05T09:00:00Z",
        other => panic!("{other} is neither a production nor a terminal"),
    }
}

/// Sentences of the grammar, one space between two tokens.
pub fn sentences() -> impl Strategy<Value = String> {
    let grammar = grammar();
    prop::collection::vec(any::<u8>(), 0..400).prop_map(move |mut choices| {
        let mut words = Vec::new();
        write(&Part::Named("file".to_owned()), &grammar, &mut choices, &mut words);
        words.join(" ")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2_000)))]

    /// Law 6.
    #[test]
    fn every_sentence_of_the_grammar_is_read(text in sentences()) {
        let told = parse(&text).1;
        let deep = told.iter().any(|one| one.code == crate::Code::TooDeep);
        prop_assert!(deep || told.is_empty(), "{:?} in {}", told.first(), text);
    }
}

#[test]
fn each_production_is_used_and_each_name_is_known() {
    fn names(part: &Part, found: &mut Vec<String>) {
        match part {
            Part::Written(_) => {}
            Part::Named(name) => found.push(name.clone()),
            Part::All(parts) | Part::Any(parts) => parts.iter().for_each(|part| names(part, found)),
            Part::Maybe(part) | Part::Many(part) => names(part, found),
        }
    }
    let grammar = grammar();
    let mut found = vec!["file".to_owned()];
    grammar.values().for_each(|part| names(part, &mut found));
    for name in &found {
        assert!(grammar.contains_key(name) || !terminal(name).is_empty());
    }
    for name in grammar.keys() {
        assert!(found.contains(name), "{name} is never used");
    }
}
