//! Arguments that are kept out of the log, whatever else is recorded: `args.api_key, args.*.password`.
//!
//! A value that is redacted is one that the log didn't keep. Where a policy reads it, a replay says *unknown*
//! and doesn't guess; so arguments in full that lose a value become the paths that are left, each with its
//! value, as if the policy had read those. The names of the top-level keys stay, and so does the hash of all
//! arguments, which tells equal calls from others: whoever can guess all the arguments of a call can check the
//! guess by it. What a limit counts by stands in the limit's facts: a secret is no scope.
//!
//! `*` stands for every key of an object, and for every element of a list.

use std::borrow::Cow;

use tollbook_engine::{ArgsRef, KEPT_BYTES_MAX, Kept, canonical};
use tollbook_policy::json::{self, Node, Value};
use tollbook_policy::policy::Path;

/// Paths whose values aren't recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    paths: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Any,
}

/// Why a text names no paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` isn't a path of arguments, as in `args.api_key`, `args.*.password` or `args[\"a key\"]`")]
pub struct RedactionError(String);

impl Redaction {
    /// Reads paths with commas between them. An empty text redacts nothing.
    ///
    /// # Errors
    /// The first part that isn't a path.
    pub fn parse(text: &str) -> Result<Self, RedactionError> {
        let mut paths = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (path, behind) = steps(rest).ok_or_else(|| RedactionError(rest.to_owned()))?;
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if behind.is_empty() => behind,
                None => return Err(RedactionError(rest.to_owned())),
            };
            paths.push(path);
        }
        Ok(Self { paths })
    }

    /// Takes the values out of what is to be recorded. Arguments that can't be read are not recorded at all.
    #[must_use]
    pub fn apply<'a>(&self, args: ArgsRef<'a>) -> ArgsRef<'a> {
        let Some(text) = args.json.as_deref().filter(|_| !self.paths.is_empty()) else { return args };
        let left = match (args.kept, json::parse(text.as_bytes())) {
            (Kept::Full, Ok(node)) => {
                let paths: Vec<&[Step]> = self.paths.iter().map(Vec::as_slice).collect();
                if !paths.iter().any(|path| hits(path, &node)) {
                    return args;
                }
                let mut left = Vec::new();
                values(&node, &mut Vec::new(), &paths, &mut left);
                Some(left)
            }
            (Kept::Read, Ok(node)) => node.members().map(|members| {
                let kept = members.iter().filter(|member| !self.takes(&member.key, &member.node));
                kept.map(|member| (member.key.to_string(), canonical(&member.node))).collect()
            }),
            _ => None,
        };
        let json = left.map(|left| object(&left)).filter(|json| json.len() <= KEPT_BYTES_MAX).map(Cow::Owned);
        let kept = if json.is_some() { Kept::Read } else { Kept::None };
        ArgsRef { kept, json, ..args }
    }

    /// Whether the value at a path, or a part of it, is to be taken out.
    fn takes(&self, path: &str, value: &Node<'_>) -> bool {
        // What isn't a path of ours isn't kept.
        let Some((at, "")) = steps(path) else { return true };
        self.paths.iter().any(|redacted| {
            let together = redacted.iter().zip(&at);
            let agree = together.clone().all(|(step, key)| *step == Step::Any || step == key);
            agree && redacted.get(at.len()..).is_none_or(|rest| hits(rest, value))
        })
    }
}

/// The steps of the path with which a text begins, and what follows it.
fn steps(text: &str) -> Option<(Vec<Step>, &str)> {
    let mut rest = text.strip_prefix("args")?;
    let mut steps = Vec::new();
    loop {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(|c: char| matches!(c, '.' | '[' | ',') || c.is_whitespace()).unwrap_or(name.len());
            let (key, behind) = name.split_at_checked(end)?;
            if key.is_empty() || key.contains(['"', '*']) && key != "*" {
                return None;
            }
            steps.push(if key == "*" { Step::Any } else { Step::Key(key.to_owned()) });
            rest = behind;
        } else if let Some(quoted) = rest.strip_prefix('[') {
            let mut texts = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            steps.push(Step::Key(texts.next()?.ok()?));
            rest = quoted.get(texts.byte_offset()..)?.strip_prefix(']')?;
        } else {
            return Some((steps, rest)).filter(|(steps, _)| !steps.is_empty());
        }
    }
}

fn is(step: &Step, key: &str) -> bool {
    match step {
        Step::Any => true,
        Step::Key(name) => name == key,
    }
}

/// Whether there is anything at a path below a value.
fn hits(path: &[Step], node: &Node<'_>) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    match &node.value {
        Value::Object(members) => members.iter().any(|member| is(step, &member.key) && hits(rest, &member.node)),
        Value::Array(elements) => *step == Step::Any && elements.iter().any(|element| hits(rest, element)),
        _ => false,
    }
}

/// The values below an object that are no objects themselves, each with its path, but for those that are taken
/// out. A list that loses an element is taken out as a whole.
fn values(node: &Node<'_>, at: &mut Vec<String>, redacted: &[&[Step]], left: &mut Vec<(String, String)>) {
    for member in node.members().unwrap_or_default() {
        let below: Vec<&[Step]> = redacted
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(step, _)| is(step, &member.key))
            .map(|(_, rest)| rest)
            .collect();
        if below.iter().any(|rest| rest.is_empty()) {
            continue;
        }
        at.push(member.key.to_string());
        match &member.node.value {
            Value::Object(members) if !members.is_empty() => values(&member.node, at, &below, left),
            _ if below.iter().any(|rest| hits(rest, &member.node)) => {}
            _ => left.push((Path { keys: at.clone() }.to_string(), canonical(&member.node))),
        }
        at.pop();
    }
}

fn object(members: &[(String, String)]) -> String {
    let mut json = String::from("{");
    for (path, value) in members {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&json::quote(path));
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests;
