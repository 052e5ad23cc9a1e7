//! Lints of limits: windows whose edge lets more through, limits that bound nothing, counters that
//! change their names.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::{Limit, Policy, Window};
use crate::rule_id::{ALL_TOOLS, tool_owner};

use super::{Block, Linter};

/// The number that stands in every vendor's example.
const BOILERPLATE: u64 = 30;

pub fn lint(linter: &mut Linter<'_>, block: &Block<'_>) {
    for (limit, id) in block.rules.limits.iter().zip(&block.ids.limits) {
        let at = linter.at(id);
        if !limit.rolling && limit.max > 0 && !limit.shadow {
            let window = match limit.window {
                Window::Span(length) => length.to_string(),
                named => format!("the {named}"),
            };
            let label = format!("up to {} pass in a moment at the edge of {window}", u128::from(limit.max) * 2);
            let told = Diagnostic::warning(Code::EdgeBurst, at.clone(), label);
            linter.tell(told.help("`per rolling …` is exact"));
        }
        if limit.max == BOILERPLATE && limit.window == Window::Minute && limit.of.is_none() {
            let told = Diagnostic::warning(
                Code::Boilerplate30,
                at.clone(),
                "thirty a minute is every vendor's example, and nobody's measurement",
            );
            linter.tell(told.help("`tollbook report rates` shows what a log supports"));
        }
        let tighter =
            block.rules.limits.iter().zip(&block.ids.limits).find(|(other, _)| makes_unreachable(other, limit));
        if let Some((other, other_id)) = tighter {
            let other_at = linter.at(other_id);
            let told = Diagnostic::warning(
                Code::LimitUnreachable,
                at,
                format!("the limit of {} is reached before", other.max),
            );
            linter.tell(told.label(other_at, "by this one").help("leave one of them out"));
        }
    }
}

/// Whether a call that is refused by `looser` is always refused by `tighter`: it counts the same, at
/// least as long, and lets no more through.
fn makes_unreachable(tighter: &Limit, looser: &Limit) -> bool {
    let same = tighter.scope == looser.scope && tighter.of == looser.of && tighter.count == looser.count;
    let enforced = !tighter.shadow && !looser.shadow;
    let (length, other_length) = (tighter.window.seconds(), looser.window.seconds());
    // A window of the clock lies inside a longer one that its length divides; a rolling one covers any
    // that isn't longer.
    let covers = match (tighter.rolling, looser.rolling) {
        (true, _) => length >= other_length,
        (false, false) => length >= other_length && length.is_multiple_of(other_length.max(1)),
        (false, true) => false,
    };
    let strictly = tighter.max < looser.max || length > other_length || (tighter.rolling && !looser.rolling);
    same && enforced && covers && tighter.max <= looser.max && strictly
}

/// What is to be seen only across owners and versions.
pub fn across(linter: &mut Linter<'_>) {
    one_name_and_several_windows(linter);
    if let Some(old) = linter.known.against {
        renamed(linter, old);
    }
}

fn one_name_and_several_windows(linter: &mut Linter<'_>) {
    let mut first: BTreeMap<String, (u64, bool, Span)> = BTreeMap::new();
    for block in linter.blocks() {
        for (limit, id) in block.rules.limits.iter().zip(&block.ids.limits) {
            let at = linter.at(id);
            let window = (limit.window.seconds(), limit.rolling);
            match first.get(&limit.counter) {
                Some((seconds, rolling, other)) if (*seconds, *rolling) != window => {
                    let label = format!("`{}` is the name of a counter with another window", limit.counter);
                    let told =
                        Diagnostic::warning(Code::CounterWindows, at, label).label(other.clone(), "which is this one");
                    linter.tell(told.help("two counters, two names: reports and refusals show the name"));
                }
                Some(_) => {}
                None => {
                    first.insert(limit.counter.clone(), (window.0, window.1, at));
                }
            }
        }
    }
}

/// A limit that counts as before under another name begins at zero when the policy is put in force.
fn renamed(linter: &mut Linter<'_>, old: &Policy) {
    for block in linter.blocks() {
        let Some(before) = limits_of(old, &block.owner) else { continue };
        let names: BTreeSet<&String> = block.rules.limits.iter().map(|limit| &limit.counter).collect();
        for (limit, id) in block.rules.limits.iter().zip(&block.ids.limits) {
            if before.iter().any(|other| other.counter == limit.counter) {
                continue;
            }
            let alike = |other: &&Limit| {
                !names.contains(&other.counter)
                    && other.window.seconds() == limit.window.seconds()
                    && (other.rolling, other.scope, &other.of, other.count, other.shadow)
                        == (limit.rolling, limit.scope, &limit.of, limit.count, limit.shadow)
            };
            let Some(other) = before.iter().find(alike) else { continue };
            let label =
                format!("this counter was `{}` and is `{}` now, so it begins at zero", other.counter, limit.counter);
            let told = Diagnostic::warning(Code::CounterRenamed, linter.at(id), label);
            linter.tell(told.help(format!("write `as {}` to go on counting", other.counter)));
        }
    }
}

fn limits_of<'p>(policy: &'p Policy, owner: &str) -> Option<&'p [Limit]> {
    if owner == ALL_TOOLS {
        return Some(&policy.all_tools.limits);
    }
    let group = policy.groups.iter().find(|group| group.owner() == owner).map(|group| &group.rules);
    let pattern = || policy.patterns.iter().find(|pattern| pattern.owner() == owner).map(|pattern| &pattern.rules);
    let tool = || policy.tools.iter().find(|(name, _)| tool_owner(name) == owner).map(|(_, rules)| rules);
    Some(&group.or_else(pattern).or_else(tool)?.limits)
}
