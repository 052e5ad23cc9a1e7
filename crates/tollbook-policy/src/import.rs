//! Policies of other programs, read into this one's.
//!
//! Two programs rarely mean quite the same by the same words, so an import gives notes beside the
//! policy: what changed in meaning, and what the old form let through that nobody may have meant.
//! What can't be carried over is refused with its place; nothing is dropped in silence but names.

use crate::Decimal;
use crate::check;
use crate::json::{self, Node, Value};
use crate::lexer::decode;
use crate::policy::{Condition, Limit, Literal, Op, Path, Policy, Scope, Window};
use crate::rule_id::pointer_key;

mod intercept;
mod older;

/// Largest document that is imported, in bytes.
pub const IMPORT_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting that is imported.
const DEPTH_MAX: usize = 64;

/// A foreign form of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Intercept's YAML.
    Intercept,
    /// The older JSON forms: `action` and `reason`, `rate_limit`.
    Older,
}

/// A policy that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The policy.
    pub policy: Policy,
    /// What changed in meaning, and the holes of the old form, in the order in which they were met.
    pub notes: Vec<String>,
}

/// Reads a policy of another form.
///
/// # Errors
/// What can't be carried over, with its JSON Pointer.
pub fn import(text: &str, form: Form) -> Result<Imported, String> {
    if text.len() > IMPORT_BYTES_MAX {
        return Err(format!("the document has {} bytes, and at most {IMPORT_BYTES_MAX} are read", text.len()));
    }
    let root = match form {
        Form::Intercept => from_yaml(text)?,
        Form::Older => json::parse(text.as_bytes()).map(|node| from_json(&node)).map_err(|error| error.to_string())?,
    };
    let mut notes = Notes::default();
    let root = Place { tree: &root, pointer: String::new() };
    let policy = match form {
        Form::Intercept => intercept::policy(&root, &mut notes)?,
        Form::Older => older::policy(&root, &mut notes)?,
    };
    // What the import made is judged as any document is.
    let json = policy.to_json();
    match crate::document::read(&json, crate::Target::Native) {
        (policy, _, told) if told.iter().all(|one| one.severity == crate::Severity::Warning) => {
            Ok(Imported { policy, notes: notes.all })
        }
        (_, _, told) => Err(told.first().map_or_else(String::new, |one| {
            let label = one.labels.first().map_or("", |label| label.text.as_str());
            format!("{}: {label}", one.message)
        })),
    }
}

#[derive(Default)]
struct Notes {
    all: Vec<String>,
}

impl Notes {
    /// Adds a note, once.
    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.all.contains(&text) {
            self.all.push(text);
        }
    }
}

/// A document of either syntax.
enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

fn from_json(node: &Node<'_>) -> Tree {
    match &node.value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(number) => Tree::Number(number.text.to_owned()),
        Value::String(text) => Tree::Text(text.clone().into_owned()),
        Value::Array(elements) => Tree::List(elements.iter().map(from_json).collect()),
        Value::Object(members) => {
            Tree::Map(members.iter().map(|member| (member.key.clone().into_owned(), from_json(&member.node))).collect())
        }
    }
}

fn from_yaml(text: &str) -> Result<Tree, String> {
    if is_too_deep(text) {
        return Err(format!("the document nests deeper than {DEPTH_MAX} levels"));
    }
    let documents = <saphyr::Yaml<'_> as saphyr::LoadableYamlNode<'_>>::load_from_str(text)
        .map_err(|error| format!("the text isn't YAML: {error}"))?;
    match documents.as_slice() {
        [only] => tree(only, 0),
        several => Err(format!("expected one document, found {}", several.len())),
    }
}

/// Whether brackets, or dashes at the head of a line, nest too deep for the reader.
fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    text.lines().any(|line| {
        let head = line.chars().take_while(|c| " \t-?:".contains(*c)).filter(|c| !" \t".contains(*c)).count();
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let indent = line.bytes().take_while(|byte| *byte == b' ').count();
        head > DEPTH_MAX || depth > DEPTH_MAX || indent > DEPTH_MAX * 8
    })
}

