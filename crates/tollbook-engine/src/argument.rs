//! The arguments of a call, as far as they are known.
//!
//! A live call has all of them. A recorded one has what its log kept: everything, the paths that the
//! policy of its day read, or nothing. A value that wasn't kept is [`Found::Unrecorded`] and never
//! guessed; it is a different thing from a value that the call didn't have.

use std::borrow::Cow;

use tollbook_policy::json::{Node, Value, quote};
use tollbook_policy::policy::Path;
use tollbook_policy::same::{SHORT, same};

use crate::borrowed::ArgsRef;
use crate::canonical::{self, canonical, hash128};
use crate::record::{Hash128, Kept};

/// What is known of a call's arguments.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a> {
    source: Source<'a>,
    keys: Option<&'a [&'a str]>,
    /// Hash of the canonical arguments; None where they aren't known.
    pub hash: Option<Hash128>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// Every argument. None for a call without any.
    Whole(Option<&'a Node<'a>>),
    /// An object from paths to values.
    Paths(&'a Node<'a>),
    Nothing,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// Nothing, or null.
    Missing,
    /// A value.
    Value(&'a Value<'a>),
    /// The log didn't keep it.
    Unrecorded,
}

impl<'a> Args<'a> {
    /// All the arguments of a live call; None where it has none.
    #[must_use]
    pub fn whole(node: Option<&'a Node<'a>>, hash: Hash128) -> Self {
        Self { source: Source::Whole(node), keys: None, hash: Some(hash) }
    }

    /// What a log kept. `parsed` is [`ArgsRef::json`], read; a text that can't be read is taken as
    /// not kept.
    #[must_use]
    pub fn recorded(args: &'a ArgsRef<'a>, parsed: Option<&'a Node<'a>>) -> Self {
        let source = match (args.kept, parsed) {
            (Kept::Full, Some(node)) => Source::Whole(Some(node)),
            (Kept::Read, Some(node)) => Source::Paths(node),
            _ => Source::Nothing,
        };
        Self { source, keys: args.keys.as_deref(), hash: args.hash }
    }

    /// What stands at `path`, whose text is `path_text`.
    #[inline]
    pub(crate) fn find(&self, path: &Path, path_text: &str) -> Found<'a> {
        // Most paths are one short key into all arguments, and comparing short texts calls nothing: this is a few
        // instructions where it stands.
        if let Source::Whole(Some(node)) = self.source
            && let [key] = path.keys.as_slice()
            && key.len() <= SHORT
        {
            return present(member(node, key));
        }
        self.find_any(path, path_text)
    }

    #[inline(never)]
    fn find_any(&self, path: &Path, path_text: &str) -> Found<'a> {
        match self.source {
            Source::Whole(node) => follow(node, path),
            Source::Paths(kept) => match kept.get(path_text) {
                Some(node) => present(Some(node)),
                None => self.told_by_keys(path),
            },
            Source::Nothing => self.told_by_keys(path),
        }
    }

    /// A top-level key that the call didn't have is missing, whatever was kept.
    fn told_by_keys(&self, path: &Path) -> Found<'a> {
        match (self.keys, path.keys.first()) {
            (Some(keys), Some(first)) if keys.binary_search(&first.as_str()).is_err() => Found::Missing,
            _ => Found::Unrecorded,
        }
    }
}

/// Most bytes of values that are kept of one call. Of a call with more, none are, so that every record
/// fits into a frame of the log; a replay tells such calls as unknown where a policy reads them.
pub const KEPT_BYTES_MAX: usize = 4 << 20;

/// Most bytes of top-level keys that are kept of one call. Of a call with more, none are.
pub const KEYS_BYTES_MAX: usize = 1 << 20;

/// A path of arguments that a policy reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgPath {
    /// The path.
    pub path: Path,
    /// Its text as a key of JSON: what a record calls it.
    key: Box<str>,
}

impl From<Path> for ArgPath {
    fn from(path: Path) -> Self {
        let key = quote(&path.to_string()).into();
        Self { path, key }
    }
}

impl<'a> ArgsRef<'a> {
    /// What is kept of a live call's arguments: `args` as they came, the paths that the policy `reads`.
    #[must_use]
    pub fn keep(kept: Kept, args: Option<&'a Node<'a>>, reads: &[ArgPath]) -> Self {
        let canonical = args.map_or_else(|| "{}".to_owned(), canonical);
        let members = args.and_then(Node::members).unwrap_or_default();
        let mut keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
        keys.sort_unstable();
        let hash = Some(hash128(canonical.as_bytes()));
        let json = match kept {
            Kept::None => None,
            Kept::Read => Some(values_at(args, reads)),
            Kept::Full => Some(canonical),
        };
        let json = json.filter(|json| json.len() <= KEPT_BYTES_MAX).map(Cow::Owned);
        Self {
            kept: if json.is_some() { kept } else { Kept::None },
            json,
            keys: Some(keys).filter(|keys| keys.iter().map(|key| key.len()).sum::<usize>() <= KEYS_BYTES_MAX),
            hash,
            bytes: Some(args.map_or(0, |args| u64::try_from(args.span.len()).unwrap_or(u64::MAX))),
        }
    }
}

/// Room for a value and what stands around it, in bytes; most are short.
const VALUE_BYTES: usize = 16;

/// An object from each path to its canonical value, null where it is missing.
fn values_at(args: Option<&Node<'_>>, paths: &[ArgPath]) -> String {
    let mut json = String::with_capacity(paths.iter().map(|path| path.key.len() + VALUE_BYTES).sum::<usize>() + 2);
    json.push('{');
    for ArgPath { path, key } in paths {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(key);
        json.push(':');
        match node_at(args, path) {
            Some(node) => canonical::write(&mut json, node),
            None => json.push_str("null"),
        }
    }
    json.push('}');
    json
}

/// What stands at `path` in a call's arguments, null as missing.
#[must_use]
pub fn follow<'a>(args: Option<&'a Node<'a>>, path: &Path) -> Found<'a> {
    present(node_at(args, path))
}

fn node_at<'a>(args: Option<&'a Node<'a>>, path: &Path) -> Option<&'a Node<'a>> {
    path.keys.iter().try_fold(args?, |node, key| member(node, key))
}

#[inline]
fn member<'a>(node: &'a Node<'a>, key: &str) -> Option<&'a Node<'a>> {
    for member in node.members()? {
        if same(member.key.as_bytes(), key.as_bytes()) {
            return Some(&member.node);
        }
    }
    None
}

#[inline]
fn present<'a>(node: Option<&'a Node<'a>>) -> Found<'a> {
    match node.map(|node| &node.value) {
        None | Some(Value::Null) => Found::Missing,
        Some(value) => Found::Value(value),
    }
}
