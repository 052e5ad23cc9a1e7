//! What a policy says and hardly means.
//!
//! A lint finds what is allowed and doubtful: a clause that can't act, a limit that doesn't bound, a
//! tool that only its client bounds. Each has a code with a page, and each can be silenced in place,
//! with a reason, by a comment: `# tollbook: allow L0207 because "the burst is harmless"`. Beside a
//! clause it is for that line; above a clause or an item, for all of it. A comment that silences
//! nothing is told as well.

use std::collections::BTreeSet;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span, in_order};
use crate::policy::{Limit, Policy, Rules, Scope, Selector};
use crate::rule_id::{ALL_TOOLS, RuleIds, tool_owner};
use crate::{Catalog, Category, Class, Read, Tool, glob_matches};

mod clause;
mod limit;
mod silence;

/// What lints know beside the policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The server's tools.
    pub catalog: Option<&'a Catalog>,
    /// The version in force.
    pub against: Option<&'a Policy>,
}

/// What is doubtful about a policy that was read from this text, silenced warnings left out.
#[must_use]
pub fn lint(name: &str, text: &str, read: &Read, known: Known<'_>) -> Vec<Diagnostic> {
    let mut linter = Linter { text, read, known, told: read.warnings.clone() };
    linter.tools();
    for block in linter.blocks() {
        clause::lint(&mut linter, &block);
        limit::lint(&mut linter, &block);
    }
    limit::across(&mut linter);
    let is_json = crate::is_json(name);
    if !is_json {
        clause::approvals_without_within(&mut linter);
    }
    let told = if is_json { linter.told } else { silence::silence(text, linter.told) };
    in_order(told)
}

struct Linter<'a> {
    text: &'a str,
    read: &'a Read,
    known: Known<'a>,
    told: Vec<Diagnostic>,
}

/// The rules of one owner.
struct Block<'a> {
    /// As the rules' ids begin.
    owner: String,
    rules: &'a Rules,
    ids: RuleIds,
    /// The tools that they are for; none for all.
    of: Vec<Selector>,
}