fn tree(yaml: &saphyr::Yaml<'_>, depth: usize) -> Result<Tree, String> {
    use saphyr::{Scalar, Yaml};
    if depth > DEPTH_MAX {
        return Err(format!("the document nests deeper than {DEPTH_MAX} levels"));
    }
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Tree::Null,
        Yaml::Value(Scalar::Boolean(value)) => Tree::Bool(*value),
        Yaml::Value(Scalar::Integer(value)) => Tree::Number(value.to_string()),
        Yaml::Value(Scalar::FloatingPoint(value)) if value.is_finite() && value.abs() < 9e15 => {
            Tree::Number(value.to_string())
        }
        Yaml::Value(Scalar::FloatingPoint(value)) => return Err(format!("the number {value} cannot be read exactly")),
        Yaml::Value(Scalar::String(text)) => Tree::Text(text.clone().into_owned()),
        Yaml::Sequence(elements) => {
            Tree::List(elements.iter().map(|one| tree(one, depth + 1)).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(members) => {
            let member = |(key, value): (&Yaml<'_>, &Yaml<'_>)| match tree(key, depth + 1)? {
                Tree::Text(key) | Tree::Number(key) => Ok((key, tree(value, depth + 1)?)),
                _ => Err("a key isn't a string".to_owned()),
            };
            Tree::Map(members.iter().map(member).collect::<Result<_, _>>()?)
        }
        _ => return Err("tags and aliases cannot be carried over".to_owned()),
    })
}

/// A part of the document and its JSON Pointer.
struct Place<'t> {
    tree: &'t Tree,
    pointer: String,
}

impl<'t> Place<'t> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        let at = if self.pointer.is_empty() { "the whole document" } else { &self.pointer };
        Err(format!("{what} at `{at}`"))
    }

    fn members(&self) -> Result<Vec<(&'t str, Place<'t>)>, String> {
        let Tree::Map(members) = self.tree else { return self.wrong("expected an object") };
        let member = |(key, tree): &'t (String, Tree)| {
            (key.as_str(), Place { tree, pointer: format!("{}/{}", self.pointer, pointer_key(key)) })
        };
        Ok(members.iter().map(member).collect())
    }

    fn elements(&self) -> Result<Vec<Place<'t>>, String> {
        match self.tree {
            Tree::Null => Ok(Vec::new()),
            Tree::List(elements) => {
                let place = |(index, tree)| Place { tree, pointer: format!("{}/{index}", self.pointer) };
                Ok(elements.iter().enumerate().map(place).collect())
            }
            _ => self.wrong("expected a list"),
        }
    }

    /// The member of this key; null is none.
    fn get(&self, key: &str) -> Option<Place<'t>> {
        let found = self.members().ok()?.into_iter().find(|(name, _)| *name == key)?.1;
        (!matches!(found.tree, Tree::Null)).then_some(found)
    }

    /// That there are no keys but these.
    fn only(&self, keys: &[&str]) -> Result<(), String> {
        match self.members()?.iter().find(|(key, _)| !keys.contains(key)) {
            Some((key, place)) => place.wrong(&format!("unknown key `{key}`; expected one of: {};", keys.join(", "))),
            None => Ok(()),
        }
    }

    fn text(&self) -> Result<&'t str, String> {
        match self.tree {
            Tree::Text(text) => Ok(text),
            _ => self.wrong("expected a string"),
        }
    }

    fn whole(&self) -> Result<u64, String> {
        match self.tree {
            Tree::Number(text) if text.parse::<u64>().is_ok() => Ok(text.parse().unwrap_or(0)),
            _ => self.wrong("expected a whole number"),
        }
    }

    fn literal(&self) -> Result<Literal, String> {
        Ok(match self.tree {
            Tree::Bool(value) => Literal::Bool(*value),
            Tree::Number(text) => match Decimal::parse(text) {
                Some(number) => Literal::Number(number),
                None => return self.wrong("expected a number as in JSON"),
            },
            Tree::Text(text) => Literal::String(text.clone()),
            Tree::List(_) => Literal::List(self.elements()?.iter().map(Place::literal).collect::<Result<_, _>>()?),
            Tree::Null | Tree::Map(_) => return self.wrong("expected a string, a number, true, false or a list"),
        })
    }
}

