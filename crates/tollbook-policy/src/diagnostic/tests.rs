use super::*;

const TEXT: &str =
    "policy \"telnyx\"\n\ndefault deny\n\ntool create_integration_secret {\n    limit 30 per minuet per grant\n}\n";

fn sample() -> Diagnostic {
    let at = TEXT.find("minuet").unwrap();
    Diagnostic::error(
        Code::UnexpectedToken,
        at..at + 6,
        "expected one of: minute, hour, day, rolling, a duration such as 15m",
    )
    .help("did you mean `minute`?")
}

#[test]
fn a_diagnostic_is_drawn_with_its_line() {
    let expected = "\
error[P0103]: unexpected token
 --> telnyx.toll:6:18
  |
6 |     limit 30 per minuet per grant
  |                  ^^^^^^ expected one of: minute, hour, day, rolling, a duration such as 15m
  |
help: did you mean `minute`?
";
    assert_eq!(render("telnyx.toll", TEXT, &[sample()], false), expected);
}

#[test]
fn colour_is_added_only_when_asked_for() {
    assert!(!render("t", TEXT, &[sample()], false).contains('\u{1b}'));
    assert!(render("t", TEXT, &[sample()], true).contains('\u{1b}'));
}

#[test]
fn json_names_places_from_one() {
    assert_eq!(
        render_json(TEXT, &[sample()]),
        r#"[{"code":"P0103","severity":"error","message":"unexpected token","labels":[{"start_byte":81,"end_byte":87,"line":6,"column":18,"text":"expected one of: minute, hour, day, rolling, a duration such as 15m"}],"help":["did you mean `minute`?"]}]"#
    );
}

#[test]
fn no_span_makes_the_renderer_stumble() {
    for text in ["", "\n", "ä\r\n\tß\u{202e}x", "no line feed at the end"] {
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 5 {
                let one = Diagnostic::error(Code::UnexpectedToken, start..end, "here").label(end..start, "there");
                assert!(render("t", text, std::slice::from_ref(&one), false).contains("P0103"));
                assert!(render_json(text, &[one]).contains("P0103"));
            }
        }
    }
}

#[test]
fn every_code_stands_once_and_in_its_range() {
    let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(
        codes.iter().all(|code| ["P01", "P02", "P03", "P04", "L01", "L02"].iter().any(|range| code.starts_with(range)))
    );
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}

#[test]
fn a_line_that_is_too_long_is_named_and_not_drawn() {
    let text = format!("\n{}$", "é ".repeat(10_000));
    let at = text.len() - 1;
    let told = Diagnostic::error(Code::UnknownCharacter, at..at + 1, "this one").help("leave it out");
    let expected = "\
error[P0101]: unknown character
--> long.toll:2:20001
 = note: this one
help: leave it out
";
    assert_eq!(render("long.toll", &text, &[told], false), expected);
}
