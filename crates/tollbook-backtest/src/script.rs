//! The `test` blocks of a policy, run on a virtual clock through the engine itself.
//!
//! Nothing here judges: a step makes a call, and what the engine answers is held against what the step
//! expects. A call that is let through ends at once, as the step says, so that charges are given back
//! and runs go on as they would. Each test has a state of its own and begins at [`BEGINS_AT_US`]
//! unless it says when.

use std::collections::{BTreeMap, BTreeSet};

use tollbook_engine::{Args, Bounds, Call, CompileError, Decision, End, Engine, State, Verdict, canonical, hash128};
use tollbook_policy::ast::{self, Outcome, Step, Test};
use tollbook_policy::json::{self, Value};
use tollbook_policy::policy::Scope;
use tollbook_policy::{Category, Code, Diagnostic, Policy, Span};

mod examine;

pub use examine::{Examined, Looked, examine};

/// When a test begins that doesn't say: Monday, 2026-01-05, 09:00 UTC.
pub const BEGINS_AT_US: i64 = 1_767_603_600_000_000;

/// What the tests of a policy came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripted {
    /// Names of the tests that passed.
    pub passed: Vec<String>,
    /// The first failure of each test that didn't.
    pub failures: Vec<Failure>,
    /// Rules that decided something: refused, held, or would have under `shadow`.
    pub decided: BTreeSet<String>,
}

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The test's name.
    pub test: String,
    /// The step, what was expected and what was answered, ready to be drawn.
    pub diagnostic: Diagnostic,
}

/// Runs the tests, each from an empty state.
///
/// # Errors
/// The policy can't be made into an engine.
pub fn run(policy: &Policy, tests: &[Test]) -> Result<Scripted, CompileError> {
    let mut scripted = Scripted::default();
    for test in tests {
        let mut stage = Stage::new(policy)?;
        let failed = test.steps.iter().find_map(|step| stage.step(&step.node, &step.span).err());
        scripted.decided.append(&mut stage.decided);
        match failed {
            None => scripted.passed.push(test.name.node.clone()),
            Some(diagnostic) => {
                let message = format!("the test \"{}\" fails", test.name.node.escape_debug());
                let diagnostic = diagnostic.message(message);
                scripted.failures.push(Failure { test: test.name.node.clone(), diagnostic });
            }
        }
    }
    Ok(scripted)
}

/// What a test has set up so far.
struct Stage<'p> {
    policy: &'p Policy,
    engines: BTreeMap<String, Engine>,
    state: State,
    now_us: i64,
    seq: u64,
    server: String,
    grant: String,
    session: String,
    agent: String,
    held: Option<String>,
    decided: BTreeSet<String>,
}

impl<'p> Stage<'p> {
    fn new(policy: &'p Policy) -> Result<Self, CompileError> {
        let server = policy.name.clone().unwrap_or_else(|| "server".to_owned());
        let engines = BTreeMap::from([(server.clone(), Engine::compile(policy, &server)?)]);
        let bounds = Bounds { in_flight_max: 1_000, ..Bounds::default() };
        Ok(Self {
            policy,
            engines,
            state: State::new(bounds, 0),
            now_us: BEGINS_AT_US,
            seq: 0,
            server,
            grant: "grant".to_owned(),
            session: "session".to_owned(),
            agent: "agent".to_owned(),
            held: None,
            decided: BTreeSet::new(),
        })
    }