/// `args.a.b`.
fn path(place: &Place<'_>) -> Result<Path, String> {
    let text = place.text()?;
    match text.split('.').collect::<Vec<_>>().as_slice() {
        ["args", keys @ ..] if !keys.is_empty() && keys.iter().all(|key| !key.is_empty()) => {
            Ok(Path { keys: keys.iter().map(|key| (*key).to_owned()).collect() })
        }
        _ => place.wrong(&format!("expected a path such as args.amount, found {text}")),
    }
}

fn condition(place: &Place<'_>) -> Result<Condition, String> {
    place.only(&["path", "op", "value"])?;
    let (Some(path_place), Some(op)) = (place.get("path"), place.get("op")) else {
        return place.wrong("expected a path and an operator");
    };
    let known = operator(&op)?;
    let value = match place.get("value") {
        Some(value) => value.literal()?,
        None if known == Op::Exists => Literal::Bool(true),
        None => return place.wrong("expected a value"),
    };
    check::value(known, &value, &(0..0)).or_else(|told| {
        let label = told.labels.first().map_or("", |label| label.text.as_str());
        place.wrong(&format!("{}: {label}", told.message))
    })?;
    Ok(Condition { path: path(&path_place)?, op: known, value })
}

fn operator(place: &Place<'_>) -> Result<Op, String> {
    let ops =
        [Op::Eq, Op::Neq, Op::Lt, Op::Lte, Op::Gt, Op::Gte, Op::In, Op::NotIn, Op::Exists, Op::Regex, Op::Contains];
    let text = place.text()?;
    match ops.into_iter().find(|op| op.to_string() == text) {
        Some(op) => Ok(op),
        None => place.wrong(&format!("unknown operator `{text}`")),
    }
}

fn conditions(place: Option<Place<'_>>) -> Result<Vec<Condition>, String> {
    place.map_or(Ok(Vec::new()), |place| place.elements()?.iter().map(condition).collect())
}

/// A limit that counts calls for each grant, without a name yet.
fn calls_per(window: Window, max: u64) -> Limit {
    Limit {
        counter: String::new(),
        count: None,
        window,
        rolling: false,
        max,
        of: None,
        scope: Scope::Grant,
        on_deny: None,
        shadow: false,
    }
}

/// Names a limit's counter after its owner, as the language does; a name that is taken gets a number.
fn named(mut limit: Limit, owner: &str, taken: &[Limit]) -> Limit {
    let suffix = crate::lower::suffix(limit.of.is_some(), limit.rolling, limit.window, limit.scope);
    let base = if limit.counter.is_empty() { format!("{owner}_{suffix}") } else { limit.counter };
    let is_taken = |name: &String| taken.iter().any(|other| other.counter == *name);
    let numbered = std::iter::once(base.clone()).chain((2_u32..).map(|n| format!("{base}_{n}")));
    limit.counter = numbered.into_iter().find(|name| !is_taken(name)).unwrap_or(base);
    limit
}

/// A window of so many seconds: plain where it divides a day, otherwise rolling.
fn window_of(seconds: u64) -> Option<(Window, bool)> {
    let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    let window = Window::Span(decode::duration(&format!("{seconds}s")).ok()?);
    Some((window, 86_400 % seconds != 0))
}

/// The tools that are hidden.
fn hidden(root: &Place<'_>) -> Result<Vec<crate::policy::Selector>, String> {
    use crate::policy::Selector;
    let elements = root.get("hide").map_or(Ok(Vec::new()), |hide| hide.elements())?;
    let selector = |place: &Place<'_>| {
        let name = place.text()?.to_owned();
        Ok(if name.contains('*') { Selector::Glob(name) } else { Selector::Name(name) })
    };
    elements.iter().map(selector).collect()
}

#[cfg(test)]
mod tests;
