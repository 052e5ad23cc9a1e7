//! The policy: what the JSON document says, in Rust.
//!
//! This is what the engine compiles and what every front end (the language, JSON, importers) makes.
//! Version "1" is the JSON policy format and nothing else; "tollbook/1" is its superset. Anything
//! that needs the superset is told by [`Policy::version`], so that a reader that knows only "1"
//! refuses the whole document rather than silently skipping a rule.

use std::collections::BTreeMap;
use std::fmt;

use crate::Decimal;
use crate::catalog::glob_matches;

/// Largest `max` of a limit: a trillion, so that millionths of it fit in 63 bits.
pub const LIMIT_MAX: u64 = 1_000_000_000_000;

/// Most calls that a rolling limit can count: each of them is kept while it is in the window.
pub const ROLLING_MAX: u64 = 10_000;

/// A whole policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What its author calls it. Kept in "tollbook/1" only.
    pub name: Option<String>,
    /// What becomes of a tool that nothing names.
    pub default: Default,
    /// Tools that don't exist for the agent, in source order.
    pub hide: Vec<Selector>,
    /// Rules over every call; its limits count all tools together.
    pub all_tools: Rules,
    /// Groups, in source order.
    pub groups: Vec<Group>,
    /// Rules for tools chosen by glob or category, in source order.
    pub patterns: Vec<Pattern>,
    /// Rules by exact tool name. An empty one permits the tool.
    pub tools: BTreeMap<String, Rules>,
}

/// What becomes of a tool that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It may be called.
    Allow,
    /// It is refused.
    Deny,
}

/// Which tools a name in the policy means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// Exactly this tool.
    Name(String),
    /// Tools whose name the glob matches; `*` stands for any characters, none included.
    Glob(String),
    /// Tools of a category, such as `write`.
    Category(String),
}

impl Selector {
    /// Whether it means this tool, which is of this category.
    #[must_use]
    pub fn chooses(&self, tool: &str, category: &str) -> bool {
        match self {
            Self::Name(name) => tool == name,
            Self::Glob(glob) => glob_matches(glob, tool),
            Self::Category(chosen) => category == chosen,
        }
    }
}

/// Rules that may count their members together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name, the owner of its counters.
    pub name: String,
    /// Its members.
    pub of: Vec<Selector>,
    /// The rules.
    pub rules: Rules,
}

/// The same rules for each tool that a selector chooses, counted apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// A glob or a category, never a name.
    pub of: Selector,
    /// The rules.
    pub rules: Rules,
}

/// The clauses of one block, each kind in source order.
#[derive(Debug, Clone, PartialEq, Eq, std::default::Default)]
pub struct Rules {
    /// Each must be true.
    pub require: Vec<Rule>,
    /// Any that is true refuses.
    pub deny_if: Vec<Rule>,
    /// Hours in which calls are let through.
    pub only_during: Vec<OnlyDuring>,
    /// Breakers.
    pub breaks: Vec<Break>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// Calls that wait for a person.
    pub approve: Vec<Approve>,
}

/// A `require` or a `deny_if` entry.
///
/// It is true when every condition is. `any_of` (superset, `require` alone) makes it true when every
/// condition of at least one of its lists is; a rule has conditions or `any_of`, never both.
#[derive(Debug, Clone, PartialEq, Eq, std::default::Default)]
pub struct Rule {
    /// All of these; none means always true.
    pub conditions: Vec<Condition>,
    /// Or all of one of these.
    pub any_of: Vec<Vec<Condition>>,
    /// Text for the agent.
    pub on_deny: Option<String>,
    /// Judged and recorded, never refusing.
    pub shadow: bool,
}

/// One comparison. It is true, false or unknown; only true acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The argument that is looked at.
    pub path: Path,
    /// How.
    pub op: Op,
    /// With what.
    pub value: Literal,
}

/// Where a value lies in a call's arguments: `args.metadata.test`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The keys after `args`, outermost first; none means the arguments themselves.
    pub keys: Vec<String>,
}

/// An operator of the JSON format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Equal, types included.
    Eq,
    /// Not equal.
    Neq,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lte,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gte,
    /// Equal to one of a list.
    In,
    /// Equal to none of a list.
    NotIn,
    /// There (`true`) or missing (`false`); null is missing.
    Exists,
    /// A regular expression finds a match in the string.
    Regex,
    /// The string has the substring, or the array the element.
    Contains,
    /// The opposite of [`Op::Regex`]; "tollbook/1" only.
    NotRegex,
    /// The opposite of [`Op::Contains`]; "tollbook/1" only.
    NotContains,
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `true` or `false`
    Bool(bool),
    /// An exact number.
    Number(Decimal),
    /// A string.
    String(String),
    /// A list, for [`Op::In`] and [`Op::NotIn`].
    List(Vec<Literal>),
}

