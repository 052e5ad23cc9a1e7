//! The id of a request: how it is written, and by what it is told from others.

use std::fmt;
use std::sync::Arc;

use tollbook_policy::Decimal;
use tollbook_policy::json::{self, Node, Value};

use super::{Refused, refused};

/// Longest id of a request, in bytes of its JSON text.
const ID_BYTES_MAX: usize = 4 << 10;

/// Most digits of an id that is kept as a number.
const DIGITS_MAX: usize = 15;

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    pub(crate) key: IdKey,
    /// Its JSON text, where that isn't how the key is written.
    text: Option<Arc<str>>,
}

/// The same for equal ids, however they are written. Most ids are short whole numbers, and take no memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum IdKey {
    Whole(u64),
    /// JSON text.
    Text(Arc<str>),
}

impl RequestId {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, Refused> {
        let bytes = node.span.len();
        if bytes > ID_BYTES_MAX {
            return refused("frame_not_jsonrpc", format!("an id of {bytes} bytes; at most {ID_BYTES_MAX} are taken"));
        }
        match &node.value {
            Value::String(text) => Ok(Self { key: IdKey::Text(json::quote(text).into()), text: None }),
            Value::Number(number) => Ok(Self::of_number(number.text)),
            _ => refused("frame_not_jsonrpc", "`id` is neither a string nor a number"),
        }
    }

    /// The id of this JSON text; none where it can't be one.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        match whole(text) {
            Some(whole) => Some(IdKey::Whole(whole).into()),
            None => Self::read(&json::parse(text.as_bytes()).ok()?).ok(),
        }
    }

    fn of_number(text: &str) -> Self {
        if let Some(whole) = whole(text) {
            return IdKey::Whole(whole).into();
        }
        let decimal = Decimal::parse(text).map_or_else(|| text.to_owned(), |decimal| decimal.to_string());
        let key = whole(&decimal).map_or_else(|| IdKey::Text(decimal.into()), IdKey::Whole);
        Self { key, text: Some(text.into()) }
    }

    /// Its JSON text, where that is kept: a short whole number is written anew.
    pub(crate) fn text(&self) -> Option<&str> {
        match (&self.text, &self.key) {
            (Some(text), _) | (None, IdKey::Text(text)) => Some(text),
            (None, IdKey::Whole(_)) => None,
        }
    }
}

/// The number that this is as JSON writes it, where it is short and whole.
fn whole(text: &str) -> Option<u64> {
    let digits = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

impl From<IdKey> for RequestId {
    /// One that is written as its key.
    fn from(key: IdKey) -> Self {
        Self { key, text: None }
    }
}

impl fmt::Display for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for RequestId {
    /// Its JSON text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => self.key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the text of an id, each as it is written.
    fn check(id: &str, key: &str) {
        let node = json::parse(id.as_bytes()).unwrap();
        let read = RequestId::read(&node).unwrap();
        assert_eq!((read.key.to_string(), read.to_string()), (key.to_owned(), id.to_owned()));
        assert_eq!(RequestId::of_text(id), Some(read));
    }

    #[test]
    fn equal_ids_have_one_key_and_keep_their_text() {
        check("7", "7");
        check("0", "0");
        check("7.0", "7");
        check("70e-1", "7");
        check("-0", "0");
        check("-7", "-7");
        check("0.5", "0.5");
        check("999999999999999", "999999999999999");
        check("1000000000000000", "1000000000000000");
        check("1000000000000000.0", "1000000000000000");
        check("123456789012345678901234567890", "1.2345678901234567890123456789e+29");
        check(r#""7""#, r#""7""#);
        check(r#""""#, r#""""#);
        for none in ["", "07", "-", "1 2", "null", "[1]"] {
            assert_eq!(RequestId::of_text(none), None, "{none}");
        }
        let read = |id: &str| RequestId::read(&json::parse(id.as_bytes()).unwrap()).unwrap();
        // However a number is written, it is found where another way to write it was kept.
        for (one, other) in [("7", "7.0"), ("1e15", "1000000000000000"), ("9e14", "900000000000000"), ("-0", "0")] {
            assert_eq!(read(one).key, read(other).key, "{one} and {other}");
        }
        assert_ne!(read("7").key, read(r#""7""#).key);
        assert_eq!(read(r#""\u0061""#).key, read(r#""a""#).key);
    }
}
