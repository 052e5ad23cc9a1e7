//! Identities of tools, for telling the calls of one from another's.

use crate::canonical::hash128;
use crate::same::{Ends, same};

/// Identity of a tool.
pub(crate) fn tool_id(tool: &str) -> u64 {
    hash128(tool.as_bytes()).first_64()
}

/// Identities that are kept at hand.
const KEPT: usize = 64;

/// Identities of the tools that were called lately and that no policy names: each is a SHA-256, and a breaker
/// asks for one with every call. What is kept changes no answer.
#[derive(Debug, Default)]
pub(crate) struct ToolIds(Vec<Option<(Box<str>, u64)>>);

impl ToolIds {
    pub fn of(&mut self, tool: &str) -> u64 {
        if self.0.is_empty() {
            self.0.resize(KEPT, None);
        }
        let place = usize::try_from(Ends::of(tool.as_bytes()).hash() % KEPT as u64).ok();
        let Some(kept) = place.and_then(|place| self.0.get_mut(place)) else { return tool_id(tool) };
        match kept {
            Some((name, id)) if same(name.as_bytes(), tool.as_bytes()) => *id,
            _ => kept.insert((tool.into(), tool_id(tool))).1,
        }
    }
}
