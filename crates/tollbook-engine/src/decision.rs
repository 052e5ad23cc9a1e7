//! What the engine answers: the verdict, and why.

use smallvec::SmallVec;
use tollbook_policy::policy::Scope;

use crate::borrowed::{ArgsRef, FactRef, RecordRef};
use crate::call::Call;
use crate::compile::{Engine, LimitPlan};
use crate::keyed::Handle;
use crate::record::{Judge, Mode, Record, RecordedArgs, Verdict};

/// The answer to one call. It borrows the rule's texts from the engine and the keys from the call.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// What becomes of the call.
    pub verdict: Verdict,
    /// Why, as a stable code.
    pub reason: Reason,
    /// The rule that decided, shaped like a JSON Pointer.
    pub rule: Option<&'a str>,
    /// The policy's own text for the agent.
    pub message: Option<&'a str>,
    /// Every limit over the call that was looked at, in the order of judgement.
    pub limits: SmallVec<[Fact<'a>; 3]>,
    /// Rules under `shadow` that would have refused or held.
    pub shadow_rules: Vec<&'a str>,
    /// The run that a breaker refused to carry on: calls in the block, and how often it stood.
    pub run: Option<(u32, u32)>,
    /// When such a call would pass, in microseconds since 1970. None where it isn't known or never will.
    pub retry_at_us: Option<i64>,
    /// Id of the approval that the call waits for, or that let it pass.
    pub approval: Option<String>,
}

/// Allowed, and nothing looked at.
impl Default for Decision<'_> {
    fn default() -> Self {
        Self {
            verdict: Verdict::Allow,
            reason: Reason::Allowed,
            rule: None,
            message: None,
            limits: SmallVec::new(),
            shadow_rules: Vec::new(),
            run: None,
            retry_at_us: None,
            approval: None,
        }
    }
}

impl Decision<'_> {
    /// Makes it the [default](Self::default), in place.
    #[inline]
    pub(crate) fn clear(&mut self) {
        let Self { verdict, reason, rule, message, limits, shadow_rules, run, retry_at_us, approval } = self;
        (*verdict, *reason, *rule, *message) = (Verdict::Allow, Reason::Allowed, None, None);
        (*run, *retry_at_us, *approval) = (None, None, None);
        limits.clear();
        shadow_rules.clear();
    }

    /// What the agent is told: the policy's own text, or else the reason's.
    #[must_use]
    pub fn text(&self) -> &str {
        self.message.unwrap_or(self.reason.text())
    }

    /// The call with this decision, as it is recorded. What only the edge knows is left for it to fill
    /// in: the request's id, the time the decision took, the mode, the trace, the call that it continues.
    #[must_use]
    pub fn to_record(&self, engine: &Engine, call: &Call<'_>, args: RecordedArgs) -> Record {
        Record { args, ..self.record(engine, call).to_record() }
    }

    /// The same, borrowed, and without the arguments.
    #[must_use]
    pub fn record<'r>(&'r self, engine: &'r Engine, call: &Call<'r>) -> RecordRef<'r> {
        RecordRef {
            judged_by: Judge::Engine,
            server: engine.server(),
            session: call.session,
            grant: call.grant,
            agent: call.agent,
            request_id: None,
            tool: Some(call.tool),
            args: ArgsRef::default(),
            policy: Some(engine.policy()),
            mode: Mode::Enforce,
            verdict: Some(self.verdict),
            reason: Some(self.reason.code()),
            rule: self.rule,
            message: (self.verdict != Verdict::Allow).then(|| self.text()),
            limits: self.limits.iter().map(|fact| fact.record(call.tool)).collect(),
            decide_ns: None,
            trace_id: None,
            label: None,
            shadow_rules: self.shadow_rules.clone(),
            loop_period: self.run.map(|(period, _)| period),
            loop_repeats: self.run.map(|(_, repeats)| repeats),
            approval: self.approval.as_deref(),
            category: call.category,
            continues: None,
        }
    }
}

