//! JSON as the documents write it: what holds only scalars stands on one line, everything else has
//! a line for each member.

use std::fmt::Display;

use crate::json::quote;

/// A JSON value to be printed.
pub enum Json {
    /// A number, a truth value or a quoted string, as it is printed.
    Scalar(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, in this order; its keys are quoted already.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object without members.
    pub fn object() -> Self {
        Self::Object(Vec::new())
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        Self::Scalar(quote(text))
    }

    /// A number or a truth value.
    pub fn scalar(value: impl Display) -> Self {
        Self::Scalar(value.to_string())
    }

    /// An array.
    pub fn list<T>(items: &[T], to_json: impl Fn(&T) -> Self) -> Self {
        Self::Array(items.iter().map(to_json).collect())
    }

    /// The object with one more member; anything else as it is.
    pub fn with(mut self, key: &str, value: Self) -> Self {
        if let Self::Object(members) = &mut self {
            members.push((quote(key), value));
        }
        self
    }

    /// The object with one more array, unless that would be empty.
    pub fn with_list<T>(self, key: &str, items: &[T], to_json: impl Fn(&T) -> Self) -> Self {
        if items.is_empty() { self } else { self.with(key, Self::list(items, to_json)) }
    }

    /// The text, with a line feed at its end. The outermost object always has a line for each member.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, 0);
        out.push('\n');
        out
    }

    fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    fn print(&self, out: &mut String, depth: usize) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Array(items) if items.iter().all(Self::is_scalar) => {
                let line: Vec<&str> = items.iter().map(Self::text).collect();
                out.push_str(&format!("[{}]", line.join(", ")));
            }
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Object(members) if depth > 0 && members.iter().all(|(_, value)| value.is_scalar()) => {
                let line: Vec<String> = members.iter().map(|(key, value)| format!("{key}: {}", value.text())).collect();
                out.push_str(&format!("{{ {} }}", line.join(", ")));
            }
            Self::Array(items) => {
                lines(out, depth, ('[', ']'), items, |out, item| item.print(out, depth + 1));
            }
            Self::Object(members) => lines(out, depth, ('{', '}'), members, |out, (key, value)| {
                out.push_str(key);
                out.push_str(": ");
                value.print(out, depth + 1);
            }),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Scalar(text) => text,
            _ => "",
        }
    }
}

fn lines<T>(out: &mut String, depth: usize, brackets: (char, char), items: &[T], one: impl Fn(&mut String, &T)) {
    out.push(brackets.0);
    for (index, item) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        one(out, item);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(brackets.1);
}
