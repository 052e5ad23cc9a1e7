//! Where to go on after a mistake.
//!
//! A word that begins a clause is a good place unless it stands in brackets or is a key of an
//! argument's path; one that begins an item, only as the first on its line, since a block whose
//! brace was forgotten ends there. The brace that closes a block is never passed.

use super::clause::{CLAUSE_WORDS, clause};
use super::item::ITEM_WORDS;
use super::test_block::{STEP_WORDS, step};
use super::tokens::{Parsed, Tokens, sign};

/// Reads what stands between braces, one after the other, and goes on after each mistake. The
/// opening brace must be next; after it, nothing fails.
pub fn braced<'a, T>(
    input: Tokens<'a>,
    one: impl Fn(Tokens<'a>) -> Parsed<'a, T>,
    begins_one: impl Fn(Tokens<'a>) -> bool,
) -> Parsed<'a, Vec<T>> {
    let (mut rest, _) = sign("{")(input)?;
    let mut found = Vec::new();
    loop {
        // The brace is tried first, so that it is among what was wanted if nothing fits.
        let start = rest;
        if let Ok((after, thing)) = one(start) {
            found.push(thing);
            rest = after;
            continue;
        }
        if let Ok((after, _)) = sign("}")(start) {
            // An optional part that was begun and not ended, just before the brace.
            if start.furthest().index() > after.index() {
                start.report();
            }
            return Ok((after, found));
        }
        start.report();
        rest = skip(start, &begins_one);
        if rest.text_here() == Some("}") {
            return Ok((rest.next(), found));
        }
        if rest.is_at_end() || begins_item(rest) {
            return Ok((rest, found));
        }
    }
}

/// The next place at which a clause or step may begin, an item begins, or the block ends.
fn skip<'a>(start: Tokens<'a>, begins_one: &impl Fn(Tokens<'a>) -> bool) -> Tokens<'a> {
    let furthest = start.furthest().index();
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    let mut rest = start;
    while !rest.is_at_end() {
        let passed = rest.index() >= furthest && rest.index() > start.index();
        let fresh = rest.begins_a_line();
        if passed && (begins_item(rest) || (begins_one(rest) && (fresh || braces + brackets == 0))) {
            return rest;
        }
        match rest.text_here() {
            Some("{") => braces += 1,
            Some("}") if braces == 0 => return rest,
            Some("}") => braces -= 1,
            Some("(" | "[") => brackets += 1,
            Some(")" | "]") => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        rest = rest.next();
    }
    rest
}

/// The next item after a mistake outside all blocks, or the block of the item that failed.
pub fn skip_to_item(start: Tokens<'_>) -> Tokens<'_> {
    let furthest = start.furthest().index().max(start.index() + 1);
    let has_block = matches!(start.text_here(), Some("tool" | "group" | "all" | "test"));
    let mut braces = 0_usize;
    let mut rest = start;
    while !rest.is_at_end() {
        let passed = rest.index() >= furthest;
        if passed && (begins_item(rest) || (braces == 0 && rest.text_before() == Some("}") && names_item(rest))) {
            return rest;
        }
        match rest.text_here() {
            Some("{") if passed && has_block && braces == 0 => return rest,
            Some("{") => braces += 1,
            Some("}") => braces = braces.saturating_sub(1),
            _ => {}
        }
        rest = rest.next();
    }
    rest
}

/// Reads the block of an item whose head was wrong, for the mistakes in it.
pub fn steps_or_clauses<'a>(head: Tokens<'a>, block: Tokens<'a>) -> Tokens<'a> {
    let after = if head.text_here() == Some("test") {
        braced(block, step, begins_step).map(|(after, _)| after)
    } else {
        braced(block, clause, begins_clause).map(|(after, _)| after)
    };
    after.unwrap_or_else(|_| block.next())
}

/// Whether the next token can begin a clause.
pub fn begins_clause(at: Tokens<'_>) -> bool {
    at.text_before() != Some(".") && at.text_here().is_some_and(|word| CLAUSE_WORDS.contains(&word))
}

/// Whether the next token can begin a step of a test.
pub fn begins_step(at: Tokens<'_>) -> bool {
    at.begins_a_line()
        && (at.text_here().is_some_and(|word| STEP_WORDS.contains(&word)) || at.next().text_here() == Some("x"))
}

fn begins_item(at: Tokens<'_>) -> bool {
    at.begins_a_line() && names_item(at)
}

fn names_item(at: Tokens<'_>) -> bool {
    at.text_here().is_some_and(|word| ITEM_WORDS.contains(&word) || word == "default" || word == "policy")
}
