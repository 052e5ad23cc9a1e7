//! Identities of tools, for telling the calls of one from another's.

use tollbook_policy::same::{Ends, same};

use crate::canonical::hash128;
use crate::codes::{Code, Coded};

/// Identity of a tool.
pub(crate) fn tool_id(tool: &str) -> u64 {
    hash128(tool.as_bytes()).first_64()
}

/// Identities that are kept at hand.
const KEPT: usize = 64;

/// Identities of the tools that were called lately and that no policy names: each is a SHA-256, and a breaker
/// asks for one with every call. What is kept changes no answer.
#[derive(Debug)]
pub(crate) struct ToolIds {
    named: Vec<Option<(Box<str>, u64)>>,
    coded: Coded<u64>,
}

/// Nearly no tool's identity, and one that has it is looked up by name.
const NONE: u64 = 0;

impl Default for ToolIds {
    fn default() -> Self {
        Self { named: Vec::new(), coded: Coded::new(NONE) }
    }
}

impl ToolIds {
    #[inline]
    pub fn of(&mut self, tool: &str, code: Option<Code>) -> u64 {
        let known = code.map_or(NONE, |code| self.coded.get(code));
        if known != NONE { known } else { self.of_name(tool, code) }
    }

    #[inline(never)]
    fn of_name(&mut self, tool: &str, code: Option<Code>) -> u64 {
        let id = self.named(tool);
        if let Some(code) = code {
            self.coded.keep(code, id);
        }
        id
    }

    fn named(&mut self, tool: &str) -> u64 {
        if self.named.is_empty() {
            self.named.resize(KEPT, None);
        }
        let place = usize::try_from(Ends::of(tool.as_bytes()).hash() % KEPT as u64).ok();
        let Some(kept) = place.and_then(|place| self.named.get_mut(place)) else { return tool_id(tool) };
        match kept {
            Some((name, id)) if same(name.as_bytes(), tool.as_bytes()) => *id,
            _ => kept.insert((tool.into(), tool_id(tool))).1,
        }
    }
}
