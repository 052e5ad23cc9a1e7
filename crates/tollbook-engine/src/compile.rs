//! From a policy to an engine: everything that can be decided before a call comes.
//!
//! Regular expressions are compiled, rule ids are written, and for each tool that the policy names the
//! blocks that apply to it are listed, so that a decision looks up one name and visits only its own
//! clauses, however many tools the policy has.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use minicbor::{Decode, Encode};
use tollbook_policy::policy::{Count, Default, Group, Limit, Path, Rule, Rules, Run, Scope, Selector};
use tollbook_policy::{Policy, glob_matches};

use crate::canonical::{hash128, policy_hash};
use crate::condition::Condition;
use crate::hours::Hours;
use crate::limit::Measure;
use crate::record::PolicyHash;

/// A policy ready to judge the calls of one server. It never changes; what changes is [`crate::State`].
#[derive(Debug)]
pub struct Engine {
    pub(crate) server: Box<str>,
    pub(crate) hash: PolicyHash,
    pub(crate) default: Default,
    pub(crate) blocks: Vec<Block>,
    named: HashMap<Box<str>, Plan, foldhash::fast::FixedState>,
    hidden: Vec<Selector>,
    patterns: Vec<(Vec<Selector>, u32)>,
    all_tools: Option<u32>,
    /// Whether any selector is a category, so that a tool's name alone doesn't tell what applies.
    by_category: bool,
    /// Calls of a session that a breaker may look back on.
    pub(crate) look_back: usize,
    /// Longest time that a breaker looks back on.
    pub(crate) within_max_us: i64,
}

/// What applies to one tool.
#[derive(Debug, Clone, std::default::Default)]
pub(crate) struct Plan {
    pub hidden: bool,
    /// Whether a block names it.
    pub named: bool,
    /// Its identity; none where it is worked out when it is needed.
    pub tool_id: Option<u64>,
    pub blocks: smallvec::SmallVec<[u32; 4]>,
    /// The block of the tool itself, which is judged last.
    pub own: Option<u32>,
    pub stages: Stages,
}

/// The stages in which any clause of a tool's blocks has a say: the others aren't visited.
#[derive(Debug, Clone, Copy, std::default::Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each stage, read one by one")]
pub(crate) struct Stages {
    pub require: bool,
    pub deny: bool,
    pub hours: bool,
    pub breaks: bool,
    pub limits: bool,
    pub approve: bool,
}

impl Stages {
    fn of<'a>(blocks: impl Iterator<Item = &'a Block>) -> Self {
        blocks.fold(Self::default(), |stages, block| Self {
            require: stages.require || !block.require.is_empty(),
            deny: stages.deny || !block.deny.is_empty(),
            hours: stages.hours || !block.hours.is_empty(),
            breaks: stages.breaks || !block.breaks.is_empty(),
            limits: stages.limits || !block.limits.is_empty(),
            approve: stages.approve || !block.approve.is_empty(),
        })
    }
}

/// The clauses of one block of the policy.
#[derive(Debug)]
pub(crate) struct Block {
    pub require: Vec<Clause>,
    pub deny: Vec<Clause>,
    pub hours: Vec<(Hours, Text)>,
    pub breaks: Vec<BreakPlan>,
    pub limits: Vec<LimitPlan>,
    pub approve: Vec<ApprovePlan>,
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
    pub counter: Box<str>,
    pub owner: Owner,
    pub measure: Measure,
    pub scope: Scope,
    pub of: Option<(Path, Box<str>)>,
    pub shadow: bool,
    pub rule: Box<str>,
    pub message: Option<Box<str>>,
    /// Place among all the limits of the engine.
    pub index: usize,
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
    /// Whichever tool is called, each counted apart.
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
            let block = compiler.block(&pattern.owner(), &pattern.rules, |_| Owner::EachTool("".into()))?;
            patterns.push((vec![pattern.of.clone()], block));
        }
        let mut own = BTreeMap::new();
        for (tool, rules) in &policy.tools {
            let owner = tollbook_policy::tool_owner(tool);
            own.insert(tool.as_str(), compiler.block(&owner, rules, |_| Owner::Tool(tool.as_str().into()))?);
        }
        let selectors = policy.hide.iter().chain(patterns.iter().flat_map(|(of, _)| of));
        let by_category = selectors.clone().any(|of| matches!(of, Selector::Category(_)));
        let names: BTreeSet<String> = selectors
            .filter_map(|of| if let Selector::Name(name) = of { Some(name.as_str()) } else { None })
            .chain(own.keys().copied())
            .map(str::to_owned)
            .collect();

        let mut engine = Self {
            server: server.into(),
            hash: policy_hash(&policy.to_json()),
            default: policy.default,
            look_back: compiler.look_back,
            within_max_us: compiler.within_max_us,
            blocks: compiler.blocks,
            named: HashMap::default(),
            hidden: policy.hide.clone(),
            patterns,
            all_tools,
            by_category,
        };
        for name in names {
            let mut plan = engine.plan_of(&name, None, own.get(name.as_str()).copied());
            plan.tool_id = Some(tool_id(&name));
            engine.named.insert(name.into(), plan);
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
    pub fn reads(&self, tool: &str, category: Option<&str>) -> Vec<&Path> {
        let plan = self.plan(tool, category);
        let blocks = plan.blocks.iter().filter_map(|index| self.block(*index));
        let paths = blocks.flat_map(|block| {
            let clauses = block.require.iter().chain(&block.deny).map(|clause| &clause.any_of);
            let lists = clauses.chain(block.approve.iter().map(|approve| &approve.any_of)).flatten();
            let amounts = block.limits.iter().filter_map(|limit| limit.of.as_ref()).map(|(path, _)| path);
            lists.flatten().map(|condition| &condition.path).chain(amounts)
        });
        paths.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(usize::try_from(index).ok()?)
    }

    fn plan(&self, tool: &str, category: Option<&str>) -> std::borrow::Cow<'_, Plan> {
        match self.ready_plan(tool) {
            Some(plan) => std::borrow::Cow::Borrowed(plan),
            None => std::borrow::Cow::Owned(self.made_plan(tool, category)),
        }
    }

    /// What applies to a tool that the policy names, where its name alone tells.
    pub(crate) fn ready_plan(&self, tool: &str) -> Option<&Plan> {
        if self.by_category { None } else { self.named.get(tool) }
    }

    /// What applies to a tool that isn't named, or whose category has a say.
    pub(crate) fn made_plan(&self, tool: &str, category: Option<&str>) -> Plan {
        let named = if self.by_category { self.named.get(tool) } else { None };
        let mut plan = self.plan_of(tool, category, named.and_then(|plan| plan.own));
        plan.tool_id = named.and_then(|plan| plan.tool_id);
        plan
    }

    fn plan_of(&self, tool: &str, category: Option<&str>, own: Option<u32>) -> Plan {
        let selects = |of: &Selector| selects(of, tool, category);
        let mut plan = Plan { hidden: self.hidden.iter().any(selects), own, ..Plan::default() };
        plan.blocks.extend(self.all_tools);
        for (_, block) in self.patterns.iter().filter(|(of, _)| of.iter().any(selects)) {
            plan.named = true;
            plan.blocks.push(*block);
        }
        plan.named |= own.is_some();
        plan.blocks.extend(own);
        plan.stages = self.stages(&plan);
        plan
    }

    fn stages(&self, plan: &Plan) -> Stages {
        Stages::of(plan.blocks.iter().filter_map(|index| self.block(*index)))
    }
}

