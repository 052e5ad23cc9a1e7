//! Values of the document: each with its JSON Pointer, each refused where it stands.

use crate::check::Checked;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::json::{Node, Value};
use crate::rule_id::pointer_key;
use crate::version::VERSION_TOLLBOOK_1;

use super::Reader;

/// A value and how it is reached.
pub struct Place<'n> {
    /// The value.
    pub node: &'n Node<'n>,
    /// Its JSON Pointer (RFC 6901).
    pub pointer: String,
}

impl<'n> Place<'n> {
    /// The member `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<Place<'n>> {
        Some(Place { node: self.node.get(key)?, pointer: self.key(key) })
    }

    /// The pointer of the member `key`.
    pub fn key(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, pointer_key(key))
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        self.node.span.clone()
    }

    /// Its first character: where an object or array begins.
    pub fn opening(&self) -> Span {
        self.node.span.start..(self.node.span.start + 1).min(self.node.span.end)
    }
}

impl Reader {
    /// Tells an error, naming the pointer.
    pub fn tell(&mut self, pointer: &str, told: Diagnostic) {
        let at = if pointer.is_empty() { "the whole document".to_owned() } else { format!("`{pointer}`") };
        let message = format!("{} at {at}", told.message);
        self.told.push(told.message(message));
    }

    /// Tells what a check found.
    pub fn judge<T>(&mut self, pointer: &str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|told| self.tell(pointer, *told)).ok()
    }

    /// The value isn't of this type.
    pub fn wrong_type(&mut self, place: &Place<'_>, wanted: &str) {
        let found = match &place.node.value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let at = match &place.node.value {
            Value::Array(_) | Value::Object(_) => place.opening(),
            _ => place.span(),
        };
        let label = format!("this is {found}; expected {wanted}");
        self.tell(&place.pointer, Diagnostic::error(Code::WrongType, at, label));
    }

    /// The value is of the right type, and wrong.
    pub fn bad_value(&mut self, place: &Place<'_>, wanted: &str) {
        self.tell(&place.pointer, Diagnostic::error(Code::BadValue, place.span(), wanted));
    }

    /// The object has no such member.
    pub fn missing(&mut self, place: &Place<'_>, key: &str, wanted: &str) {
        let label = format!("no `{key}` here: {wanted}");
        self.tell(&place.pointer, Diagnostic::error(Code::MissingKey, place.opening(), label));
    }

    /// Under version "1", the value is one that only the superset has.
    pub fn needs_superset(&mut self, place: &Place<'_>, what: &str) {
        if !self.superset {
            self.tell(&place.pointer, superset(place.span(), what));
        }
    }

    /// Whether this is an object; its keys must be among those of "1" or those of the superset.
    pub fn object(&mut self, place: &Place<'_>, plain: &[&str], more: &[&str]) -> bool {
        let Some(members) = place.node.members() else {
            self.wrong_type(place, "an object");
            return false;
        };
        for member in members {
            let key = &*member.key;
            let pointer = place.key(key);
            if plain.contains(&key) || (self.superset && more.contains(&key)) {
                continue;
            }
            if more.contains(&key) {
                self.tell(&pointer, superset(member.key_span.clone(), "this key"));
                continue;
            }
            let known: Vec<&str> = if self.superset { [plain, more].concat() } else { plain.to_vec() };
            let label = format!("expected one of: {}", known.join(", "));
            let mut told = Diagnostic::error(Code::UnknownKey, member.key_span.clone(), label);
            let near =
                known.iter().filter(|_| key.len() <= 40).map(|name| (strsim::damerau_levenshtein(name, key), name));
            if let Some((_, name)) = near.filter(|(distance, _)| *distance <= 2).min() {
                told = told.help(format!("did you mean `{name}`?"));
            }
            self.tell(&pointer, told);
        }
        true
    }

    /// The elements of an array; none if it isn't there.
    pub fn elements<'n>(&mut self, place: Option<Place<'n>>) -> Vec<Place<'n>> {
        let Some(place) = place else { return Vec::new() };
        let Some(elements) = place.node.elements() else {
            self.wrong_type(&place, "an array");
            return Vec::new();
        };
        let at = |(index, node)| Place { node, pointer: format!("{}/{index}", place.pointer) };
        elements.iter().enumerate().map(at).collect()
    }

    /// The elements of an array that must be there.
    pub fn required_elements<'n>(&mut self, place: &Place<'n>, key: &str) -> Vec<Place<'n>> {
        self.elements(place.get(key))
    }

    /// The members of an object whose keys are names, with the places of the keys.
    pub fn entries<'n>(&mut self, place: Option<Place<'n>>) -> Vec<(&'n str, Span, Place<'n>)> {
        let Some(place) = place else { return Vec::new() };
        let Some(members) = place.node.members() else {
            self.wrong_type(&place, "an object");
            return Vec::new();
        };
        let entry = |member: &'n crate::json::Member<'n>| {
            let inner = Place { node: &member.node, pointer: place.key(&member.key) };
            (&*member.key, member.key_span.clone(), inner)
        };
        members.iter().map(entry).collect()
    }

    /// What `read` makes of the member `key`, if there is one.
    pub fn optional<T>(
        &mut self,
        place: &Place<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Place<'_>) -> Option<T>,
    ) -> Option<T> {
        let place = place.get(key)?;
        read(self, &place)
    }

    /// The member `key`, which must be there; `wanted` says what for.
    pub fn required<'n>(&mut self, place: &Place<'n>, key: &str, wanted: &str) -> Option<Place<'n>> {
        let found = place.get(key);
        if found.is_none() {
            self.missing(place, key, wanted);
        }
        found
    }

    /// A string.
    pub fn string(&mut self, place: &Place<'_>) -> Option<String> {
        let text = place.node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(place, "a string");
        }
        text
    }

    /// `true` or `false`.
    pub fn truth(&mut self, place: &Place<'_>) -> Option<bool> {
        match place.node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong_type(place, "true or false");
                None
            }
        }
    }

    /// A number; the inner None is one that isn't whole, or is beyond 64 bits.
    pub fn whole(&mut self, place: &Place<'_>) -> Option<Option<u64>> {
        match place.node.value {
            Value::Number(number) => Some(number.text.parse().ok()),
            _ => {
                self.wrong_type(place, "a whole number");
                None
            }
        }
    }

    /// One of a few strings.
    pub fn one_of<T: Copy>(&mut self, place: &Place<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(place)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.bad_value(place, &format!("expected one of: {}", names.join(", ")));
        }
        found
    }
}

fn superset(at: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code::NeedsSuperset, at, format!("{what} is part of the superset"))
        .help(format!("write `\"version\": \"{VERSION_TOLLBOOK_1}\"` to use it"))
}
