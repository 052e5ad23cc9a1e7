use tollbook_policy::json::{Node, parse};

use super::*;
use crate::borrowed::ArgsRef;
use crate::record::{Hash128, Kept};

const HASH: Hash128 = Hash128([0; 16]);

fn condition(op: Op, value: Literal) -> Condition {
    Condition::compile(&Source { path: Path { keys: vec!["x".into()] }, op, value }).unwrap()
}

fn literal(text: &str) -> Literal {
    fn from(node: &Node<'_>) -> Literal {
        match &node.value {
            Value::Bool(value) => Literal::Bool(*value),
            Value::Number(number) => Literal::Number(Decimal::parse(number.text).unwrap()),
            Value::String(text) => Literal::String(text.to_string()),
            Value::Array(items) => Literal::List(items.iter().map(from).collect()),
            other => panic!("no literal: {other:?}"),
        }
    }
    from(&parse(text.as_bytes()).unwrap())
}

/// `+` where `args.x OP value` is true, `-` where it isn't, for each argument.
#[track_caller]
fn check(op: Op, value: &str, cases: &[(&str, char)]) {
    let condition = condition(op, literal(value));
    for (args, expect) in cases {
        let node = parse(args.as_bytes()).unwrap();
        let found = match condition.judge(&Args::whole(Some(&node), HASH)) {
            Truth::True => '+',
            Truth::NotTrue => '-',
            Truth::Unrecorded => '?',
        };
        assert_eq!(found, *expect, "args.x {op} {value} on {args}");
    }
}

