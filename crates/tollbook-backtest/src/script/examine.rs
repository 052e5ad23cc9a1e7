//! One call, and every clause that was looked at.
//!
//! The decision is the engine's. What each clause makes of the call is the engine's answer as well, to
//! a policy that holds this clause and no other.

use tollbook_engine::{Bounds, Call, CompileError, Engine, State, Verdict};
use tollbook_policy::policy::{Default, Rules};
use tollbook_policy::{Category, Policy, RuleIds};

/// A clause that applies to the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The rule's id.
    pub rule: String,
    /// What it makes of the call.
    pub looked: Looked,
    /// Whether it only watches.
    pub shadow: bool,
}

/// What a clause makes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// It lets it through.
    Passes,
    /// It refuses it.
    Refuses,
    /// It holds it for a person.
    Holds,
    /// An earlier one had decided.
    NotLookedAt,
}

/// Every clause that applies to a first call, in the order of judgement.
///
/// # Errors
/// The policy can't be made into an engine.
pub fn examine(policy: &Policy, server: &str, call: &Call<'_>) -> Result<Vec<Examined>, CompileError> {
    let blocks = policy.blocks_over(call.tool, Category::by_name(call.tool).name());
    let mut examined = Vec::new();
    let mut decided = false;
    for stage in 0..STAGES {
        for (rules, ids) in &blocks {
            for (rule, alone, shadow) in clauses(rules, ids, stage) {
                let looked = if decided {
                    Looked::NotLookedAt
                } else {
                    let alone = Policy { default: Default::Allow, all_tools: alone, ..empty() };
                    let engine = Engine::compile(&alone, server)?;
                    match engine.decide(&mut State::new(Bounds::default(), 0), 1, call).verdict {
                        Verdict::Allow => Looked::Passes,
                        Verdict::Hold => Looked::Holds,
                        Verdict::Deny | Verdict::Unknown => Looked::Refuses,
                    }
                };
                decided |= !shadow && matches!(looked, Looked::Refuses | Looked::Holds);
                examined.push(Examined { rule, looked, shadow });
            }
        }
    }
    Ok(examined)
}

fn empty() -> Policy {
    Policy {
        name: None,
        default: Default::Allow,
        hide: Vec::new(),
        all_tools: Rules::default(),
        groups: Vec::new(),
        patterns: Vec::new(),
        tools: std::collections::BTreeMap::new(),
    }
}

/// Stages of judgement.
const STAGES: usize = 6;

/// The clauses of one stage, each as rules of its own without `shadow`, so that it shows what it says.
fn clauses(rules: &Rules, ids: &RuleIds, stage: usize) -> Vec<(String, Rules, bool)> {
    fn each<T: Clone>(
        entries: &[T],
        ids: &[String],
        shadow: impl Fn(&mut T) -> &mut bool,
        alone: impl Fn(T) -> Rules,
    ) -> Vec<(String, Rules, bool)> {
        let one = |(entry, id): (&T, &String)| {
            let mut entry = entry.clone();
            let was = std::mem::take(shadow(&mut entry));
            (id.clone(), alone(entry), was)
        };
        entries.iter().zip(ids).map(one).collect()
    }
    let none = Rules::default;
    match stage {
        0 => each(&rules.require, &ids.require, |e| &mut e.shadow, |e| Rules { require: vec![e], ..none() }),
        1 => each(&rules.deny_if, &ids.deny_if, |e| &mut e.shadow, |e| Rules { deny_if: vec![e], ..none() }),
        2 => {
            each(&rules.only_during, &ids.only_during, |e| &mut e.shadow, |e| Rules { only_during: vec![e], ..none() })
        }
        3 => each(&rules.breaks, &ids.breaks, |e| &mut e.shadow, |e| Rules { breaks: vec![e], ..none() }),
        4 => each(&rules.limits, &ids.limits, |e| &mut e.shadow, |e| Rules { limits: vec![e], ..none() }),
        _ => each(&rules.approve, &ids.approve, |e| &mut e.shadow, |e| Rules { approve: vec![e], ..none() }),
    }
}
