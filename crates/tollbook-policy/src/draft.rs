//! A policy while it is being read: each entry with its place in the text.
//!
//! The language and JSON both fill a draft, so that the ids of rules, the owners of counters and the
//! bound on how much a policy may say are worked out once.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::{Approve, Break, Default, Group, Limit, OnlyDuring, Pattern, Policy, Rule, Rules, Selector};
use crate::rule_id::{ALL_TOOLS, tool_owner};

/// Most names, rules and limits that a policy may hold, taken together.
pub const ENTRIES_MAX: usize = 100_000;

/// Most bytes of clauses, each counted for every tool that it is written out for.
pub const WRITTEN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where each rule stands: its id and the place of its clause.
pub type Places = BTreeMap<String, Span>;

/// The rules of one owner with their places.
#[derive(Debug, Clone, Default)]
pub struct DraftRules {
    /// The rules.
    pub rules: Rules,
    require: Vec<Span>,
    deny_if: Vec<Span>,
    only_during: Vec<Span>,
    breaks: Vec<Span>,
    limits: Vec<Span>,
    approve: Vec<Span>,
    counters: BTreeMap<String, Span>,
}

impl DraftRules {
    /// Adds a `require` entry.
    pub fn require(&mut self, rule: Rule, at: &Span) {
        self.rules.require.push(rule);
        self.require.push(at.clone());
    }

    /// Adds a `deny_if` entry.
    pub fn deny_if(&mut self, rule: Rule, at: &Span) {
        self.rules.deny_if.push(rule);
        self.deny_if.push(at.clone());
    }

    /// Adds hours.
    pub fn only_during(&mut self, entry: OnlyDuring, at: &Span) {
        self.rules.only_during.push(entry);
        self.only_during.push(at.clone());
    }

    /// Adds a breaker.
    pub fn breaks(&mut self, entry: Break, at: &Span) {
        self.rules.breaks.push(entry);
        self.breaks.push(at.clone());
    }

    /// Adds an approval.
    pub fn approve(&mut self, entry: Approve, at: &Span) {
        self.rules.approve.push(entry);
        self.approve.push(at.clone());
    }

    /// Adds a limit; its counter's name must be the owner's only one.
    ///
    /// # Errors
    /// The name is taken.
    pub fn limit(&mut self, limit: Limit, at: &Span) -> Result<(), Box<Diagnostic>> {
        if let Some(first) = self.counters.get(&limit.counter) {
            let label = format!("this limit's counter would be `{}` as well", limit.counter);
            let told = Diagnostic::error(Code::CounterTwice, at.clone(), label)
                .label(first.clone(), "the first one is here")
                .help("give one of them a name of its own: `as NAME` in the language, `\"counter\"` in JSON");
            return Err(Box::new(told));
        }
        self.counters.insert(limit.counter.clone(), at.clone());
        self.rules.limits.push(limit);
        self.limits.push(at.clone());
        Ok(())
    }

    /// The names of the counters, with the places of their limits.
    pub fn counters(&self) -> impl Iterator<Item = (&String, &Span)> {
        self.counters.iter()
    }

    fn places(&self, owner: &str, places: &mut Places) {
        let ids = self.rules.ids(owner);
        for (ids, spans) in [
            (ids.require, &self.require),
            (ids.deny_if, &self.deny_if),
            (ids.only_during, &self.only_during),
            (ids.breaks, &self.breaks),
            (ids.limits, &self.limits),
            (ids.approve, &self.approve),
        ] {
            places.extend(ids.into_iter().zip(spans.iter().cloned()));
        }
    }
}

/// A group with its place.
#[derive(Debug, Clone)]
pub struct DraftGroup {
    /// Its name.
    pub name: String,
    /// Place of the name.
    pub at: Span,
    /// Its members.
    pub of: Vec<Selector>,
    /// Its rules.
    pub rules: DraftRules,
}