/// How much may be let through in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Name of the counter.
    pub counter: String,
    /// In a group: all members together, or each alone. None elsewhere.
    pub count: Option<Count>,
    /// Length of the window.
    pub window: Window,
    /// Exact rolling window rather than one aligned in UTC.
    pub rolling: bool,
    /// Calls, or units of `of`, that a window admits. Zero refuses every call.
    pub max: u64,
    /// The argument that is added up; none counts calls.
    pub of: Option<Path>,
    /// Whose calls are counted together.
    pub scope: Scope,
    /// Text for the agent.
    pub on_deny: Option<String>,
    /// Judged and recorded, never refusing.
    pub shadow: bool,
}

/// How a group's limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// One bucket for the group.
    Total,
    /// One bucket for every member.
    Each,
}

/// Length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
    /// 86,400 s.
    Day,
    /// Any other length; a plain window's divides a day.
    Span(Duration),
}

/// A length of time as it is written: `90s`, `15m`, `2h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Duration {
    /// How many, at least 1.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One bearer token, or the process on stdio.
    Grant,
    /// One conversation.
    Session,
    /// One client program.
    Agent,
    /// One server.
    Server,
    /// All.
    Everyone,
}

/// Hours in which calls are let through: `[from, to)` on local clocks of `zone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyDuring {
    /// Days on which the hours begin, Monday first, without repeats.
    pub days: Vec<Day>,
    /// Minute of the day at which they begin, 0 to 1439.
    pub from_minute: u16,
    /// Minute of the day at which they end; at or before `from_minute` means on the next day.
    pub to_minute: u16,
    /// IANA name of the time zone.
    pub zone: String,
    /// Text for the agent.
    pub on_deny: Option<String>,
    /// Judged and recorded, never refusing.
    pub shadow: bool,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Refuses a call that would carry on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// What makes a run.
    pub on: Run,
    /// How many alike in a row, at least 1.
    pub after: u32,
    /// Seconds within which the run must have begun.
    pub within_s: u32,
    /// Text for the agent.
    pub on_deny: Option<String>,
    /// Judged and recorded, never refusing.
    pub shadow: bool,
}

/// What makes a run of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Run {
    /// Same tool, same canonical arguments.
    IdenticalCalls,
    /// Same tool, same bytes of result.
    IdenticalResults,
    /// Same tool, ended in an error.
    Failures,
    /// A sequence of 2 to `period_max` calls, repeated.
    Cycle {
        /// Longest sequence, 2 to 8.
        period_max: u8,
    },
}

/// Calls that wait for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// Who approves.
    pub by: String,
    /// When; no list means always, otherwise all conditions of at least one list.
    pub any_of: Vec<Vec<Condition>>,
    /// Seconds from hold to approval, and again from approval to the pass.
    pub within_s: u32,
    /// Text for the agent.
    pub on_deny: Option<String>,
    /// Judged and recorded, never holding.
    pub shadow: bool,
}

impl Day {
    /// The days of a week, Monday first.
    pub const WEEK: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// From `first` to `last`, both included; over the week's end where `last` comes earlier in it.
    pub fn range(first: Self, last: Self) -> impl Iterator<Item = Self> {
        let inside = move |day: &Self| match first <= last {
            true => (first..=last).contains(day),
            false => *day >= first || *day <= last,
        };
        Self::WEEK.into_iter().filter(inside)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        })
    }
}

impl Duration {
    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        u64::from(self.count)
            * match self.unit {
                Unit::Second => 1,
                Unit::Minute => 60,
                Unit::Hour => 3_600,
                Unit::Day => 86_400,
            }
    }
}

impl Window {
    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Span(duration) => duration.seconds(),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
            Unit::Day => 'd',
        };
        write!(f, "{}{unit}", self.count)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minute => f.write_str("minute"),
            Self::Hour => f.write_str("hour"),
            Self::Day => f.write_str("day"),
            Self::Span(duration) => duration.fmt(f),
        }
    }
}

impl Scope {
    /// The word in policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Server => "server",
            Self::Everyone => "everyone",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Exists => "exists",
            Self::Regex => "regex",
            Self::Contains => "contains",
            Self::NotRegex => "not_regex",
            Self::NotContains => "not_contains",
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdenticalCalls => "identical_calls",
            Self::IdenticalResults => "identical_results",
            Self::Failures => "failures",
            Self::Cycle { .. } => "cycle",
        })
    }
}

/// `args.a.b`; a key that isn't a plain word is written `args["a.b"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("args")?;
        for key in &self.keys {
            if is_word(key) {
                write!(f, ".{key}")?;
            } else {
                write!(f, "[{}]", crate::json::quote(key))?;
            }
        }
        Ok(())
    }
}

/// A letter or `_`, then letters, digits, `_` and `-`: what the language reads without quotes.
#[must_use]
pub fn is_word(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
