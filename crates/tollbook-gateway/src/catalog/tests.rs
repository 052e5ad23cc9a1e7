use tollbook_policy::json::parse;

use super::*;

#[track_caller]
fn check(line: &str, expect: Option<&str>) {
    let node = parse(line.trim_end().as_bytes()).unwrap();
    let found = without_hidden(line.as_bytes(), &node, |tool| tool != "rm")
        .map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
    assert_eq!(found.as_deref(), expect);
}

#[test]
fn hidden_tools_are_cut_out_and_the_rest_stays_byte_for_byte() {
    check(
        "{\"id\":1, \"result\": {\"tools\":[ {\"name\":\"a\", \"x\":12345678901234567890123} ,{\"name\":\"rm\"}, {\"name\" : \"b\"}],\"nextCursor\":\"n\"}}\r\n",
        Some(
            "{\"id\":1, \"result\": {\"tools\":[{\"name\":\"a\", \"x\":12345678901234567890123},{\"name\" : \"b\"}],\"nextCursor\":\"n\"}}\r\n",
        ),
    );
    check("{\"result\":{\"tools\":[{\"name\":\"rm\"}]}}\n", Some("{\"result\":{\"tools\":[]}}\n"));
}

#[test]
fn nothing_hidden_means_not_one_byte_changes() {
    let line = "{ \"result\" : {\"tools\":[ {\"name\":\"a\"} , {\"name\":\"b\"} ] } }\n";
    check(line, Some(line));
    check("{\"error\":{\"code\":1,\"message\":\"\"}}\n", Some("{\"error\":{\"code\":1,\"message\":\"\"}}\n"));
}

#[test]
fn a_list_that_cannot_be_read_is_none() {
    check("{\"result\":{}}", None);
    check("{\"result\":{\"tools\":{}}}", None);
    check("{\"result\":{\"tools\":[{\"name\":5}]}}", None);
    check("{\"result\":{\"tools\":[{}]}}", None);
    for other in [
        r#"{"result":{"tools":[],"Tools":[{"name":"rm"}]}}"#,
        r#"{"result":{"tools":[]},"Result":{"tools":[{"name":"rm"}]}}"#,
        r#"{"result":{"tools":[{"name":"a","Name":"rm"}]}}"#,
    ] {
        check(other, None);
    }
}

/// What one caller may see is another matter for the next.
#[test]
fn a_list_is_for_nobody_elses_cache() {
    check(
        r#"{"result":{"cacheScope":"public","tools":[{"name":"rm"},{"name":"a"}],"ttlMs":5}}"#,
        Some(r#"{"result":{"cacheScope":"private","tools":[{"name":"a"}],"ttlMs":5}}"#),
    );
    check(
        r#"{"result":{"tools":[{"name":"a"}],"cacheScope": "public"}}"#,
        Some(r#"{"result":{"tools":[{"name":"a"}],"cacheScope": "private"}}"#),
    );
    let private = r#"{"result":{"tools":[{"name":"a"}],"cacheScope":"private"}}"#;
    check(private, Some(private));
}