impl<'a> Linter<'a> {
    fn policy(&self) -> &'a Policy {
        &self.read.policy
    }

    /// Where a rule stands.
    fn at(&self, id: &str) -> Span {
        self.read.rules.get(id).cloned().unwrap_or(0..0)
    }

    /// Tells a warning, once for each place: a clause for several tools is one clause.
    fn tell(&mut self, told: Diagnostic) {
        if !self.told.iter().any(|one| one.code == told.code && one.labels.first() == told.labels.first()) {
            self.told.push(told);
        }
    }

    fn blocks(&self) -> Vec<Block<'a>> {
        let policy = self.policy();
        let block =
            |owner: String, rules: &'a Rules, of: Vec<Selector>| Block { ids: rules.ids(&owner), owner, rules, of };
        let all = block(ALL_TOOLS.to_owned(), &policy.all_tools, Vec::new());
        let groups = policy.groups.iter().map(|group| block(group.owner(), &group.rules, group.of.clone()));
        let patterns = policy.patterns.iter().map(|one| block(one.owner(), &one.rules, vec![one.of.clone()]));
        let tools =
            policy.tools.iter().map(|(name, rules)| block(tool_owner(name), rules, vec![Selector::Name(name.clone())]));
        std::iter::once(all).chain(groups).chain(patterns).chain(tools).collect()
    }

    /// What the tool of this name does, as far as anybody knows.
    fn class(&self, name: &str) -> Class {
        match self.known.catalog.and_then(|catalog| catalog.tools.get(name)) {
            Some(tool) => tool.class(),
            None => Tool::named(name).class(),
        }
    }

    fn chooses(&self, of: &Selector, tool: &str) -> bool {
        match of {
            Selector::Name(name) => name == tool,
            Selector::Glob(glob) => glob_matches(glob, tool),
            Selector::Category(category) => self.class(tool).category.name() == category,
        }
    }

    /// The blocks that apply to a tool, those of all tools first.
    fn applying(&self, tool: &str) -> Vec<Block<'a>> {
        let applies = |block: &Block<'_>| block.owner == ALL_TOOLS || block.of.iter().any(|of| self.chooses(of, tool));
        self.blocks().into_iter().filter(applies).collect()
    }

    /// The tools that the policy names, and those of the catalog that it chooses.
    fn known_tools(&self) -> BTreeSet<String> {
        let policy = self.policy();
        let grouped = policy.groups.iter().flat_map(|group| &group.of);
        let named = grouped.filter_map(|of| if let Selector::Name(name) = of { Some(name.clone()) } else { None });
        let mut tools: BTreeSet<String> = policy.tools.keys().cloned().chain(named).collect();
        if let Some(catalog) = self.known.catalog {
            let chosen =
                |tool: &String| self.blocks().iter().any(|block| block.of.iter().any(|of| self.chooses(of, tool)));
            tools.extend(catalog.tools.keys().filter(|tool| chosen(tool)).cloned());
        }
        tools
    }

    fn is_hidden(&self, tool: &str) -> bool {
        self.policy().hide.iter().any(|of| self.chooses(of, tool))
    }

    /// What a tool is bounded by.
    fn tools(&mut self) {
        let policy = self.policy();
        for name in policy.tools.keys().filter(|name| self.is_hidden(name)).cloned().collect::<Vec<_>>() {
            let at = crate::catalog::place_of_name(self.text, &name);
            let told = Diagnostic::warning(
                Code::HiddenAndAllowed,
                at,
                format!("`{name}` is hidden, so its rules never judge a call"),
            );
            self.tell(told.help("leave it out of `hide`, or leave its rules out"));
        }
        if policy.default == crate::policy::Default::Allow {
            self.default_allow();
        }
        for name in self.known_tools() {
            if self.is_hidden(&name) {
                continue;
            }
            let blocks = self.applying(&name);
            let limits: Vec<&Limit> =
                blocks.iter().flat_map(|block| &block.rules.limits).filter(|limit| !limit.shadow).collect();
            let at = crate::catalog::place_of_name(self.text, &name);
            let at = if at.is_empty() { self.place_of_default() } else { at };
            let refused = blocks
                .iter()
                .flat_map(|block| &block.rules.deny_if)
                .any(|rule| rule.conditions.is_empty() && !rule.shadow);
            let class = self.class(&name);
            if limits.is_empty() {
                if class.category > Category::Read && !refused {
                    let why = class.evidence.join("; ");
                    let told = Diagnostic::warning(
                        Code::WriteUnlimited,
                        at,
                        format!("`{name}` ({}: {why})", class.category.name()),
                    );
                    self.tell(told.help("add a `limit`; `tollbook report rates` shows what a log supports"));
                }
            } else if limits.iter().all(|limit| matches!(limit.scope, Scope::Session | Scope::Agent)) {
                let told = Diagnostic::warning(
                    Code::ClientScope,
                    at,
                    format!("a client of `{name}` begins a new session, and the count begins anew"),
                );
                self.tell(told.help("add a limit `per grant`, which the client can't choose"));
            }
        }
    }

    fn default_allow(&mut self) {
        let writes = |(name, tool): (&String, &Tool)| (tool.class().category > Category::Read).then(|| name.clone());
        let catalog = self.known.catalog;
        let found: Vec<String> =
            catalog.map_or(Vec::new(), |catalog| catalog.tools.iter().filter_map(writes).collect());
        let unnamed: Vec<String> = found
            .into_iter()
            .filter(|name| {
                !self.is_hidden(name)
                    && !self.blocks().iter().any(|block| block.of.iter().any(|of| self.chooses(of, name)))
            })
            .collect();
        let label = match unnamed.as_slice() {
            [] if catalog.is_some() => return,
            [] => "whatever the server adds may be called, and tools that write are among what it can add".to_owned(),
            [first, ..] => format!("{} tools that write are let through unnamed, `{first}` among them", unnamed.len()),
        };
        let told = Diagnostic::warning(Code::DefaultAllowWrites, self.place_of_default(), label);
        self.tell(told.help("write `default deny`, and name what may be called"));
    }

    /// Where the policy says what becomes of the rest.
    fn place_of_default(&self) -> Span {
        let written =
            if self.text.trim_start().starts_with('{') { None } else { crate::parser::parse(self.text).0.default };
        written.map_or_else(|| crate::catalog::place_of_name(self.text, "default"), |default| default.span)
    }
}

/// Puts the fixes of the warnings into the text, last first; of two that overlap the later one stays
/// out. Returns how many were made.
#[must_use]
pub fn fixed(text: &str, told: &[Diagnostic]) -> (String, usize) {
    let mut fixes: Vec<_> = told.iter().flat_map(|one| &one.fixes).collect();
    fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
    let (mut out, mut from, mut made) = (String::with_capacity(text.len()), 0, 0);
    for fix in fixes {
        let Some(before) = text.get(from..fix.span.start) else { continue };
        out.push_str(before);
        out.push_str(&fix.text);
        (from, made) = (fix.span.end, made + 1);
    }
    out.push_str(text.get(from..).unwrap_or_default());
    (out, made)
}

#[cfg(test)]
mod tests;
