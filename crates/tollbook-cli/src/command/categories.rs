//! What calls do: by the user's own file, and otherwise by the tool's name.
//!
//! ```toml
//! [[category]]
//! tool = "Bash"                              # a glob
//! path = "command"                           # an argument, with
//! matches = '^(ls|cat|git (log|status)) '    # what it must match
//! is = "read"
//! ```
//!
//! The first entry that fits decides. One that looks at an argument that the log didn't keep fits nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, bail};
use regex::Regex;
use tollbook_policy::{Category, Tool};
use tollbook_query::Categories;

/// Names of tools whose category is remembered. A log with more is judged name by name.
const NAMES_MAX: usize = 10_000;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    category: Vec<Entry>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    tool: String,
    path: Option<String>,
    matches: Option<String>,
    is: String,
}

#[derive(Debug)]
struct Override {
    tool: Regex,
    argument: Option<(String, Regex)>,
    is: Category,
}

/// The user's overrides, and `classify`.
#[derive(Debug)]
pub struct ByPolicy {
    overrides: Vec<Override>,
    known: Mutex<BTreeMap<String, &'static str>>,
}

impl ByPolicy {
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let overrides = match file {
            None => Vec::new(),
            Some(file) => {
                let name = file.display();
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("cannot read the categories `{name}`"))?;
                let read: File =
                    toml::from_str(&text).with_context(|| format!("cannot use the categories `{name}`"))?;
                let entries = read.category.iter().map(Override::new).collect::<anyhow::Result<_>>();
                entries.with_context(|| format!("cannot use the categories `{name}`"))?
            }
        };
        Ok(Self { overrides, known: Mutex::default() })
    }
}

impl Override {
    fn new(entry: &Entry) -> anyhow::Result<Self> {
        let all = [Category::Read, Category::Write, Category::Execute, Category::Destructive, Category::Financial];
        let Some(is) = all.into_iter().find(|category| category.name() == entry.is) else {
            bail!("`{}` is no category: expected read, write, execute, destructive or financial", entry.is);
        };
        let argument = match (&entry.path, &entry.matches) {
            (None, None) => None,
            (Some(path), Some(matches)) => Some((path.clone(), Regex::new(matches)?)),
            _ => bail!("the entry for `{}` has only one of `path` and `matches`", entry.tool),
        };
        let parts: Vec<String> = entry.tool.split('*').map(regex::escape).collect();
        Ok(Self { tool: Regex::new(&format!("^(?s:{})$", parts.join(".*")))?, argument, is })
    }

    fn fits(&self, tool: &str, args: Option<&serde_json::Value>) -> bool {
        self.tool.is_match(tool)
            && self.argument.as_ref().is_none_or(|(path, matches)| {
                let value = args.and_then(|args| argument(args, path));
                value.is_some_and(|value| match value.as_str() {
                    Some(text) => matches.is_match(text),
                    None => matches.is_match(&value.to_string()),
                })
            })
    }
}

/// The value of an argument by its path, `command` or `options.mode`. Where all arguments were kept, it lies that
/// deep; where those that the policy reads were, `args.command` is one key.
fn argument<'a>(args: &'a serde_json::Value, path: &str) -> Option<&'a serde_json::Value> {
    let bare = path.strip_prefix("args.").unwrap_or(path);
    let read = args.get(format!("args.{bare}"));
    read.or_else(|| bare.split('.').try_fold(args, |value, part| value.get(part))).or_else(|| args.get(bare))
}

impl Categories for ByPolicy {
    fn category(&self, tool: &str, args: Option<&str>) -> Option<&'static str> {
        if let Some(category) = self.overridden(tool, args) {
            return Some(category);
        }
        let mut known = self.known.lock().ok()?;
        if let Some(category) = known.get(tool) {
            return Some(category);
        }
        let category = Tool::named(tool).class().category.name();
        if known.len() < NAMES_MAX {
            known.insert(tool.to_owned(), category);
        }
        Some(category)
    }

    fn overrides(&self) -> bool {
        !self.overrides.is_empty()
    }

    fn looks_at_args(&self) -> bool {
        self.overrides.iter().any(|entry| entry.argument.is_some())
    }

    fn overridden(&self, tool: &str, args: Option<&str>) -> Option<&'static str> {
        if self.overrides.is_empty() {
            return None;
        }
        let named: Vec<&Override> = self.overrides.iter().filter(|entry| entry.tool.is_match(tool)).collect();
        let looks = named.iter().any(|entry| entry.argument.is_some());
        let args = args.filter(|_| looks).and_then(|args| serde_json::from_str(args).ok());
        named.into_iter().find(|entry| entry.fits(tool, args.as_ref())).map(|entry| entry.is.name())
    }
}
