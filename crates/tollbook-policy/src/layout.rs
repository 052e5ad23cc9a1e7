//! One style for the text, made from the tokens.
//!
//! The formatter has no options. It moves white space and nothing else: it never drops, changes or
//! reorders a token or a comment, and [`format()`] reads its own output and compares before anybody
//! writes it. A clause has a line of its own, `because` the next one, a block's lines four spaces,
//! and items have an empty line between them; an empty line inside a block is the author's and stays.
//!
//! Comments stay where they are: behind what they follow, or on their own line above what they
//! precede.

use crate::diagnostic::{Diagnostic, Severity};
use crate::lexer::{Kind, lex};
use crate::parser;

use piece::{Comment, Lead, Piece, pieces};

mod piece;

/// Lines are broken at commas, `and` and `or` so that they have at most this many characters.
const WIDTH: usize = 100;

/// Spaces between a call and what is expected of it.
const BEFORE_EXPECT: usize = 3;

/// Why a text can't be formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// It has errors, and what doesn't parse has no lines.
    Syntax(Vec<Diagnostic>),
    /// The formatted text would say something else. Nothing is known to do this.
    Changed,
}

/// The text in the one style.
///
/// # Errors
/// Its syntax errors, or that the result wouldn't have the same tokens.
pub fn format(text: &str) -> Result<String, FormatError> {
    let (_, told) = parser::parse(text);
    if told.iter().any(|one| one.severity == Severity::Error) {
        return Err(FormatError::Syntax(told));
    }
    let formatted = layout(text);
    if !same_tokens(text, &formatted) {
        return Err(FormatError::Changed);
    }
    Ok(formatted)
}

/// The text in the one style, if it parses; otherwise its tokens in some order of lines.
#[must_use]
pub fn layout(text: &str) -> String {
    let tokens = lex(text);
    let (pieces, comments) = pieces(text, &tokens);
    let mut writer = Writer {
        pieces: &pieces,
        comments: &comments,
        out: String::with_capacity(text.len() + text.len() / 8),
        line_start: 0,
        run: Vec::new(),
        run_start: 0,
        broken: false,
        last_item: "",
    };
    for index in 0..pieces.len() {
        writer.piece(index);
    }
    writer.finish()
}

/// Whether both texts have the same tokens and comments, white space aside.
#[must_use]
pub fn same_tokens(left: &str, right: &str) -> bool {
    fn told(text: &str) -> Vec<(Kind, &str)> {
        let tokens = lex(text).into_iter().filter(|token| token.kind != Kind::Space);
        tokens.map(|token| (token.kind, text.get(token.span).unwrap_or_default().trim_end())).collect()
    }
    told(left) == told(right)
}

struct Writer<'a> {
    pieces: &'a [Piece<'a>],
    comments: &'a [Comment<'a>],
    out: String,
    /// Where the last line of `out` begins.
    line_start: usize,
    /// Calls whose expectations stand under each other: where each goes, and the width before it.
    run: Vec<(usize, usize)>,
    run_start: usize,
    /// Whether a comment stands inside the call that is being written.
    broken: bool,
    last_item: &'a str,
}

impl<'a> Writer<'a> {
    fn piece(&mut self, index: usize) {
        let Some(piece) = self.pieces.get(index) else { return };
        let before = index.checked_sub(1).and_then(|before| self.pieces.get(before));
        let opened = before.is_some_and(|before| before.opens);
        let comments = self.comments.get(piece.comments.clone()).unwrap_or_default();
        let mut forced = piece.lead == Lead::Item
            && !(matches!(piece.text, "allow" | "hide") && matches!(self.last_item, "allow" | "hide"));
        let mut first = opened;
        let mut own_line = false;
        for comment in comments {
            if !comment.own_line && !self.out.is_empty() {
                self.out.push_str("  ");
                self.out.push_str(comment.text);
                own_line = true;
                continue;
            }
            self.end_run();
            let keeps_blank = matches!(piece.lead, Lead::Item | Lead::Clause | Lead::Step | Lead::Close | Lead::End);
            self.begin_line((comment.blank || forced) && keeps_blank && !first, piece.comment_indent());
            self.out.push_str(comment.text);
            (forced, first, own_line) = (false, false, true);
        }
        match piece.lead {
            Lead::Item => {
                self.end_run();
                self.begin_line(forced || piece.blank, 0);
                self.last_item = piece.text;
            }
            Lead::Clause => self.begin_line(piece.blank && !first, 4),
            Lead::Step => {
                self.broken = false;
                if piece.blank || !piece.is_call() {
                    self.end_run();
                }
                self.begin_line(piece.blank && !first, 4);
                if self.run.is_empty() {
                    self.run_start = self.line_start;
                }
            }
            Lead::Because => self.begin_line(false, 8),
            Lead::Expect => self.expect(index, own_line),
            Lead::Close => {
                self.end_run();
                if opened && comments.is_empty() { self.out.push(' ') } else { self.begin_line(false, 0) }
            }
            Lead::Inline { .. } if own_line => {
                self.broken = true;
                self.begin_line(false, piece.comment_indent());
            }
            Lead::Inline { space, may_break } => {
                let space_width = usize::from(space);
                if may_break && self.width() + space_width + self.segment(index) > WIDTH {
                    self.begin_line(false, piece.comment_indent());
                } else if space {
                    self.out.push(' ');
                }
            }
            Lead::End => {}
        }
        self.out.push_str(piece.text);
    }

    /// Beside the call where it fits, under the expectations before it; otherwise on the next line.
    fn expect(&mut self, index: usize, own_line: bool) {
        let width = self.width();
        let tail = self.segment(index);
        if own_line || self.broken || width + BEFORE_EXPECT + tail > WIDTH {
            self.begin_line(false, 8);
        } else {
            self.run.push((self.out.len(), width));
        }
    }

    /// Writes the spaces before the expectations of a run of calls.
    fn end_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let column = self.run.iter().map(|(_, width)| *width).max().unwrap_or(0) + BEFORE_EXPECT;
        let lines = self.out.split_off(self.run_start);
        let mut from = 0;
        for (at, width) in std::mem::take(&mut self.run) {
            let at = at - self.run_start;
            self.out.push_str(lines.get(from..at).unwrap_or_default());
            self.spaces(column - width);
            from = at;
        }
        self.out.push_str(lines.get(from..).unwrap_or_default());
        self.line_start = self.out.rfind('\n').map_or(0, |at| at + 1);
    }

    fn begin_line(&mut self, blank: bool, indent: usize) {
        if !self.out.is_empty() {
            self.out.push('\n');
            if blank {
                self.out.push('\n');
            }
        }
        self.line_start = self.out.len();
        self.spaces(indent);
    }

    fn spaces(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
    }

    /// Characters of the last line.
    fn width(&self) -> usize {
        self.out.get(self.line_start..).map_or(0, |line| line.chars().count())
    }

    /// Characters from a piece to the next place where the line may be broken, or is.
    fn segment(&self, index: usize) -> usize {
        let pieces = self.pieces.get(index..).unwrap_or_default();
        let rest = pieces.iter().skip(1).map_while(|piece| match piece.lead {
            Lead::Inline { space, may_break: false } => Some(usize::from(space) + piece.text.chars().count()),
            _ => None,
        });
        pieces.first().map_or(0, |piece| piece.text.chars().count()) + rest.take(WIDTH).sum::<usize>()
    }

    fn finish(mut self) -> String {
        self.end_run();
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }
}

#[cfg(test)]
mod tests;
