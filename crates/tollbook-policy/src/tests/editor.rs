//! The editors' grammar, held against the lexer on every accepted fixture: each token that isn't white
//! space gets a scope of its kind, and no scope begins or ends inside a token.

use regex::Regex;

use super::*;
use crate::lexer::{Kind, lex};

#[test]
fn the_textmate_grammar_scopes_every_token() {
    let grammar: serde_json::Value =
        serde_json::from_str(include_str!("../../../../grammar/toll.tmLanguage.json")).unwrap();
    let rules: Vec<(Regex, String)> = grammar["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pattern| {
            let rule = &grammar["repository"][pattern["include"].as_str().unwrap().trim_start_matches('#')];
            (Regex::new(rule["match"].as_str().unwrap()).unwrap(), rule["name"].as_str().unwrap().to_owned())
        })
        .collect();
    let used: BTreeSet<String> = names("accept")
        .iter()
        .filter(|name| name.ends_with(".toll"))
        .flat_map(|name| check(&text_of(&fixtures("accept").join(name)), &rules))
        .collect();
    assert_eq!(used, rules.iter().map(|(_, name)| name.clone()).collect(), "every scope is used");
}

/// As an editor does it: line by line, the leftmost match, the first rule among equals.
fn check(text: &str, rules: &[(Regex, String)]) -> Vec<String> {
    let mut scopes: Vec<(std::ops::Range<usize>, &str)> = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let mut at = 0;
        while let Some((found, name)) = rules
            .iter()
            .filter_map(|(regex, name)| {
                regex.find_at(line, at).filter(|found| !found.is_empty()).map(|found| (found, name))
            })
            .min_by_key(|(found, _)| found.start())
        {
            scopes.push((line_start + found.start()..line_start + found.end(), name));
            at = found.end();
        }
        line_start += line.len();
    }
    for token in lex(text).into_iter().filter(|token| token.kind != Kind::Space) {
        let written = &text[token.span.clone()];
        let covering = scopes.iter().find(|(span, _)| span.start <= token.span.start && span.end >= token.span.end);
        let Some((_, scope)) = covering else { panic!("`{written}` has no scope of its own in {text}") };
        let expected: &[&str] = match token.kind {
            Kind::Comment => &["comment"],
            Kind::String => &["string.quoted"],
            Kind::Number | Kind::Duration | Kind::Time | Kind::Timestamp => &["constant.numeric"],
            Kind::Glob => &["string.regexp"],
            Kind::Word => &["keyword", "variable", "constant.language", "entity"],
            Kind::Punctuation => &["keyword.operator", "punctuation", "variable"],
            Kind::Space | Kind::Unknown => &[],
        };
        assert!(expected.iter().any(|prefix| scope.starts_with(prefix)), "`{written}` is {scope}");
    }
    scopes.into_iter().map(|(_, name)| name.to_owned()).collect()
}