    fn step(&mut self, step: &Step, span: &Span) -> Result<(), Diagnostic> {
        let fails = |label: &str| Err(Diagnostic::error(Code::TestFailed, span.clone(), label));
        match step {
            Step::At { ts_us } if *ts_us < self.now_us && self.seq > 0 => fails("time doesn't go back")?,
            Step::At { ts_us } => self.now_us = *ts_us,
            Step::Wait(duration) => self.pass(duration.seconds()),
            Step::As(Scope::Grant, name) => self.grant.clone_from(name),
            Step::As(Scope::Session, name) => self.session.clone_from(name),
            Step::As(Scope::Agent, name) => self.agent.clone_from(name),
            Step::As(Scope::Server, name) => {
                if !self.engines.contains_key(name) {
                    let engine = Engine::compile(self.policy, name)
                        .map_err(|error| Diagnostic::error(Code::TestFailed, span.clone(), error.to_string()))?;
                    self.engines.insert(name.clone(), engine);
                }
                self.server.clone_from(name);
            }
            Step::As(Scope::Everyone, _) => {
                fails("everyone is everyone: a call is a grant's, a session's, an agent's")?
            }
            Step::Approval { given } => {
                let answered = self.held.as_ref().is_some_and(|held| self.state.answer(held, *given, self.now_us));
                if !answered {
                    fails(if self.held.is_some() {
                        "the approval isn't open any more"
                    } else {
                        "no call was held before"
                    })?;
                }
            }
            Step::Call(call) => self.calls(call, span)?,
        }
        Ok(())
    }

    fn pass(&mut self, seconds: u64) {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        self.now_us = self.now_us.saturating_add(micros);
    }

    fn calls(&mut self, call: &ast::Call, span: &Span) -> Result<(), Diagnostic> {
        let times = call.times.node.unwrap_or(1);
        for nth in 1..=times {
            if nth > 1 {
                self.pass(call.every.map_or(0, |every| every.seconds()));
            }
            self.one(call).map_err(|found| {
                let which = if times > 1 { format!("call {nth} of {times}: ") } else { String::new() };
                let label = format!("{which}expected {}, found {}", expectation(&call.verdict), found.answer);
                let failed = Diagnostic::error(Code::TestFailed, span.clone(), label);
                found.why.into_iter().fold(failed, Diagnostic::help)
            })?;
        }
        Ok(())
    }

    /// Makes one call and ends it.
    fn one(&mut self, call: &ast::Call) -> Result<(), Found> {
        self.seq += 1;
        let text = if call.vary { varied(&call.args.node, self.seq) } else { call.args.node.clone() };
        let (tollbook_policy::policy::Selector::Name(tool), Ok(args), Some(engine)) =
            (&call.tool.node, json::parse(text.as_bytes()), self.engines.get(&self.server))
        else {
            return Err(Found { answer: "arguments or a tool that can't be read".to_owned(), why: Vec::new() });
        };
        let hash = hash128(canonical(&args).as_bytes());
        let asked = Call {
            at_us: Some(self.now_us),
            session: Some(&self.session),
            grant: Some(&self.grant),
            agent: Some(&self.agent),
            tool,
            category: Some(Category::by_name(tool).name()),
            args: Args::whole(Some(&args), hash),
            continues: false,
            codes: None,
        };
        let decision = engine.decide(&mut self.state, self.seq, &asked);
        let rules = decision.rule.iter().chain(&decision.shadow_rules);
        self.decided.extend(rules.map(|rule| (*rule).to_owned()));
        if decision.verdict == Verdict::Hold {
            self.held.clone_from(&decision.approval);
        }
        let met = meets(&decision, &call.verdict);
        let found = if met { None } else { Some(Found::of(&decision, self.now_us)) };
        if decision.verdict == Verdict::Allow {
            let (end, result) = ending(call.outcome.as_ref(), self.seq);
            self.state.settle(self.seq, end, result);
        }
        found.map_or(Ok(()), Err)
    }
}

/// How the call ends. A result is unique unless its text is given.
fn ending(outcome: Option<&Outcome>, seq: u64) -> (End, Option<tollbook_engine::Hash128>) {
    let unique = || hash128(format!("result {seq}").as_bytes());
    match outcome {
        None | Some(Outcome::Ok(None)) => (End::Ok, Some(unique())),
        Some(Outcome::Ok(Some(text))) => (End::Ok, Some(hash128(text.as_bytes()))),
        Some(Outcome::Error) => (End::ToolError, Some(unique())),
        Some(Outcome::RpcError) => (End::RpcError, None),
        Some(Outcome::Unreachable) => (End::Unreachable, None),
    }
}

