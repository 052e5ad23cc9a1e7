use super::*;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

#[track_caller]
fn check(frame: &str, method: Option<&str>, name: Option<&str>, version: Option<&str>, expect: Result<(), &str>) {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let headers = Headers { method: owned(method), name: owned(name), version: owned(version), traceparent: None };
    let node = tollbook_policy::json::parse(frame.as_bytes()).unwrap();
    assert_eq!(headers.agree(&node).map_err(|refused| refused.why), expect.map_err(str::to_owned));
}

#[test]
fn headers_that_say_nothing_or_the_same_agree() {
    check(CALL, None, None, None, Ok(()));
    check(CALL, Some("tools/call"), Some(&encoded("é")), Some("2026-07-28"), Ok(()));
    check(r#"{"jsonrpc":"2.0","method":"ping"}"#, Some("ping"), None, Some("2025-11-25"), Ok(()));
}

#[test]
fn a_header_that_says_something_else_is_told() {
    check(
        CALL,
        Some("tools/list"),
        None,
        None,
        Err("the header Mcp-Method says `tools/list`, the body has `tools/call`"),
    );
    check(CALL, None, Some("e"), None, Err("the header Mcp-Name says `e`, the body has `é`"));
    check(
        CALL,
        None,
        None,
        Some("2025-11-25"),
        Err("the header MCP-Protocol-Version says `2025-11-25`, the body has `2026-07-28`"),
    );
    let nameless = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{}}"#;
    check(nameless, None, Some("x"), None, Err("the header Mcp-Name says `x`, the body has none"));
}

#[test]
fn what_a_header_cannot_carry_is_wrapped() {
    assert_eq!(encoded("create_invoice"), "create_invoice");
    assert_eq!(encoded(" a"), "=?base64?IGE=?=");
    for text in ["é", " a", "=?base64?x?="] {
        assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
    }
}

/// Methods that aren't known pass untouched.
#[test]
fn a_name_that_goes_with_an_unknown_method_is_for_the_server() {
    check(r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":{}}"#, Some("x/y"), Some("z"), None, Ok(()));
}
