//! From text to tokens, without losing a byte.
//!
//! The lexer is total: it has no errors, its tokens put together again are the input, and white
//! space, comments and whatever it doesn't know are tokens too. So a formatter can work from the
//! tokens and never lose a comment, and the parser sees one kind of trouble only.
//!
//! Whether a number, a string or a time is well made is judged by [`decode`], once for each token
//! and before anything is parsed, so that the parser's own errors are about order alone.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{anychar, char, one_of};
use nom::combinator::{map, not, opt, peek, recognize, value, verify};
use nom::multi::many0_count;
use nom::{IResult, Parser};

use crate::diagnostic::Span;

pub mod decode;

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space, line feeds included.
    Space,
    /// From `#` to the end of the line, the line feed excluded.
    Comment,
    /// A letter or `_`, then letters, digits, `_` and `-`.
    Word,
    /// A word with `*` in it, or `*`.
    Glob,
    /// A string as in JSON; one that isn't closed ends at the end of the line.
    String,
    /// A number as in JSON, with `_` between digits.
    Number,
    /// Digits and a unit: `15m`.
    Duration,
    /// `08:00`
    Time,
    /// RFC 3339: `2026-01-05T09:00:00Z`.
    Timestamp,
    /// Brackets, commas, dots, comparisons and arrows.
    Punctuation,
    /// Anything else.
    Unknown,
}

impl Kind {
    /// Whether the parser sees it.
    #[must_use]
    pub fn is_significant(self) -> bool {
        !matches!(self, Self::Space | Self::Comment | Self::Unknown)
    }
}

/// All tokens of the text, in order, without a gap.
#[must_use]
pub fn lex(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text;
    while let Ok((after, kind)) = token(rest) {
        let start = text.len() - rest.len();
        let end = text.len() - after.len();
        match tokens.last_mut() {
            // A run of unknown characters is one mistake.
            Some(last) if last.kind == Kind::Unknown && kind == Kind::Unknown => last.span.end = end,
            _ => tokens.push(Token { kind, span: start..end }),
        }
        rest = after;
    }
    tokens
}

fn token(text: &str) -> IResult<&str, Kind> {
    alt((
        value(Kind::Space, take_while1(|c| " \t\r\n".contains(c))),
        value(Kind::Comment, (char('#'), take_while(|c| c != '\n'))),
        word,
        value(Kind::String, string),
        value(Kind::Timestamp, timestamp),
        value(Kind::Time, time),
        value(Kind::Duration, duration),
        value(Kind::Number, number),
        value(Kind::Punctuation, punctuation),
        value(Kind::Unknown, anychar),
    ))
    .parse(text)
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn word(text: &str) -> IResult<&str, Kind> {
    let begin = verify(anychar, |c| is_word_start(*c) || *c == '*');
    let part = take_while(|c| is_word_part(c) || c == '*');
    let kind = |word: &str| if word.contains('*') { Kind::Glob } else { Kind::Word };
    map(recognize((begin, part)), kind).parse(text)
}

fn string(text: &str) -> IResult<&str, &str> {
    let escape = recognize((char('\\'), opt(verify(anychar, |c| *c != '\n'))));
    let plain = take_while1(|c| c != '"' && c != '\\' && c != '\n');
    recognize((char('"'), many0_count(alt((plain, escape))), opt(char('"')))).parse(text)
}

fn digits(least: usize, most: usize) -> impl Fn(&str) -> IResult<&str, &str> {
    move |text| take_while_m_n(least, most, |c: char| c.is_ascii_digit()).parse(text)
}

fn timestamp(text: &str) -> IResult<&str, &str> {
    let date = (digits(4, 4), char('-'), digits(2, 2), char('-'), digits(2, 2), one_of("Tt"));
    let clock = take_while(|c: char| c.is_ascii_alphanumeric() || ":.+-".contains(c));
    recognize((date, clock)).parse(text)
}

fn time(text: &str) -> IResult<&str, &str> {
    recognize((digits(1, 4), char(':'), digits(1, 4), not(verify(anychar, |c| is_word_part(*c))))).parse(text)
}

/// Digits with letters behind them, but for `3x`, which is how often a call is made.
fn duration(text: &str) -> IResult<&str, &str> {
    let times = (char('x'), not(verify(anychar, |c| is_word_part(*c))));
    let exponent = (one_of("eE"), opt(one_of("+-")), digits(1, 1));
    let count = take_while1(|c: char| c.is_ascii_digit() || c == '_');
    let unit = (not(times), not(exponent), verify(anychar, |c| is_word_start(*c)), take_while(is_word_part));
    recognize((peek(digits(1, 1)), count, unit)).parse(text)
}

fn number(text: &str) -> IResult<&str, &str> {
    let digits_ = |text| take_while1(|c: char| c.is_ascii_digit() || c == '_').parse(text);
    let whole = (opt(char('-')), peek(digits(1, 1)), digits_);
    let fraction = (char('.'), peek(digits(1, 1)), digits_);
    let exponent = (one_of("eE"), opt(one_of("+-")), digits_);
    recognize((whole, opt(fraction), opt(exponent))).parse(text)
}

fn punctuation(text: &str) -> IResult<&str, &str> {
    let long = alt((tag("->"), tag(".."), tag("=="), tag("!="), tag("<="), tag(">=")));
    alt((long, recognize(one_of("<>{}()[],.:")))).parse(text)
}

#[cfg(test)]
mod tests;
