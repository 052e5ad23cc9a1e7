//! Conditions: what is asked of the arguments.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt, value as always};
use nom::multi::{many0, separated_list1};
use nom::sequence::{delimited, preceded};

use crate::Decimal;
use crate::ast::{Comparison, Cond, Relation, Spanned, TestOp};
use crate::lexer::{Kind, decode};
use crate::policy::{Literal, Path};

use super::tokens::{Parsed, Tokens, sign, spanned, string, token, word};

/// ```ebnf
/// cond = and , { "or" , and } ;
/// ```
pub fn cond(input: Tokens<'_>) -> Parsed<'_, Cond> {
    map((and, many0((word("or"), and))), |(first, more)| match more.first() {
        None => first,
        Some((or, _)) => {
            let or = or.clone();
            Cond::Or(std::iter::once(first).chain(more.into_iter().map(|(_, next)| next)).collect(), or)
        }
    })
    .parse(input)
}

/// ```ebnf
/// and = not , { "and" , not } ;
/// ```
fn and(input: Tokens<'_>) -> Parsed<'_, Cond> {
    map((not, many0(preceded(word("and"), not))), |(first, more)| {
        if more.is_empty() { first } else { Cond::And(std::iter::once(first).chain(more).collect()) }
    })
    .parse(input)
}

/// ```ebnf
/// not = [ "not" ] , atom ;
/// ```
fn not(input: Tokens<'_>) -> Parsed<'_, Cond> {
    map((opt(word("not")), atom), |(not, inner)| match not {
        Some(_) => Cond::Not(Box::new(inner)),
        None => inner,
    })
    .parse(input)
}

/// ```ebnf
/// atom = "(" , cond , ")" | path , test_op ;
/// ```
fn atom(input: Tokens<'_>) -> Parsed<'_, Cond> {
    let comparison =
        map(spanned((path, test_op)), |Spanned { span, node: (path, op) }| Cond::Test(Comparison { span, path, op }));
    alt((delimited(sign("("), cond, sign(")")), comparison)).parse(input)
}

/// ```ebnf
/// test_op = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) , value | [ "not" ] , "in" , list
///         | "exists" | "missing" | "matches" , STRING | "contains" , value ;
/// ```
fn test_op(input: Tokens<'_>) -> Parsed<'_, TestOp> {
    let relation = alt((
        always(Relation::Equal, sign("==")),
        always(Relation::NotEqual, sign("!=")),
        always(Relation::Less, sign("<")),
        always(Relation::LessOrEqual, sign("<=")),
        always(Relation::Greater, sign(">")),
        always(Relation::GreaterOrEqual, sign(">=")),
    ));
    let pattern = spanned(string("a regular expression in quotation marks"));
    alt((
        map((relation, spanned(value)), |(relation, value)| TestOp::Compare(relation, value)),
        map((opt(word("not")), word("in"), list), |(not, _, list)| TestOp::In { negated: not.is_some(), list }),
        always(TestOp::Exists(true), word("exists")),
        always(TestOp::Exists(false), word("missing")),
        map(preceded(word("matches"), pattern), TestOp::Matches),
        map(preceded(word("contains"), value), TestOp::Contains),
    ))
    .parse(input)
}

/// ```ebnf
/// path = "args" , { "." , WORD | "[" , STRING , "]" } ;
/// ```
pub fn path(input: Tokens<'_>) -> Parsed<'_, Spanned<Path>> {
    let plain = preceded(sign("."), token(Kind::Word, "an argument's name", |key| Some(key.to_owned())));
    let quoted = delimited(sign("["), string("an argument's name in quotation marks"), sign("]"));
    spanned(map((word("args"), many0(alt((plain, quoted)))), |(_, keys)| Path { keys })).parse(input)
}

/// ```ebnf
/// value = STRING | NUMBER | "true" | "false" ;
/// ```
fn value(input: Tokens<'_>) -> Parsed<'_, Literal> {
    let number = |written: &str| Some(Literal::Number(decode::number(written).unwrap_or_else(Decimal::zero)));
    alt((
        map(string("a string"), Literal::String),
        token(Kind::Number, "a number", number),
        always(Literal::Bool(true), word("true")),
        always(Literal::Bool(false), word("false")),
    ))
    .parse(input)
}

/// ```ebnf
/// list = "[" , value , { "," , value } , "]" ;
/// ```
fn list(input: Tokens<'_>) -> Parsed<'_, Vec<Literal>> {
    delimited(sign("["), separated_list1(sign(","), value), sign("]")).parse(input)
}
