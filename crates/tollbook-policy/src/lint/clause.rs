//! Lints of conditions: clauses that can't act, and comparisons that a wrong type slips past.

use crate::ast::{ClauseKind, Item};
use crate::case::constant;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Fix};
use crate::policy::{Condition, Literal, Op, Path, Selector};
use crate::rule_id::ALL_TOOLS;

use super::{Block, Linter};

pub fn lint(linter: &mut Linter<'_>, block: &Block<'_>) {
    after_an_unconditional_deny(linter, block);
    constant_conditions(linter, block);
    types_that_are_not_required(linter, block);
}

fn after_an_unconditional_deny(linter: &mut Linter<'_>, block: &Block<'_>) {
    let always = |rule: &crate::policy::Rule| rule.conditions.is_empty() && !rule.shadow;
    let Some(index) = block.rules.deny_if.iter().position(always) else { return };
    let deny = block.ids.deny_if.get(index).map_or(0..0, |id| linter.at(id));
    let ids = &block.ids;
    let later = ids.deny_if.iter().skip(index + 1);
    for id in later.chain(&ids.only_during).chain(&ids.breaks).chain(&ids.limits).chain(&ids.approve) {
        let at = linter.at(id);
        if at == deny {
            continue;
        }
        let told = Diagnostic::warning(Code::NeverReached, at, "this never decides anything");
        linter.tell(told.label(deny.clone(), "every call is refused here").help("leave one of them out"));
    }
}

fn constant_conditions(linter: &mut Linter<'_>, block: &Block<'_>) {
    let mut tell = |id: &str, lists: &[Vec<Condition>], acts: &str, never: &str| {
        if lists.iter().all(Vec::is_empty) {
            return;
        }
        let Some(always) = constant(lists) else { return };
        let label = format!(
            "this is {} true, so the clause {}",
            if always { "always" } else { "never" },
            if always { acts } else { never }
        );
        let at = linter.at(id);
        linter.tell(Diagnostic::warning(Code::ConstantCondition, at, label));
    };
    for (rule, id) in block.rules.require.iter().zip(&block.ids.require) {
        let own = [rule.conditions.clone()];
        let lists = if rule.any_of.is_empty() { own.as_slice() } else { rule.any_of.as_slice() };
        tell(id, lists, "refuses nothing", "refuses every call");
    }
    for (rule, id) in block.rules.deny_if.iter().zip(&block.ids.deny_if) {
        tell(id, std::slice::from_ref(&rule.conditions), "refuses every call", "refuses nothing");
    }
    for (approve, id) in block.rules.approve.iter().zip(&block.ids.approve) {
        tell(id, &approve.any_of, "holds every call", "holds nothing");
    }
}

/// A `deny` or an `approve` acts on what is true, and a comparison with a missing argument or one of
/// the wrong type isn't.
fn types_that_are_not_required(linter: &mut Linter<'_>, block: &Block<'_>) {
    let required = required(linter, block);
    let denies = block.rules.deny_if.iter().zip(&block.ids.deny_if).map(|(rule, id)| (&rule.conditions, id));
    let approves = block.rules.approve.iter().zip(&block.ids.approve);
    let holds = approves.flat_map(|(approve, id)| approve.any_of.iter().map(move |list| (list, id)));
    for (conditions, id) in denies.chain(holds) {
        for condition in conditions {
            let (asked, enough): (&str, fn(Op, &Literal) -> bool) = match condition.op {
                Op::Exists => continue,
                Op::Lt | Op::Lte | Op::Gt | Op::Gte => (">= 0", |op, value| {
                    matches!(op, Op::Lt | Op::Lte | Op::Gt | Op::Gte)
                        || says(op, value, |one| matches!(one, Literal::Number(_)))
                }),
                Op::Regex | Op::NotRegex | Op::Contains | Op::NotContains => ("matches \"\"", |op, value| {
                    matches!(op, Op::Regex | Op::NotRegex | Op::Contains | Op::NotContains)
                        || says(op, value, |one| matches!(one, Literal::String(_)))
                }),
                Op::Eq | Op::Neq | Op::In | Op::NotIn => {
                    ("exists", |op, value| op != Op::Exists || *value != Literal::Bool(false))
                }
            };
            if required.iter().any(|(path, op, value)| *path == condition.path && enough(*op, value)) {
                continue;
            }
            let path = &condition.path;
            let at = linter.at(id);
            let label = format!("where `{path}` is missing or of another type, this clause doesn't act");
            let told = Diagnostic::warning(Code::TypeNotRequired, at, label);
            linter.tell(told.help(format!("add `require {path} {asked}`, or what else the argument must be")));
        }
    }
}

fn says(op: Op, value: &Literal, is: fn(&Literal) -> bool) -> bool {
    matches!(op, Op::Eq | Op::In)
        && match value {
            Literal::List(list) => list.iter().all(is),
            one => is(one),
        }
}

/// What every call that reaches the block's later clauses has met, whichever of its tools it is for.
fn required(linter: &Linter<'_>, block: &Block<'_>) -> Vec<(Path, Op, Literal)> {
    let everywhere = linter.blocks().into_iter().filter(|other| {
        let same = other.owner == block.owner || other.owner == ALL_TOOLS;
        let covers = |of: &Selector| match of {
            Selector::Name(tool) => other.of.iter().any(|outer| linter.chooses(outer, tool)),
            other_selector => other.of.contains(other_selector),
        };
        same || (!block.of.is_empty() && block.of.iter().all(covers))
    });
    let mut all = Vec::new();
    for rule in everywhere.flat_map(|other| other.rules.require.iter()).filter(|rule| !rule.shadow) {
        let own = [rule.conditions.clone()];
        let lists = if rule.any_of.is_empty() { own.as_slice() } else { rule.any_of.as_slice() };
        let (Some(first), rest) = (lists.first(), lists.get(1..).unwrap_or_default()) else { continue };
        // Of alternatives, what all of them ask for.
        let shared = first.iter().filter(|one| rest.iter().all(|list| list.contains(one)));
        all.extend(shared.map(|one| (one.path.clone(), one.op, one.value.clone())));
    }
    all
}

/// Told from the text, because a document always says how long.
pub fn approvals_without_within(linter: &mut Linter<'_>) {
    let (file, _) = crate::parser::parse(linter.text);
    let clauses = file.items.iter().flat_map(|item| match item {
        Item::Tool(_, clauses) | Item::Group(_, _, clauses) | Item::AllTools(clauses) => clauses.as_slice(),
        Item::Allow(_) | Item::Hide(_) | Item::Test(_) => &[],
    });
    for clause in clauses {
        let ClauseKind::Approve(approve) = &clause.kind else { continue };
        if approve.within.is_some() {
            continue;
        }
        let at = crate::lower::head(clause);
        let fix = Fix { span: at.end..at.end, text: " within 1h".to_owned() };
        let told =
            Diagnostic::warning(Code::ApproveWithoutWithin, at, "an approval that nobody bounds holds for an hour");
        linter.tell(told.help("say how long: `within 1h` is what goes without saying").fix(fix));
    }
}
