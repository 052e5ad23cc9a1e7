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
    check(br#""\ud800""#, Err((Fault::LoneSurrogate, 7)));
    check(b"{\"a\":", Err((Fault::Truncated, 5)));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "{\"a\" 1}",
        "{a:1}",
        "[1,]",
        "{\"a\":1,}",
        "\"\t\"",
        "tru",
        "'a'",
        "",
        "0x10",
        "1_000",
        "//c\n1",
    ] {
        assert!(parse(text.as_bytes()).is_err(), "`{text}` was read");
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
fn an_outline_tells_where_the_values_stand() {
    let told = |text: &'static str| {
        let Outline { members, within } = outline(text.as_bytes(), "d")?;
        let texts = |members: Vec<(&'static str, Range<usize>)>| {
            members.into_iter().map(|(key, place)| (key, &text[place])).collect::<Vec<_>>()
        };
        Some((texts(members), within.map(texts)))
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
    for text in
        [r#"{"":1}"#, r#"{"d":{"a":1,"a":1}}"#, r#"{"d":{"\u0061":1}}"#, r#"{"d":{"a":1}"#, r#"{"d":{},"d":{}}"#]
    {
        assert_eq!(told(text), None, "{text}");
    }
    let many = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
    assert!(outline(many(KEY_SET_FROM).as_bytes(), "d").is_some());
    assert!(outline(many(KEY_SET_FROM + 1).as_bytes(), "d").is_none());
}
