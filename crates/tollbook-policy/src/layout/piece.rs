//! What stands where: each significant token with what precedes it.
//!
//! Words of the language are contextual, so where a clause or a step begins is told by a small
//! machine that walks the tokens once. It is exact on every text that parses.

use std::ops::Range;

use crate::lexer::{Kind, Token};
use crate::parser::{CLAUSE_WORDS, ITEM_WORDS};

/// How a token stands to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// It begins an item.
    Item,
    /// It begins a clause.
    Clause,
    /// It begins a step of a test.
    Step,
    /// It is the `because` of a clause.
    Because,
    /// It is the `expect` of a call.
    Expect,
    /// It closes a block.
    Close,
    /// It goes on in the same line.
    Inline {
        /// With a space before it.
        space: bool,
        /// The line may be broken before it.
        may_break: bool,
    },
    /// The end of the text.
    End,
}

/// A significant token.
#[derive(Debug, Clone)]
pub struct Piece<'a> {
    /// As it was written.
    pub text: &'a str,
    /// How it stands to the one before it.
    pub lead: Lead,
    /// Whether it opens a block.
    pub opens: bool,
    /// Whether an empty line stands just before it.
    pub blank: bool,
    /// The comments between it and the one before.
    pub comments: Range<usize>,
    outermost: bool,
}

/// A comment.
#[derive(Debug, Clone)]
pub struct Comment<'a> {
    /// As it was written, white space at its end aside.
    pub text: &'a str,
    /// Whether it is the first on its line.
    pub own_line: bool,
    /// Whether an empty line stands before it.
    pub blank: bool,
}

impl Piece<'_> {
    /// Spaces before a comment that precedes it on a line of its own, and before it after one.
    pub fn comment_indent(&self) -> usize {
        match self.lead {
            Lead::Item | Lead::End => 0,
            Lead::Clause | Lead::Step | Lead::Close => 4,
            Lead::Inline { .. } if self.outermost => 4,
            Lead::Because | Lead::Expect | Lead::Inline { .. } => 8,
        }
    }

    /// Whether the step that it begins is a call.
    pub fn is_call(&self) -> bool {
        self.text == "call" || self.text.starts_with(|c: char| c.is_ascii_digit())
    }
}

/// The significant tokens, one for the end of the text, and the comments.
pub fn pieces<'a>(text: &'a str, tokens: &[Token]) -> (Vec<Piece<'a>>, Vec<Comment<'a>>) {
    let mut pieces: Vec<Piece<'a>> = Vec::with_capacity(tokens.len() / 2 + 1);
    let mut comments: Vec<Comment<'a>> = Vec::new();
    let mut walk = Walk::default();
    let (mut line_feeds, mut first_comment) = (0_usize, 0_usize);
    for token in tokens {
        let written = text.get(token.span.clone()).unwrap_or_default();
        match token.kind {
            Kind::Space => line_feeds += written.bytes().filter(|byte| *byte == b'\n').count(),
            Kind::Comment => {
                let (own_line, blank) = (line_feeds > 0 || pieces.is_empty(), line_feeds > 1);
                comments.push(Comment { text: written.trim_end(), own_line, blank });
                line_feeds = 0;
            }
            _ => {
                let outermost = walk.place == Place::Outermost;
                let (lead, opens) = walk.step(token.kind, written);
                let between = first_comment..comments.len();
                pieces.push(Piece { text: written, lead, opens, blank: line_feeds > 1, comments: between, outermost });
                (line_feeds, first_comment) = (0, comments.len());
            }
        }
    }
    let rest = first_comment..comments.len();
    pieces.push(Piece { text: "", lead: Lead::End, opens: false, blank: false, comments: rest, outermost: true });
    (pieces, comments)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outermost,
    Block,
    Test(Step),
}

/// What may follow in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A step.
    Any,
    /// So many more tokens of a step that isn't a call.
    More(u8),
    /// `x`, and then `call`.
    Times,
    Tool,
    Category,
    /// The arguments, so many brackets deep.
    Arguments(usize),
    /// Up to `expect`.
    Tail,
    Decision,
    Why,
}

