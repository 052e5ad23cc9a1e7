//! What a target can carry.
//!
//! Version "1" of the JSON format says less than the language. A clause that it can't carry is
//! refused where it stands, with the way out: a rule that was dropped in silence would be a hole.

use crate::ast::{Clause, ClauseKind, Limit};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::{Scope, Window};

use super::clause::Owner;

/// Who is going to read the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The JSON policy format, version "1" and nothing else.
    PolicyLayer,
    /// Tollbook's own engine: the superset, whose version is "1" whenever that is enough.
    #[default]
    Native,
}

/// The clause without its `because`.
pub fn head(clause: &Clause) -> Span {
    if clause.because.is_none() {
        return clause.span.clone();
    }
    clause.span.start..match &clause.kind {
        ClauseKind::During(during) => during.zone.span.end,
        ClauseKind::Break(breaker) => breaker.within.span.end,
        ClauseKind::Approve(approve) => {
            let when = approve.when.as_ref().map(|when| when.span().end);
            let within = approve.within.as_ref().map(|within| within.span.end);
            approve.by.span.end.max(when.unwrap_or(0)).max(within.unwrap_or(0))
        }
        ClauseKind::Limit(limit) => {
            let scope = limit.scope.as_ref().map_or(limit.window.span.end, |scope| scope.span.end);
            limit.counter.as_ref().map_or(scope, |counter| counter.span.end)
        }
        ClauseKind::Require(cond) | ClauseKind::Deny(Some(cond)) => cond.span().end,
        ClauseKind::Deny(None) => clause.span.start + clause.shadow.as_ref().map_or("deny".len(), |_| "shadow".len()),
    }
}

/// Tells what version "1" can't carry of a clause, its conditions aside.
pub fn check(clause: &Clause, owner: Owner, told: &mut Vec<Diagnostic>) {
    let mut refuse = |code: Code, at: Span, label: &str, help: &str| {
        told.push(Diagnostic::error(code, at, label).help(help));
    };
    if let Some(shadow) = &clause.shadow {
        let help = "leave the clause out, or run it in shadow with Tollbook's own engine";
        refuse(Code::TargetShadow, shadow.clone(), "a clause that never refuses", help);
    }
    let at = head(clause);
    match &clause.kind {
        ClauseKind::Limit(limit) => {
            if let Some(because) = &clause.because {
                let help = "leave `because` out: the server words the refusal itself";
                refuse(Code::TargetLimitText, because.span.clone(), "a text that nobody would see", help);
            }
            check_limit(limit, &mut refuse);
        }
        ClauseKind::During(_) => {
            let help = "take the policy away outside office hours, or enforce the hours with Tollbook's own engine";
            refuse(Code::TargetHours, at, "hours in which calls are let through", help);
        }
        ClauseKind::Approve(_) => {
            let help = "write `deny when … because \"Requires human approval.\"`";
            refuse(Code::TargetApprove, at, "a call that waits for a person", help);
        }
        ClauseKind::Break(_) => {
            let help = "a plain limit per minute slows a loop down, though it can't see one";
            refuse(Code::TargetBreak, at, "a breaker looks at the calls before", help);
        }
        ClauseKind::Require(_) | ClauseKind::Deny(_) if owner == Owner::AllTools => {
            let help = "write the clause in a `tool` block for each tool";
            refuse(Code::TargetAllTools, at, "a clause that isn't a limit", help);
        }
        ClauseKind::Require(_) | ClauseKind::Deny(_) => {}
    }
}

fn check_limit(limit: &Limit, refuse: &mut impl FnMut(Code, Span, &str, &str)) {
    if let Some(scope) = limit.scope.as_ref().filter(|scope| scope.node != Scope::Grant) {
        let help = "write `per grant`, or leave it out";
        refuse(Code::TargetScope, scope.span.clone(), "a scope other than grant", help);
    }
    if let Some(rolling) = &limit.rolling {
        let help = "a plain window of the same length lets at most twice as many through across its edge";
        refuse(Code::TargetRolling, rolling.clone(), "a rolling window", help);
    }
    if matches!(limit.window.node, Window::Span(_)) {
        let help = "take `minute`, `hour` or `day`";
        refuse(Code::TargetWindow, limit.window.span.clone(), "a window of another length", help);
    }
    if let Some(of) = &limit.of {
        let help = "bound the amount of one call with `require`, and the number of calls with `limit`";
        refuse(Code::TargetAmount, of.span.clone(), "an amount that is added up", help);
    }
}
