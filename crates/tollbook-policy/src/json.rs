//! Strict JSON, read once and kept with its places in the text.
//!
//! What was judged must be byte for byte what the server will see, so this reader refuses whatever
//! two readers could take differently: a key that stands twice in an object at any depth, trailing
//! data, NaN and infinities, text that isn't UTF-8, a lone surrogate, and nesting beyond a bound.
//! Numbers keep their text, because `9007199254740993` is lost in a float.
//!
//! No library's reader was found that is as strict and tells where each key stands, and to bend a lenient one to that
//! took a third of the time that the gateway's desk takes for a call. `serde_json` is the second opinion in the tests.

mod reader;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::same::same;
use reader::{Begins, Read, Reader, plain};

/// Deepest nesting of arrays and objects that is read.
pub const DEPTH_MAX: usize = 128;

/// A value and the bytes of the text where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'a> {
    /// Byte range in the text that was read.
    pub span: Range<usize>,
    /// The value.
    pub value: Value<'a>,
}

/// A JSON value. Numbers are as they were written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number<'a>),
    /// A string, its escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object, in the order of the text; no two keys are equal.
    Object(Vec<Member<'a>>),
}

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<'a> {
    /// Its own text; see [`crate::Decimal::parse`].
    pub text: &'a str,
    /// Millionths of a whole number of at most twelve digits, without a sign; -1 for any other.
    short_micros: i64,
}

impl Number<'_> {
    /// Millionths of a whole number of at most twelve digits, without a sign. Most arguments that a policy
    /// compares are such, and are compared without reading them as decimals.
    #[must_use]
    pub fn short_micros(&self) -> Option<i64> {
        (self.short_micros >= 0).then_some(self.short_micros)
    }
}

/// A key of an object with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'a> {
    /// The key, its escapes resolved.
    pub key: Cow<'a, str>,
    /// Byte range of the key, quotes included.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    /// What a value is read into.
    const NULL: Self = Self { span: 0..0, value: Value::Null };

    /// The member `key`, if this is an object that has one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.members()?.iter().find(|member| same(member.key.as_bytes(), key.as_bytes())).map(|member| &member.node)
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn members(&self) -> Option<&[Member<'a>]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn elements(&self) -> Option<&[Node<'a>]> {
        match &self.value {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Member<'_> {
    const NULL: Self = Self { key: Cow::Borrowed(""), key_span: 0..0, node: Node::NULL };
}

/// Why a text isn't one clean JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON at all.
    Syntax,
    /// The text ends in the middle of a value.
    Truncated,
    /// A key stands twice in one object.
    DuplicateKey,
    /// More than [`DEPTH_MAX`] arrays and objects inside each other.
    TooDeep,
    /// The bytes aren't UTF-8.
    InvalidUtf8,
    /// Something follows the value.
    TrailingData,
    /// `NaN` or an infinity.
    NotFinite,
    /// An escape that names half of a surrogate pair.
    LoneSurrogate,
}

/// A fault and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub fault: Fault,
    /// Byte offset in the text.
    pub at: usize,
    /// The duplicate key, or what the reader said of the syntax.
    pub detail: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { fault, at, detail } = self;
        match fault {
            Fault::Syntax => write!(f, "not JSON at byte {at}: {detail}"),
            Fault::Truncated => write!(f, "the JSON text ends at byte {at}, inside a value"),
            Fault::DuplicateKey => write!(f, "the key `{detail}` stands twice in one object, again at byte {at}"),
            Fault::TooDeep => write!(f, "nested deeper than {DEPTH_MAX} levels at byte {at}"),
            Fault::InvalidUtf8 => write!(f, "not UTF-8 at byte {at}"),
            Fault::TrailingData => write!(f, "data after the JSON value, at byte {at}"),
            Fault::NotFinite => write!(f, "NaN or an infinity at byte {at}, which JSON doesn't have"),
            Fault::LoneSurrogate => write!(f, "half of a surrogate pair at byte {at}"),
        }
    }
}

impl std::error::Error for Error {}

/// Reads one JSON value that fills `bytes`, white space around it aside.
///
/// # Errors
/// The first [`Fault`] in the text.
pub fn parse(bytes: &[u8]) -> Result<Node<'_>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error {
        fault: Fault::InvalidUtf8,
        at: error.valid_up_to(),
        detail: String::new(),
    })?;
    let mut node = Node::NULL;
    Reader::new(text).whole(|reader| node.read(reader, 0)).map_err(|error| *error)?;
    Ok(node)
}

/// The members of an object and of one object in it, as far as they can be told without keeping the values.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Each key with the text of its value.
    pub members: Vec<(&'a str, &'a str)>,
    /// The same of the member that was to be looked into, where that is an object.
    pub within: Option<Vec<(&'a str, &'a str)>>,
}

