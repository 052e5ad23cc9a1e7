//! Exact decimals: the numbers of JSON as they are written, never through a float.
//!
//! A number is kept as its significant digits and a power of ten, so that 9007199254740992 and
//! 9007199254740993 differ, `1`, `1.0` and `10e-1` are equal, and `1e1000000000` costs no more than
//! `1`. Nothing is ever expanded to compare two numbers.

use std::cmp::Ordering;
use std::fmt;

/// An exact decimal: `0.DIGITS × 10^exponent`, with a sign.
///
/// Digits have no leading and no trailing zero; zero has no digits, exponent 0 and no sign. So
/// equality of the fields is equality of the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    digits: Box<str>,
    exponent: i64,
}

/// Largest absolute exponent that is read: beyond it a number is refused rather than wrapped.
const EXPONENT_MAX: i64 = 1_000_000_000_000;

impl Decimal {
    /// Zero.
    #[must_use]
    pub fn zero() -> Self {
        Self { negative: false, digits: "".into(), exponent: 0 }
    }

    /// Reads a number in JSON's grammar. None if it isn't one, or its exponent is beyond 10^12.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, written_exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (mantissa, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        if written_exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self::zero());
        }
        let leading_zeros = i64::try_from(all.len() - significant.len()).ok()?;
        let exponent = i64::try_from(whole.len()).ok()? - leading_zeros + written_exponent;
        Some(Self { negative, digits: significant.trim_end_matches('0').into(), exponent })
    }

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Whether the number is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The number in millionths, if it is a whole count of them and fits.
    #[must_use]
    pub fn to_micros(&self) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        let places = i64::try_from(self.digits.len()).ok()? - self.exponent;
        if places > 6 {
            return None;
        }
        let scale = u32::try_from(6 - places).ok()?;
        let digits: i64 = self.digits.parse().ok()?;
        let micros = digits.checked_mul(10_i64.checked_pow(scale)?)?;
        Some(if self.negative { -micros } else { micros })
    }

    /// Decimal places that the number needs: 0 for a whole one.
    #[must_use]
    pub fn places(&self) -> i64 {
        let digits = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        digits.saturating_sub(self.exponent).max(0)
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Without zeros at either end, digits of equal exponent compare as text.
            (false, false) => self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::parse(&value.to_string()).unwrap_or_else(Self::zero)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As RFC 8785 writes a number (ECMAScript's `Number::toString`), only without its rounding: plain
/// from 10^-7 up to 10^21, otherwise with an exponent.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        let digits = &*self.digits;
        let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
        match self.exponent {
            point if point >= count && point <= 21 => write!(f, "{digits}{}", zeros(point - count)),
            point if point > 0 && point <= 21 => {
                let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
                write!(f, "{whole}.{fraction}")
            }
            point if point > -6 && point <= 0 => write!(f, "0.{}{digits}", zeros(-point)),
            point => {
                let (first, rest) = digits.split_at(1);
                let dot = if rest.is_empty() { "" } else { "." };
                let sign = if point > 0 { "+" } else { "-" };
                write!(f, "{first}{dot}{rest}e{sign}{}", (point - 1).unsigned_abs())
            }
        }
    }
}

#[cfg(test)]
mod tests;
