//! What is wrong with a policy's text, and where.
//!
//! A diagnostic is plain data: this module's own type is what the crate returns, so that text, JSON
//! and an editor are only three ways to show it. Whoever reads a file gets all of its errors at
//! once, in the order of the text.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

pub use crate::code::Code;

/// Most diagnostics that are kept for one text; the rest would tell nobody anything.
pub const DIAGNOSTICS_MAX: usize = 1_000;

/// Labels further apart than this many lines aren't drawn in one picture.
const LINES_MAX: usize = 200;

/// Lines longer than this, taken together, aren't drawn: a file may be one line of 10 MiB.
const PICTURE_BYTES_MAX: usize = 16 * 1024;

/// A byte range in the text that was read.
pub type Span = Range<usize>;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is about.
    pub code: Code,
    /// Whether the policy can be used all the same.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; the first one is the place itself, the others explain it.
    pub labels: Vec<Label>,
    /// Ways out.
    pub help: Vec<String>,
    /// Changes of the text that put it right without changing what the policy means.
    pub fixes: Vec<Fix>,
}

/// A change of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What is taken out.
    pub span: Span,
    /// What comes in.
    pub text: String,
}

/// Whether the policy can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It can't.
    Error,
    /// It can.
    Warning,
}

/// A place in the text and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is to be said; may be empty.
    pub text: String,
}

impl Diagnostic {
    /// An error at `span` with the code's own message.
    #[must_use]
    pub fn error(code: Code, span: Span, label: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: code.message().to_owned(),
            labels: vec![Label { span, text: label.into() }],
            help: Vec::new(),
            fixes: Vec::new(),
        }
    }

    /// A warning at `span` with the code's own message.
    #[must_use]
    pub fn warning(code: Code, span: Span, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, label) }
    }

    /// The same with a more precise message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same with one more place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// The same with one more way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The same with a change that puts it right.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
        self
    }

    /// Byte offset of the place itself; 0 without one.
    #[must_use]
    pub fn at(&self) -> usize {
        self.labels.first().map_or(0, |label| label.span.start)
    }

    /// Byte offset just behind the place itself; 0 without one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.labels.first().map_or(0, |label| label.span.end)
    }
}

/// Sorts the diagnostics by place and keeps the first [`DIAGNOSTICS_MAX`].
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.at(), diagnostic.code));
    diagnostics.truncate(DIAGNOSTICS_MAX);
    diagnostics
}

/// The diagnostics as people read them, each with the lines that it is about; `name` is what the
/// text is called. Ends with a line feed unless there is nothing to tell.
#[must_use]
pub fn render(name: &str, text: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let lines = Lines::of(text);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
        let mut groups = vec![match picture(name, text, &lines, &diagnostic.labels) {
            Some(snippet) => title.element(snippet),
            None => without_picture(name, text, &lines, title, &diagnostic.labels),
        }];
        groups.extend(diagnostic.help.iter().map(|help| Group::with_title(Level::HELP.secondary_title(help.as_str()))));
        out.push_str(&renderer.render(&groups));
        out.push_str("\n\n");
    }
    out.truncate(out.trim_end_matches('\n').len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The lines from the first label to the last: the renderer isn't handed the whole file, because a
/// large file with many errors would be scanned once for each of them.
fn picture<'a>(
    name: &'a str,
    text: &'a str,
    lines: &Lines,
    labels: &'a [Label],
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let main = lines.number(labels.first()?.span.start);
    let near: Vec<(usize, Span, &Label)> = labels
        .iter()
        .map(|label| (lines.number(label.span.start), inside(text, &label.span), label))
        .filter(|(line, _, _)| line.abs_diff(main) < LINES_MAX)
        .collect();
    let first = near.iter().map(|(line, _, _)| *line).min()?;
    let start = lines.start(first);
    let last = near.iter().map(|(_, span, _)| lines.number(span.end.max(span.start))).max()?;
    let end = lines.start(last.min(first + LINES_MAX) + 1).min(text.len());
    if end - start > PICTURE_BYTES_MAX {
        return None;
    }
    let mut snippet = Snippet::source(text.get(start..end)?).path(name).line_start(first + 1);
    for (index, (_, span, label)) in near.into_iter().enumerate() {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let span = span.start.clamp(start, end) - start..span.end.clamp(start, end) - start;
        snippet = snippet.annotation(kind.span(span).label(Some(label.text.as_str()).filter(|text| !text.is_empty())));
    }
    Some(snippet)
}

/// The place in figures and what is to be said of it, for lines that are too long to be drawn.
fn without_picture<'a>(
    name: &'a str,
    text: &str,
    lines: &Lines,
    title: annotate_snippets::Title<'a>,
    labels: &'a [Label],
) -> Group<'a> {
    let Some(label) = labels.first() else { return Group::with_title(title) };
    let (line, column) = place(text, lines, label.span.start);
    title.element(Origin::path(name).line(line).char_column(column)).element(Level::NOTE.message(label.text.as_str()))
}

/// The span moved to whole characters of the text.
fn inside(text: &str, span: &Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Where the lines of a text begin.
struct Lines {
    starts: Vec<usize>,
    length: usize,
}

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(breaks).collect(), length: text.len() }
    }

    /// The line of a byte, counted from 0.
    fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Where a line begins; the end of the text for a line beyond the last.
    fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.length)
    }
}

/// Line and column of a byte, both counted from 1, the column in characters.
#[must_use]
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    place(text, &Lines::of(text), at)
}

fn place(text: &str, lines: &Lines, at: usize) -> (usize, usize) {
    let at = inside(text, &(at..at)).start;
    let line = lines.number(at);
    let column = text.get(lines.start(line)..at).map_or(0, |before| before.chars().count());
    (line + 1, column + 1)
}

#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    code: &'static str,
    severity: &'static str,
    message: &'a str,
    labels: Vec<JsonLabel<'a>>,
    help: &'a [String],
}

#[derive(Serialize)]
struct JsonLabel<'a> {
    start_byte: usize,
    end_byte: usize,
    line: usize,
    column: usize,
    text: &'a str,
}

/// The diagnostics as a JSON array on one line: each has `code`, `severity` (`error` or `warning`),
/// `message`, `labels` (`start_byte`, `end_byte`, `line` and `column` from 1, `text`) and `help`.
#[must_use]
pub fn render_json(text: &str, diagnostics: &[Diagnostic]) -> String {
    let lines = Lines::of(text);
    let label = |label: &'_ Label| -> (usize, usize) { place(text, &lines, label.span.start) };
    let all: Vec<JsonDiagnostic<'_>> = diagnostics
        .iter()
        .map(|diagnostic| JsonDiagnostic {
            code: diagnostic.code.as_str(),
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: &diagnostic.message,
            labels: diagnostic
                .labels
                .iter()
                .map(|entry| {
                    let (line, column) = label(entry);
                    let (start_byte, end_byte) = (entry.span.start, entry.span.end);
                    JsonLabel { start_byte, end_byte, line, column, text: &entry.text }
                })
                .collect(),
            help: &diagnostic.help,
        })
        .collect();
    // Strings and numbers alone: there is nothing here that serialisation could refuse.
    serde_json::to_string(&all).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
mod tests;