#[derive(Default)]
struct Walk<'a> {
    place: Place,
    /// The word that began the item.
    item: &'a str,
    /// The two tokens before.
    last: [&'a str; 2],
}

impl<'a> Walk<'a> {
    fn step(&mut self, kind: Kind, text: &'a str) -> (Lead, bool) {
        let [before, last] = self.last;
        let inline = |space, may_break| Lead::Inline { space, may_break };
        let mut opens = false;
        let word = kind == Kind::Word;
        let key = last == ".";
        let flowing = inline(is_spaced(before, last, text), last == "," || (word && !key && is_joint(text)));
        let lead = match self.place {
            Place::Outermost if text == "{" => {
                opens = true;
                self.place = if self.item == "test" { Place::Test(Step::Any) } else { Place::Block };
                inline(true, false)
            }
            Place::Outermost => {
                let begins = word && (ITEM_WORDS.contains(&text) || matches!(text, "policy" | "default"));
                if begins && last != "default" {
                    self.item = text;
                    Lead::Item
                } else {
                    flowing
                }
            }
            Place::Block if text == "}" => {
                self.place = Place::Outermost;
                Lead::Close
            }
            Place::Block if word && !key && text == "because" && (last != "as" || before == ".") => Lead::Because,
            Place::Block if word && !key && CLAUSE_WORDS.contains(&text) && (last != "shadow" || before == ".") => {
                Lead::Clause
            }
            Place::Block => flowing,
            Place::Test(step) => {
                let (lead, next) = in_test(step, text);
                self.place = next.map_or(Place::Outermost, Place::Test);
                lead.unwrap_or_else(|| inline(is_spaced_in_json(last, text, step), false))
            }
        };
        self.last = [last, text];
        (lead, opens)
    }
}

/// The lead of a token of a test, none where it goes on in the line, and what may follow; nothing
/// where the test ends.
fn in_test(step: Step, text: &str) -> (Option<Lead>, Option<Step>) {
    let next = match step {
        Step::Why if text == "by" || text == "because" => Step::More(1),
        Step::Any | Step::Why => {
            let next = match text {
                "}" => return (Some(Lead::Close), None),
                "at" | "wait" | "approve" | "refuse" => Step::More(1),
                "as" => Step::More(2),
                "call" => Step::Tool,
                _ => Step::Times,
            };
            return (Some(Lead::Step), Some(next));
        }
        Step::More(0 | 1) => Step::Any,
        Step::More(more) => Step::More(more - 1),
        Step::Times if text == "call" => Step::Tool,
        Step::Times => Step::Times,
        Step::Tool if text == "category" => Step::Category,
        Step::Tool | Step::Category => Step::Arguments(0),
        Step::Arguments(depth) => match text {
            "{" | "[" => Step::Arguments(depth + 1),
            "}" | "]" if depth <= 1 => Step::Tail,
            "}" | "]" => Step::Arguments(depth - 1),
            _ => Step::Arguments(depth),
        },
        Step::Tail if text == "expect" => return (Some(Lead::Expect), Some(Step::Decision)),
        Step::Tail => Step::Tail,
        Step::Decision => Step::Why,
    };
    (None, Some(next))
}

/// Words before which a long condition is broken.
fn is_joint(text: &str) -> bool {
    matches!(text, "and" | "or")
}

fn is_spaced(before: &str, last: &str, text: &str) -> bool {
    let in_path = last == "]" || last == "args" || before == ".";
    !(matches!(text, "," | ")" | "]" | "." | "..")
        || matches!(last, "(" | "[" | "." | "..")
        || (text == "[" && in_path))
}

fn is_spaced_in_json(last: &str, text: &str, step: Step) -> bool {
    let inside = matches!(step, Step::Arguments(1..));
    !(inside && (matches!(text, "," | ":" | "]" | "}") || matches!(last, "{" | "[")))
}
