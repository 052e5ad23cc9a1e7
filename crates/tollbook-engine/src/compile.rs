//! From a policy to an engine: everything that can be decided before a call comes.
//!
//! Regular expressions are compiled, rule ids are written, and for each tool that the policy names the
//! clauses that apply to it are listed in one list, so that a decision looks up one name and takes
//! only its own steps, however many tools and clauses the policy has.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;
use minicbor::{Decode, Encode};
use tollbook_policy::policy::{
    Approve, Break, Count, Default, Group, Limit, OnlyDuring, Path, Rule, Rules, Run, Scope, Selector,
};
use tollbook_policy::same::Ends;
use tollbook_policy::{Policy, glob_matches};

use crate::argument::ArgPath;
use crate::borrowed::Reads;
use crate::canonical::{hash128, policy_hash};
use crate::condition::Condition;
use crate::hours::Hours;
use crate::limit::Measure;
use crate::record::{Hash128, PolicyHash};
use crate::tool_id::tool_id;

/// A policy ready to judge the calls of one server. It never changes; what changes is [`crate::State`].
#[derive(Debug)]
pub struct Engine {
    pub(crate) server: Box<str>,
    pub(crate) hash: PolicyHash,
    /// Tells it from every other engine: policy and server.
    pub(crate) id: Hash128,
    pub(crate) default: Default,
    pub(crate) clauses: Clauses,
    blocks: Vec<Vec<Step>>,
    named: HashTable<Named>,
    /// What applies to a tool that isn't named, where names alone choose.
    unnamed: Plan,
    hidden: Vec<Selector>,
    patterns: Vec<(Vec<Selector>, usize)>,
    all_tools: Option<usize>,
    /// Whether all selectors are names; otherwise what applies to an unnamed tool is worked out.
    by_name: bool,
    /// Whether any selector is a category, so that a tool's name alone doesn't tell what applies.
    by_category: bool,
    /// Calls of a session that a breaker may look back on.
    pub(crate) look_back: usize,
    /// Longest time that a breaker looks back on.
    pub(crate) within_max_us: i64,
}

/// Every clause of a policy, by stage.
#[derive(Debug, std::default::Default)]
pub(crate) struct Clauses {
    pub require: Vec<Clause>,
    pub deny: Vec<Clause>,
    pub hours: Vec<(Hours, Text)>,
    pub breaks: Vec<BreakPlan>,
    pub limits: Vec<LimitPlan>,
    pub approve: Vec<ApprovePlan>,
}

/// One step of a judgement; a number is a clause's place among all of its stage. Sorted, steps stand in the
/// order of judgement: stage by stage, and within a stage as the blocks come, which is how they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Require(usize),
    Deny(usize),
    During(usize),
    /// An approved call skips breakers, so the approval is looked for before them.
    FindApproval,
    Break(usize),
    /// Probes a limit.
    Limit(usize),
    /// Refuses if a limit that was probed does.
    Fit,
    Approve(usize),
}

/// What applies to one tool.
#[derive(Debug, Clone, std::default::Default)]
pub(crate) struct Plan {
    pub hidden: bool,
    /// Whether a block names it.
    pub named: bool,
    /// Its identity; none where it is worked out when it is needed.
    pub tool_id: Option<u64>,
    /// The block of the tool itself, which is judged last.
    own: Option<usize>,
    /// What is asked, in the order of judgement.
    pub steps: Vec<Step>,
    /// What is read of the arguments for that, sorted; only of a plan that stands ready.
    reads: Vec<ArgPath>,
}

/// A tool that the policy names, with what applies to it.
#[derive(Debug)]
struct Named {
    ends: Ends,
    name: Box<str>,
    plan: Plan,
}

/// What every clause has: its rule id, its text and whether it only watches.
#[derive(Debug)]
pub(crate) struct Text {
    pub rule: Box<str>,
    pub message: Option<Box<str>>,
    pub shadow: bool,
}

#[derive(Debug)]
pub(crate) struct Clause {
    /// It holds when every condition of at least one list does.
    pub any_of: Vec<Vec<Condition>>,
    pub text: Text,
}

