use super::*;

/// What a glance tells of a frame, which is what a whole reading tells.
fn check(frame: &str, glanced: bool) {
    let answer = Answer::at_a_glance(frame.as_bytes());
    assert_eq!(answer.is_some(), glanced, "{frame}");
    if answer.is_some() {
        let node = read(frame.as_bytes()).unwrap();
        assert_eq!(answer, Answer::of(frame.as_bytes(), &node), "{frame}");
        assert!(!is_list(&node) && !may_list(&node), "{frame}");
    }
}

#[test]
fn what_tools_answer_is_told_at_a_glance() {
    let of = |id: &str, result: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    for id in ["1", "1e0", "\"a\"", "\"\\u0061\"", "-0"] {
        check(&of(id, "{}"), true);
        check(&of(id, r#" { "content" : [ {"type":"text","text":"}\"]"} ] , "isError" : true } "#), true);
    }
    check(&of("1", r#"{"isError":false,"structuredContent":{"tools":[]},"_meta":{"tools":1}}"#), true);
    check(&of("1", r#"{"isError":"true"}"#), true);
    check(&of("1", r#"{"resultType":"complete","content":[]}"#), true);
    check(" {\"result\":{},\n\"id\":1}\n", true);
}

/// What repeats a key where nobody looks is the client's to read; the call has ended all the same.
#[test]
fn an_answer_that_cannot_be_read_whole_may_end_its_call() {
    let frame = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"a":1,"a":2}],"isError":true}}"#;
    assert!(read(frame).is_err());
    assert_eq!(Answer::at_a_glance(frame).map(|answer| answer.end), Some(tollbook_engine::End::ToolError));
}

#[test]
fn whatever_else_matters_is_read_whole() {
    let of = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    check(&of(r#"{"tools":[]}"#), false);
    check(&of(r#"{"Tools":[{"name":"x"}]}"#), false);
    check(&of(r#"{"\u0074ools":[]}"#), false);
    check(&of(r#"{"resultType":"input_required","requestState":"s"}"#), false);
    check(&of(r#"{"content":[],"content":[]}"#), false);
    check(&of("[]"), false);
    check(&of("{}").replace("result", "Result"), false);
    check(&of("{}").replace("result", r"\u0072esult"), false);
    check(&of("{}").replace(r#""id":1,"#, r#""id":1,"id":1,"#), false);
    check(&of("{}").replace(r#""id":1"#, r#""id":null"#), false);
    check(&of("{}").replace(r#""id":1"#, r#""id":1,"method":"x""#), false);
    check(&of("{}").replace(r#""id":1,"#, ""), false);
    check(&format!("[{}]", of("{}")), false);
    check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, false);
    check(&format!("{} {{}}", of("{}")), false);
    check(of("{}").trim_start_matches('{'), false);
    check(&of(r#"{"content":nonsense}"#), false);
}
