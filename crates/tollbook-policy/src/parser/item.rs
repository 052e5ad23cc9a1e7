//! Items: what stands at the outermost level.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::map;
use nom::multi::separated_list1;
use nom::sequence::preceded;

use crate::ast::{Clause, Item, Name};
use crate::lexer::Kind;
use crate::policy::{Selector, is_word};

use super::clause::{CLAUSE_WORDS, clause};
use super::recovery::{begins_clause, braced};
use super::test_block::test;
use super::tokens::{Parsed, Tokens, sign, spanned, string, token, word};

/// The words that begin an item.
pub const ITEM_WORDS: &[&str] = &["allow", "hide", "tool", "group", "all", "test"];

/// ```ebnf
/// item = allow | hide | tool | group | all | test ;
/// ```
pub fn item(input: Tokens<'_>) -> Parsed<'_, Item> {
    alt((allow, hide, tool, group, all, map(test, Item::Test))).parse(input)
}

/// Short for an empty `tool` block.
///
/// ```ebnf
/// allow = "allow" , names ;
/// ```
fn allow(input: Tokens<'_>) -> Parsed<'_, Item> {
    map(preceded(word("allow"), names), Item::Allow).parse(input)
}

/// ```ebnf
/// hide = "hide" , names ;
/// ```
fn hide(input: Tokens<'_>) -> Parsed<'_, Item> {
    map(preceded(word("hide"), names), Item::Hide).parse(input)
}

/// Several names: the same rules for each of them, counted apart.
///
/// ```ebnf
/// tool = "tool" , names , block ;
/// ```
fn tool(input: Tokens<'_>) -> Parsed<'_, Item> {
    map((word("tool"), names, block), |(_, names, block)| Item::Tool(names, block)).parse(input)
}

/// Rules that may count the members together.
///
/// ```ebnf
/// group = "group" , label , "of" , names , block ;
/// ```
fn group(input: Tokens<'_>) -> Parsed<'_, Item> {
    let head = (word("group"), spanned(label("the group's name")), word("of"));
    map((head, names, block), |((_, name, _), names, block)| Item::Group(name, names, block)).parse(input)
}

/// ```ebnf
/// all = "all" , "tools" , block ;
/// ```
fn all(input: Tokens<'_>) -> Parsed<'_, Item> {
    map((word("all"), word("tools"), block), |(_, _, block)| Item::AllTools(block)).parse(input)
}

/// ```ebnf
/// names = name , { "," , name } ;
/// ```
fn names(input: Tokens<'_>) -> Parsed<'_, Vec<Name>> {
    separated_list1(sign(","), name).parse(input)
}

/// A string with `*` in it is a glob, as it is in JSON.
///
/// ```ebnf
/// name = IDENT | STRING | GLOB | "category" , IDENT ;
/// ```
pub fn name(input: Tokens<'_>) -> Parsed<'_, Name> {
    let quoted = map(string("a tool's name"), |name| match name.contains('*') {
        true => Selector::Glob(name),
        false => Selector::Name(name),
    });
    let glob = token(Kind::Glob, "a glob such as create_*", |glob| Some(Selector::Glob(glob.to_owned())));
    let category = map(preceded(word("category"), ident("a category's name")), Selector::Category);
    spanned(alt((map(ident("a tool's name"), Selector::Name), quoted, glob, category))).parse(input)
}

/// ```ebnf
/// block = "{" , { clause } , "}" ;
/// ```
fn block(input: Tokens<'_>) -> Parsed<'_, Vec<Clause>> {
    braced(input, clause, begins_clause)
}

/// A name that isn't a tool's: of a group or a counter.
///
/// ```ebnf
/// label = IDENT | STRING ;
/// ```
pub fn label<'a>(what: &'static str) -> impl FnMut(Tokens<'a>) -> Parsed<'a, String> {
    move |input| alt((ident(what), string(what))).parse(input)
}

/// A word that doesn't begin anything: those that do are quoted when a tool is called so.
fn ident<'a>(what: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, String> {
    token(Kind::Word, what, |word| (!is_reserved(word)).then(|| word.to_owned()))
}

fn is_reserved(word: &str) -> bool {
    ITEM_WORDS.contains(&word) || CLAUSE_WORDS.contains(&word) || ["policy", "default", "category"].contains(&word)
}

/// Whether the text can be a name without quotation marks.
pub fn is_free_word(text: &str) -> bool {
    is_word(text) && !is_reserved(text)
}