#[derive(Debug)]
pub(crate) struct BreakPlan {
    pub on: Run,
    pub after: u32,
    pub within_us: i64,
    pub text: Text,
}

impl BreakPlan {
    /// Calls of a session that it may look back on.
    fn look_back(&self) -> usize {
        let longest = if let Run::Cycle { period_max } = self.on { usize::from(period_max) } else { 1 };
        usize::try_from(self.after).unwrap_or(usize::MAX).saturating_mul(longest)
    }
}

#[derive(Debug)]
pub(crate) struct ApprovePlan {
    /// Always, where there is no list.
    pub any_of: Vec<Vec<Condition>>,
    pub within_us: i64,
    pub text: Text,
}

/// A limit with what names its counters.
#[derive(Debug)]
pub(crate) struct LimitPlan {
    /// Its place among all limits of the policy, from 0.
    pub place: usize,
    pub counter: Box<str>,
    pub owner: Owner,
    /// Whether the owner is each tool, counted apart.
    each_tool: bool,
    pub measure: Measure,
    pub scope: Scope,
    pub of: Option<(Path, Box<str>)>,
    pub shadow: bool,
    pub rule: Box<str>,
    pub message: Option<Box<str>>,
}

impl LimitPlan {
    /// The tool by which a key is told apart, if each tool is counted apart.
    pub fn tool<'a>(&self, tool: &'a str) -> &'a str {
        if self.each_tool { tool } else { "" }
    }
}

