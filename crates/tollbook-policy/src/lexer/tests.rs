use proptest::prelude::*;

use super::*;

fn kinds(text: &str) -> Vec<(Kind, &str)> {
    lex(text)
        .into_iter()
        .filter(|token| token.kind != Kind::Space)
        .map(|token| (token.kind, &text[token.span]))
        .collect()
}

#[test]
fn each_kind_is_told_apart() {
    use Kind::{Comment, Duration, Glob, Number, Punctuation, String, Time, Timestamp, Unknown, Word};
    assert_eq!(
        kinds("tool create_*, * a-b {} # c\n"),
        [
            (Word, "tool"),
            (Glob, "create_*"),
            (Punctuation, ","),
            (Glob, "*"),
            (Word, "a-b"),
            (Punctuation, "{"),
            (Punctuation, "}"),
            (Comment, "# c"),
        ]
    );
    assert_eq!(
        kinds("10_000 -1.5e3 15m 15q 08:00..18:00 2026-01-05T09:00:00Z 3 x 20x 1e5"),
        [
            (Number, "10_000"),
            (Number, "-1.5e3"),
            (Duration, "15m"),
            (Duration, "15q"),
            (Time, "08:00"),
            (Punctuation, ".."),
            (Time, "18:00"),
            (Timestamp, "2026-01-05T09:00:00Z"),
            (Number, "3"),
            (Word, "x"),
            (Number, "20"),
            (Word, "x"),
            (Number, "1e5"),
        ]
    );
    assert_eq!(
        kinds("args.a[\"b.c\"]>=\"é\\\"\"->$$ \"open\n="),
        [
            (Word, "args"),
            (Punctuation, "."),
            (Word, "a"),
            (Punctuation, "["),
            (String, "\"b.c\""),
            (Punctuation, "]"),
            (Punctuation, ">="),
            (String, "\"é\\\"\""),
            (Punctuation, "->"),
            (Unknown, "$$"),
            (String, "\"open"),
            (Unknown, "="),
        ]
    );
}

fn check_total(text: &str) {
    let mut at = 0;
    for token in lex(text) {
        assert_eq!(token.span.start, at);
        assert!(token.span.end > at);
        at = token.span.end;
        let _ = decode::check(text, &[token]);
    }
    assert_eq!(at, text.len());
}

proptest! {
    #[test]
    fn tokens_put_together_are_the_input(text in "\\PC*|[ -~\n\t]*|[0-9a-z:._\"*{}=<>#-]*") {
        check_total(&text);
    }
}
