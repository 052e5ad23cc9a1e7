//! What a value of a policy may be, whichever front end it came from.
//!
//! Each check is handed a value and its place and answers with the diagnostic, so that the language
//! and JSON can't come to differ in what they let through.

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::{LIMIT_MAX, Literal, Op, ROLLING_MAX, Window};

/// Longest text for the agent, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// Longest name of a tool, group, counter or approver, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Most memory that a compiled regular expression may take, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Longest rolling window, breaker and approval: a year.
pub const SPAN_S_MAX: u64 = 366 * 86_400;

/// Most calls that a breaker looks back on: how many in a row it counts, times the longest cycle.
pub const LOOK_BACK_MAX: u64 = 1_000;

/// Longest cycle that a breaker sees, in calls.
pub const PERIOD_MAX: u64 = 8;

/// The categories of tools, least severe first.
pub const CATEGORIES: &[&str] = &["read", "write", "execute", "destructive", "financial"];

/// What a check answers.
pub type Checked<T = ()> = Result<T, Box<Diagnostic>>;

fn refuse<T>(code: Code, at: &Span, label: impl Into<String>) -> Checked<T> {
    Err(Box::new(Diagnostic::error(code, at.clone(), label)))
}

/// A name of a tool, group, counter or approver.
pub fn name(text: &str, at: &Span) -> Checked {
    if text.is_empty() {
        return refuse(Code::BadName, at, "a name can't be empty");
    }
    if text.len() > NAME_BYTES_MAX {
        return refuse(Code::BadName, at, format!("a name has at most {NAME_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return refuse(Code::BadName, at, "a name has no control characters");
    }
    Ok(())
}

/// A text for the agent, or the policy's name.
pub fn text(text: &str, at: &Span) -> Checked {
    if text.len() > TEXT_BYTES_MAX {
        let label = format!("this has {} bytes, and at most {TEXT_BYTES_MAX} fit", text.len());
        return refuse(Code::TextTooLong, at, label);
    }
    Ok(())
}

/// A category's name.
pub fn category(name: &str, at: &Span) -> Checked {
    if CATEGORIES.contains(&name) {
        return Ok(());
    }
    refuse(Code::UnknownCategory, at, format!("expected one of: {}", CATEGORIES.join(", ")))
}

/// A regular expression.
pub fn pattern(pattern: &str, at: &Span) -> Checked {
    match regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => {
            refuse(Code::BadPattern, at, format!("compiled, it takes more than {PATTERN_BYTES_MAX} bytes"))
        }
        Err(error) => {
            // The crate draws the pattern again; the last line alone says what is wrong.
            let drawn = error.to_string();
            let what = drawn.lines().last().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            Err(Box::new(
                Diagnostic::error(Code::BadPattern, at.clone(), what)
                    .help("patterns are in the RE2 dialect: no look-around and no back-references"),
            ))
        }
    }
}

/// The value of a condition: a list for `in`, a number for an order, a truth value for `exists`, a
/// pattern for `regex`, and anything but a list for the others.
pub fn value(op: Op, value: &Literal, at: &Span) -> Checked {
    match (op, value) {
        (Op::In | Op::NotIn, Literal::List(list)) if list.iter().any(|one| matches!(one, Literal::List(_))) => {
            refuse(Code::BadValue, at, "a list holds strings, numbers, true and false")
        }
        (Op::In | Op::NotIn, Literal::List(list)) if list.is_empty() => {
            refuse(Code::BadValue, at, "the list is empty, so the condition could never be met or never fail")
        }
        (Op::In | Op::NotIn, Literal::List(_)) => Ok(()),
        (Op::In | Op::NotIn, _) => refuse(Code::WrongType, at, "expected a list"),
        (_, Literal::List(_)) => refuse(Code::WrongType, at, format!("`{op}` takes no list")),
        (Op::Lt | Op::Lte | Op::Gt | Op::Gte, Literal::Number(_)) => Ok(()),
        (Op::Lt | Op::Lte | Op::Gt | Op::Gte, _) => {
            refuse(Code::NotOrdered, at, "expected a number: for anything else the answer would never be known")
        }
        (Op::Exists, Literal::Bool(_)) => Ok(()),
        (Op::Exists, _) => refuse(Code::WrongType, at, "expected true or false"),
        (Op::Regex | Op::NotRegex, Literal::String(text)) => pattern(text, at),
        (Op::Regex | Op::NotRegex, _) => refuse(Code::WrongType, at, "expected a regular expression"),
        (Op::Eq | Op::Neq | Op::Contains | Op::NotContains, _) => Ok(()),
    }
}

/// How much a limit lets through.
pub fn limit_max(max: Option<u64>, rolling: bool, at: &Span) -> Checked<u64> {
    let Some(max) = max.filter(|max| *max <= LIMIT_MAX) else {
        return refuse(Code::LimitTooLarge, at, "expected a whole number from 0 to 1,000,000,000,000");
    };
    if rolling && max > ROLLING_MAX {
        return Err(Box::new(
            Diagnostic::error(Code::RollingTooLarge, at.clone(), "a rolling limit counts up to 10,000")
                .help("each call is kept while it is in the window; a plain window has no such bound"),
        ));
    }
    Ok(max)
}

/// A limit's window. A plain one is aligned in UTC and so must divide a day.
pub fn window(window: Window, rolling: bool, at: &Span) -> Checked {
    let seconds = window.seconds();
    if rolling && seconds > SPAN_S_MAX {
        return refuse(Code::BadDuration, at, "a rolling window has at most 366 days");
    }
    if !rolling && (seconds == 0 || 86_400 % seconds != 0) {
        return Err(Box::new(
            Diagnostic::error(Code::UnevenWindow, at.clone(), "a plain window fits into a day without a rest")
                .help("take a length such as 15m, 6h or 1d, or a `rolling` window of any length"),
        ));
    }
    Ok(())
}

/// A length of time in seconds, for breakers and approvals.
pub fn within_s(seconds: u64, at: &Span) -> Checked<u32> {
    match u32::try_from(seconds) {
        Ok(within_s) if (1..=SPAN_S_MAX).contains(&seconds) => Ok(within_s),
        _ => refuse(Code::BadDuration, at, "expected at least a second and at most 366 days"),
    }
}

/// How many alike a breaker lets through.
pub fn run(after: Option<u64>, at: &Span) -> Checked<u32> {
    match after.and_then(|after| u32::try_from(after).ok()) {
        Some(after) if (1..=LOOK_BACK_MAX).contains(&u64::from(after)) => Ok(after),
        _ => refuse(Code::BadRun, at, "expected a whole number from 1 to 1,000"),
    }
}

/// The longest cycle of a breaker.
pub fn period(calls: Option<u64>, at: &Span) -> Checked<u8> {
    match calls.and_then(|calls| u8::try_from(calls).ok()) {
        Some(calls) if (2..=PERIOD_MAX).contains(&u64::from(calls)) => Ok(calls),
        _ => refuse(Code::BadRun, at, "expected a cycle of 2 to 8 calls"),
    }
}

/// How far a breaker of cycles looks back.
pub fn look_back(after: u32, period_max: u8, at: &Span) -> Checked {
    if u64::from(after) * u64::from(period_max) <= LOOK_BACK_MAX {
        return Ok(());
    }
    let label =
        format!("{after} repeats of up to {period_max} calls are more than the 1,000 that a breaker looks back on");
    refuse(Code::BadRun, at, label)
}

/// A time zone's name, by its shape alone: which names there are is the engine's to know.
pub fn zone(name: &str, at: &Span) -> Checked {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    if name.len() <= 64 && name.split('/').all(part) {
        return Ok(());
    }
    refuse(Code::BadZone, at, "expected an IANA name such as \"Europe/London\" or \"UTC\"")
}
