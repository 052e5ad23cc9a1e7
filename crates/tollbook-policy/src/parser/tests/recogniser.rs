//! A recogniser for the EBNF itself, and the parser held against it: on every fixture, and on each
//! text that comes of a fixture when a token is left out or trades places with the next one.

use std::collections::{BTreeMap, BTreeSet};

use super::sentence::{Part, grammar};
use crate::lexer::{Kind, Token, decode, lex};
use crate::parser::{is_free_word, parse};

struct Recogniser<'a> {
    grammar: &'a BTreeMap<String, Part>,
    tokens: &'a [(Kind, &'a str)],
    /// Where each production can end, from where it began.
    seen: BTreeMap<(String, usize), BTreeSet<usize>>,
}

impl Recogniser<'_> {
    /// The places at which the part can end that begins at one of these.
    fn ends(&mut self, part: &Part, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        match part {
            Part::Written(word) => self.step(starts, |_, text| text == word),
            Part::Named(name) if self.grammar.contains_key(name) => {
                starts.iter().flat_map(|start| self.production(name, *start)).collect()
            }
            Part::Named(name) => self.step(starts, |kind, text| is_terminal(name, kind, text)),
            Part::All(parts) => parts.iter().fold(starts.clone(), |at, part| self.ends(part, &at)),
            Part::Any(parts) => parts.iter().flat_map(|part| self.ends(part, starts)).collect(),
            Part::Maybe(part) => starts.union(&self.ends(part, starts)).copied().collect(),
            Part::Many(part) => {
                let (mut all, mut new) = (starts.clone(), starts.clone());
                while !new.is_empty() {
                    new = self.ends(part, &new).difference(&all).copied().collect();
                    all.extend(&new);
                }
                all
            }
        }
    }

    fn production(&mut self, name: &str, start: usize) -> BTreeSet<usize> {
        let key = (name.to_owned(), start);
        if let Some(ends) = self.seen.get(&key) {
            return ends.clone();
        }
        let part = self.grammar[name].clone();
        let ends = self.ends(&part, &BTreeSet::from([start]));
        self.seen.insert(key, ends.clone());
        ends
    }

    fn step(&self, starts: &BTreeSet<usize>, fits: impl Fn(Kind, &str) -> bool) -> BTreeSet<usize> {
        let fits = |at: &&usize| self.tokens.get(**at).is_some_and(|(kind, text)| fits(*kind, text));
        starts.iter().filter(fits).map(|at| at + 1).collect()
    }
}

fn is_terminal(name: &str, kind: Kind, text: &str) -> bool {
    match name {
        "IDENT" => kind == Kind::Word && is_free_word(text),
        "WORD" => kind == Kind::Word,
        "STRING" => kind == Kind::String,
        "GLOB" => kind == Kind::Glob,
        "INT" | "NUMBER" => kind == Kind::Number,
        "DURATION" => kind == Kind::Duration,
        "DAY" => ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].contains(&text),
        "TIME" => kind == Kind::Time,
        "TIMESTAMP" => kind == Kind::Timestamp,
        other => panic!("{other} is no terminal"),
    }
}

fn check(text: &str, grammar: &BTreeMap<String, Part>) -> bool {
    let all = lex(text);
    let tokens: Vec<(Kind, &str)> = significant(&all).map(|token| (token.kind, &text[token.span.clone()])).collect();
    let mut recogniser = Recogniser { grammar, tokens: &tokens, seen: BTreeMap::new() };
    let in_grammar = recogniser.production("file", 0).contains(&tokens.len());
    let (file, told) = parse(text);
    let well_made = decode::check(text, &all).is_empty();
    let parsed = told.is_empty() && file.default.is_some();
    assert_eq!(parsed, in_grammar && well_made, "{told:?}\n{text}");
    parsed
}

fn significant(all: &[Token]) -> impl Iterator<Item = &Token> {
    all.iter().filter(|token| token.kind.is_significant())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn the_parser_and_the_grammar_agree_on_fixtures_and_on_each_small_change_of_them() {
    let grammar = grammar();
    let mut texts = Vec::new();
    for kind in ["accept", "reject", "warn"] {
        let directory = format!("{}/../../fixtures/policy/{kind}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toll") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let (mut accepted, mut refused) = (0, 0);
    let mut count = |yes: bool| if yes { accepted += 1 } else { refused += 1 };
    // How deep brackets may nest is a bound, and no matter of the grammar.
    let deep = |text: &&String| parse(text).1.iter().any(|one| one.code == crate::Code::TooDeep);
    for text in texts.iter().filter(|text| !deep(text) && text.len() < 4_000) {
        let all = lex(text);
        let words: Vec<&str> = significant(&all).map(|token| &text[token.span.clone()]).collect();
        // Unknown characters are no tokens of the grammar: they are told on their own.
        count(check(text, &grammar));
        for at in 0..words.len() {
            let mut without = words.clone();
            without.remove(at);
            count(check(&without.join(" "), &grammar));
            if at + 1 < words.len() {
                let mut swapped = words.clone();
                swapped.swap(at, at + 1);
                count(check(&swapped.join(" "), &grammar));
            }
        }
    }
    assert!(accepted > 300 && refused > 3_000, "{accepted} {refused}");
}
