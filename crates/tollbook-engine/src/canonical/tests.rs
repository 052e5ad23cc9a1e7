use tollbook_policy::json::parse;

use super::*;

#[track_caller]
fn check(text: &str, expect: &str) {
    assert_eq!(canonical(&parse(text.as_bytes()).unwrap()), expect);
}

#[test]
fn keys_are_sorted_by_utf16_units_and_white_space_goes() {
    check(r#" { "b" : 1 , "a" : [ true , null ] } "#, r#"{"a":[true,null],"b":1}"#);
    // U+1F600 is written with surrogates from U+D83D, which sort before U+FB33 (RFC 8785, 3.2.3).
    check(r#"{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3}"#, "{\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
}

#[test]
fn strings_have_the_shortest_escapes() {
    check(r#""\u0041\/\u000a\u001f\"\\\u007f""#, "\"A/\\n\\u001f\\\"\\\\\u{7f}\"");
}

#[test]
fn numbers_are_exact_normalised_decimals() {
    for (text, expect) in [
        ("1.0", "1"),
        ("-0", "0"),
        ("1e2", "100"),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890123", "1.2345678901234567890123e+22"),
        ("0.10", "0.1"),
        ("1E-7", "1e-7"),
    ] {
        check(text, expect);
    }
    let hash = |text: &str| hash128(canonical(&parse(text.as_bytes()).unwrap()).as_bytes());
    assert_ne!(hash("9007199254740992"), hash("9007199254740993"));
    assert_eq!(hash(r#"{"a":1,"b":2}"#), hash(r#"{"b":2.0,"a":1e0}"#));
}

#[test]
fn the_hash_is_the_start_of_sha256() {
    assert_eq!(hash128(b"{}").to_string(), "44136fa355b3678a1146ad16f7e8649e");
}
