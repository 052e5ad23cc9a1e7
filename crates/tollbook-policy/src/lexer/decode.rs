//! What a single token says: the string without its escapes, the number, the time.

use crate::Decimal;
use crate::code::Code;
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Span};
use crate::policy::{Duration, Unit};

use super::{Kind, Token};

/// Judges each token by itself, whatever stands around it; the first [`DIAGNOSTICS_MAX`] faults.
#[must_use]
pub fn check(text: &str, tokens: &[Token]) -> Vec<Diagnostic> {
    let of = |span: &Span| text.get(span.clone()).unwrap_or_default();
    tokens.iter().filter_map(|token| fault(token.kind, of(&token.span), &token.span)).take(DIAGNOSTICS_MAX).collect()
}

fn fault(kind: Kind, written: &str, span: &Span) -> Option<Diagnostic> {
    let error = |code, label: &str| Some(Diagnostic::error(code, span.clone(), label));
    match kind {
        Kind::Unknown => {
            let found = error(Code::UnknownCharacter, "no word of the language has this")?;
            Some(if written.starts_with('=') {
                found.help("write `==` to compare")
            } else if written.starts_with(['\'', '`', '\u{201c}', '\u{201d}']) {
                found.help("strings stand in double quotation marks, as in JSON")
            } else if written.starts_with(['&', '|', '!']) {
                found.help("write `and`, `or` and `not`")
            } else {
                found
            })
        }
        Kind::String => match string(written) {
            Ok(_) => None,
            Err(what) => error(Code::BadString, &what),
        },
        Kind::Number if number(written).is_none() => {
            let found = error(Code::BadNumber, "not a number as in JSON, with `_` between digits");
            Some(found?.help("write numbers as in `30`, `10_000` or `0.5`"))
        }
        Kind::Duration => match duration(written) {
            Ok(_) => None,
            Err(Code::UnknownUnit) => Some(
                error(Code::UnknownUnit, "expected a number and one of: s, m, h, d")?
                    .help("write durations as in `90s`, `15m`, `2h` or `1d`"),
            ),
            Err(code) => error(code, "expected a whole number from 1 to 4,294,967,295 before the unit"),
        },
        Kind::Time if time(written).is_none() => {
            error(Code::BadTime, "expected a time from 00:00 to 23:59, such as 08:00")
        }
        Kind::Timestamp if timestamp(written).is_none() => {
            error(Code::BadTimestamp, "expected an instant of RFC 3339, such as 2026-01-05T09:00:00Z")
        }
        _ => None,
    }
}

/// The string without quotes and escapes, or what is wrong with it.
///
/// # Errors
/// It isn't closed, or isn't a string of JSON.
pub fn string(written: &str) -> Result<String, String> {
    if written.contains('\t') {
        return Err("a tab in a string is written `\\t`".to_owned());
    }
    match crate::json::parse(written.as_bytes()) {
        Ok(node) => Ok(node.as_str().unwrap_or_default().to_owned()),
        Err(error) if error.fault == crate::json::Fault::Truncated => {
            Err("the string isn't closed on its line".to_owned())
        }
        Err(error) if error.fault == crate::json::Fault::LoneSurrogate => {
            Err("an escape names half of a surrogate pair".to_owned())
        }
        Err(_) => Err("not a string as in JSON: look at its backslashes".to_owned()),
    }
}

/// The number; `_` may stand between digits. None if it isn't one.
#[must_use]
pub fn number(written: &str) -> Option<Decimal> {
    let between = |window: &[u8]| match window {
        [before, b'_', after] => before.is_ascii_digit() && after.is_ascii_digit(),
        _ => true,
    };
    let framed = format!(" {written} ");
    if !framed.as_bytes().windows(3).all(between) {
        return None;
    }
    Decimal::parse(&written.replace('_', ""))
}

/// The number if it is a whole one that fits.
#[must_use]
pub fn whole(written: &str) -> Option<u64> {
    number(written)?;
    written.replace('_', "").parse().ok()
}

/// The length of time.
///
/// # Errors
/// [`Code::UnknownUnit`], or [`Code::BadDuration`] if the count is zero or too large.
pub fn duration(written: &str) -> Result<Duration, Code> {
    let digits = written.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match written.get(digits.len()..) {
        Some("s") => Unit::Second,
        Some("m") => Unit::Minute,
        Some("h") => Unit::Hour,
        Some("d") => Unit::Day,
        _ => return Err(Code::UnknownUnit),
    };
    let count = whole(digits).and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    Ok(Duration { count: count.ok_or(Code::BadDuration)?, unit })
}

/// The minute of the day, 0 to 1439, of a time such as `08:00`.
#[must_use]
pub fn time(written: &str) -> Option<u16> {
    let (hours, minutes) = written.split_once(':')?;
    let two = |part: &str, below: u16| -> Option<u16> {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|value| digits && *value < below)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

/// The instant of RFC 3339 in microseconds since 1970, UTC. Digits beyond the sixth are refused,
/// as is a leap second.
#[must_use]
pub fn timestamp(written: &str) -> Option<i64> {
    let (date, clock) = written.split_once(['T', 't'])?;
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    let mut date = date.split('-');
    let (year, month, day) = (part(date.next()?, 4)?, part(date.next()?, 2)?, part(date.next()?, 2)?);
    let mut clock = clock.split(':');
    let (hour, minute, second) = (part(clock.next()?, 2)?, part(clock.next()?, 2)?, clock.next()?);
    let (second, fraction) = second.split_once('.').map_or((second, "0"), |(second, fraction)| (second, fraction));
    let second = part(second, 2)?;
    let length_of_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let fits = (1..=length_of_month).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !fits || date.next().is_some() || clock.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let micros = part(&format!("{fraction:0<6}"), 6)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(seconds * 1_000_000 + micros)
}

/// Seconds that local clocks are ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let (hours, minutes) = (part(hours, 2)?, part(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Exactly so many digits.
fn part(text: &str, digits: usize) -> Option<i64> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day
/// is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests;
