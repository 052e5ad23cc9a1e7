//! A policy written out for the tools of a catalog: no glob, no category.

use crate::Policy;
use crate::draft::Places;
use crate::policy::{Limit, Pattern, Rules, Selector};
use crate::rule_id::{RuleIds, tool_owner};

use super::Catalog;

/// One kind of a block's ids.
type IdsOf = fn(&RuleIds) -> &Vec<String>;

impl Catalog {
    /// The policy with its globs and categories replaced by the tools that they choose here, groups
    /// included. `hide *` stays, which hides whatever comes. A counter that was named for a pattern is
    /// named for each tool.
    #[must_use]
    pub fn write_out(&self, policy: &Policy) -> Policy {
        let mut out = policy.clone();
        out.hide = self.names(&policy.hide, true);
        for group in &mut out.groups {
            group.of = self.names(&group.of, false);
        }
        // A pattern's clauses come before the tool's own.
        for pattern in out.patterns.drain(..).rev() {
            for tool in self.chosen(&pattern.of) {
                let own = out.tools.remove(&tool.name).unwrap_or_default();
                out.tools.insert(tool.name.clone(), joined(for_tool(&pattern, &tool.name), own));
            }
        }
        out
    }

    /// Where the rules of a policy stand that was written out: those from a pattern, at the pattern's.
    pub(crate) fn places_written_out(&self, policy: &Policy, out: &Policy, places: &Places) -> Places {
        let mut found = places.clone();
        for (name, rules) in &out.tools {
            let mut from = Vec::new();
            for pattern in &policy.patterns {
                if self.chosen(&pattern.of).any(|tool| tool.name == *name) {
                    from.push(pattern.rules.ids(&pattern.owner()));
                }
            }
            from.extend(policy.tools.get(name).map(|own| own.ids(&tool_owner(name))));
            let to = rules.ids(&tool_owner(name));
            let kinds: [(IdsOf, &Vec<String>); 6] = [
                (|ids| &ids.require, &to.require),
                (|ids| &ids.deny_if, &to.deny_if),
                (|ids| &ids.only_during, &to.only_during),
                (|ids| &ids.breaks, &to.breaks),
                (|ids| &ids.limits, &to.limits),
                (|ids| &ids.approve, &to.approve),
            ];
            for (of, to) in kinds {
                for (from, to) in from.iter().flat_map(of).zip(to) {
                    found.extend(places.get(from).map(|span| (to.clone(), span.clone())));
                }
            }
        }
        found
    }

    fn names(&self, selectors: &[Selector], whole: bool) -> Vec<Selector> {
        let mut names = Vec::new();
        for selector in selectors {
            let stays = match selector {
                Selector::Name(_) => true,
                Selector::Glob(glob) => whole && glob == "*",
                Selector::Category(_) => false,
            };
            let chosen: Vec<Selector> = match stays {
                true => vec![selector.clone()],
                false => self.chosen(selector).map(|tool| Selector::Name(tool.name.clone())).collect(),
            };
            for one in chosen {
                if !names.contains(&one) {
                    names.push(one);
                }
            }
        }
        names
    }
}

fn for_tool(pattern: &Pattern, tool: &str) -> Rules {
    let (Selector::Name(owner) | Selector::Glob(owner) | Selector::Category(owner)) = &pattern.of;
    let mut rules = pattern.rules.clone();
    for limit in &mut rules.limits {
        if let Some(suffix) = limit.counter.strip_prefix(owner.as_str()).filter(|suffix| suffix.starts_with('_')) {
            limit.counter = format!("{tool}{suffix}");
        }
    }
    rules
}

fn joined(mut first: Rules, then: Rules) -> Rules {
    first.require.extend(then.require);
    first.deny_if.extend(then.deny_if);
    first.only_during.extend(then.only_during);
    first.breaks.extend(then.breaks);
    for limit in then.limits {
        let counter = free_name(&limit.counter, &first.limits);
        first.limits.push(Limit { counter, ..limit });
    }
    first.approve.extend(then.approve);
    first
}

/// Two limits that were apart stay apart.
fn free_name(name: &str, taken: &[Limit]) -> String {
    let numbered = std::iter::once(name.to_owned()).chain((2_u32..).map(|n| format!("{name}_{n}")));
    let mut free = numbered.filter(|name| taken.iter().all(|limit| limit.counter != *name));
    free.next().unwrap_or_default()
}
