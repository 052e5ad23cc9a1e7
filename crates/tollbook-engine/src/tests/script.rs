//! A script of calls, driven through the engine.

use tollbook_policy::json::parse;
use tollbook_policy::{Policy, Target};

use crate::{Args, Bounds, Call, Decision, End, Engine, Hash128, State, canonical, hash128};

/// What is done to an engine.
#[derive(Debug, Clone)]
pub enum Step {
    Call(Made),
    /// The call of that step ends.
    Settle {
        step: usize,
        end: End,
        result: Option<u8>,
    },
    /// A person answers the hold of that step.
    Answer {
        step: usize,
        approved: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Made {
    pub at_us: i64,
    pub tool: String,
    pub grant: String,
    pub session: String,
    pub agent: String,
    pub args: String,
    /// It is the rest of a call that was let through before.
    pub continues: bool,
}

/// A decision, as far as a record tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub verdict: &'static str,
    pub reason: &'static str,
    pub rule: String,
    pub message: Option<String>,
    pub facts: Vec<FactTold>,
    pub shadow_rules: Vec<String>,
    pub run: Option<(u32, u32)>,
    pub retry_at_us: Option<i64>,
    pub waits_or_passes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactTold {
    pub rule: String,
    pub key: String,
    pub start_us: i64,
    pub used_micros: i64,
    pub amount_micros: Option<i64>,
    pub fits: bool,
    pub frees_at_us: Option<i64>,
}

pub fn policy(text: &str) -> Policy {
    match tollbook_policy::read("test.toll", text, Target::Native) {
        Ok(read) => read.policy,
        Err(errors) => panic!("{}", tollbook_policy::diagnostic::render("test.toll", text, &errors, false)),
    }
}

pub fn args_hash(args: &str) -> Hash128 {
    hash128(canonical(&parse(args.as_bytes()).unwrap()).as_bytes())
}

/// An engine with its state, taking steps.
pub struct Driver {
    pub engine: Engine,
    pub state: State,
    pub seq: u64,
    /// The approval's id of each step that had one.
    pub approvals: Vec<Option<String>>,
    /// The sequence number of each step's call.
    pub seqs: Vec<Option<u64>>,
    pub latest_us: i64,
}

impl Driver {
    pub fn new(text: &str) -> Self {
        Self::bounded(text, Bounds::default())
    }

    pub fn bounded(text: &str, bounds: Bounds) -> Self {
        Self {
            engine: Engine::compile(&policy(text), "srv").unwrap(),
            state: State::new(bounds, 1),
            seq: 0,
            approvals: Vec::new(),
            seqs: Vec::new(),
            latest_us: i64::MIN,
        }
    }

    pub fn step(&mut self, step: &Step) -> Option<Told> {
        let seq = self.seq;
        self.seq += 1;
        match step {
            Step::Call(made) => {
                self.latest_us = self.latest_us.max(made.at_us);
                let (told, approval) = self.call(seq, made);
                self.approvals.push(approval);
                self.seqs.push(Some(seq));
                return Some(told);
            }
            Step::Settle { step, end, result } => {
                if let Some(Some(call)) = self.seqs.get(*step) {
                    self.state.settle(*call, *end, result.map(|byte| hash128(&[byte])));
                }
            }
            Step::Answer { step, approved } => {
                if let Some(Some(id)) = self.approvals.get(*step).cloned() {
                    self.state.answer(&id, *approved, self.latest_us);
                }
            }
        }
        self.approvals.push(None);
        self.seqs.push(None);
        None
    }

    fn call(&mut self, seq: u64, made: &Made) -> (Told, Option<String>) {
        let node = parse(made.args.as_bytes()).unwrap();
        let call = Call {
            at_us: Some(made.at_us),
            session: Some(&made.session),
            grant: Some(&made.grant),
            agent: Some(&made.agent),
            tool: &made.tool,
            category: Some(tollbook_policy::Category::by_name(&made.tool).name()),
            args: Args::whole(Some(&node), args_hash(&made.args)),
            continues: made.continues,
            codes: None,
        };
        let decision = self.engine.decide(&mut self.state, seq, &call);
        (told(&decision), decision.approval)
    }
}

pub fn told(decision: &Decision<'_>) -> Told {
    Told {
        verdict: decision.verdict.as_str(),
        reason: decision.reason.code(),
        rule: decision.rule.unwrap_or_default().to_owned(),
        message: decision.message.map(str::to_owned),
        facts: decision
            .limits
            .iter()
            .map(|fact| FactTold {
                rule: fact.rule().to_owned(),
                key: fact.key.to_owned(),
                start_us: fact.window_start_us,
                used_micros: fact.used_before_micros,
                amount_micros: fact.amount_micros,
                fits: fact.fits,
                frees_at_us: fact.frees_at_us,
            })
            .collect(),
        shadow_rules: decision.shadow_rules.iter().map(|rule| (*rule).to_owned()).collect(),
        run: decision.run,
        retry_at_us: decision.retry_at_us,
        waits_or_passes: decision.approval.is_some(),
    }
}