/// A policy while it is being read.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What its author calls it.
    pub name: Option<String>,
    /// What becomes of a tool that nothing names.
    pub default: Option<Default>,
    /// Rules over every call.
    pub all_tools: DraftRules,
    /// Rules by exact name.
    pub tools: BTreeMap<String, DraftRules>,
    hide: Vec<Selector>,
    hidden: BTreeSet<Selector>,
    groups: Vec<DraftGroup>,
    group_places: BTreeMap<String, Span>,
    patterns: Vec<(Selector, DraftRules)>,
    pattern_index: BTreeMap<Selector, usize>,
    entries: usize,
    written_bytes: usize,
}

impl Draft {
    /// Hides a tool; a second time changes nothing.
    pub fn hide(&mut self, selector: &Selector) {
        if self.hidden.insert(selector.clone()) {
            self.hide.push(selector.clone());
        }
    }

    /// Adds a group.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn group(&mut self, group: DraftGroup) -> Result<(), Box<Diagnostic>> {
        if let Some(first) = self.group_places.get(&group.name) {
            let told = Diagnostic::error(Code::GroupTwice, group.at, format!("`{}` is a group already", group.name));
            return Err(Box::new(told.label(first.clone(), "the first one is here")));
        }
        self.group_places.insert(group.name.clone(), group.at.clone());
        self.groups.push(group);
        Ok(())
    }

    /// Whether the selector, a glob or a category, has rules already.
    pub fn knows_pattern(&self, selector: &Selector) -> bool {
        self.pattern_index.contains_key(selector)
    }

    /// The rules of the tools that the selector chooses.
    pub fn rules_of(&mut self, selector: &Selector) -> &mut DraftRules {
        if let Selector::Name(name) = selector {
            return self.tools.entry(name.clone()).or_default();
        }
        let index = *self.pattern_index.entry(selector.clone()).or_insert(self.patterns.len());
        if index == self.patterns.len() {
            self.patterns.push((selector.clone(), DraftRules::default()));
        }
        // The index was found or made just above; the fallback is never taken.
        match self.patterns.get_mut(index) {
            Some((_, rules)) => rules,
            None => &mut self.all_tools,
        }
    }

    /// Counts names and rules against [`ENTRIES_MAX`], and what they say against
    /// [`WRITTEN_BYTES_MAX`]. False when it is too much.
    pub fn has_room_for(&mut self, entries: usize, written_bytes: usize) -> bool {
        self.entries = self.entries.saturating_add(entries);
        self.written_bytes = self.written_bytes.saturating_add(written_bytes);
        self.entries <= ENTRIES_MAX && self.written_bytes <= WRITTEN_BYTES_MAX
    }

    /// The policy, and where its rules stand.
    pub fn finish(self) -> (Policy, Places) {
        let mut places = Places::new();
        self.all_tools.places(ALL_TOOLS, &mut places);
        let mut policy = Policy {
            name: self.name,
            default: self.default.unwrap_or(Default::Deny),
            hide: self.hide,
            all_tools: self.all_tools.rules,
            groups: Vec::new(),
            patterns: Vec::new(),
            tools: BTreeMap::new(),
        };
        for DraftGroup { name, of, mut rules, .. } in self.groups {
            let group = Group { name, of, rules: Rules::default() };
            rules.places(&group.owner(), &mut places);
            policy.groups.push(Group { rules: std::mem::take(&mut rules.rules), ..group });
        }
        for (of, mut rules) in self.patterns {
            let pattern = Pattern { of, rules: Rules::default() };
            rules.places(&pattern.owner(), &mut places);
            policy.patterns.push(Pattern { rules: std::mem::take(&mut rules.rules), ..pattern });
        }
        for (name, rules) in self.tools {
            rules.places(&tool_owner(&name), &mut places);
            policy.tools.insert(name, rules.rules);
        }
        (policy, places)
    }
}

/// That the policy holds more than [`ENTRIES_MAX`] or [`WRITTEN_BYTES_MAX`].
pub fn too_many(at: Span) -> Diagnostic {
    let label = "from here on there are more than 100,000 names, rules and limits, or 64 MiB of clauses, \
                 written out per tool";
    Diagnostic::error(Code::TooManyItems, at, label).help("a group's rules are written once for all its members")
}
