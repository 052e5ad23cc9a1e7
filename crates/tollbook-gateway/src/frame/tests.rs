mod readers;

use tollbook_policy::policy::Path;

use super::*;

/// The code for which a frame is refused, or what it asks for.
fn told(frame: &[u8]) -> String {
    let node = match read(frame) {
        Ok(node) => node,
        Err(refused) => return refused.code.to_owned(),
    };
    match said(&node) {
        Ok(Said { asked: Asked::Call(call), id, .. }) => {
            format!("call {} {}", call.tool, id.map_or("-".into(), |id| id.key.to_string()))
        }
        Ok(Said { asked: Asked::List, .. }) => "list".to_owned(),
        Ok(Said { asked: Asked::Cancelled(id), .. }) => format!("cancelled {}", id.key),
        Ok(Said { asked: Asked::Other, client: Some(info), .. }) => format!("by {}", client(info).unwrap_or_default()),
        Ok(Said { asked: Asked::Other, .. }) => "other".to_owned(),
        Err(refused) => refused.code.to_owned(),
    }
}

#[track_caller]
fn check(frame: &str, expect: &str) {
    assert_eq!(told(frame.as_bytes()), expect, "{frame}");
}

#[test]
fn clean_frames_say_what_they_ask() {
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1}}}"#,
        "call echo 1",
    );
    check(r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo"}}"#, "call echo \"x\"");
    check(r#"{"jsonrpc":"2.0","method":"tools\/call","params":{"name":"echo"}}"#, "call echo -");
    check(r#"{"jsonrpc":"2.0","id":1e0,"method":"tools/call","params":{"name":"e","arguments":null}}"#, "call e 1");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, "list");
    check(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"clientInfo":{"name":"c","version":"2"}}}"#,
        "by c/2",
    );
    check(
        r#"{"jsonrpc":"2.0","id":0,"method":"x","params":{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"c"}}}}"#,
        "by c",
    );
    check(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#, "cancelled 7");
    check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "other");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "other");
}

#[test]
fn an_ambiguous_frame_is_refused() {
    check(r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}]"#, "frame_batch");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, "frame_duplicate_key");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm","Name":"echo"}}"#, "frame_key_case");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, "frame_key_case");
    check(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"rm\",\"argument\u{17f}\":{}}}",
        "frame_key_case",
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm","arguments":{"a":{"b":1,"b":2}}}}"#,
        "frame_duplicate_key",
    );
    check(r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"rm"}}"#, "frame_method_case");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {"x":1}"#, "frame_trailing_data");
    check(r#"{"jsonrpc":"2.0","id":NaN,"method":"ping"}"#, "frame_not_finite");
    check(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "frame_duplicate_key");
    check("{\"jsonrpc\":\"2.0\",", "frame_not_json");
    assert_eq!(told(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), "frame_invalid_utf8");
}

#[test]
fn what_is_not_json_rpc_is_refused() {
    check("3", "frame_not_jsonrpc");
    check("{}", "frame_not_jsonrpc");
    check(r#"{"jsonrpc":"2.0","id":1}"#, "frame_not_jsonrpc");
    check(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "frame_not_jsonrpc");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "frame_not_jsonrpc");
    check(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "frame_not_jsonrpc");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "call_invalid");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}"#, "call_invalid");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[1]}}"#, "call_invalid");
}

#[test]
fn an_argument_that_the_policy_reads_has_one_spelling() {
    let args = json::parse("{\"Amount\":1,\"meta\":{\"TEST\":true},\"sum\":2,\"\u{212a}g\":3}".as_bytes()).unwrap();
    let path = |keys: &[&str]| ArgPath::from(Path { keys: keys.iter().map(|key| (*key).to_owned()).collect() });
    let code = |path: ArgPath| exact_arguments(Some(&args), &[path]).map_err(|refused| refused.code);
    assert_eq!(code(path(&["amount"])), Err("frame_key_case"));
    assert_eq!(code(path(&["meta", "test"])), Err("frame_key_case"));
    assert_eq!(code(path(&["\u{17f}um"])), Err("frame_key_case"), "a long s, which is an S in capitals");
    assert_eq!(code(path(&["kg"])), Err("frame_key_case"), "the sign of the Kelvin");
    assert_eq!(code(path(&["kgs"])), Ok(()));
    assert_eq!(code(path(&["Amount"])), Ok(()));
    assert_eq!(code(path(&["other", "amount"])), Ok(()));
}

#[test]
fn a_trace_is_carried_where_it_is_one() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")), Some(id));
    for broken in ["", "00-1-2-3", &format!("00-{id}"), &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))] {
        assert_eq!(trace_id(broken), None, "{broken}");
    }
}
