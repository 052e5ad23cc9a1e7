//! Conditions in disjunctive normal form.
//!
//! `not` is pushed down to the comparisons and turns each into its opposite, which is unknown just
//! where the comparison is; De Morgan's rules and the distribution of `and` over `or` hold in
//! Kleene's logic. So the lists that come out are true, false and unknown on the same arguments as
//! the condition that went in.

use crate::ast::{Comparison, Cond, Relation, TestOp};
use crate::check;
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::policy::{Condition, Literal, Op};

use super::target::Target;

/// Most lists that a condition may come to.
pub const ALTERNATIVES_MAX: usize = 64;

/// Most comparisons that the lists may hold, taken together.
pub const COMPARISONS_MAX: usize = 4_096;

/// Any of the lists, all of a list.
pub type Lists = Vec<Vec<Condition>>;

/// The lists of a condition. None, with the error told, if there would be too many.
pub fn lists(cond: &Cond, target: Target, told: &mut Vec<Diagnostic>) -> Option<Lists> {
    let lists = expand(cond, false, target, told);
    if lists.is_none() {
        let label =
            format!("written out, this has more than {ALTERNATIVES_MAX} alternatives or {COMPARISONS_MAX} comparisons");
        told.push(
            Diagnostic::error(Code::TooManyAlternatives, cond.span(), label)
                .help("several clauses, or `in [ … ]`, say the same with less"),
        );
    }
    lists
}

fn expand(cond: &Cond, negated: bool, target: Target, told: &mut Vec<Diagnostic>) -> Option<Lists> {
    match (cond, negated) {
        (Cond::Test(comparison), _) => Some(vec![vec![condition(comparison, negated, target, told)]]),
        (Cond::Not(inner), _) => expand(inner, !negated, target, told),
        (Cond::Or(parts, _), false) | (Cond::And(parts), true) => {
            let mut union = Lists::new();
            for part in parts {
                union.extend(expand(part, negated, target, told)?);
                fits(&union)?;
            }
            Some(union)
        }
        (Cond::And(parts), false) | (Cond::Or(parts, _), true) => {
            let mut product: Lists = vec![Vec::new()];
            for part in parts {
                product = cross(product, &expand(part, negated, target, told)?)?;
            }
            Some(product)
        }
    }
}

fn cross(left: Lists, right: &Lists) -> Option<Lists> {
    if let [only] = right.as_slice() {
        // Most conditions are one conjunction: they grow in place.
        let mut left = left;
        left.iter_mut().for_each(|list| list.extend(only.iter().cloned()));
        return fits(&left).map(|()| left);
    }
    if left.len().saturating_mul(right.len()) > ALTERNATIVES_MAX {
        return None;
    }
    let pairs =
        left.iter().flat_map(|left| right.iter().map(move |right| [left.as_slice(), right.as_slice()].concat()));
    let product: Lists = pairs.collect();
    fits(&product).map(|()| product)
}

fn fits(lists: &Lists) -> Option<()> {
    let comparisons: usize = lists.iter().map(Vec::len).sum();
    (lists.len() <= ALTERNATIVES_MAX && comparisons <= COMPARISONS_MAX).then_some(())
}

fn condition(comparison: &Comparison, negated: bool, target: Target, told: &mut Vec<Diagnostic>) -> Condition {
    let (op, value, at) = match &comparison.op {
        TestOp::Compare(relation, value) => (relate(*relation), value.node.clone(), &value.span),
        TestOp::In { negated: true, list } => (Op::NotIn, Literal::List(list.clone()), &comparison.span),
        TestOp::In { negated: false, list } => (Op::In, Literal::List(list.clone()), &comparison.span),
        TestOp::Exists(exists) => (Op::Exists, Literal::Bool(*exists), &comparison.span),
        TestOp::Matches(pattern) => (Op::Regex, Literal::String(pattern.node.clone()), &pattern.span),
        TestOp::Contains(value) => (Op::Contains, value.clone(), &comparison.span),
    };
    if let Err(fault) = check::value(op, &value, at) {
        told.push(*fault);
    }
    let (op, value) = if negated { opposite(op, value) } else { (op, value) };
    if target == Target::PolicyLayer {
        if matches!(op, Op::NotRegex | Op::NotContains) {
            told.push(
                Diagnostic::error(
                    Code::TargetNegation,
                    comparison.span.clone(),
                    "the opposite of this has no operator",
                )
                .help("say what is wanted instead of what isn't, or turn `deny when` into `require` and back"),
            );
        }
        if !comparison.path.node.is_plain() {
            told.push(
                Diagnostic::error(
                    Code::TargetPath,
                    comparison.path.span.clone(),
                    "paths are keys with dots between them",
                )
                .help("a key that is empty or holds a dot, a bracket or a quotation mark can't be reached"),
            );
        }
    }
    Condition { path: comparison.path.node.clone(), op, value }
}

fn relate(relation: Relation) -> Op {
    match relation {
        Relation::Equal => Op::Eq,
        Relation::NotEqual => Op::Neq,
        Relation::Less => Op::Lt,
        Relation::LessOrEqual => Op::Lte,
        Relation::Greater => Op::Gt,
        Relation::GreaterOrEqual => Op::Gte,
    }
}

/// The operator that is false where this one is true, true where it is false, and unknown with it.
fn opposite(op: Op, value: Literal) -> (Op, Literal) {
    let op = match op {
        Op::Eq => Op::Neq,
        Op::Neq => Op::Eq,
        Op::Lt => Op::Gte,
        Op::Gte => Op::Lt,
        Op::Gt => Op::Lte,
        Op::Lte => Op::Gt,
        Op::In => Op::NotIn,
        Op::NotIn => Op::In,
        Op::Regex => Op::NotRegex,
        Op::NotRegex => Op::Regex,
        Op::Contains => Op::NotContains,
        Op::NotContains => Op::Contains,
        Op::Exists => Op::Exists,
    };
    match (op, value) {
        (Op::Exists, Literal::Bool(exists)) => (Op::Exists, Literal::Bool(!exists)),
        other => other,
    }
}
