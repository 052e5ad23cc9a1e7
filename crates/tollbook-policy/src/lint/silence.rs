//! Comments that silence a warning in place: `# tollbook: allow L0207 because "…"`.

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Fix, Span};
use crate::lexer::{Kind, Token, decode, lex};
use crate::parser::{CLAUSE_WORDS, ITEM_WORDS};

/// What such a comment says, and the part of the text that it is for.
struct Silence {
    comment: Span,
    /// The code, or what is wrong with the comment.
    code: Result<Code, &'static str>,
    covers: Span,
    used: bool,
}

/// The warnings that no comment silences, and those about the comments themselves.
pub fn silence(text: &str, told: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut silences = silences(text);
    let mut left = Vec::new();
    for one in told {
        let covering = silences
            .iter_mut()
            .filter(|silence| silence.code == Ok(one.code) && silence.covers.contains(&one.at()))
            .fold(false, |_, silence| {
                silence.used = true;
                true
            });
        if !covering || one.severity == crate::Severity::Error {
            left.push(one);
        }
    }
    for silence in silences {
        let label = match silence.code {
            Err(what) => what.to_owned(),
            Ok(code) if !silence.used => format!("there is no {code} here"),
            Ok(_) => continue,
        };
        let told = Diagnostic::warning(Code::BadSilence, silence.comment.clone(), label);
        left.push(match silence.code {
            Ok(_) => told.fix(Fix { span: silence.comment, text: String::new() }).help("leave the comment out"),
            Err(_) => told.help("write `# tollbook: allow L0207 because \"…\"`"),
        });
    }
    left
}

fn silences(text: &str) -> Vec<Silence> {
    let tokens = lex(text);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Comment) {
        let written = text.get(token.span.clone()).unwrap_or_default();
        let Some(said) = written.trim_start_matches('#').trim_start().strip_prefix("tollbook:") else { continue };
        let covers = covers(text, &tokens, index);
        found.push(Silence { comment: token.span.clone(), code: code(said), covers, used: false });
    }
    found
}

/// `allow CODE because "…"`
fn code(said: &str) -> Result<Code, &'static str> {
    let said = said.trim().strip_prefix("allow ").ok_or("expected `allow`")?;
    let (code, reason) = said.trim().split_once(' ').ok_or("a reason is missing")?;
    let code = Code::parse(code).ok_or("there is no such code")?;
    let reason = reason.trim().strip_prefix("because").ok_or("a reason is missing")?;
    let reason = decode::string(reason.trim()).map_err(|_| "a reason stands in quotation marks")?;
    if reason.trim().is_empty() { Err("a reason is missing") } else { Ok(code) }
}

/// The line of a comment that follows something; otherwise the clause or item that comes next.
fn covers(text: &str, tokens: &[Token], comment: usize) -> Span {
    let at = tokens.get(comment).map_or(0..0, |token| token.span.clone());
    let line = text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |feed| feed + 1);
    let before = text.get(line..at.start).unwrap_or_default();
    if !before.trim().is_empty() {
        return line..at.end;
    }
    let rest = tokens.get(comment..).unwrap_or_default().iter().filter(|token| token.kind.is_significant());
    let (mut depth, mut start, mut end) = (0_usize, None, at.end);
    let mut last = "";
    for token in rest {
        let written = text.get(token.span.clone()).unwrap_or_default();
        let word = token.kind == Kind::Word && last != ".";
        let begins_clause = word && CLAUSE_WORDS.contains(&written) && !matches!(last, "shadow" | "default");
        let begins_item =
            word && (ITEM_WORDS.contains(&written) || matches!(written, "default" | "policy")) && last != "default";
        if start.is_some() && depth == 0 && (begins_clause || begins_item || written == "}") {
            break;
        }
        match written {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            _ => {}
        }
        start.get_or_insert(token.span.start);
        end = token.span.end;
        last = written;
    }
    start.unwrap_or(at.start)..end
}
