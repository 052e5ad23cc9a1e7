//! What another version of a policy would let through, tool by tool.
//!
//! Conditions split all calls of a tool into finitely many cases ([`crate::case`]); both versions are
//! asked about each, so the answer is exact and comes with a call that shows it. Patterns and
//! `contains` are the same question only where they are written the same. Limits, hours and breakers
//! are compared by what they say: one that is gone or lets more through is looser, one that is new or
//! lets less through is tighter.

use std::collections::BTreeSet;

use crate::case::{Case, Space};
use crate::glob_matches;
use crate::policy::{Condition, Default, Limit, Policy, Rules, Selector};

/// How a tool's rules changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A call that was refused is let through.
    NewlyAllowed,
    /// Something that was refused or held is less so, and nothing more so.
    Looser,
    /// Both: more of one, less of another; or too much to tell.
    Incomparable,
    /// Something is refused or held that wasn't, and nothing less so.
    Tighter,
    /// Neither.
    Same,
}

/// How the rules of one tool changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The tool; a glob or a category stands for the tools that nothing else names.
    pub tool: Selector,
    /// How.
    pub change: Change,
    /// What shows it: calls with their old and new verdicts, limits that differ.
    pub because: Vec<String>,
}

impl Change {
    /// Whether something is let through that wasn't, or may be.
    #[must_use]
    pub fn loosens(self) -> bool {
        matches!(self, Self::NewlyAllowed | Self::Looser | Self::Incomparable)
    }

    /// In a word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly allowed",
            Self::Looser => "looser",
            Self::Incomparable => "incomparable",
            Self::Tighter => "tighter",
            Self::Same => "same",
        }
    }
}

/// The differences of all tools that either version names, and of any other tool (`*`); what loosens
/// first, newly allowed before all.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<Difference> {
    let mut all: Vec<Difference> = tools(old, new).into_iter().map(|tool| compare(tool, old, new)).collect();
    all.sort_by(|a, b| a.change.cmp(&b.change).then_with(|| a.tool.cmp(&b.tool)));
    all
}

/// The names, globs and categories of both, and `*`.
fn tools(old: &Policy, new: &Policy) -> BTreeSet<Selector> {
    let of = |policy: &Policy| -> Vec<Selector> {
        let grouped = policy.groups.iter().flat_map(|group| group.of.iter().cloned());
        let patterns = policy.patterns.iter().map(|pattern| pattern.of.clone());
        let named = policy.tools.keys().map(|name| Selector::Name(name.clone()));
        policy.hide.iter().cloned().chain(grouped).chain(patterns).chain(named).collect()
    };
    let any = Selector::Glob("*".to_owned());
    of(old).into_iter().chain(of(new)).chain([any]).collect()
}

/// A tool's clauses under one version.
#[derive(PartialEq)]
struct View<'p> {
    hidden: bool,
    named: bool,
    default: Default,
    blocks: Vec<(String, &'p Rules)>,
}

/// What becomes of a call, limits, hours and breakers aside; the stricter the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Deny,
    Hold,
    Allow,
}

impl<'p> View<'p> {
    fn of(policy: &'p Policy, tool: &Selector) -> Self {
        let chooses = |of: &Selector| chooses(of, tool);
        let all = (!policy.all_tools.is_empty()).then_some(("all tools".to_owned(), &policy.all_tools));
        let groups = policy.groups.iter().filter(|group| group.of.iter().any(chooses));
        let groups = groups.map(|group| (format!("group {}", group.name), &group.rules));
        let patterns = policy.patterns.iter().filter(|pattern| chooses(&pattern.of));
        // A pattern counts each tool alone, and so does the tool's own block.
        let patterns = patterns.map(|pattern| ("tool".to_owned(), &pattern.rules));
        let own = match tool {
            Selector::Name(name) => policy.tools.get(name).map(|rules| ("tool".to_owned(), rules)),
            Selector::Glob(_) | Selector::Category(_) => None,
        };
        let named: Vec<(String, &Rules)> = groups.chain(patterns).chain(own).collect();
        Self {
            hidden: policy.hide.iter().any(chooses),
            named: !named.is_empty(),
            default: policy.default,
            blocks: all.into_iter().chain(named).collect(),
        }
    }

    fn rules(&self) -> impl Iterator<Item = &'p Rules> {
        self.blocks.iter().map(|(_, rules)| *rules)
    }

    fn conditions(&self) -> impl Iterator<Item = &'p Condition> {
        self.rules().flat_map(|rules| {
            let judged = rules.require.iter().chain(&rules.deny_if);
            let plain = judged.clone().flat_map(|rule| &rule.conditions);
            let listed = judged.flat_map(|rule| &rule.any_of).flatten();
            plain.chain(listed).chain(rules.approve.iter().flat_map(|approve| &approve.any_of).flatten())
        })
    }

    fn is_closed(&self) -> bool {
        self.hidden || (!self.named && self.default == Default::Deny)
    }

    fn judge(&self, case: &Case<'_>) -> Verdict {
        if self.is_closed() {
            return Verdict::Deny;
        }
        let requires = self.rules().flat_map(|rules| &rules.require).filter(|rule| !rule.shadow);
        let met = |rule: &crate::policy::Rule| match rule.any_of.as_slice() {
            [] => case.all(&rule.conditions),
            lists => case.any(lists),
        };
        let denies = self.rules().flat_map(|rules| &rules.deny_if).filter(|rule| !rule.shadow);
        if !requires.into_iter().all(met) || denies.into_iter().any(met) {
            return Verdict::Deny;
        }
        let approves = self.rules().flat_map(|rules| &rules.approve).filter(|approve| !approve.shadow);
        match approves.into_iter().any(|approve| approve.any_of.is_empty() || case.any(&approve.any_of)) {
            true => Verdict::Hold,
            false => Verdict::Allow,
        }
    }

    /// Limits with what they count together.
    fn limits(&self) -> impl Iterator<Item = (String, &'p Limit)> {
        self.blocks.iter().flat_map(|(owner, rules)| {
            rules.limits.iter().filter(|limit| !limit.shadow).map(move |limit| {
                let of = limit.of.as_ref().map_or_else(|| "calls".to_owned(), ToString::to_string);
                let rolling = if limit.rolling { "rolling " } else { "" };
                let owner = if limit.count == Some(crate::policy::Count::Each) { "tool" } else { owner };
                (format!("{of} per {rolling}{} per {}, {owner}", length(limit), limit.scope), limit)
            })
        })
    }

    /// Hours and breakers, as they are written.
    fn other(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (_, rules) in &self.blocks {
            for mut hours in rules.only_during.iter().filter(|one| !one.shadow).cloned() {
                hours.on_deny = None;
                all.extend(crate::decompile::clause_text(|out| crate::decompile::only_during(out, &hours)));
            }
            for mut breaker in rules.breaks.iter().filter(|one| !one.shadow).cloned() {
                breaker.on_deny = None;
                all.extend(crate::decompile::clause_text(|out| crate::decompile::breaker(out, &breaker)));
            }
        }
        all
    }
}

