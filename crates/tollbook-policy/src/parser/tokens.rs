//! The tokens as nom's input, the terminals of the grammar, and the memory of what was refused.
//!
//! nom's own errors are thrown away by `opt` and `many0`, just where the interesting mistake is: in
//! `limit 3 per minute per nobody` the second `per` is optional, so the clause would end before it
//! and the error would be told at `per`. So each terminal that refuses a token leaves a note beside
//! the input, and the furthest notes are the message.

use std::cell::RefCell;
use std::iter::Enumerate;
use std::slice::Iter;

use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Input, Needed, Parser};

use crate::ast::{Int, Spanned};
use crate::code::Code;
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Span};
use crate::lexer::{Kind, Token, decode};

/// What a parser of the grammar gives back.
pub type Parsed<'a, T> = IResult<Tokens<'a>, T, Refused>;

/// That a token was refused; which one, and what was wanted, is in [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl ParseError<Tokens<'_>> for Refused {
    fn from_error_kind(_: Tokens<'_>, _: ErrorKind) -> Self {
        Self
    }

    fn append(_: Tokens<'_>, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// What a terminal wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// This very word.
    Word(&'static str),
    /// This very sign.
    Sign(&'static str),
    /// A kind of thing, in words.
    Thing(&'static str),
}

/// What went wrong so far.
#[derive(Debug, Default)]
pub struct Trouble {
    memory: RefCell<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    furthest: usize,
    wanted: Vec<Wanted>,
    diagnostics: Vec<Diagnostic>,
}

impl Trouble {
    fn note(&self, at: usize, wanted: Wanted) {
        let mut memory = self.memory.borrow_mut();
        if at > memory.furthest {
            memory.furthest = at;
            memory.wanted.clear();
        }
        if at == memory.furthest && !memory.wanted.contains(&wanted) {
            memory.wanted.push(wanted);
        }
    }

    fn tell(&self, diagnostic: Diagnostic) {
        let mut memory = self.memory.borrow_mut();
        if memory.diagnostics.len() < DIAGNOSTICS_MAX {
            memory.diagnostics.push(diagnostic);
        }
    }

    /// The errors that were told.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.memory.into_inner().diagnostics
    }
}

/// The significant tokens that are left.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    text: &'a str,
    all: &'a [Token],
    at: usize,
    trouble: &'a Trouble,
}

impl<'a> Tokens<'a> {
    /// All of them.
    pub fn new(text: &'a str, all: &'a [Token], trouble: &'a Trouble) -> Self {
        Self { text, all, at: 0, trouble }
    }

    fn left(&self) -> &'a [Token] {
        self.all.get(self.at..).unwrap_or_default()
    }

    /// The next token.
    pub fn here(&self) -> Option<&'a Token> {
        self.all.get(self.at)
    }

    /// The next token's text.
    pub fn text_here(&self) -> Option<&'a str> {
        self.text.get(self.here()?.span.clone())
    }

    /// The next token's place, or the end of what was read last.
    pub fn span_here(&self) -> Span {
        let end = self.all.last().map_or(0, |last| last.span.end);
        self.here().map_or(end..end, |token| token.span.clone())
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.all.len()
    }

    /// The same, one token on.
    pub fn next(&self) -> Self {
        Self { at: (self.at + 1).min(self.all.len()), ..*self }
    }

    /// How many tokens lie before.
    pub fn index(&self) -> usize {
        self.at
    }

    /// The furthest token that was refused since this place, or this one.
    pub fn furthest(&self) -> Self {
        let furthest = self.trouble.memory.borrow().furthest;
        Self { at: furthest.clamp(self.at, self.all.len()), ..*self }
    }

    /// The token before the next one.
    pub fn before(&self) -> Option<&'a Token> {
        self.all.get(self.at.checked_sub(1)?)
    }

    /// Text of the token before the next one.
    pub fn text_before(&self) -> Option<&'a str> {
        self.text.get(self.before()?.span.clone())
    }

    /// Whether the next token is the first one on its line.
    pub fn begins_a_line(&self) -> bool {
        let from = self.before().map_or(0, |token| token.span.end);
        self.at == 0 || self.text.get(from..self.span_here().start).is_some_and(|gap| gap.contains('\n'))
    }

    /// Text from the beginning of `self` to the beginning of `after`, without what follows the last
    /// token of it, and the place.
    fn until(&self, after: &Self) -> Span {
        let start = self.span_here().start;
        start..after.before().map_or(start, |token| token.span.end.max(start))
    }

    /// Tells an error at the next token, which can be read but stands in the wrong place.
    pub fn misplaced(&self, label: &str) {
        self.trouble.tell(Diagnostic::error(Code::UnexpectedToken, self.span_here(), label));
    }

    /// Tells the error at the furthest token that was refused, and forgets what was wanted there.
    pub fn report(&self) {
        let place = self.furthest();
        let wanted = std::mem::take(&mut self.trouble.memory.borrow_mut().wanted);
        let list: Vec<String> = wanted
            .iter()
            .map(|one| match one {
                Wanted::Word(text) | Wanted::Thing(text) => (*text).to_owned(),
                Wanted::Sign(text) => format!("`{text}`"),
            })
            .collect();
        let label = match list.as_slice() {
            [only] => format!("expected {only}"),
            _ => format!("expected one of: {}", list.join(", ")),
        };
        let mut told = Diagnostic::error(Code::UnexpectedToken, place.span_here(), label);
        if place.is_at_end() {
            told = told.message("the file ends too early");
        }
        if let Some(meant) = place.here().and_then(|token| meant(token.kind, place.text_here()?, &wanted)) {
            told = told.help(format!("did you mean `{meant}`?"));
        }
        self.trouble.tell(told);
    }

    fn refuse<T>(&self, wanted: Wanted) -> Parsed<'a, T> {
        self.trouble.note(self.at, wanted);
        Err(nom::Err::Error(Refused))
    }
}

