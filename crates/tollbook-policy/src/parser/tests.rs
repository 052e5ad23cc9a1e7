use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::ast::{ClauseKind, Cond};

mod recogniser;
pub mod sentence;

/// `line:column what` for each error.
fn errors(text: &str) -> Vec<String> {
    parse(text)
        .1
        .iter()
        .map(|told| {
            let (line, column) = crate::diagnostic::line_and_column(text, told.at());
            format!("{line}:{column} {} {}", told.code, text.get(told.labels[0].span.clone()).unwrap())
        })
        .collect()
}

#[test]
fn five_planted_mistakes_give_five_errors_and_the_rest_is_read() {
    let text = "\
policy \"p\"
default deny
tool a {
    limit 30 per minuet
    limit 5 per hour per nobody
    require args.x > > 1
    deny when args.y == 1
}
hide b c
tool d {
    break after identical calls within 5m
    limit 7 per day
}
allow e
";
    assert_eq!(
        errors(text),
        ["4:18 P0103 minuet", "5:26 P0103 nobody", "6:22 P0103 >", "9:8 P0103 c", "11:17 P0103 identical",]
    );
    let file = parse(text).0;
    assert_eq!(file.items.len(), 4);
    let Item::Tool(_, clauses) = &file.items[0] else { panic!("a tool") };
    assert!(matches!(clauses.last().unwrap().kind, ClauseKind::Deny(Some(Cond::Test(_)))));
    let Item::Tool(_, clauses) = &file.items[2] else { panic!("a tool") };
    assert_eq!(clauses.len(), 1);
}

#[test]
fn one_mistake_is_one_error() {
    for (text, expected) in [
        ("polcy \"x\"\ndefault deny\nallow a", "1:1 P0103 polcy"),
        ("default maybe\nallow a", "1:9 P0103 maybe"),
        ("default deny\ntool a {\n limit 3 per minute\ntool b {}", "4:1 P0103 tool"),
        ("default deny\ntool a {\n limit 3 per minute }\n}\nallow b", "4:1 P0103 }"),
        ("default deny\ntool a, {\n limit 3 per minute\n}\nallow b", "2:9 P0103 {"),
        ("default deny\ntool a { limit 3 pre minute limit 4 per hour }", "2:18 P0103 pre"),
        ("default deny\ntool a { limit 3 per minute per }\nallow b", "2:33 P0103 }"),
        ("default deny\ntool a { require args.x in [deny, limit] }", "2:29 P0103 deny"),
        ("default deny\ntool a { require (args.x == 1 }\nallow b", "2:31 P0103 }"),
        ("default deny\ntool a { deny when args.x = 1 }", "2:27 P0101 ="),
        (
            "default deny\ntest \"t\" {\n call a {\"x\": {\"y\" 1}} expect deny\n call b {} expect allow\n}",
            "3:20 P0103 1",
        ),
        ("default deny\ntest \"t\" {\n call a {\"x\": 1 expect deny\n}\nallow b", "3:17 P0103 expect"),
        ("default deny\ntool a {", "2:9 P0103 "),
        ("default deny\nhide limit", "2:6 P0103 limit"),
        ("default deny\ntool a { require args.x == \"open }\n}", "2:28 P0102 \"open }"),
        ("default deny\nallow a $ b", "2:9 P0101 $"),
        ("default deny\ntool a { limit 3 per 15q }", "2:22 P0204 15q"),
        ("allow a\ndefault deny", "2:1 P0103 default"),
        ("default deny\ndefault deny", "2:1 P0103 default"),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn what_is_wanted_is_listed_and_what_was_meant_is_guessed() {
    let (_, told) = parse("default deny\ntool a { limit 30 per minuet }");
    assert_eq!(told[0].labels[0].text, "expected one of: minute, hour, day, rolling, a duration such as 15m");
    assert_eq!(told[0].help, ["did you mean `minute`?"]);
}

#[test]
fn nesting_and_size_are_bounded() {
    let deep = format!("default deny tool a {{ require {}args.x exists{} }}", "(".repeat(70), ")".repeat(70));
    assert_eq!(parse(&deep).1[0].code, Code::TooDeep);
    let fine = format!("default deny tool a {{ require {}args.x exists{} }}", "(".repeat(60), ")".repeat(60));
    assert_eq!(parse(&fine).1, []);
    let large = " ".repeat(FILE_BYTES_MAX + 1);
    assert_eq!(parse(&large).1[0].code, Code::TooLarge);
}

/// The productions that the parser's functions quote, in the order of the grammar.
fn quoted() -> String {
    let sources = [
        include_str!("../parser.rs"),
        include_str!("item.rs"),
        include_str!("clause.rs"),
        include_str!("condition.rs"),
        include_str!("test_block.rs"),
    ];
    let mut grammar = String::new();
    for source in sources {
        let mut inside = false;
        for line in source.lines() {
            match line.strip_prefix("/// ").unwrap_or(line) {
                "```ebnf" => inside = true,
                "```" => inside = false,
                text if inside => writeln!(grammar, "{text}").unwrap(),
                _ => {}
            }
        }
    }
    grammar
}

#[test]
fn the_quotes_together_are_the_grammar() {
    let productions: String = include_str!("../../../../grammar/policy.ebnf")
        .lines()
        .filter(|line| !line.starts_with("(*") && !line.is_empty())
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(quoted(), productions);
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "policy",
        "default",
        "allow",
        "deny",
        "hide",
        "tool",
        "group",
        "of",
        "all",
        "tools",
        "test",
        "limit",
        "total",
        "each",
        "per",
        "minute",
        "rolling",
        "hour",
        "as",
        "session",
        "require",
        "when",
        "only",
        "during",
        "mon",
        "..",
        "08:00",
        "\"UTC\"",
        "approve",
        "by",
        "within",
        "15m",
        "break",
        "after",
        "identical",
        "calls",
        "repeats",
        "a",
        "args",
        ".",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        "==",
        "in",
        "not",
        "and",
        "or",
        "exists",
        "matches",
        "\"x\"",
        "because",
        "shadow",
        "call",
        "expect",
        "3",
        "x",
        "->",
        "ok",
        "*",
        "$",
        "\n",
        "# c\n",
        "category",
        "1e",
        "24:00",
    ]);
    prop::collection::vec(token, 0..80).prop_map(|tokens| tokens.join(" "))
}

proptest! {
    #[test]
    fn token_soup_is_read_without_a_panic_and_without_losing_an_error(text in soup()) {
        let (_, told) = parse(&text);
        for one in &told {
            prop_assert!(one.labels[0].span.end <= text.len());
            prop_assert!(!crate::diagnostic::render("soup.toll", &text, std::slice::from_ref(one), false).is_empty());
        }
    }

    #[test]
    fn random_text_is_read_without_a_panic(text in "\\PC*") {
        let (_, told) = parse(&text);
        prop_assert!(told.iter().all(|one| one.labels[0].span.end <= text.len()));
    }
}
