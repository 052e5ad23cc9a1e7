use proptest::prelude::*;

use super::*;
use crate::parser::tests::sentence::sentences;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(format(text).as_deref(), Ok(expected));
    assert_eq!(format(expected).as_deref(), Ok(expected), "a second time");
}

#[test]
fn one_clause_has_one_line_and_items_have_an_empty_line_between_them() {
    check(
        "policy \"p\" default deny allow a , b hide c\ntool d{limit 3 per minute because \"no\" deny}tool e{}",
        "policy \"p\"\n\ndefault deny\n\nallow a, b\nhide c\n\ntool d {\n    limit 3 per minute\n        because \"no\"\n    deny\n}\n\ntool e { }\n",
    );
}

#[test]
fn an_empty_line_inside_a_block_is_the_author_s() {
    check(
        "default deny\ntool a {\n\n\n limit 3 per day\n\n\n\n deny\n limit 4 per hour\n\n}\n",
        "default deny\n\ntool a {\n    limit 3 per day\n\n    deny\n    limit 4 per hour\n}\n",
    );
}

#[test]
fn comments_stay_where_they_are() {
    check(
        "# first\ndefault deny # yes\n# about a\ntool a { # in a\n# alone\nlimit 3 # three\n per day\n# why\nbecause \"x\" # last\n\n# end of a\n}\n# end",
        "# first\ndefault deny  # yes\n\n# about a\ntool a {  # in a\n    # alone\n    limit 3  # three\n        per day\n        # why\n        because \"x\"  # last\n\n    # end of a\n}\n# end\n",
    );
    check("default deny\r\n# c \r\nallow a\r\n", "default deny\n\n# c\nallow a\n");
}

#[test]
fn conditions_and_paths_have_their_spaces() {
    check(
        "default deny tool t{require(args.a>=1 and not args . b in[1,\"x\"])or args[ \"x.y\" ].in[\"z\"] missing
         only during mon .. fri,sun 08:00 .. 18:00 \"UTC\"}",
        "default deny\n\ntool t {\n    require (args.a >= 1 and not args.b in [1, \"x\"]) or args[\"x.y\"].in[\"z\"] missing\n    only during mon..fri, sun 08:00..18:00 \"UTC\"\n}\n",
    );
}

#[test]
fn expectations_of_neighbouring_calls_stand_under_each_other() {
    check(
        "default deny test \"t\" { at 2026-01-05T09:00:00Z 3x call a {} expect allow call call {\"x\":[1,{\"y\":null}]}->ok \"r\" expect deny by expect
         wait 5m call a{} expect deny because \"no\" approve last as session \"s\"}",
        "default deny\n\ntest \"t\" {\n    at 2026-01-05T09:00:00Z\n    3 x call a {}                                 expect allow\n    call call {\"x\": [1, {\"y\": null}]} -> ok \"r\"   expect deny by expect\n    wait 5m\n    call a {}   expect deny because \"no\"\n    approve last\n    as session \"s\"\n}\n",
    );
}

#[test]
fn long_lists_conditions_and_calls_are_broken() {
    let names: Vec<String> = (0..12).map(|n| format!("tool_number_{n}")).collect();
    let text = format!(
        "default deny allow {} tool t {{ require {} }} test \"t\" {{ call t {{\"text\": \"{}\"}} expect allow }}",
        names.join(","),
        [r#"args.amount_of_money > 100"#; 6].join(" and "),
        "x".repeat(90)
    );
    let found = format(&text).unwrap();
    let long = found.lines().filter(|line| line.chars().count() > WIDTH);
    assert!(long.eq(found.lines().filter(|line| line.contains("call t"))), "{found}");
    assert!(found.contains(",\n    tool_number_"), "{found}");
    assert!(found.contains("\n        and args"), "{found}");
    assert!(found.contains("\"}\n        expect allow\n"), "{found}");
    assert_eq!(format(&found), Ok(found.clone()));
}

#[test]
fn what_does_not_parse_is_not_touched() {
    let Err(FormatError::Syntax(told)) = format("default deny tool {") else { panic!("an error") };
    assert_eq!(told[0].code.as_str(), "P0103");
}

/// The text with comments, line feeds and spaces put between its tokens.
fn scattered(text: &str, mut choices: Vec<u8>) -> String {
    let mut out = String::new();
    for token in lex(text) {
        let choice = choices.pop().unwrap_or(0);
        choices.insert(0, choice.wrapping_mul(31).wrapping_add(7));
        match (token.kind, choice % 16) {
            (Kind::Space, 0) => out.push_str(" # here\n"),
            (Kind::Space, 1) => out.push_str("\n\n\n# there \t\n# and\n"),
            (Kind::Space, 2) => out.push_str("\r\n"),
            (Kind::Space, 3) => out.push_str("\n\n\n"),
            (Kind::Space, 4) => out.push_str("\t "),
            (Kind::Space, 5) => out.push_str("\n\n# é\n\n"),
            _ => out.push_str(&text[token.span]),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2_000)))]

    /// Law 3.
    #[test]
    fn formatting_twice_changes_nothing_and_no_token_is_lost(
        text in sentences(),
        choices in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let text = scattered(&text, choices);
        if let Ok(once) = format(&text) {
            prop_assert!(same_tokens(&text, &once));
            prop_assert_eq!(format(&once), Ok(once.clone()), "{}", text);
            let compile = |text: &str| crate::read("p.toll", text, crate::Target::Native).map(|read| read.policy).map_err(|told| told.len());
            prop_assert_eq!(compile(&once), compile(&text));
        } else {
            prop_assert!(crate::parser::parse(&text).1.iter().any(|one| one.code == crate::Code::TooDeep), "{}", text);
        }
    }

    #[test]
    fn whatever_the_text_no_token_is_lost(text in "\\PC*|[a-z {}\"\\[\\]:,.0-9#\n]*") {
        let _ = layout(&text);
        if let Ok(once) = format(&text) {
            prop_assert!(same_tokens(&text, &once));
        }
    }
}
