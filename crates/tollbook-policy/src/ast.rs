//! The syntax tree: what the text says, with the place of everything.
//!
//! It is what was written and nothing more: blocks that name the same tool stay apart, `not` and
//! `or` stay where they are, a number that is out of range is still here. Meaning is `lower`'s.

use crate::diagnostic::Span;
use crate::policy::{Count, Day, Default, Duration, Literal, Path, Scope, Selector, Window};

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The place.
    pub span: Span,
    /// The thing.
    pub node: T,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, std::default::Default)]
pub struct File {
    /// `policy "NAME"`
    pub name: Option<Spanned<String>>,
    /// `default deny`
    pub default: Option<Spanned<Default>>,
    /// What follows, in order.
    pub items: Vec<Item>,
}

/// One thing at the outermost level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `allow a, b`
    Allow(Vec<Name>),
    /// `hide a, b`
    Hide(Vec<Name>),
    /// `tool a, b { … }`
    Tool(Vec<Name>, Vec<Clause>),
    /// `group g of a, b { … }`
    Group(Spanned<String>, Vec<Name>, Vec<Clause>),
    /// `all tools { … }`
    AllTools(Vec<Clause>),
    /// `test "…" { … }`
    Test(Test),
}

/// Which tools are meant.
pub type Name = Spanned<Selector>;

/// A clause of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// From its first word to its last.
    pub span: Span,
    /// The word `shadow` before it.
    pub shadow: Option<Span>,
    /// What it says.
    pub kind: ClauseKind,
    /// `because "…"`, with the place of the whole phrase.
    pub because: Option<Spanned<String>>,
}

/// What a clause says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClauseKind {
    /// `limit …`
    Limit(Limit),
    /// `require COND`
    Require(Cond),
    /// `deny [when COND]`
    Deny(Option<Cond>),
    /// `only during …`
    During(During),
    /// `approve by …`
    Approve(Approve),
    /// `break after …`
    Break(Break),
}

/// `limit 30 of args.amount per rolling hour per session as name`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// `total` or `each`.
    pub count: Option<Spanned<Count>>,
    /// How much; None if it isn't a whole number.
    pub max: Int,
    /// The argument that is added up.
    pub of: Option<Spanned<Path>>,
    /// The word `rolling`.
    pub rolling: Option<Span>,
    /// The window's length.
    pub window: Spanned<Window>,
    /// Whose calls are counted together.
    pub scope: Option<Spanned<Scope>>,
    /// Name of the counter.
    pub counter: Option<Spanned<String>>,
}

/// A whole number as it was written; None if it isn't one, or is beyond 64 bits.
pub type Int = Spanned<Option<u64>>;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cond {
    /// Any of these, with the place of the first `or`; two at least.
    Or(Vec<Cond>, Span),
    /// All of these; two at least.
    And(Vec<Cond>),
    /// Not this.
    Not(Box<Cond>),
    /// One comparison.
    Test(Comparison),
}

/// `args.amount > 0`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The whole of it.
    pub span: Span,
    /// What is looked at.
    pub path: Spanned<Path>,
    /// How, and with what.
    pub op: TestOp,
}

/// How an argument is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestOp {
    /// `== != < <= > >=`
    Compare(Relation, Spanned<Literal>),
    /// `[not] in [ … ]`
    In {
        /// Whether `not` stands before it.
        negated: bool,
        /// The list.
        list: Vec<Literal>,
    },
    /// `exists`, or `missing`
    Exists(bool),
    /// `matches "…"`
    Matches(Spanned<String>),
    /// `contains VALUE`
    Contains(Literal),
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the six relations")]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `only during mon..fri 08:00..18:00 "Europe/London"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct During {
    /// First and last day of each range, both included.
    pub days: Vec<(Day, Day)>,
    /// Minute of the day at which the hours begin.
    pub from_minute: u16,
    /// Minute of the day at which they end.
    pub to_minute: u16,
    /// Name of the time zone.
    pub zone: Spanned<String>,
}

/// `approve by "finance" when COND within 15m`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// Who approves.
    pub by: Spanned<String>,
    /// When.
    pub when: Option<Cond>,
    /// For how long.
    pub within: Option<Spanned<Duration>>,
}

/// `break after 3 identical calls within 5m`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// How many alike.
    pub after: Int,
    /// Alike in what.
    pub on: BreakOn,
    /// For how long.
    pub within: Spanned<Duration>,
}

/// What makes a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakOn {
    /// `identical calls`
    IdenticalCalls,
    /// `identical results`
    IdenticalResults,
    /// `failures`
    Failures,
    /// `repeats of a cycle up to N calls`
    Cycle(Int),
}

/// `test "…" { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What it holds to be true.
    pub name: Spanned<String>,
    /// What happens, in order.
    pub steps: Vec<Spanned<Step>>,
}

/// A step of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `at 2026-01-05T09:00:00Z`, in microseconds since 1970, UTC.
    At {
        /// The instant.
        ts_us: i64,
    },
    /// `wait 5m`
    Wait(Duration),
    /// `as session "s1"`: whose calls follow.
    As(Scope, String),
    /// `approve last`, or `refuse last`
    Approval {
        /// Whether it is given.
        given: bool,
    },
    /// `3 x call …`
    Call(Box<Call>),
}

/// Calls of a test and what is expected of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How many; 1 unless given.
    pub times: Int,
    /// The tool.
    pub tool: Name,
    /// The arguments: the JSON text of an object.
    pub args: Spanned<String>,
    /// Whether each call gets a distinct `"_n"`.
    pub vary: bool,
    /// Time between two calls.
    pub every: Option<Duration>,
    /// How the call ends; `ok` with a result of its own unless given.
    pub outcome: Option<Outcome>,
    /// What the engine must answer.
    pub verdict: Verdict,
}

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `ok`, with the result's text where one is given.
    Ok(Option<String>),
    /// `error`: a result that says so.
    Error,
    /// `rpc_error`
    RpcError,
    /// `unreachable`
    Unreachable,
}

/// What is expected of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Allow, deny or hold.
    pub decision: Decision,
    /// `by NAME`: the counter, group or kind of clause that decides.
    pub by: Option<String>,
    /// `because "…"`: the text for the agent.
    pub because: Option<String>,
}

/// What the engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the three decisions")]
pub enum Decision {
    Allow,
    Deny,
    Hold,
}

impl Cond {
    /// The first comparison's place to the last one's.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Test(comparison) => comparison.span.clone(),
            Self::Not(inner) => inner.span(),
            Self::And(all) | Self::Or(all, _) => {
                let start = all.first().map_or(0, |first| first.span().start);
                start..all.last().map_or(start, |last| last.span().end)
            }
        }
    }
}
