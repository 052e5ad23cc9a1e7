//! The canonical form of arguments, and its hash.
//!
//! Two calls are the same call when their canonical arguments are equal: RFC 8785's order of keys (by
//! UTF-16 code units) and its strings, with numbers as exact normalised decimals, because RFC 8785's
//! own floats would take 9007199254740992 and 9007199254740993 for one number.

use std::cmp::Ordering;

use sha2::{Digest, Sha256};
use tollbook_policy::Decimal;
use tollbook_policy::json::{Member, Node, Value, quote_into};

use crate::record::{Hash128, PolicyHash};

/// The canonical JSON text of a value.
#[must_use]
pub fn canonical(node: &Node<'_>) -> String {
    let mut text = String::with_capacity(node.span.len());
    write(&mut text, node);
    text
}

/// Appends the canonical JSON text of a value.
pub(crate) fn write(out: &mut String, node: &Node<'_>) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number.text),
        Value::String(text) => quote_into(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, element);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // Many clients write them in this order.
            if members.is_sorted_by(|a, b| by_key(a, b).is_le()) {
                return write_members(out, members.iter());
            }
            let mut sorted: Vec<&Member<'_>> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| by_key(a, b));
            write_members(out, sorted.into_iter());
        }
    }
}

/// RFC 8785's order: that of UTF-16 code units, which for ASCII is that of bytes.
fn by_key(a: &Member<'_>, b: &Member<'_>) -> Ordering {
    match a.key.is_ascii() && b.key.is_ascii() {
        true => a.key.cmp(&b.key),
        false => a.key.encode_utf16().cmp(b.key.encode_utf16()),
    }
}

fn write_members<'m>(out: &mut String, members: impl Iterator<Item = &'m Member<'m>>) {
    out.push('{');
    for (index, member) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote_into(out, &member.key);
        out.push(':');
        write(out, &member.node);
    }
    out.push('}');
}

fn write_number(out: &mut String, text: &str) {
    // A short whole number is its own canonical form.
    if text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return out.push_str(text);
    }
    match Decimal::parse(text) {
        Some(decimal) => out.push_str(&decimal.to_string()),
        // An exponent beyond every bound: its own text, so that it equals itself alone.
        None => out.push_str(text),
    }
}

/// The first 128 bits of the SHA-256 of these bytes.
#[must_use]
pub fn hash128(bytes: &[u8]) -> Hash128 {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    Hash128(first)
}

impl Hash128 {
    /// Its first 64 bits.
    pub(crate) fn first_64(self) -> u64 {
        self.0.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

/// The SHA-256 of a policy's canonical JSON text.
#[must_use]
pub fn policy_hash(json: &str) -> PolicyHash {
    PolicyHash(Sha256::digest(json.as_bytes()).into())
}

#[cfg(test)]
mod tests;