/// `minute`, however the window is written.
fn length(limit: &Limit) -> String {
    match limit.window.seconds() {
        60 => "minute".to_owned(),
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        seconds => u32::try_from(seconds).map_or_else(|_| format!("{seconds}s"), crate::decompile::length),
    }
}

/// Whether a selector chooses a tool; of tools that only a glob or a category stands for, those that
/// it surely chooses.
fn chooses(of: &Selector, tool: &Selector) -> bool {
    match (of, tool) {
        (Selector::Glob(glob), Selector::Name(name)) => glob_matches(glob, name),
        (Selector::Glob(glob), _) if glob == "*" => true,
        // `create_*` is among `c*`: any run that isn't a name's stands for the star.
        (Selector::Glob(glob), Selector::Glob(inner)) => glob_matches(glob, &inner.replace('*', "\u{1}")),
        (of, tool) => of == tool,
    }
}

fn compare(tool: Selector, old: &Policy, new: &Policy) -> Difference {
    let (before, after) = (View::of(old, &tool), View::of(new, &tool));
    let mut because = Vec::new();
    if before == after || (before.is_closed() && after.is_closed()) {
        return Difference { tool, change: Change::Same, because };
    }
    let Some(space) = Space::of(before.conditions().chain(after.conditions())) else {
        because.push("the conditions tell too many cases apart to go through".to_owned());
        return Difference { tool, change: Change::Incomparable, because };
    };
    let (mut looser, mut tighter) = (None, None);
    let (mut newly_allowed, mut both_open) = (false, false);
    for case in space.cases() {
        let (was, is) = (before.judge(&case), after.judge(&case));
        both_open |= was > Verdict::Deny && is > Verdict::Deny;
        let opened = was == Verdict::Deny && is > was;
        if opened && !newly_allowed {
            // An opened call shows more than one that merely isn't held any longer.
            (looser, newly_allowed) = (Some((case.example(), was, is)), true);
        } else if is > was {
            looser.get_or_insert_with(|| (case.example(), was, is));
        } else if is < was {
            tighter.get_or_insert_with(|| (case.example(), was, is));
        }
    }
    let (mut is_looser, mut is_tighter) = (looser.is_some(), tighter.is_some());
    let word = |verdict| match verdict {
        Verdict::Deny => "refused",
        Verdict::Hold => "held",
        Verdict::Allow => "allowed",
    };
    for (example, was, is) in looser.into_iter().chain(tighter) {
        because.push(format!("{example} was {} and is {}", word(was), word(is)));
    }
    if both_open {
        bounds(&before, &after, &mut because, &mut is_looser, &mut is_tighter);
    }
    let change = match (newly_allowed, is_looser, is_tighter) {
        (true, _, false) => Change::NewlyAllowed,
        (_, true, true) => Change::Incomparable,
        (_, true, false) => Change::Looser,
        (_, false, true) => Change::Tighter,
        (_, false, false) => Change::Same,
    };
    Difference { tool, change, because }
}

/// Compares limits, hours and breakers.
fn bounds(before: &View<'_>, after: &View<'_>, because: &mut Vec<String>, looser: &mut bool, tighter: &mut bool) {
    // Of limits that count the same, the tightest bounds.
    let least = |view: &View<'_>| {
        let mut least = std::collections::BTreeMap::<String, u64>::new();
        for (what, limit) in view.limits() {
            least.entry(what).and_modify(|max| *max = limit.max.min(*max)).or_insert(limit.max);
        }
        least
    };
    let (was, is) = (least(before), least(after));
    for what in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        match (was.get(what), is.get(what)) {
            (Some(was), Some(is)) if was == is => continue,
            (Some(was), Some(is)) => {
                because.push(format!("the limit of {was} is {is} now: {what}"));
                if is > was { *looser = true } else { *tighter = true }
            }
            (Some(was), None) => {
                because.push(format!("the limit of {was} is gone: {what}"));
                *looser = true;
            }
            (None, Some(is)) => {
                because.push(format!("there is a limit of {is} now: {what}"));
                *tighter = true;
            }
            (None, None) => {}
        }
    }
    let (was, is) = (before.other(), after.other());
    for gone in was.difference(&is) {
        because.push(format!("gone: {gone}"));
        *looser = true;
    }
    for come in is.difference(&was) {
        because.push(format!("new: {come}"));
        *tighter = true;
    }
}

#[cfg(test)]
mod tests;
