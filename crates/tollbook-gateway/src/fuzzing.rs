//! What must hold of any bytes whatever: for the tests here, and for the fuzzing targets in `fuzz/`.
//!
//! A frame that passes is one and the same call to whoever reads it behind the gateway. Two other readers stand for
//! all: one that takes the last of equal keys, as JavaScript and Python do, and one that minds neither letter case nor
//! repeated keys, as Go does.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value as Json, json};
use tollbook_engine::ArgPath;
use tollbook_policy::json::{Node, Value};
use tollbook_policy::policy::Path;

use crate::frame::{Asked, exact_arguments, glance, read, said};
use crate::lines::{Line, Lines};

/// What a frame is to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It goes no further.
    Refused,
    /// It is a call, which the policy judges.
    Call,
    /// It passes as something else.
    Other,
}

/// Reads a frame here and as others do. What it is here, or how they differ, which is an error in the gateway.
///
/// # Errors
/// Where another reader would take it for another call, or for one that isn't judged.
pub fn judged_alike(frame: &[u8]) -> Result<Judged, String> {
    let Ok(node) = read(frame) else { return Ok(Judged::Refused) };
    drop(glance(Some(&node)));
    let Ok(said) = said(&node) else { return Ok(Judged::Refused) };
    // They refuse some frames that pass here, as with 1e400 or many brackets.
    let exact = serde_json::from_slice(frame).map_or_else(|_| ours(&node), |exact: Json| tagged(&exact));
    same("the whole frame", &exact, &ours(&node))?;
    let Ok(loose) = serde_json::from_slice::<Loose>(frame) else {
        return Ok(if let Asked::Call(_) = said.asked { Judged::Call } else { Judged::Other });
    };
    let method = loose.get("method").and_then(Loose::text);
    let Asked::Call(call) = &said.asked else {
        return if method == Some("tools/call") {
            Err("a call that isn't judged".to_owned())
        } else {
            Ok(Judged::Other)
        };
    };
    let reads = ["amount", "to"].map(|key| ArgPath::from(Path { keys: vec![key.to_owned()] }));
    if exact_arguments(call.args, &reads).is_err() {
        return Ok(Judged::Refused);
    }
    same("the method", &method, &Some("tools/call"))?;
    let params = loose.get("params");
    same("the tool", &params.and_then(|params| params.get("name")).and_then(Loose::text), &Some(call.tool))?;
    for key in ["amount", "to"] {
        let theirs = params.and_then(|params| params.get("arguments")?.get(key)).map(Loose::told);
        let ours = call.args.and_then(|args| args.get(key)).map(ours);
        same(key, &theirs.unwrap_or(Json::Null), &ours.unwrap_or(Json::Null))?;
    }
    Ok(Judged::Call)
}

/// Reads lines of at most `bytes_max` bytes that come in pieces of seven, of which all must come back, in order. How
/// many there were.
///
/// # Errors
/// Where a byte is lost, or a line is longer than may be.
pub fn lines_hold(input: &[u8], bytes_max: usize) -> Result<usize, String> {
    let mut said = Lines::new(bytes_max);
    let (mut rest, mut lines) = (input, 0);
    let mut pieces = input.chunks(7);
    loop {
        let piece = pieces.next();
        match piece {
            Some(piece) => said.push(piece),
            None => said.end(),
        }
        for line in said.whole() {
            let bytes = match line {
                Line::Frame(frame) if frame.strip_suffix(b"\n").unwrap_or(frame).len() > bytes_max => {
                    return Err("a line that is too long".to_owned());
                }
                Line::Frame(frame) if !rest.starts_with(frame) => return Err("other bytes than came".to_owned()),
                Line::Frame(frame) => frame.len(),
                Line::TooLong { bytes } if bytes <= bytes_max => return Err("a line that isn't too long".to_owned()),
                Line::TooLong { bytes } => bytes,
            };
            let (line, behind) = rest.split_at_checked(bytes).ok_or("more bytes than came")?;
            if !behind.is_empty() && !line.ends_with(b"\n") {
                return Err("a line that ends elsewhere".to_owned());
            }
            (rest, lines) = (behind, lines + 1);
        }
        said.take();
        if piece.is_none() {
            return if rest.is_empty() { Ok(lines) } else { Err("it ends too early".to_owned()) };
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, theirs: &T, ours: &T) -> Result<(), String> {
    if theirs == ours { Ok(()) } else { Err(format!("{what} is {theirs:?} to another reader, and here {ours:?}")) }
}

/// A number as a double, whose sign is no matter where it is zero.
pub(crate) fn number(text: &str) -> Json {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    json!({ "n": if number == 0.0 { "0".to_owned() } else { number.to_string() } })
}

fn object(mut told: Vec<(String, Json)>) -> Json {
    told.sort_by(|one, other| one.0.cmp(&other.0));
    json!({ "o": told })
}

/// What is judged here.
pub(crate) fn ours(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(bool) => json!(bool),
        Value::Number(shown) => number(shown.text),
        Value::String(text) => json!({ "s": text }),
        Value::Array(items) => items.iter().map(ours).collect(),
        Value::Object(members) => {
            object(members.iter().map(|member| (member.key.to_string(), ours(&member.node))).collect())
        }
    }
}

/// What a reader makes of it that takes the last of equal keys.
fn tagged(exact: &Json) -> Json {
    match exact {
        Json::Null | Json::Bool(_) => exact.clone(),
        Json::Number(shown) => number(&shown.to_string()),
        Json::String(text) => json!({ "s": text }),
        Json::Array(items) => items.iter().map(tagged).collect(),
        Json::Object(members) => object(members.iter().map(|(key, value)| (key.clone(), tagged(value))).collect()),
    }
}

/// JSON with every member, in order, for a reader that takes the last whose key is alike.
enum Loose {
    Plain(Json),
    Array(Vec<Loose>),
    Object(Vec<(String, Loose)>),
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Plain(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose::Plain(json!(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose::Plain(number(&value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose::Plain(number(&value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
        Ok(Loose::Plain(number(&value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose::Plain(json!({ "s": value })))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Loose::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Loose, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Loose::Object(all))
    }
}

impl Loose {
    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let fold = |text: &str| text.to_uppercase().to_lowercase();
        members.iter().rev().find(|(held, _)| fold(held) == fold(key)).map(|(_, value)| value)
    }

    fn text(&self) -> Option<&str> {
        if let Self::Plain(plain) = self { plain.get("s")?.as_str() } else { None }
    }

    fn told(&self) -> Json {
        match self {
            Self::Plain(plain) => plain.clone(),
            Self::Array(items) => items.iter().map(Self::told).collect(),
            Self::Object(members) => object(members.iter().map(|(key, value)| (key.clone(), value.told())).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
