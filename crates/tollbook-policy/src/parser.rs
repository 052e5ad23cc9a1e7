//! From tokens to the syntax tree, with all the mistakes of a file at once.
//!
//! Each function quotes its production; the quotes, in order, are `grammar/policy.ebnf`. The
//! functions are nom's, over the slice of significant tokens, and nom's types stay in here.
//!
//! The grammar needs one token to choose a way, so the furthest token that any terminal refused is
//! where the mistake is, and what was wanted there is what the message lists. After a mistake the
//! parser goes on at the next word that begins a clause or an item and never past the brace that
//! closes the block: three mistakes give three errors, and the rest of the file still counts.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{cond, map, value};
use nom::sequence::preceded;

use crate::ast::{File, Item, Spanned};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span, in_order};
use crate::lexer::{Kind, Token, decode, lex};
use crate::policy::Default;

mod clause;
mod condition;
mod item;
mod recovery;
mod test_block;
mod tokens;

pub use clause::CLAUSE_WORDS;
pub use item::{ITEM_WORDS, is_free_word};
use recovery::{skip_to_item, steps_or_clauses};
use tokens::{Parsed, Tokens, Trouble, spanned, string, word};

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Deepest nesting of brackets in a file.
pub const NESTING_MAX: usize = 64;

/// Reads the text as far as it can be read, with everything that is wrong with its syntax.
#[must_use]
pub fn parse(text: &str) -> (File, Vec<Diagnostic>) {
    if text.len() > FILE_BYTES_MAX {
        let label = format!("the file has {} bytes, and at most {FILE_BYTES_MAX} are read", text.len());
        return (File::default(), vec![Diagnostic::error(Code::TooLarge, 0..0, label)]);
    }
    let all = lex(text);
    let mut diagnostics = decode::check(text, &all);
    let significant: Vec<Token> = all.into_iter().filter(|token| token.kind.is_significant()).collect();
    if let Some(span) = too_deep(text, &significant) {
        let label = format!("at most {NESTING_MAX} brackets stand inside each other");
        diagnostics.push(Diagnostic::error(Code::TooDeep, span, label));
        return (File::default(), in_order(diagnostics));
    }
    let trouble = Trouble::default();
    let file = file(Tokens::new(text, &significant, &trouble));
    // A sign that nobody knows and the gap that it leaves are one mistake.
    let unknown: Vec<usize> =
        diagnostics.iter().filter(|told| told.code == Code::UnknownCharacter).map(|told| told.end()).collect();
    let beside_unknown = |told: &Diagnostic| {
        let before = unknown.partition_point(|end| *end <= told.at());
        let last = before.checked_sub(1).and_then(|index| unknown.get(index));
        last.and_then(|end| text.get(*end..told.at())).is_some_and(|gap| gap.trim().is_empty())
    };
    diagnostics.extend(trouble.into_diagnostics().into_iter().filter(|told| !beside_unknown(told)));
    (file, in_order(diagnostics))
}

/// Whether nothing of the file was read after this, so that nothing can be said to be missing.
#[must_use]
pub fn is_hopeless(code: Code) -> bool {
    matches!(code, Code::TooLarge | Code::TooDeep)
}

/// The bracket that is nested too deep, if there is one.
fn too_deep(text: &str, tokens: &[Token]) -> Option<Span> {
    let mut depth = 0_usize;
    for token in tokens.iter().filter(|token| token.kind == Kind::Punctuation) {
        match text.get(token.span.clone()) {
            Some("{" | "[" | "(") => depth += 1,
            Some("}" | "]" | ")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Some(token.span.clone());
        }
    }
    None
}

/// What stands at the outermost level.
enum Piece {
    Name(Spanned<String>),
    Default(Spanned<Default>),
    Item(Item),
}

/// Total: whatever can't be read is told and skipped.
///
/// ```ebnf
/// file = [ "policy" , STRING ] , default , { item } ;
/// ```
fn file(input: Tokens<'_>) -> File {
    let mut file = File::default();
    let mut rest = input;
    let mut clean = true;
    while !rest.is_at_end() {
        let start = rest;
        // What has been said already isn't wanted again, and so isn't listed as such.
        let named = rest.index() > 0;
        match piece(named, file.default.is_some())(rest) {
            Ok((after, piece)) => {
                rest = after;
                match piece {
                    Piece::Name(name) => file.name = Some(name),
                    Piece::Default(default) => {
                        if clean && !file.items.is_empty() {
                            start.misplaced("`default` stands before the first tool");
                        }
                        file.default = Some(default);
                    }
                    Piece::Item(item) => file.items.push(item),
                }
            }
            Err(_) => {
                clean = false;
                if file.default.is_none() && start.text_here() == Some("default") {
                    // It is there, only not well: to call it missing too would be a second error.
                    file.default = Some(Spanned { span: start.span_here(), node: Default::Deny });
                }
                start.report();
                rest = skip_to_item(start);
                if rest.text_here() == Some("{") {
                    rest = steps_or_clauses(start, rest);
                }
            }
        }
    }
    file
}

fn piece<'a>(named: bool, has_default: bool) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Piece> {
    let name = preceded(word("policy"), spanned(string("the policy's name in quotation marks")));
    let mut name = map(cond(!named, name), |name| name.map(Piece::Name));
    let mut default = map(cond(!has_default, spanned(default)), |default| default.map(Piece::Default));
    move |input| {
        if let Ok((rest, Some(piece))) = name.parse(input) {
            return Ok((rest, piece));
        }
        if let Ok((rest, Some(piece))) = default.parse(input) {
            return Ok((rest, piece));
        }
        map(item::item, Piece::Item).parse(input)
    }
}

/// ```ebnf
/// default = "default" , ( "allow" | "deny" ) ;
/// ```
fn default(input: Tokens<'_>) -> Parsed<'_, Default> {
    let choice = alt((value(Default::Allow, word("allow")), value(Default::Deny, word("deny"))));
    preceded(word("default"), choice).parse(input)
}

#[cfg(test)]
pub mod tests;
