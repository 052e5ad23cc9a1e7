use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &[u8], expect: Result<(), (Fault, usize)>) {
    let found = parse(text).map(|_| ()).map_err(|error| (error.fault, error.at));
    assert_eq!(found, expect, "{}", String::from_utf8_lossy(text));
}

#[test]
fn clean_json_is_read() {
    for text in
        ["null", " {} ", "[1,2.5e-3,\"\\u00e9\"]", "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}", "-0", "\"\\ud83d\\ude00\""]
    {
        check(text.as_bytes(), Ok(()));
    }
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    check(br#"{"a":1,"a":2}"#, Err((Fault::DuplicateKey, 7)));
    check(br#"{"a":1,"\u0061":2}"#, Err((Fault::DuplicateKey, 7)));
    check(br#"[{"x":{"k":1,"k":1}}]"#, Err((Fault::DuplicateKey, 13)));
    check(b"{} {}", Err((Fault::TrailingData, 3)));
    check(b"NaN", Err((Fault::NotFinite, 0)));
    check(b"[-Infinity]", Err((Fault::NotFinite, 1)));
    check(b"\"\xff\"", Err((Fault::InvalidUtf8, 1)));
    check(br#""\ud800""#, Err((Fault::LoneSurrogate, 1)));
    check(br#""a\udc00""#, Err((Fault::LoneSurrogate, 2)));
    check(br#""\ud800\ud800""#, Err((Fault::LoneSurrogate, 1)));
    check(br#""\ud800\n""#, Err((Fault::LoneSurrogate, 1)));
    check(br#"[1,Infinity]"#, Err((Fault::NotFinite, 3)));
    for text in [
        "{\"a\":",
        "",
        " ",
        "[",
        "[1",
        "[1,",
        "{",
        "{\"a",
        "{\"a\"",
        "{\"a\":1",
        "{\"a\":1,",
        "\"a\\",
        "\"\\u00",
        "-",
        "1e",
        "tru",
    ] {
        check(text.as_bytes(), Err((Fault::Truncated, text.len())));
    }
}

#[test]
fn what_is_not_json_is_refused() {
    #[track_caller]
    fn check(text: &str, at: usize, detail: &str) {
        let error = parse(text.as_bytes()).unwrap_err();
        assert_eq!((error.fault, error.at, error.detail.as_str()), (Fault::Syntax, at, detail), "{text}");
    }
    check("01", 1, "a number doesn't begin with 0");
    check("[-00]", 3, "a number doesn't begin with 0");
    check("[1.]", 3, "expected a digit");
    check("[1.e1]", 3, "expected a digit");
    check("[1e+]", 4, "expected a digit");
    check("-x", 1, "expected a digit");
    check("[nul]", 4, "expected `true`, `false` or `null`");
    for text in [".5", "+1", "'a'", "//c\n1", "\u{feff}1", "True", "\u{a0}1"] {
        check(text, 0, "expected a value");
    }
    check("[1,]", 3, "expected a value");
    check("[,1]", 1, "expected a value");
    check("[1 2]", 3, "expected `,` or `]`");
    check("[1}", 2, "expected `,` or `]`");
    check("[1_000]", 2, "expected `,` or `]`");
    check("[0x10]", 2, "expected `,` or `]`");
    check("{\"a\":1 \"b\":2}", 7, "expected `,` or `}`");
    check("{\"a\" 1}", 5, "expected `:`");
    check("{a:1}", 1, "expected a key in quotation marks");
    check("{\"a\":1,}", 7, "expected a key in quotation marks");
    for control in ["\t", "\n", "\0", "\u{1f}"] {
        check(&format!("\"long enough for a word{control}\""), 23, "a control character in a string");
        check(&format!("\"\\n{control}\""), 3, "a control character in a string");
    }
    check(r#""\x""#, 2, "an escape that JSON doesn't have");
    check(r#""\u+123""#, 3, "expected four hexadecimal digits");
    check(r#""\u12g4""#, 5, "expected four hexadecimal digits");
}

/// At each place of the eight bytes that are looked at together.
#[test]
fn a_string_ends_where_its_quotation_mark_stands() {
    let plain = "\u{7f}!#[]~ é\u{80}\u{7ff}\u{10ffff}abcdefghijkl";
    for from in plain.char_indices().map(|(at, _)| at) {
        for to in plain.char_indices().map(|(at, _)| at).filter(|to| *to >= from) {
            let piece = &plain[from..to];
            let told = |text: &str| parse(text.as_bytes()).unwrap().as_str().unwrap().to_owned();
            assert_eq!(told(&format!("\"{piece}\"")), piece);
            assert_eq!(told(&format!("\"{piece}\\\"{piece}\\u00e9{piece}\"")), format!("{piece}\"{piece}é{piece}"));
        }
    }
    let all = r#""\"\\\/\b\f\n\r\t\u0000\u20AC\ud83d\uDE00""#;
    assert_eq!(parse(all.as_bytes()).unwrap().as_str(), Some("\"\\/\u{8}\u{c}\n\r\t\0€😀"));
}

fn one_of(words: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(words.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned)
}

/// JSON, mostly with something put in, taken out or put in another's place.
fn nearly_json() -> impl Strategy<Value = String> {
    let value = one_of(
        r#"null true false 0 -0 12 -1.50 2e3 1E-7 9E+9 "" "a" "b\n" "é" "\u00e9" "\ud83d\ude00" "a_longer_one""#,
    );
    let value = value.prop_recursive(4, 24, 4, |value| {
        let member = (one_of(r#""a" "b" "" "\u0061" "é" "a_longer_key""#), value.clone());
        let members = prop::collection::vec(member.prop_map(|(key, value)| format!("{key}:{value}")), 0..4);
        let elements = prop::collection::vec(value, 0..4);
        let between = prop::sample::select(&[",", " ,\n", ",\t"][..]);
        prop_oneof![
            (elements, between.clone()).prop_map(|(elements, between)| format!("[{}]", elements.join(between))),
            (members, between).prop_map(|(members, between)| format!("{{{} }}", members.join(between))),
        ]
    });
    let put = one_of(r#"{ } [ ] , : " \ \u \ud83d \ude00 \n e E . - + 0 1 x null é"#);
    (value, any::<prop::sample::Index>(), put, 0..4).prop_map(|(text, at, put, change)| {
        let mut characters: Vec<String> = text.chars().map(String::from).collect();
        let at = at.index(characters.len());
        match change {
            0 => {}
            1 => drop(characters.remove(at)),
            2 => characters.insert(at, put),
            _ => characters[at] = put,
        }
        characters.concat()
    })
}

fn told(node: &Node<'_>) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => serde_json::from_str(number.text).unwrap(),
        Value::String(text) => text.as_ref().into(),
        Value::Array(elements) => elements.iter().map(told).collect(),
        Value::Object(members) => members.iter().map(|member| (member.key.to_string(), told(&member.node))).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Another reader takes the same texts for the same values, but for keys that stand twice.
    #[test]
    fn agrees_with_serde_json(text in nearly_json()) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match parse(text.as_bytes()) {
            Ok(node) => match theirs {
                Ok(theirs) => prop_assert_eq!(told(&node), theirs),
                // A number that no float can hold keeps its text here.
                Err(error) => prop_assert!(error.to_string().contains("out of range"), "{error}"),
            },
            Err(Error { fault: Fault::DuplicateKey, .. }) => {}
            Err(error) => prop_assert!(theirs.is_err(), "{error}"),
        }
    }

    /// What is passed over is as sound as what is read.
    #[test]
    fn an_outline_takes_what_can_be_read(text in nearly_json()) {
        let framed = format!("{{\"a\":{text}}}");
        let read = parse(framed.as_bytes());
        match outline(framed.as_bytes(), "b") {
            Some(_) => prop_assert!(read.map_or_else(|error| error.fault == Fault::DuplicateKey, |_| true)),
            // A text may end the object and go on with keys that stand twice or have escapes.
            None => prop_assert!(read.is_err() || text.contains(':')),
        }
    }
}

#[test]
fn a_duplicate_is_found_in_a_large_object_too() {
    let members: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{n}")).collect();
    assert!(parse(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
    let error = parse(format!("{{{},\"k3\":0}}", members.join(",")).as_bytes()).unwrap_err();
    assert_eq!((error.fault, error.detail.as_str()), (Fault::DuplicateKey, "k3"));
    let error = parse(format!("{{{},\"k39\":0}}", members.join(",")).as_bytes()).unwrap_err();
    assert_eq!((error.fault, error.detail.as_str()), (Fault::DuplicateKey, "k39"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(DEPTH_MAX + 1).as_bytes()).is_ok());
    assert_eq!(parse(nested(100_000).as_bytes()).unwrap_err().fault, Fault::TooDeep);
}

#[test]
fn spans_are_the_bytes_of_the_text() {
    let text = r#" {"k\n" : [ 12 , "é\t" ], "b":{"c":true}} "#;
    let node = parse(text.as_bytes()).unwrap();
    let members = node.members().unwrap();
    assert_eq!(&text[node.span.clone()], text.trim());
    assert_eq!(&text[members[0].key_span.clone()], r#""k\n""#);
    assert_eq!(members[0].key, "k\n");
    assert_eq!(&text[members[0].node.span.clone()], r#"[ 12 , "é\t" ]"#);
    assert_eq!(&text[members[1].key_span.clone()], r#""b""#);
    assert_eq!(&text[node.get("b").unwrap().get("c").unwrap().span.clone()], "true");
}

#[test]
fn a_short_whole_number_has_its_millionths() {
    let micros = |text: &str| match parse(text.as_bytes()).unwrap().value {
        Value::Number(number) => number.short_micros(),
        _ => None,
    };
    assert_eq!(micros("0"), Some(0));
    assert_eq!(micros("12"), Some(12_000_000));
    assert_eq!(micros("999999999999"), Some(999_999_999_999_000_000));
    for text in ["1000000000000", "99999999999999999999999", "-1", "-0", "1.0", "1e2", "1E0", "0.5"] {
        assert_eq!(micros(text), None, "{text}");
    }
}

#[test]
fn an_outline_has_the_values_as_they_stand() {
    let told = |text: &'static str| {
        let Outline { members, within } = outline(text.as_bytes(), "d")?;
        Some((members, within))
    };
    assert_eq!(told("{}"), Some((vec![], None)));
    let text = r#" {"a" : 1.50e3 , "b" :[{"a":1,"a":2}],"c":"\"}", "d":null} "#;
    let members = vec![("a", "1.50e3"), ("b", r#"[{"a":1,"a":2}]"#), ("c", r#""\"}""#), ("d", "null")];
    assert_eq!(told(text), Some((members, None)));
    let members = vec![("d", r#"{ "a":{"d":[]} , "d":1 }"#), ("a", "{}")];
    assert_eq!(
        told(r#"{"d":{ "a":{"d":[]} , "d":1 },"a":{}}"#),
        Some((members, Some(vec![("a", r#"{"d":[]}"#), ("d", "1")])))
    );
    for text in ["[]", "1", "", "{", r#"{"a":1,"a":1}"#, r#"{"\u0061":1}"#, r#"{"a":1}x"#, r#"{"a":NaN}"#, r#"{"a"}"#] {
        assert_eq!(told(text), None, "{text}");
    }
    for text in [r#"{"d":{"a":1,"a":1}}"#, r#"{"d":{"\u0061":1}}"#, r#"{"d":{"a":1}"#, r#"{"d":{},"d":{}}"#] {
        assert_eq!(told(text), None, "{text}");
    }
    let many = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
    assert!(outline(many(KEY_SET_FROM).as_bytes(), "d").is_some());
    assert!(outline(many(KEY_SET_FROM + 1).as_bytes(), "d").is_none());
}
