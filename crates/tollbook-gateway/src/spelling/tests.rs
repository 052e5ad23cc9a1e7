use super::*;

#[track_caller]
fn check(tool: &str, is_listed: bool, expect: Option<&str>) {
    let told = visible(tool).and_then(|()| listed(tool, || is_listed));
    assert_eq!(told.err().map(|refused| refused.code), expect, "{tool:?}");
}

#[test]
fn a_plain_name_passes_listed_or_not() {
    check("create_invoice", false, None);
    check("files/read v2.1", false, None);
}

#[test]
fn a_name_with_something_invisible_never_passes() {
    for tool in ["a\u{200b}b", "ab\u{fe0f}", "\u{feff}ab", "a\u{ad}b", "a\u{e0062}", "a\tb", "a\u{a0}b", "a\u{202e}b"] {
        check(tool, true, Some("tool_name_invisible"));
    }
}

#[test]
fn a_name_beyond_ascii_passes_as_listed() {
    check("facture_créer", true, None);
    check("facture_cre\u{301}er", false, Some("tool_name_unicode"));
    check("\u{ff43}reate_invoice", false, Some("tool_name_unicode"));
}
