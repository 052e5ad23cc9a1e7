//! A server's tools, from a saved `tools/list`: their names, their arguments and what they say of
//! themselves.
//!
//! A catalog is written by the server, and so is evidence and no authority: it can show that a policy
//! names a tool or an argument that isn't there, and nothing is let through because of it. Of a
//! schema only what says surely which arguments there are and of which types is read; the rest
//! (references, conditions) makes an argument's type unknown.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{self, Node, Value};
use crate::policy::Selector;

mod check;
mod expand;

pub(crate) use check::place_of_name;

/// A server's tools, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// The tools.
    pub tools: BTreeMap<String, Tool>,
}

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What the server says that it does; empty where it says nothing.
    pub description: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// The server's word that it changes nothing.
    pub read_only: Option<bool>,
    /// The server's word that it may destroy something.
    pub destructive: Option<bool>,
}

/// The arguments of a tool, or the members of an object among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// By name; none are known where the schema doesn't list them.
    pub by_name: BTreeMap<String, Argument>,
    /// Whether there may be others.
    pub open: bool,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Argument {
    /// The types that it may have, as JSON Schema names them; none where that isn't known.
    pub types: BTreeSet<String>,
    /// Its members, where it is an object.
    pub members: Arguments,
}

impl Catalog {
    /// Reads a saved `tools/list`: its whole answer, its result, an object with `tools`, or the list.
    ///
    /// # Errors
    /// What isn't a list of tools, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        Self::of(&json::parse(text.as_bytes()).map_err(|error| error.to_string())?)
    }

    /// Reads a `tools/list` that is parsed already, in the same forms.
    ///
    /// # Errors
    /// What isn't a list of tools, in words.
    pub fn of(root: &Node<'_>) -> Result<Self, String> {
        let root = root.get("result").unwrap_or(root);
        let list = root.get("tools").unwrap_or(root);
        let elements = list.elements().ok_or("expected a list of tools, or an object with `tools`")?;
        let mut tools = BTreeMap::new();
        for (index, element) in elements.iter().enumerate() {
            let name = element.get("name").and_then(Node::as_str);
            let name = name.ok_or_else(|| format!("the tool at place {index} has no name"))?;
            tools.insert(name.to_owned(), tool(name, element));
        }
        Ok(Self { tools })
    }

    /// The tools that a selector chooses.
    pub fn chosen<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Tool> {
        self.tools.values().filter(move |tool| selector.chooses(&tool.name, tool.class().category.name()))
    }
}

/// Whether a glob, in which `*` stands for any characters, matches the whole name.
#[must_use]
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn tool(name: &str, node: &Node<'_>) -> Tool {
    let hint = |key: &str| match node.get("annotations")?.get(key)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    };
    Tool {
        name: name.to_owned(),
        description: node.get("description").and_then(Node::as_str).unwrap_or_default().to_owned(),
        arguments: node.get("inputSchema").map_or(Arguments { open: true, ..Arguments::default() }, arguments),
        read_only: hint("readOnlyHint"),
        destructive: hint("destructiveHint"),
    }
}

/// An object's members. Without a list of them, or with `additionalProperties`, there may be others.
fn arguments(schema: &Node<'_>) -> Arguments {
    let listed = schema.get("properties").and_then(Node::members);
    let composed = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties"].iter().any(|key| schema.get(key).is_some());
    let more = schema.get("additionalProperties").is_some_and(|more| more.value != Value::Bool(false));
    let closed = schema.get("additionalProperties").is_some() && !more;
    let by_name: BTreeMap<String, Argument> =
        listed.unwrap_or_default().iter().map(|member| (member.key.to_string(), argument(&member.node))).collect();
    Arguments { open: composed || more || (by_name.is_empty() && !closed && listed.is_none()), by_name }
}

fn argument(schema: &Node<'_>) -> Argument {
    let unknown = ["$ref", "allOf", "not", "if"].iter().any(|key| schema.get(key).is_some());
    let types = if unknown { None } else { types(schema) };
    Argument { types: types.unwrap_or_default(), members: arguments(schema) }
}

/// The types that a schema admits; None where it doesn't say.
fn types(schema: &Node<'_>) -> Option<BTreeSet<String>> {
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key) {
            let each: Option<Vec<_>> = choices.elements()?.iter().map(types).collect();
            return Some(each?.into_iter().flatten().collect());
        }
    }
    let named = schema.get("type")?;
    match named.as_str() {
        Some(one) => Some(BTreeSet::from([one.to_owned()])),
        None => named.elements()?.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
    }
}

#[cfg(test)]
mod tests;
