//! The policies in force, and what is known of each server's tools.
//!
//! A policy stands for a server, or more narrowly for one grant on it. The narrower one judges; a replay picks
//! by the same rule.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tollbook_engine::{Activated, Engine};
use tollbook_policy::json::Node;
use tollbook_policy::{Catalog, Category};

/// Most tools of one server that are remembered. Beyond it, a tool's name alone tells its category.
const TOOLS_MAX: usize = 10_000;

/// The policies in force, by server and grant.
#[derive(Default)]
pub(super) struct Engines(BTreeMap<String, Server>);

#[derive(Default)]
struct Server {
    every_grant: Option<Arc<Engine>>,
    grants: BTreeMap<String, Arc<Engine>>,
    /// Of which some servers have a thousand, and one is looked up for each call.
    tools: HashMap<String, Known, RandomState>,
}

/// What is known of a tool.
#[derive(Clone, Copy)]
struct Known {
    category: Category,
    /// By the server's own list, rather than by a call.
    listed: bool,
}

impl Engines {
    /// What judges the calls of a grant on a server; none where no policy does.
    pub fn judge(&self, server: &str, grant: Option<&str>) -> Option<&Arc<Engine>> {
        let server = self.0.get(server)?;
        grant.and_then(|grant| server.grants.get(grant)).or(server.every_grant.as_ref())
    }

    /// What stands for exactly this server and grant.
    pub fn exactly(&self, server: &str, grant: Option<&str>) -> Option<&Arc<Engine>> {
        let server = self.0.get(server)?;
        grant.map_or(server.every_grant.as_ref(), |grant| server.grants.get(grant))
    }

    /// Puts a policy in force. True where another set of the tools that the server listed is hidden now.
    pub fn put(&mut self, engine: Arc<Engine>, grant: Option<&str>) -> bool {
        let before = self.judge(engine.server(), grant).cloned();
        let server = self.0.entry(engine.server().to_owned()).or_default();
        let hides_otherwise = before.is_some_and(|before| {
            server.tools.iter().filter(|(_, known)| known.listed).any(|(tool, known)| {
                let category = Some(known.category.name());
                before.hides(tool, category) != engine.hides(tool, category)
            })
        });
        match grant {
            Some(grant) => drop(server.grants.insert(grant.to_owned(), engine)),
            None => server.every_grant = Some(engine),
        }
        hides_otherwise
    }

    /// Takes a grant's own policy out of force.
    pub fn remove(&mut self, server: &str, grant: &str) {
        if let Some(server) = self.0.get_mut(server) {
            server.grants.remove(grant);
        }
    }

    /// Every policy in force, in a fixed order.
    pub fn activated(&self) -> Vec<Activated> {
        let mut all = Vec::new();
        for (name, server) in &self.0 {
            let activated =
                |grant: Option<&String>, policy| Activated { server: name.clone(), grant: grant.cloned(), policy };
            all.extend(server.every_grant.as_ref().map(|engine| activated(None, engine.policy())));
            all.extend(server.grants.iter().map(|(grant, engine)| activated(Some(grant), engine.policy())));
        }
        all
    }

    /// Takes in what a server says of its tools.
    pub fn learn(&mut self, server: &str, list: &Node<'_>) {
        let tools = Catalog::of(list).map(|catalog| catalog.tools).unwrap_or_default();
        for (name, tool) in tools {
            self.remember(server, &name, Known { category: tool.class().category, listed: true });
        }
    }

    /// Whether the server has listed a tool of this name.
    pub fn lists(&self, server: &str, tool: &str) -> bool {
        self.known(server, tool).is_some_and(|known| known.listed)
    }

    /// The category of a tool.
    pub fn category(&self, server: &str, tool: &str) -> Category {
        self.known(server, tool).map_or_else(|| Category::by_name(tool), |known| known.category)
    }

    /// The category of a tool that is called, worked out from its name once.
    pub fn category_of_call(&mut self, server: &str, tool: &str) -> Category {
        if let Some(known) = self.known(server, tool) {
            return known.category;
        }
        let category = Category::by_name(tool);
        self.remember(server, tool, Known { category, listed: false });
        category
    }

    fn known(&self, server: &str, tool: &str) -> Option<Known> {
        self.0.get(server)?.tools.get(tool).copied()
    }

    fn remember(&mut self, server: &str, tool: &str, known: Known) {
        let Some(server) = self.0.get_mut(server) else { return };
        if server.tools.len() < TOOLS_MAX || server.tools.contains_key(tool) {
            server.tools.insert(tool.to_owned(), known);
        }
    }
}