impl Owner {
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
    blocks: Vec<Block>,
    limits_count: usize,
    look_back: usize,
    within_max_us: i64,
}

impl Compiler {
    fn block(&mut self, owner: &str, rules: &Rules, counted: impl Fn(&Limit) -> Owner) -> Result<u32, CompileError> {
        let ids = rules.ids(owner);
        let text = |rule: &String, message: &Option<String>, shadow: bool| Text {
            rule: rule.as_str().into(),
            message: message.as_deref().map(Into::into),
            shadow,
        };
        let clause = |(rule, id): (&Rule, &String)| -> Result<Clause, CompileError> {
            let all = [rule.conditions.clone()];
            let lists = if rule.any_of.is_empty() { all.as_slice() } else { rule.any_of.as_slice() };
            Ok(Clause { any_of: conditions(lists, id)?, text: text(id, &rule.on_deny, rule.shadow) })
        };
        let require = rules.require.iter().zip(&ids.require).map(clause).collect::<Result<_, _>>()?;
        let deny = rules.deny_if.iter().zip(&ids.deny_if).map(clause).collect::<Result<_, _>>()?;
        let mut hours = Vec::new();
        for (source, id) in rules.only_during.iter().zip(&ids.only_during) {
            let compiled = Hours::compile(source).map_err(|message| CompileError { rule: id.clone(), message })?;
            hours.push((compiled, text(id, &source.on_deny, source.shadow)));
        }
        let mut breaks = Vec::new();
        for (source, id) in rules.breaks.iter().zip(&ids.breaks) {
            let longest = if let Run::Cycle { period_max } = source.on { usize::from(period_max) } else { 1 };
            let calls = usize::try_from(source.after).unwrap_or(usize::MAX).saturating_mul(longest);
            if calls > LOOK_BACK_MAX {
                let message = format!("a breaker looks back on at most {LOOK_BACK_MAX} calls; found {calls}");
                return Err(CompileError { rule: id.clone(), message });
            }
            self.look_back = self.look_back.max(calls);
            let within_us = i64::from(source.within_s) * 1_000_000;
            self.within_max_us = self.within_max_us.max(within_us);
            breaks.push(BreakPlan {
                on: source.on,
                after: source.after,
                within_us,
                text: text(id, &source.on_deny, source.shadow),
            });
        }
        let mut limits = Vec::new();
        for (source, id) in rules.limits.iter().zip(&ids.limits) {
            limits.push(self.limit(source, id, counted(source)));
        }
        let mut approve = Vec::new();
        for (source, id) in rules.approve.iter().zip(&ids.approve) {
            approve.push(ApprovePlan {
                any_of: conditions(&source.any_of, id)?,
                within_us: i64::from(source.within_s) * 1_000_000,
                text: text(id, &source.on_deny, source.shadow),
            });
        }
        self.blocks.push(Block { require, deny, hours, breaks, limits, approve });
        Ok(u32::try_from(self.blocks.len() - 1).unwrap_or(u32::MAX))
    }

    fn limit(&mut self, source: &Limit, rule: &str, owner: Owner) -> LimitPlan {
        let micros = |count: u64| i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        self.limits_count += 1;
        LimitPlan {
            counter: source.counter.as_str().into(),
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
            index: self.limits_count - 1,
        }
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

/// Identity of a tool, for telling its calls from another's.
pub(crate) fn tool_id(tool: &str) -> u64 {
    hash128(tool.as_bytes()).first_64()
}

#[cfg(test)]
mod tests;
