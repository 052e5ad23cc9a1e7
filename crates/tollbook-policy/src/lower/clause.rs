//! The clauses of a block, made into entries once and then given to each owner that it names.

use std::collections::BTreeSet;

use crate::ast::{Approve, Break, BreakOn, Clause, ClauseKind, Cond, During, Limit};
use crate::check;
use crate::code::Code;
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Span};
use crate::draft::DraftRules;
use crate::policy::{self, Day, OnlyDuring, Rule, Run, Scope, Window};

use super::condition::lists;
use super::target::{self, Target};

/// How long an approval stands unless the clause says otherwise: an hour.
const APPROVAL_S: u32 = 3_600;

/// Whose block it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// All tools together.
    AllTools,
    /// A group.
    Group,
    /// Each of the tools that the block names.
    Tools,
}

/// What one clause comes to.
enum Entry {
    Require(Rule),
    DenyIf(Rule),
    OnlyDuring(OnlyDuring),
    Break(policy::Break),
    Approve(policy::Approve),
    Limit(policy::Limit, Counter),
}

impl Entry {
    /// How often it may say again what its clause says.
    fn copies(&self) -> usize {
        match self {
            Self::Require(rule) => rule.any_of.len().max(1),
            Self::Approve(approve) => approve.any_of.len().max(1),
            _ => 1,
        }
    }
}

/// How a limit's counter is called.
enum Counter {
    Given(String),
    /// The owner's name and this.
    Suffix(String),
}

/// What the clauses of a block come to, in order, each with its clause's place.
pub struct Entries {
    entries: Vec<(Entry, Span)>,
    written_bytes: usize,
}