#[test]
fn equality_is_strict_about_types_and_unknown_on_missing() {
    check(
        Op::Eq,
        "1",
        &[(r#"{"x":1}"#, '+'), (r#"{"x":1.0}"#, '+'), (r#"{"x":"1"}"#, '-'), (r#"{"x":null}"#, '-'), ("{}", '-')],
    );
    check(
        Op::Neq,
        "1",
        &[(r#"{"x":2}"#, '+'), (r#"{"x":"1"}"#, '+'), (r#"{"x":[1]}"#, '+'), (r#"{"x":null}"#, '-'), ("{}", '-')],
    );
    check(Op::Eq, "true", &[(r#"{"x":true}"#, '+'), (r#"{"x":1}"#, '-'), (r#"{"x":"true"}"#, '-')]);
}

#[test]
fn order_is_for_numbers_alone_and_exact() {
    check(
        Op::Gt,
        "100",
        &[
            (r#"{"x":101}"#, '+'),
            (r#"{"x":100}"#, '-'),
            (r#"{"x":100.0000000000000000000001}"#, '+'),
            (r#"{"x":"101"}"#, '-'),
            ("{}", '-'),
        ],
    );
    check(Op::Lt, "0", &[(r#"{"x":-1}"#, '+'), (r#"{"x":-1e-99}"#, '+'), (r#"{"x":-0}"#, '-'), (r#"{"x":null}"#, '-')]);
    check(Op::Lte, "9007199254740992", &[(r#"{"x":9007199254740992}"#, '+'), (r#"{"x":9007199254740993}"#, '-')]);
    check(Op::Gte, "1e3", &[(r#"{"x":1000}"#, '+'), (r#"{"x":999.999999}"#, '-'), (r#"{"x":1e400}"#, '+')]);
    check(Op::Gt, "\"a\"", &[(r#"{"x":"b"}"#, '-'), (r#"{"x":1}"#, '-')]);
}

#[test]
fn lists() {
    check(
        Op::In,
        r#"["a",1,true]"#,
        &[(r#"{"x":"a"}"#, '+'), (r#"{"x":1e0}"#, '+'), (r#"{"x":false}"#, '-'), (r#"{"x":"1"}"#, '-'), ("{}", '-')],
    );
    check(
        Op::NotIn,
        r#"["a",1]"#,
        &[(r#"{"x":"b"}"#, '+'), (r#"{"x":"a"}"#, '-'), (r#"{"x":{}}"#, '+'), ("{}", '-'), (r#"{"x":null}"#, '-')],
    );
}

#[test]
fn null_is_missing_and_existence_is_never_unknown() {
    check(
        Op::Exists,
        "true",
        &[(r#"{"x":0}"#, '+'), (r#"{"x":{}}"#, '+'), (r#"{"x":null}"#, '-'), ("{}", '-'), ("[]", '-')],
    );
    check(Op::Exists, "false", &[(r#"{"x":0}"#, '-'), (r#"{"x":null}"#, '+'), ("{}", '+')]);
}

#[test]
fn a_regex_searches_strings() {
    check(
        Op::Regex,
        r#""^pi_""#,
        &[(r#"{"x":"pi_1"}"#, '+'), (r#"{"x":"api_1"}"#, '-'), (r#"{"x":1}"#, '-'), ("{}", '-')],
    );
    check(Op::Regex, r#""b""#, &[(r#"{"x":"abc"}"#, '+')]);
    check(Op::NotRegex, r#""b""#, &[(r#"{"x":"abc"}"#, '-'), (r#"{"x":"ac"}"#, '+'), (r#"{"x":1}"#, '-'), ("{}", '-')]);
}

#[test]
fn contains_is_a_substring_or_an_element() {
    check(
        Op::Contains,
        r#""b""#,
        &[
            (r#"{"x":"abc"}"#, '+'),
            (r#"{"x":["b"]}"#, '+'),
            (r#"{"x":["abc"]}"#, '-'),
            (r#"{"x":1}"#, '-'),
            (r#"{"x":{"b":1}}"#, '-'),
            ("{}", '-'),
        ],
    );
    check(Op::Contains, "1", &[(r#"{"x":[2,1.0]}"#, '+'), (r#"{"x":"1"}"#, '-')]);
    check(
        Op::NotContains,
        r#""b""#,
        &[(r#"{"x":"ac"}"#, '+'), (r#"{"x":"abc"}"#, '-'), (r#"{"x":[]}"#, '+'), (r#"{"x":1}"#, '-'), ("{}", '-')],
    );
}

#[test]
fn what_the_log_did_not_keep_is_never_guessed() {
    let condition = condition(Op::Exists, Literal::Bool(false));
    let judge = |kept, json: Option<&str>, keys: Option<&[&str]>| {
        let args = ArgsRef { kept, json: json.map(Into::into), keys: keys.map(<[&str]>::to_vec), ..ArgsRef::default() };
        let node = args.json.as_deref().map(|text| parse(text.as_bytes()).unwrap());
        condition.judge(&Args::recorded(&args, node.as_ref()))
    };
    assert_eq!(judge(Kept::None, None, None), Truth::Unrecorded);
    assert_eq!(judge(Kept::None, None, Some(&["x"])), Truth::Unrecorded);
    assert_eq!(judge(Kept::None, None, Some(&["a", "y"])), Truth::True);
    assert_eq!(judge(Kept::Read, Some(r#"{"args.x":null}"#), None), Truth::True);
    assert_eq!(judge(Kept::Read, Some(r#"{"args.x":5}"#), None), Truth::NotTrue);
    assert_eq!(judge(Kept::Read, Some("{}"), Some(&["x"])), Truth::Unrecorded);
    assert_eq!(judge(Kept::Full, Some(r#"{"x":5}"#), None), Truth::NotTrue);
    assert_eq!(judge(Kept::Full, Some("{}"), None), Truth::True);
}

#[test]
fn a_false_condition_outweighs_one_that_cannot_be_told() {
    let exists = |key: &str| {
        Condition::compile(&Source {
            path: Path { keys: vec![key.into()] },
            op: Op::Exists,
            value: Literal::Bool(true),
        })
        .unwrap()
    };
    let args = ArgsRef { keys: Some(vec!["here"]), ..ArgsRef::default() };
    let args = Args::recorded(&args, None);
    assert_eq!(all(&[exists("here"), exists("gone")], &args), Truth::NotTrue);
    assert_eq!(all(&[exists("here")], &args), Truth::Unrecorded);
    assert_eq!(any(&[vec![exists("gone")], vec![exists("here")]], &args), Truth::Unrecorded);
    assert_eq!(any(&[vec![], vec![exists("here")]], &args), Truth::True);
}

#[test]
fn a_bad_or_huge_regex_is_an_error() {
    for pattern in ["(", r"(a{1000}){1000}", r"(?=x)"] {
        let source = Source { path: Path { keys: vec![] }, op: Op::Regex, value: Literal::String(pattern.into()) };
        assert!(Condition::compile(&source).is_err(), "{pattern}");
    }
}