/// Why a call was decided as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing refused it.
    Allowed,
    /// No policy is in force for the server and the grant.
    NoPolicy,
    /// The tool is hidden.
    Hidden,
    /// Nothing names the tool, and the default is to deny.
    DefaultDeny,
    /// A `require` isn't true.
    Require,
    /// A `deny` is true.
    Deny,
    /// Outside the hours.
    OnlyDuring,
    /// It would carry on a run of calls.
    Break,
    /// A limit is reached.
    Limit,
    /// The argument that a limit adds up is missing, negative, no number, or finer than a millionth.
    AmountInvalid,
    /// It waits for a person.
    ApprovalNeeded,
    /// A person refused it.
    ApprovalRefused,
    /// The engine's memory is at its bound.
    StateFull,
    /// The log didn't keep what the policy reads.
    Unrecorded,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NoPolicy => "no_policy",
            Self::Hidden => "hidden",
            Self::DefaultDeny => "default_deny",
            Self::Require => "require",
            Self::Deny => "deny",
            Self::OnlyDuring => "only_during",
            Self::Break => "break",
            Self::Limit => "limit",
            Self::AmountInvalid => "amount_invalid",
            Self::ApprovalNeeded => "approval_needed",
            Self::ApprovalRefused => "approval_refused",
            Self::StateFull => "state_full",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// What the agent is told where the policy has no text of its own. It says nothing of the policy.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Allowed => "The call is allowed.",
            Self::NoPolicy => "No policy allows this call.",
            Self::Hidden => "Unknown tool.",
            Self::DefaultDeny => "This tool is not allowed.",
            Self::Require | Self::Deny => "These arguments are not allowed.",
            Self::OnlyDuring => "This tool is closed at this hour.",
            Self::Break => "This call repeats itself; do something else.",
            Self::Limit => "The limit for this call is reached.",
            Self::AmountInvalid => "The amount is missing or cannot be counted.",
            Self::ApprovalNeeded => "This call waits for a person's approval.",
            Self::ApprovalRefused => "A person refused this call.",
            Self::StateFull => "Too much is going on; try again later.",
            Self::Unrecorded => "The record does not tell.",
        }
    }
}

/// A limit as a call met it.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    pub(crate) plan: &'a LimitPlan,
    /// Place of the counter in the state, and of the key, where it is there.
    pub(crate) counter: u32,
    pub(crate) held: Option<Handle>,
    /// The scope's value: the grant's name, the session's, ….
    pub key: &'a str,
    /// Where the window began, in microseconds since 1970.
    pub window_start_us: i64,
    /// What it held before this call, in millionths.
    pub used_before_micros: i64,
    /// What this call would add, in millionths. None where there is no usable amount.
    pub amount_micros: Option<i64>,
    /// Whether the call fits.
    pub fits: bool,
    /// When such a call fits again. None where it fits now, or never will.
    pub frees_at_us: Option<i64>,
}

impl Fact<'_> {
    /// The limit's rule, shaped like a JSON Pointer.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.plan.rule
    }

    /// Name of the counter.
    #[must_use]
    pub fn counter(&self) -> &str {
        &self.plan.counter
    }

    /// Place of the limit among all of its policy, from 0, whatever the server.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.plan.place
    }

    /// Whose calls are counted together.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.plan.scope
    }

    /// What the window admits, in millionths.
    #[must_use]
    pub fn max_micros(&self) -> i64 {
        self.plan.measure.max_micros
    }

    /// Whether it is measured and never enforced.
    #[must_use]
    pub fn shadow(&self) -> bool {
        self.plan.shadow
    }

    /// The fact of a call of `tool` as it is recorded.
    fn record<'r>(&'r self, tool: &'r str) -> FactRef<'r> {
        FactRef {
            counter: &self.plan.counter,
            owner: self.plan.owner.text(tool),
            scope: self.plan.scope.as_str(),
            key: self.key,
            window_s: u64::try_from(self.plan.measure.length_us / 1_000_000).unwrap_or(0),
            rolling: self.plan.measure.rolling,
            window_start_us: self.window_start_us,
            used_before_micros: self.used_before_micros,
            amount_micros: self.amount_micros,
            max_micros: self.plan.measure.max_micros,
            frees_at_us: self.frees_at_us,
            shadow: self.plan.shadow,
        }
    }
}
