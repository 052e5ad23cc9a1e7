//! Tests: calls, and what the policy must answer.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt, value};
use nom::multi::separated_list0;
use nom::sequence::{delimited, preceded};

use crate::ast::{Call, Decision, Outcome, Spanned, Step, Test, Verdict};
use crate::diagnostic::Span;
use crate::lexer::{Kind, decode};

use super::clause::{because, duration, scope};
use super::item::name;
use super::recovery::{begins_step, braced};
use super::tokens::{Parsed, Tokens, int, sign, source, spanned, string, token, word};

/// The words that begin a step.
pub const STEP_WORDS: &[&str] = &["at", "wait", "as", "approve", "refuse", "call"];

/// ```ebnf
/// test = "test" , STRING , "{" , { step } , "}" ;
/// ```
pub fn test(input: Tokens<'_>) -> Parsed<'_, Test> {
    let name = spanned(string("what the test holds to be true, in quotation marks"));
    let steps = |input| braced(input, step, begins_step);
    map((word("test"), name, steps), |(_, name, steps)| Test { name, steps }).parse(input)
}

/// ```ebnf
/// step = "at" , TIMESTAMP | "wait" , DURATION | "as" , scope , STRING | ( "approve" | "refuse" ) , "last"
///      | call ;
/// ```
pub fn step(input: Tokens<'_>) -> Parsed<'_, Spanned<Step>> {
    let instant = |written: &str| Some(decode::timestamp(written).unwrap_or(0));
    let approval = alt((value(true, word("approve")), value(false, word("refuse"))));
    spanned(alt((
        map(
            preceded(word("at"), token(Kind::Timestamp, "an instant such as 2026-01-05T09:00:00Z", instant)),
            |ts_us| Step::At { ts_us },
        ),
        map(preceded(word("wait"), duration), Step::Wait),
        map((word("as"), scope, string("a name in quotation marks")), |(_, scope, name)| Step::As(scope, name)),
        map((approval, word("last")), |(given, _)| Step::Approval { given }),
        map(call, |call| Step::Call(Box::new(call))),
    )))
    .parse(input)
}

/// ```ebnf
/// call = [ INT , "x" ] , "call" , name , object , [ "vary" , "args" ] , [ "every" , DURATION ] ,
///        [ "->" , outcome ] , "expect" , verdict ;
/// ```
fn call(input: Tokens<'_>) -> Parsed<'_, Call> {
    let start = input.span_here().start;
    let head = (opt((int, word("x"))), word("call"), name, source(object));
    let how = (opt((word("vary"), word("args"))), opt(preceded(word("every"), duration)));
    let end = (opt(preceded(sign("->"), outcome)), preceded(word("expect"), verdict));
    map((head, how, end), |((times, _, tool, args), (vary, every), (outcome, verdict))| Call {
        times: times.map_or(Spanned { span: start..start, node: Some(1) }, |(times, _)| times),
        tool,
        args,
        vary: vary.is_some(),
        every,
        outcome,
        verdict,
    })
    .parse(input)
}

/// ```ebnf
/// outcome = "ok" , [ STRING ] | "error" | "rpc_error" | "unreachable" ;
/// ```
fn outcome(input: Tokens<'_>) -> Parsed<'_, Outcome> {
    alt((
        map(preceded(word("ok"), opt(string("the result's text in quotation marks"))), Outcome::Ok),
        value(Outcome::Error, word("error")),
        value(Outcome::RpcError, word("rpc_error")),
        value(Outcome::Unreachable, word("unreachable")),
    ))
    .parse(input)
}

/// ```ebnf
/// verdict = ( "allow" | "deny" | "hold" ) , [ "by" , ( WORD | STRING ) | because ] ;
/// ```
fn verdict(input: Tokens<'_>) -> Parsed<'_, Verdict> {
    let decides = token(Kind::Word, "what decides", |word| Some(word.to_owned()));
    let decision = alt((
        value(Decision::Allow, word("allow")),
        value(Decision::Deny, word("deny")),
        value(Decision::Hold, word("hold")),
    ));
    let by = preceded(word("by"), alt((decides, string("what decides"))));
    let why = opt(alt((map(by, |by| (Some(by), None)), map(because, |text| (None, Some(text))))));
    map((decision, why), |(decision, why)| {
        let (by, because) = why.unwrap_or_default();
        Verdict { decision, by, because }
    })
    .parse(input)
}

/// ```ebnf
/// object = "{" , [ STRING , ":" , json , { "," , STRING , ":" , json } ] , "}" ;
/// ```
fn object(input: Tokens<'_>) -> Parsed<'_, ()> {
    let member = (string("a key in quotation marks"), sign(":"), json);
    map(delimited(sign("{"), separated_list0(sign(","), member), sign("}")), |_| ()).parse(input)
}

/// ```ebnf
/// json = object | "[" , [ json , { "," , json } ] , "]" | STRING | NUMBER | "true" | "false" | "null" ;
/// ```
fn json(input: Tokens<'_>) -> Parsed<'_, ()> {
    let nothing = |_: Span| ();
    alt((
        object,
        map(delimited(sign("["), separated_list0(sign(","), json), sign("]")), |_| ()),
        map(string("a string"), |_| ()),
        token(Kind::Number, "a number", |_| Some(())),
        map(word("true"), nothing),
        map(word("false"), nothing),
        map(word("null"), nothing),
    ))
    .parse(input)
}