/// Tells what an object has, and what the object has that is its member `within`. All other values are passed over, and
/// two equal keys in one of them aren't found. None where all of it has to be read, as where a key has escapes, or stands
/// twice, or the text isn't one clean object.
#[must_use]
pub fn outline<'a>(bytes: &'a [u8], within: &str) -> Option<Outline<'a>> {
    let (mut members, mut inner) = (Vec::with_capacity(4), None);
    let read = |reader: &mut Reader<'a>| {
        members_of(reader, &mut members, |reader, key| {
            if key != within || reader.begins(1)? != Begins::Object {
                return reader.pass(1);
            }
            let mut members = Vec::with_capacity(4);
            members_of(reader, &mut members, |reader, _| reader.pass(2))?;
            inner = Some(members);
            Ok(())
        })
    };
    Reader::new(std::str::from_utf8(bytes).ok()?).whole(read).ok()?;
    Some(Outline { members, within: inner })
}

/// Tells what an object has; `pass` passes over a value.
fn members_of<'a>(
    reader: &mut Reader<'a>,
    members: &mut Vec<(&'a str, &'a str)>,
    mut pass: impl FnMut(&mut Reader<'a>, &'a str) -> Read<()>,
) -> Read<()> {
    let unclear = |at| Box::new(Error { fault: Fault::Syntax, at, detail: String::new() });
    if reader.begins(0)? != Begins::Object {
        return Err(unclear(reader.at()));
    }
    reader.object(|reader, key, place| {
        let Cow::Borrowed(key) = key else { return Err(unclear(place.start)) };
        if members.len() == KEY_SET_FROM || members.iter().any(|(other, _)| same(other.as_bytes(), key.as_bytes())) {
            return Err(unclear(place.start));
        }
        let start = reader.at();
        pass(reader, key)?;
        members.push((key, reader.slice(start..reader.at())));
        Ok(())
    })
}

/// The string as JSON writes it, quotes included, with the escapes of RFC 8785.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quote_into(&mut quoted, text);
    quoted
}

/// Appends the string as JSON writes it, quotes included, with the escapes of RFC 8785.
pub fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, from) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(plain);
        let mut characters = from.chars();
        let Some(character) = characters.next() else { break };
        rest = characters.as_str();
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                out.push_str("\\u00");
                for nibble in [u32::from(control) >> 4, u32::from(control) & 15] {
                    out.extend(char::from_digit(nibble, 16));
                }
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// From this many members on, keys are looked up in a set instead of one by one.
const KEY_SET_FROM: usize = 16;

impl<'a> Node<'a> {
    /// Reads the value that begins there, to where it stays: to move one costs as much as to read it.
    fn read(&mut self, reader: &mut Reader<'a>, depth: usize) -> Read<()> {
        let start = reader.at();
        match reader.begins(depth)? {
            Begins::Null => reader.word("null")?,
            Begins::True => {
                reader.word("true")?;
                self.value = Value::Bool(true);
            }
            Begins::False => {
                reader.word("false")?;
                self.value = Value::Bool(false);
            }
            Begins::Number => self.value = Value::Number(reader.number()?),
            Begins::String => self.value = Value::String(reader.string()?),
            Begins::Array => {
                let mut elements = Vec::new();
                reader.array(|reader| elements.push_mut(Node::NULL).read(reader, depth + 1))?;
                self.value = Value::Array(elements);
            }
            Begins::Object => self.value = Value::Object(Member::read_all(reader, depth)?),
        }
        self.span = start..reader.at();
        Ok(())
    }
}

impl<'a> Member<'a> {
    fn read_all(reader: &mut Reader<'a>, depth: usize) -> Read<Vec<Self>> {
        let mut members: Vec<Self> = Vec::new();
        let mut keys: Option<HashSet<Cow<'a, str>>> = None;
        reader.object(|reader, key, key_span| {
            let twice = if members.len() < KEY_SET_FROM {
                members.iter().any(|member| same(member.key.as_bytes(), key.as_bytes()))
            } else {
                let keys = keys.get_or_insert_with(|| members.iter().map(|member| member.key.clone()).collect());
                !keys.insert(key.clone())
            };
            if twice {
                let (at, detail) = (key_span.start, key.into_owned());
                return Err(Box::new(Error { fault: Fault::DuplicateKey, at, detail }));
            }
            let member = members.push_mut(Self::NULL);
            (member.key, member.key_span) = (key, key_span);
            member.node.read(reader, depth + 1)
        })?;
        Ok(members)
    }
}

#[cfg(test)]
mod tests;