/// The arguments with one more, `"_n"` or a longer name if that is taken.
fn varied(args: &str, seq: u64) -> String {
    let Ok(node) = json::parse(args.as_bytes()) else { return args.to_owned() };
    let Value::Object(members) = &node.value else { return args.to_owned() };
    let mut key = "_n".to_owned();
    while members.iter().any(|member| member.key == key) {
        key.insert(0, '_');
    }
    let comma = if members.is_empty() { "" } else { "," };
    let open = args.trim_end().strip_suffix('}').unwrap_or(args);
    format!("{open}{comma}\"{key}\":{seq}}}")
}

/// What was answered instead.
struct Found {
    answer: String,
    why: Vec<String>,
}

impl Found {
    fn of(decision: &Decision<'_>, now_us: i64) -> Self {
        let mut answer = verdict_word(decision.verdict).to_owned();
        if decision.verdict != Verdict::Allow {
            answer.push_str(&format!(" by {}", decision.rule.unwrap_or_else(|| decision.reason.code())));
        }
        let mut why = Vec::new();
        if decision.verdict != Verdict::Allow {
            why.push(format!("the agent is told: {}", decision.text()));
        }
        for fact in &decision.limits {
            let (used, max) = (micros(fact.used_before_micros), micros(fact.max_micros()));
            let amount = fact.amount_micros.map_or_else(|| "no usable amount".to_owned(), micros);
            let fits = if fact.fits { "fits" } else { "doesn't fit" };
            why.push(format!(
                "{}: {used} of {max} used in `{}`, and {amount} more {fits}",
                fact.rule(),
                fact.counter()
            ));
        }
        if let Some((period, repeats)) = decision.run {
            why.push(format!("a run of {repeats} alike, {period} to the block"));
        }
        if let Some(retry_at_us) = decision.retry_at_us {
            why.push(format!("such a call would pass {} s later", (retry_at_us - now_us).max(0) / 1_000_000));
        }
        Self { answer, why }
    }
}

/// Millionths as a number.
fn micros(micros: i64) -> String {
    let (whole, rest) = (micros / 1_000_000, (micros % 1_000_000).abs());
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Hold => "hold",
        Verdict::Unknown => "unknown",
    }
}

fn expectation(verdict: &ast::Verdict) -> String {
    let word = match verdict.decision {
        ast::Decision::Allow => "allow",
        ast::Decision::Deny => "deny",
        ast::Decision::Hold => "hold",
    };
    let by = verdict.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let because = verdict.because.as_ref().map(|text| format!(" because {}", json::quote(text))).unwrap_or_default();
    format!("{word}{by}{because}")
}

fn meets(decision: &Decision<'_>, expected: &ast::Verdict) -> bool {
    let same = matches!(
        (decision.verdict, expected.decision),
        (Verdict::Allow, ast::Decision::Allow)
            | (Verdict::Deny, ast::Decision::Deny)
            | (Verdict::Hold, ast::Decision::Hold)
    );
    let by = expected.by.as_ref().is_none_or(|by| is_by(decision, by));
    let because = expected.because.as_ref().is_none_or(|text| decision.text() == text);
    same && by && because
}

/// Whether the decision is by this: a counter, a group, an approver, a kind of clause, a reason's code
/// or a rule's id.
fn is_by(decision: &Decision<'_>, name: &str) -> bool {
    let Some(rule) = decision.rule else { return false };
    if rule == name || decision.reason.code() == name {
        return true;
    }
    let refusing = decision.limits.iter().find(|fact| fact.rule() == rule);
    if refusing.is_some_and(|fact| fact.counter() == name) {
        return true;
    }
    // `/groups/NAME/KIND/…`, `/tools/NAME/KIND/…`, `/all_tools/KIND/…`
    let mut parts = rule.split('/').skip(1);
    let owner = parts.next();
    let owned = if owner == Some("all_tools") { None } else { parts.next() };
    let kind = parts.next();
    let last = parts.next();
    let key = tollbook_policy::pointer_key(name);
    let kind_word = match kind {
        Some("deny_if") => Some("deny"),
        Some("limits") => Some("limit"),
        Some("only_during") => Some("during"),
        other => other,
    };
    (owner == Some("groups") && owned == Some(&*key))
        || kind_word == Some(name)
        || (kind == Some("approve") && last == Some(&*key))
        || (kind == Some("break") && last == Some(&*key))
}

#[cfg(test)]
mod tests;
