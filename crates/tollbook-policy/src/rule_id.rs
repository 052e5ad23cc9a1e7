//! The names of rules: pointer-shaped, made from what a clause says and never from where it stands.
//!
//! A decision names the rule that made it, and a log is read months later beside another edition of
//! the policy. So an id is made from the clause alone: adding or moving another clause doesn't
//! rename it. Only clauses that would be named the same are told apart by their order.

use std::collections::BTreeSet;

use crate::policy::{Condition, Group, Limit, OnlyDuring, Pattern, Rules, Selector};

/// The owner of the rules that stand over every call.
pub const ALL_TOOLS: &str = "/all_tools";

/// Ids of the rules of one block, one for each entry and in the order of the entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleIds {
    /// `OWNER/require/args.amount-gt`
    pub require: Vec<String>,
    /// `OWNER/deny_if/args.amount-gt`
    pub deny_if: Vec<String>,
    /// `OWNER/only_during/08:00..18:00`
    pub only_during: Vec<String>,
    /// `OWNER/break/identical_calls`
    pub breaks: Vec<String>,
    /// `OWNER/limits/calls-per-minute`
    pub limits: Vec<String>,
    /// `OWNER/approve/finance`
    pub approve: Vec<String>,
}

impl Rules {
    /// The ids of these rules when they belong to `owner`: [`ALL_TOOLS`], [`tool_owner`],
    /// [`Group::owner`] or [`Pattern::owner`].
    #[must_use]
    pub fn ids(&self, owner: &str) -> RuleIds {
        let rule = |conditions: &[Condition], any_of: &[Vec<Condition>]| {
            if any_of.is_empty() { all(conditions) } else { any(any_of) }
        };
        let require = self.require.iter().map(|entry| rule(&entry.conditions, &entry.any_of));
        let deny_if = self.deny_if.iter().map(|entry| rule(&entry.conditions, &entry.any_of));
        RuleIds {
            require: distinct(owner, "require", require),
            deny_if: distinct(owner, "deny_if", deny_if),
            only_during: distinct(owner, "only_during", self.only_during.iter().map(hours)),
            breaks: distinct(owner, "break", self.breaks.iter().map(|entry| entry.on.to_string())),
            limits: distinct(owner, "limits", self.limits.iter().map(limit)),
            approve: distinct(owner, "approve", self.approve.iter().map(|entry| entry.by.clone())),
        }
    }
}

impl crate::Policy {
    /// The blocks that apply to a tool of this category, with the ids of their rules: those of all tools, of
    /// groups, of patterns, its own.
    #[must_use]
    pub fn blocks_over(&self, tool: &str, category: &str) -> Vec<(&Rules, RuleIds)> {
        let chooses = |of: &Selector| of.chooses(tool, category);
        let mut blocks = vec![(&self.all_tools, self.all_tools.ids(ALL_TOOLS))];
        for group in self.groups.iter().filter(|group| group.of.iter().any(chooses)) {
            blocks.push((&group.rules, group.rules.ids(&group.owner())));
        }
        for pattern in self.patterns.iter().filter(|pattern| chooses(&pattern.of)) {
            blocks.push((&pattern.rules, pattern.rules.ids(&pattern.owner())));
        }
        blocks.extend(self.tools.get(tool).map(|rules| (rules, rules.ids(&tool_owner(tool)))));
        blocks
    }

    /// Each rule's id with the JSON Pointer (RFC 6901) of its entry in the canonical document, in the
    /// order of the document.
    #[must_use]
    pub fn pointers(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut add = |rules: &Rules, owner: &str, base: &str| {
            let ids = rules.ids(owner);
            for (key, ids) in [
                ("require", ids.require),
                ("deny_if", ids.deny_if),
                ("limits", ids.limits),
                ("only_during", ids.only_during),
                ("approve", ids.approve),
                ("break", ids.breaks),
            ] {
                all.extend(ids.into_iter().enumerate().map(|(index, id)| (id, format!("{base}/{key}/{index}"))));
            }
        };
        add(&self.all_tools, ALL_TOOLS, ALL_TOOLS);
        for group in &self.groups {
            add(&group.rules, &group.owner(), &group.owner());
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            add(&pattern.rules, &pattern.owner(), &format!("/patterns/{index}"));
        }
        for (name, rules) in &self.tools {
            add(rules, &tool_owner(name), &tool_owner(name));
        }
        all
    }
}

impl Group {
    /// `/groups/NAME`
    #[must_use]
    pub fn owner(&self) -> String {
        format!("/groups/{}", pointer_key(&self.name))
    }
}

impl Pattern {
    /// `/patterns/GLOB`, or `/patterns/category:NAME`.
    #[must_use]
    pub fn owner(&self) -> String {
        match &self.of {
            Selector::Name(text) | Selector::Glob(text) => format!("/patterns/{}", pointer_key(text)),
            Selector::Category(name) => format!("/patterns/category:{}", pointer_key(name)),
        }
    }
}

/// `/tools/NAME`
#[must_use]
pub fn tool_owner(name: &str) -> String {
    format!("/tools/{}", pointer_key(name))
}

/// The text as one step of a JSON Pointer (RFC 6901): `~` becomes `~0` and `/` becomes `~1`.
#[must_use]
pub fn pointer_key(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

/// A minute of the day as `08:00`.
#[must_use]
pub fn clock(minute_of_day: u16) -> String {
    format!("{:02}:{:02}", minute_of_day / 60, minute_of_day % 60)
}

fn all(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return "always".to_owned();
    }
    let parts: Vec<String> =
        conditions.iter().map(|condition| format!("{}-{}", condition.path, condition.op)).collect();
    parts.join("+")
}

fn any(lists: &[Vec<Condition>]) -> String {
    let parts: Vec<String> = lists.iter().map(|list| all(list)).collect();
    parts.join("|")
}

fn hours(entry: &OnlyDuring) -> String {
    format!("{}..{}", clock(entry.from_minute), clock(entry.to_minute))
}

fn limit(entry: &Limit) -> String {
    let what = entry.of.as_ref().map_or_else(|| "calls".to_owned(), ToString::to_string);
    let rolling = if entry.rolling { "rolling-" } else { "" };
    let scope = match entry.scope {
        crate::policy::Scope::Grant => String::new(),
        other => format!("-{other}"),
    };
    format!("{what}-per-{rolling}{}{scope}", entry.window)
}

/// Makes ids of the names; one that is taken gets `-2`, the next `-3`, and so on.
fn distinct(owner: &str, kind: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut seen: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    names
        .map(|name| {
            let base = format!("{owner}/{kind}/{}", pointer_key(&name));
            let count = seen.entry(base.clone()).or_insert(0);
            *count += 1;
            let mut id = if *count == 1 { base.clone() } else { format!("{base}-{count}") };
            while !taken.insert(id.clone()) {
                *count += 1;
                id = format!("{base}-{count}");
            }
            id
        })
        .collect()
}

#[cfg(test)]
mod tests;