impl Entries {
    /// Lowers the clauses of a block.
    pub fn of(clauses: &[Clause], owner: Owner, target: Target, told: &mut Vec<Diagnostic>) -> Self {
        let mut entries = Vec::new();
        let mut written_bytes = 0;
        for clause in clauses {
            if target == Target::PolicyLayer {
                target::check(clause, owner, told);
            }
            if let Some(because) = &clause.because {
                keep(check::text(&because.node, &because.span), told);
            }
            let span = target::head(clause);
            let lowered = lower(clause, owner, target, told);
            let copies: usize = lowered.iter().map(Entry::copies).sum();
            written_bytes += clause.span.len() * copies;
            entries.extend(lowered.into_iter().map(|entry| (entry, span.clone())));
        }
        Self { entries, written_bytes }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the clauses that they come from, once for each alternative.
    pub fn written_bytes(&self) -> usize {
        self.written_bytes
    }

    /// Where the first of them stands.
    pub fn first_span(&self) -> Option<Span> {
        self.entries.first().map(|(_, span)| span.clone())
    }

    /// Gives the entries to an owner, whose name its counters get.
    pub fn add_to(&self, rules: &mut DraftRules, owner: &str, told: &mut Vec<Diagnostic>) {
        for (entry, at) in &self.entries {
            match entry {
                Entry::Require(rule) => rules.require(rule.clone(), at),
                Entry::DenyIf(rule) => rules.deny_if(rule.clone(), at),
                Entry::OnlyDuring(entry) => rules.only_during(entry.clone(), at),
                Entry::Break(entry) => rules.breaks(entry.clone(), at),
                Entry::Approve(entry) => rules.approve(entry.clone(), at),
                Entry::Limit(limit, counter) => {
                    let mut limit = limit.clone();
                    limit.counter = match counter {
                        Counter::Given(name) => name.clone(),
                        Counter::Suffix(suffix) => format!("{owner}_{suffix}"),
                    };
                    // A clause for several tools would tell the same of each.
                    if let Err(twice) = rules.limit(limit, at)
                        && told.len() < DIAGNOSTICS_MAX
                        && !told.iter().any(|one| one.code == Code::CounterTwice && one.at() == twice.at())
                    {
                        told.push(*twice);
                    }
                }
            }
        }
    }
}

fn keep<T>(checked: check::Checked<T>, told: &mut Vec<Diagnostic>) -> Option<T> {
    checked.map_err(|fault| told.push(*fault)).ok()
}

fn lower(clause: &Clause, owner: Owner, target: Target, told: &mut Vec<Diagnostic>) -> Vec<Entry> {
    let on_deny = clause.because.as_ref().map(|because| because.node.clone());
    let said = Said { on_deny, shadow: clause.shadow.is_some() };
    let one = match &clause.kind {
        ClauseKind::Require(cond) => require(cond, said, target, told),
        ClauseKind::Deny(cond) => return deny(cond.as_ref(), said, target, told),
        ClauseKind::Limit(limit) => limit_entry(limit, said, owner, told),
        ClauseKind::During(during) => only_during(during, said, told),
        ClauseKind::Approve(approve) => approve_entry(approve, said, told),
        ClauseKind::Break(breaker) => break_entry(breaker, said, told),
    };
    one.into_iter().collect()
}

/// What every clause may say beside its own matter.
struct Said {
    on_deny: Option<String>,
    shadow: bool,
}

fn require(cond: &Cond, said: Said, target: Target, told: &mut Vec<Diagnostic>) -> Option<Entry> {
    let mut any_of = lists(cond, target, told)?;
    let conditions = if any_of.len() == 1 { any_of.pop().unwrap_or_default() } else { Vec::new() };
    if target == Target::PolicyLayer && !any_of.is_empty() {
        let at = first_or(cond).unwrap_or_else(|| cond.span());
        told.push(
            Diagnostic::error(Code::TargetAlternatives, at, "a required condition with alternatives")
                .help("write `deny when` with the opposite, and `require … exists` for what must be there"),
        );
    }
    Some(Entry::Require(Rule { conditions, any_of, on_deny: said.on_deny, shadow: said.shadow }))
}

fn first_or(cond: &Cond) -> Option<Span> {
    match cond {
        Cond::Or(_, at) => Some(at.clone()),
        Cond::And(parts) => parts.iter().find_map(first_or),
        Cond::Not(inner) => first_or(inner),
        Cond::Test(_) => None,
    }
}

fn deny(cond: Option<&Cond>, said: Said, target: Target, told: &mut Vec<Diagnostic>) -> Vec<Entry> {
    let always = || Some(vec![Vec::new()]);
    let lists = cond.map_or_else(always, |cond| lists(cond, target, told)).unwrap_or_default();
    let entry = |conditions| {
        Entry::DenyIf(Rule { conditions, any_of: Vec::new(), on_deny: said.on_deny.clone(), shadow: said.shadow })
    };
    lists.into_iter().map(entry).collect()
}

fn limit_entry(limit: &Limit, said: Said, owner: Owner, told: &mut Vec<Diagnostic>) -> Option<Entry> {
    let rolling = limit.rolling.is_some();
    let max = keep(check::limit_max(limit.max.node, rolling, &limit.max.span), told);
    let window = keep(check::window(limit.window.node, rolling, &limit.window.span), told);
    match (&limit.count, owner) {
        (None, Owner::Group) => told.push(
            Diagnostic::error(
                Code::CountMissing,
                limit.max.span.clone(),
                "is this for the whole group, or for each member?",
            )
            .help("write `limit total` for one count of the group, `limit each` for one of every member"),
        ),
        (Some(count), Owner::Tools | Owner::AllTools) => told.push(
            Diagnostic::error(Code::CountMisplaced, count.span.clone(), "expected the number at once")
                .help("a `tool` block counts each tool alone, `all tools` counts all of them together"),
        ),
        _ => {}
    }
    let scope = limit.scope.as_ref().map_or(Scope::Grant, |scope| scope.node);
    let counter = match &limit.counter {
        Some(name) => {
            keep(check::name(&name.node, &name.span), told);
            Counter::Given(name.node.clone())
        }
        None => Counter::Suffix(suffix(limit.of.is_some(), rolling, limit.window.node, scope)),
    };
    let limit = policy::Limit {
        counter: String::new(),
        count: limit.count.as_ref().map(|count| count.node),
        window: limit.window.node,
        rolling,
        max: max?,
        of: limit.of.as_ref().map(|of| of.node.clone()),
        scope,
        on_deny: said.on_deny,
        shadow: said.shadow,
    };
    window.map(|()| Entry::Limit(limit, counter))
}

/// What a counter's name has after its owner's: made from the clause alone, so that no other clause
/// can rename it.
pub fn suffix(amount: bool, rolling: bool, window: Window, scope: Scope) -> String {
    let what = if amount { "total" } else { "rate" };
    let window = match (rolling, window) {
        (true, window) => format!("_rolling_{window}"),
        (false, Window::Minute) => String::new(),
        (false, window) => format!("_{window}"),
    };
    let scope = match scope {
        Scope::Grant => String::new(),
        scope => format!("_{scope}"),
    };
    format!("{what}{window}{scope}")
}

fn only_during(during: &During, said: Said, told: &mut Vec<Diagnostic>) -> Option<Entry> {
    keep(check::zone(&during.zone.node, &during.zone.span), told)?;
    let days: BTreeSet<Day> = during.days.iter().flat_map(|(first, last)| Day::range(*first, *last)).collect();
    Some(Entry::OnlyDuring(OnlyDuring {
        days: days.into_iter().collect(),
        from_minute: during.from_minute,
        to_minute: during.to_minute,
        zone: during.zone.node.clone(),
        on_deny: said.on_deny,
        shadow: said.shadow,
    }))
}

fn approve_entry(approve: &Approve, said: Said, told: &mut Vec<Diagnostic>) -> Option<Entry> {
    keep(check::name(&approve.by.node, &approve.by.span), told);
    let within_s = match &approve.within {
        Some(within) => keep(check::within_s(within.node.seconds(), &within.span), told),
        None => Some(APPROVAL_S),
    };
    let any_of = match &approve.when {
        Some(cond) => lists(cond, Target::Native, told)?,
        None => Vec::new(),
    };
    let (by, on_deny, shadow) = (approve.by.node.clone(), said.on_deny, said.shadow);
    Some(Entry::Approve(policy::Approve { by, any_of, within_s: within_s?, on_deny, shadow }))
}

fn break_entry(breaker: &Break, said: Said, told: &mut Vec<Diagnostic>) -> Option<Entry> {
    let after = keep(check::run(breaker.after.node, &breaker.after.span), told);
    let within_s = keep(check::within_s(breaker.within.node.seconds(), &breaker.within.span), told);
    let on = match &breaker.on {
        BreakOn::IdenticalCalls => Some(Run::IdenticalCalls),
        BreakOn::IdenticalResults => Some(Run::IdenticalResults),
        BreakOn::Failures => Some(Run::Failures),
        BreakOn::Cycle(period) => {
            keep(check::period(period.node, &period.span), told).map(|period_max| Run::Cycle { period_max })
        }
    };
    if let (Some(after), Some(Run::Cycle { period_max })) = (after, on) {
        keep(check::look_back(after, period_max, &breaker.after.span), told);
    }
    let (on_deny, shadow) = (said.on_deny, said.shadow);
    Some(Entry::Break(policy::Break { on: on?, after: after?, within_s: within_s?, on_deny, shadow }))
}