/// The wanted word that is most like the one that was written.
fn meant(kind: Kind, written: &str, wanted: &[Wanted]) -> Option<&'static str> {
    if kind != Kind::Word || written.len() > 40 {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    wanted
        .iter()
        .filter_map(|one| match one {
            Wanted::Word(word) => Some((strsim::damerau_levenshtein(word, &lower), *word)),
            _ => None,
        })
        .filter(|(distance, word)| *distance <= 2 && *distance * 2 < word.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

impl<'a> Input for Tokens<'a> {
    type Item = &'a Token;
    type Iter = Iter<'a, Token>;
    type IterIndices = Enumerate<Iter<'a, Token>>;

    fn input_len(&self) -> usize {
        self.left().len()
    }

    fn take(&self, index: usize) -> Self {
        Self { all: self.all.get(..self.at + index).unwrap_or(self.all), ..*self }
    }

    fn take_from(&self, index: usize) -> Self {
        Self { at: (self.at + index).min(self.all.len()), ..*self }
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        (self.take_from(index), self.take(index))
    }

    fn position<P>(&self, predicate: P) -> Option<usize>
    where
        P: Fn(Self::Item) -> bool,
    {
        self.left().iter().position(predicate)
    }

    fn iter_elements(&self) -> Self::Iter {
        self.left().iter()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.left().iter().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, Needed> {
        let missing = count.saturating_sub(self.input_len());
        if missing == 0 { Ok(count) } else { Err(Needed::new(missing)) }
    }
}

/// A word of the language.
pub fn word<'a>(word: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Span> {
    move |input| match input.here() {
        Some(token) if token.kind == Kind::Word && input.text_here() == Some(word) => {
            Ok((input.next(), token.span.clone()))
        }
        _ => input.refuse(Wanted::Word(word)),
    }
}

/// A sign of the language.
pub fn sign<'a>(sign: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Span> {
    move |input| match input.here() {
        Some(token) if token.kind == Kind::Punctuation && input.text_here() == Some(sign) => {
            Ok((input.next(), token.span.clone()))
        }
        _ => input.refuse(Wanted::Sign(sign)),
    }
}

/// A token of this kind, whose text `read` makes something of; `what` says what is wanted.
pub fn token<'a, T>(
    kind: Kind,
    what: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> impl Fn(Tokens<'a>) -> Parsed<'a, T> {
    move |input| {
        let found = input.here().filter(|token| token.kind == kind).and(input.text_here()).and_then(&read);
        match found {
            Some(found) => Ok((input.next(), found)),
            None => input.refuse(Wanted::Thing(what)),
        }
    }
}

/// A string; one that isn't well made was told already, and is empty here.
pub fn string<'a>(what: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, String> {
    token(Kind::String, what, |written| Some(decode::string(written).unwrap_or_default()))
}

/// A whole number; None if it is another one.
pub fn int(input: Tokens<'_>) -> Parsed<'_, Int> {
    spanned(token(Kind::Number, "a whole number", |written| Some(decode::whole(written)))).parse(input)
}

/// What `parser` reads, with its place.
pub fn spanned<'a, T>(
    mut parser: impl Parser<Tokens<'a>, Output = T, Error = Refused>,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Spanned<T>> {
    move |input| {
        let (after, node) = parser.parse(input)?;
        Ok((after, Spanned { span: input.until(&after), node }))
    }
}

/// The text of what `parser` reads, as it was written, with its place.
pub fn source<'a, T>(
    mut parser: impl Parser<Tokens<'a>, Output = T, Error = Refused>,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Spanned<String>> {
    move |input| {
        let (after, _) = parser.parse(input)?;
        let span = input.until(&after);
        let node = input.text.get(span.clone()).unwrap_or_default().to_owned();
        Ok((after, Spanned { span, node }))
    }
}