/// What owns a counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) enum Owner {
    #[n(0)]
    AllTools,
    #[n(1)]
    Group(#[n(0)] Box<str>),
    /// A tool that the policy names.
    #[n(2)]
    Tool(#[n(0)] Box<str>),
    /// Whichever tool is called, each counted apart, by the limits of this group or this pattern's block.
    #[n(3)]
    EachTool(#[n(0)] Box<str>),
}

/// Why a policy can't be made into an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// The rule, shaped like a JSON Pointer.
    pub rule: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

impl std::error::Error for CompileError {}

impl Engine {
    /// Makes an engine of a policy, for the calls of one server.
    ///
    /// # Errors
    /// A regular expression or a time zone that can't be used.
    pub fn compile(policy: &Policy, server: &str) -> Result<Self, CompileError> {
        let mut compiler = Compiler::default();
        let all_tools = match policy.all_tools.is_empty() {
            true => None,
            false => Some(compiler.block("/all_tools", &policy.all_tools, |_| Owner::AllTools)?),
        };
        let mut patterns = Vec::new();
        for group in &policy.groups {
            let block = compiler.block(&group.owner(), &group.rules, |limit| group_owner(group, limit))?;
            patterns.push((group.of.clone(), block));
        }
        for pattern in &policy.patterns {
            let owner = pattern.owner();
            let block = compiler.block(&owner, &pattern.rules, |_| Owner::EachTool(owner.as_str().into()))?;
            patterns.push((vec![pattern.of.clone()], block));
        }
        let mut own = BTreeMap::new();
        for (tool, rules) in &policy.tools {
            let owner = tollbook_policy::tool_owner(tool);
            own.insert(tool.as_str(), compiler.block(&owner, rules, |_| Owner::Tool(tool.as_str().into()))?);
        }
        let selectors = policy.hide.iter().chain(patterns.iter().flat_map(|(of, _)| of));
        let by_name = selectors.clone().all(|of| matches!(of, Selector::Name(_)));
        let by_category = selectors.clone().any(|of| matches!(of, Selector::Category(_)));
        let names: BTreeSet<String> = selectors
            .filter_map(|of| if let Selector::Name(name) = of { Some(name.as_str()) } else { None })
            .chain(own.keys().copied())
            .map(str::to_owned)
            .collect();

        let hash = policy_hash(&policy.to_json());
        let mut engine = Self {
            server: server.into(),
            hash,
            id: hash128(&[&hash.0, server.as_bytes()].concat()),
            default: policy.default,
            look_back: compiler.clauses.breaks.iter().map(BreakPlan::look_back).max().unwrap_or(0),
            within_max_us: compiler.clauses.breaks.iter().map(|plan| plan.within_us).max().unwrap_or(0),
            clauses: compiler.clauses,
            blocks: compiler.blocks,
            named: HashTable::new(),
            unnamed: Plan::default(),
            hidden: policy.hide.clone(),
            patterns,
            all_tools,
            by_name,
            by_category,
        };
        engine.unnamed.steps = engine.steps(all_tools);
        engine.unnamed.reads = engine.reads_of(&engine.unnamed.steps);
        for name in names {
            let mut plan = engine.plan_of(&name, None, own.get(name.as_str()).copied());
            plan.tool_id = Some(tool_id(&name));
            plan.reads = engine.reads_of(&plan.steps);
            let ends = Ends::of(name.as_bytes());
            let named = Named { ends, name: name.into(), plan };
            engine.named.insert_unique(ends.hash(), named, |named| named.ends.hash());
        }
        Ok(engine)
    }

    /// Hash of the policy's canonical JSON.
    #[must_use]
    pub fn policy(&self) -> PolicyHash {
        self.hash
    }

    /// The server whose calls it judges.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether the tool, of this category, doesn't exist for the agent.
    #[must_use]
    pub fn hides(&self, tool: &str, category: Option<&str>) -> bool {
        self.plan(tool, category).hidden
    }

    /// Whether the policy chooses tools by their category, so that a call has to come with its own.
    #[must_use]
    pub fn judges_by_category(&self) -> bool {
        self.by_category
    }

    /// The argument paths that are read to judge this tool, sorted, without repeats.
    #[must_use]
    pub fn reads(&self, tool: &str, category: Option<&str>) -> Cow<'_, [ArgPath]> {
        match self.ready_plan(tool) {
            Some(plan) => Cow::Borrowed(&plan.reads),
            None => Cow::Owned(self.reads_of(&self.plan(tool, category).steps)),
        }
    }

    fn reads_of(&self, steps: &[Step]) -> Vec<ArgPath> {
        let clauses = &self.clauses;
        let mut paths = Vec::new();
        for step in steps {
            let lists = match *step {
                Step::Require(place) => clauses.require.get(place).map(|clause| &clause.any_of),
                Step::Deny(place) => clauses.deny.get(place).map(|clause| &clause.any_of),
                Step::Approve(place) => clauses.approve.get(place).map(|approve| &approve.any_of),
                _ => None,
            };
            paths.extend(lists.into_iter().flatten().flatten().map(|condition| &condition.path));
            if let Step::Limit(place) = *step {
                let of = clauses.limits.get(place).and_then(|limit| limit.of.as_ref());
                paths.extend(of.map(|(path, _)| path));
            }
        }
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter().cloned().map(ArgPath::from).collect()
    }

    /// What a replay reads of recorded calls to judge them, whatever their tool.
    #[must_use]
    pub fn replay_reads(&self) -> Reads {
        let Clauses { require, deny, breaks, limits, approve, .. } = &self.clauses;
        let conditions = !require.is_empty() || !deny.is_empty() || approve.iter().any(|plan| !plan.any_of.is_empty());
        Reads {
            args: conditions || limits.iter().any(|limit| limit.of.is_some()),
            args_hash: !breaks.is_empty() || !approve.is_empty(),
            result_hash: breaks.iter().any(|plan| matches!(plan.on, Run::IdenticalResults)),
            ..Reads::default()
        }
    }

    /// What applies to a tool, where that needn't be worked out for the call: for those that the policy names,
    /// and for all others where names alone choose.
    pub(crate) fn ready_plan(&self, tool: &str) -> Option<&Plan> {
        match self.named(tool) {
            Some(plan) => (!self.by_category).then_some(plan),
            None => self.by_name.then_some(&self.unnamed),
        }
    }

    fn named(&self, tool: &str) -> Option<&Plan> {
        if self.named.is_empty() {
            return None;
        }
        let ends = Ends::of(tool.as_bytes());
        // Short names are told by their ends, which calls nothing.
        let named = match ends.are_all() {
            true => self.named.find(ends.hash(), |named| named.ends == ends),
            false => self.long_named(ends, tool),
        };
        named.map(|named| &named.plan)
    }

    #[inline(never)]
    fn long_named(&self, ends: Ends, tool: &str) -> Option<&Named> {
        self.named.find(ends.hash(), |named| named.ends == ends && *named.name == *tool)
    }

    /// What applies to a tool of this category.
    pub(crate) fn plan(&self, tool: &str, category: Option<&str>) -> Cow<'_, Plan> {
        if let Some(plan) = self.ready_plan(tool) {
            return Cow::Borrowed(plan);
        }
        let named = self.named(tool);
        let mut plan = self.plan_of(tool, category, named.and_then(|plan| plan.own));
        plan.tool_id = named.and_then(|plan| plan.tool_id);
        Cow::Owned(plan)
    }

    fn plan_of(&self, tool: &str, category: Option<&str>, own: Option<usize>) -> Plan {
        let selects = |of: &Selector| selects(of, tool, category);
        let mut plan = Plan { hidden: self.hidden.iter().any(selects), own, ..Plan::default() };
        let patterns = self.patterns.iter().filter(|(of, _)| of.iter().any(selects)).map(|(_, block)| *block);
        let named: Vec<usize> = patterns.chain(own).collect();
        plan.named = !named.is_empty();
        plan.steps = self.steps(self.all_tools.into_iter().chain(named));
        plan
    }

    /// The steps of these blocks, in the order of judgement.
    fn steps(&self, blocks: impl IntoIterator<Item = usize>) -> Vec<Step> {
        let blocks = blocks.into_iter().filter_map(|block| self.blocks.get(block));
        let mut steps: Vec<Step> = blocks.flatten().copied().collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

impl Owner {
    /// How snapshots of earlier versions tell it, if otherwise: patterns had one owner, all together.
    pub fn earlier(&self) -> Option<Self> {
        match self {
            Self::EachTool(block) if block.starts_with("/patterns/") => Some(Self::EachTool("".into())),
            _ => None,
        }
    }

    /// How a record names it; `tool` is the tool where each is counted apart.
    pub fn text<'a>(&'a self, tool: &'a str) -> &'a str {
        match self {
            Self::AllTools => "all tools",
            Self::Group(name) | Self::Tool(name) => name,
            Self::EachTool(_) => tool,
        }
    }
}

fn group_owner(group: &Group, limit: &Limit) -> Owner {
    match limit.count {
        Some(Count::Each) => Owner::EachTool(group.name.as_str().into()),
        Some(Count::Total) | None => Owner::Group(group.name.as_str().into()),
    }
}

fn selects(selector: &Selector, tool: &str, category: Option<&str>) -> bool {
    match selector {
        Selector::Name(name) => name == tool,
        Selector::Glob(glob) => glob_matches(glob, tool),
        Selector::Category(name) => category == Some(name.as_str()),
    }
}

#[derive(std::default::Default)]
struct Compiler {
    clauses: Clauses,
    blocks: Vec<Vec<Step>>,
}

impl Compiler {
    /// Adds the clauses of a block, and returns its place.
    fn block(&mut self, owner: &str, rules: &Rules, counted: impl Fn(&Limit) -> Owner) -> Result<usize, CompileError> {
        let ids = rules.ids(owner);
        let clause = |(rule, id): (&Rule, &String)| -> Result<Clause, CompileError> {
            let all = [rule.conditions.clone()];
            let lists = if rule.any_of.is_empty() { all.as_slice() } else { rule.any_of.as_slice() };
            Ok(Clause { any_of: conditions(lists, id)?, text: Text::new(id, &rule.on_deny, rule.shadow) })
        };
        let hours = |(source, id): (&OnlyDuring, &String)| {
            let compiled = Hours::compile(source).map_err(|message| CompileError { rule: id.clone(), message })?;
            Ok((compiled, Text::new(id, &source.on_deny, source.shadow)))
        };
        let breaker = |(source, id): (&Break, &String)| breaker(source, id);
        let limit = |(source, id): (&Limit, &String)| Ok(limit(source, id, counted(source)));
        let approve = |(source, id): (&Approve, &String)| {
            Ok(ApprovePlan {
                any_of: conditions(&source.any_of, id)?,
                within_us: i64::from(source.within_s) * 1_000_000,
                text: Text::new(id, &source.on_deny, source.shadow),
            })
        };
        let all = &mut self.clauses;
        let mut steps = Vec::new();
        add(&mut steps, Step::Require, &mut all.require, rules.require.iter().zip(&ids.require).map(clause))?;
        add(&mut steps, Step::Deny, &mut all.deny, rules.deny_if.iter().zip(&ids.deny_if).map(clause))?;
        add(&mut steps, Step::During, &mut all.hours, rules.only_during.iter().zip(&ids.only_during).map(hours))?;
        add(&mut steps, Step::Break, &mut all.breaks, rules.breaks.iter().zip(&ids.breaks).map(breaker))?;
        add(&mut steps, Step::Limit, &mut all.limits, rules.limits.iter().zip(&ids.limits).map(limit))?;
        all.limits.iter_mut().enumerate().for_each(|(place, limit)| limit.place = place);
        add(&mut steps, Step::Approve, &mut all.approve, rules.approve.iter().zip(&ids.approve).map(approve))?;
        steps.extend((!rules.limits.is_empty()).then_some(Step::Fit));
        steps.extend((!rules.approve.is_empty()).then_some(Step::FindApproval));
        self.blocks.push(steps);
        Ok(self.blocks.len() - 1)
    }
}

impl Text {
    fn new(rule: &str, message: &Option<String>, shadow: bool) -> Self {
        Self { rule: rule.into(), message: message.as_deref().map(Into::into), shadow }
    }
}

/// Adds a block's clauses to all of their stage, and a step for each.
fn add<T>(
    steps: &mut Vec<Step>,
    step: fn(usize) -> Step,
    all: &mut Vec<T>,
    clauses: impl Iterator<Item = Result<T, CompileError>>,
) -> Result<(), CompileError> {
    for clause in clauses {
        steps.push(step(all.len()));
        all.push(clause?);
    }
    Ok(())
}

fn breaker(source: &Break, rule: &str) -> Result<BreakPlan, CompileError> {
    let within_us = i64::from(source.within_s) * 1_000_000;
    let text = Text::new(rule, &source.on_deny, source.shadow);
    let plan = BreakPlan { on: source.on, after: source.after, within_us, text };
    let calls = plan.look_back();
    if calls > LOOK_BACK_MAX {
        let message = format!("a breaker looks back on at most {LOOK_BACK_MAX} calls; found {calls}");
        return Err(CompileError { rule: rule.to_owned(), message });
    }
    Ok(plan)
}

fn limit(source: &Limit, rule: &str, owner: Owner) -> LimitPlan {
    let micros = |count: u64| i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    LimitPlan {
        place: 0,
        counter: source.counter.as_str().into(),
        each_tool: matches!(owner, Owner::EachTool(_)),
        owner,
        measure: Measure {
            length_us: micros(source.window.seconds()).max(1),
            rolling: source.rolling,
            max_micros: micros(source.max),
        },
        scope: source.scope,
        of: source.of.as_ref().map(|path| (path.clone(), path.to_string().into())),
        shadow: source.shadow,
        rule: rule.into(),
        message: source.on_deny.as_deref().map(Into::into),
    }
}

/// Most calls of a session that a breaker may look back on: their times are kept.
pub const LOOK_BACK_MAX: usize = 1_000;

fn conditions(
    lists: &[Vec<tollbook_policy::policy::Condition>],
    rule: &str,
) -> Result<Vec<Vec<Condition>>, CompileError> {
    let compile =
        |condition| Condition::compile(condition).map_err(|message| CompileError { rule: rule.to_owned(), message });
    lists.iter().map(|list| list.iter().map(compile).collect()).collect()
}

#[cfg(test)]
mod tests;
