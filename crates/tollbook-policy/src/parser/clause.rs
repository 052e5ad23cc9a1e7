//! Clauses: what a block says of its tools.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt, value};
use nom::multi::separated_list1;
use nom::sequence::preceded;

use crate::ast::{Approve, Break, BreakOn, Clause, ClauseKind, Cond, During, Int, Limit, Spanned};
use crate::diagnostic::Span;
use crate::lexer::{Kind, decode};
use crate::policy::{Count, Day, Duration, Scope, Unit, Window};

use super::condition::{cond, path};
use super::item::label;
use super::tokens::{Parsed, Tokens, int, sign, spanned, string, token, word};

/// The words that begin a clause.
pub const CLAUSE_WORDS: &[&str] = &["limit", "require", "deny", "only", "approve", "break", "shadow"];

/// ```ebnf
/// clause = [ "shadow" ] , ( limit | require | deny | during | approve | break ) , [ because ] ;
/// ```
pub fn clause(input: Tokens<'_>) -> Parsed<'_, Clause> {
    let kind = alt((
        map(limit, ClauseKind::Limit),
        map(require, ClauseKind::Require),
        map(deny, ClauseKind::Deny),
        map(during, ClauseKind::During),
        map(approve, ClauseKind::Approve),
        map(break_, ClauseKind::Break),
    ));
    let parts = spanned((opt(word("shadow")), kind, opt(spanned(because))));
    map(parts, |Spanned { span, node: (shadow, kind, because) }| Clause { span, shadow, kind, because }).parse(input)
}

/// ```ebnf
/// limit = "limit" , [ "total" | "each" ] , INT , [ "of" , path ] , "per" , window , [ "per" , scope ] ,
///         [ "as" , label ] ;
/// ```
fn limit(input: Tokens<'_>) -> Parsed<'_, Limit> {
    let count = alt((value(Count::Total, word("total")), value(Count::Each, word("each"))));
    let amount = (opt(spanned(count)), int, opt(preceded(word("of"), path)));
    let per = (preceded(word("per"), window), opt(preceded(word("per"), spanned(scope))));
    let counter = opt(preceded(word("as"), spanned(label("the counter's name"))));
    let parts = (preceded(word("limit"), amount), per, counter);
    map(parts, |((count, max, of), ((rolling, window), scope), counter)| Limit {
        count,
        max,
        of,
        rolling,
        window,
        scope,
        counter,
    })
    .parse(input)
}

/// ```ebnf
/// window = [ "rolling" ] , ( "minute" | "hour" | "day" | DURATION ) ;
/// ```
fn window(input: Tokens<'_>) -> Parsed<'_, (Option<Span>, Spanned<Window>)> {
    let named = |input| {
        let minute = value(Window::Minute, word("minute"));
        alt((minute, value(Window::Hour, word("hour")), value(Window::Day, word("day")))).parse(input)
    };
    let span = |input| map(duration, Window::Span).parse(input);
    let plain = map(spanned(named), |window| (None, window));
    let rolling = map((word("rolling"), spanned(alt((named, span)))), |(rolling, window)| (Some(rolling), window));
    // In this order the message lists the plain windows first.
    alt((plain, rolling, map(spanned(span), |window| (None, window)))).parse(input)
}

/// ```ebnf
/// scope = "grant" | "session" | "agent" | "server" | "everyone" ;
/// ```
pub fn scope(input: Tokens<'_>) -> Parsed<'_, Scope> {
    alt((
        value(Scope::Grant, word("grant")),
        value(Scope::Session, word("session")),
        value(Scope::Agent, word("agent")),
        value(Scope::Server, word("server")),
        value(Scope::Everyone, word("everyone")),
    ))
    .parse(input)
}

/// ```ebnf
/// require = "require" , cond ;
/// ```
fn require(input: Tokens<'_>) -> Parsed<'_, Cond> {
    preceded(word("require"), cond).parse(input)
}

/// ```ebnf
/// deny = "deny" , [ "when" , cond ] ;
/// ```
fn deny(input: Tokens<'_>) -> Parsed<'_, Option<Cond>> {
    preceded(word("deny"), opt(preceded(word("when"), cond))).parse(input)
}

/// ```ebnf
/// during = "only" , "during" , days , TIME , ".." , TIME , STRING ;
/// ```
fn during(input: Tokens<'_>) -> Parsed<'_, During> {
    let hours = (days, time, sign(".."), time);
    let parts = ((word("only"), word("during")), hours, spanned(string("a time zone such as \"Europe/London\"")));
    map(parts, |(_, (days, from_minute, _, to_minute), zone)| During { days, from_minute, to_minute, zone })
        .parse(input)
}

/// ```ebnf
/// days = DAY , [ ".." , DAY ] , { "," , DAY , [ ".." , DAY ] } ;
/// ```
fn days(input: Tokens<'_>) -> Parsed<'_, Vec<(Day, Day)>> {
    let range = map((day, opt(preceded(sign(".."), day))), |(first, last)| (first, last.unwrap_or(first)));
    separated_list1(sign(","), range).parse(input)
}

fn day(input: Tokens<'_>) -> Parsed<'_, Day> {
    alt((
        value(Day::Mon, word("mon")),
        value(Day::Tue, word("tue")),
        value(Day::Wed, word("wed")),
        value(Day::Thu, word("thu")),
        value(Day::Fri, word("fri")),
        value(Day::Sat, word("sat")),
        value(Day::Sun, word("sun")),
    ))
    .parse(input)
}

fn time(input: Tokens<'_>) -> Parsed<'_, u16> {
    token(Kind::Time, "a time such as 08:00", |written| Some(decode::time(written).unwrap_or(0))).parse(input)
}

/// ```ebnf
/// approve = "approve" , "by" , STRING , [ "when" , cond ] , [ "within" , DURATION ] ;
/// ```
fn approve(input: Tokens<'_>) -> Parsed<'_, Approve> {
    let by = preceded((word("approve"), word("by")), spanned(string("who approves, in quotation marks")));
    let parts = (by, opt(preceded(word("when"), cond)), opt(preceded(word("within"), spanned(duration))));
    map(parts, |(by, when, within)| Approve { by, when, within }).parse(input)
}

/// ```ebnf
/// break = "break" , "after" , INT , ( "identical" , ( "calls" | "results" ) | "failures"
///       | "repeats" , "of" , "a" , "cycle" , "up" , "to" , INT , "calls" ) , "within" , DURATION ;
/// ```
fn break_(input: Tokens<'_>) -> Parsed<'_, Break> {
    let alike = alt((value(BreakOn::IdenticalCalls, word("calls")), value(BreakOn::IdenticalResults, word("results"))));
    let on = alt((
        preceded(word("identical"), alike),
        value(BreakOn::Failures, word("failures")),
        map(cycle, BreakOn::Cycle),
    ));
    let after = preceded((word("break"), word("after")), int);
    let parts = (after, on, preceded(word("within"), spanned(duration)));
    map(parts, |(after, on, within)| Break { after, on, within }).parse(input)
}

fn cycle(input: Tokens<'_>) -> Parsed<'_, Int> {
    let head = (word("repeats"), word("of"), word("a"), word("cycle"), word("up"), word("to"));
    map((head, int, word("calls")), |(_, period, _)| period).parse(input)
}

/// ```ebnf
/// because = "because" , STRING ;
/// ```
pub fn because(input: Tokens<'_>) -> Parsed<'_, String> {
    preceded(word("because"), string("the text for the agent, in quotation marks")).parse(input)
}

/// A duration; one that isn't well made was told already, and is a second here.
pub fn duration(input: Tokens<'_>) -> Parsed<'_, Duration> {
    let second = Duration { count: 1, unit: Unit::Second };
    token(Kind::Duration, "a duration such as 15m", |written| Some(decode::duration(written).unwrap_or(second)))
        .parse(input)
}
