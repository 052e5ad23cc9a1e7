//! The decision: hidden, default, then stage by stage over every clause that applies.
//!
//! `require` (each must be true), `deny` (any that is true refuses), `only during`, `break`, limits
//! (probed), `approve` (may hold), limits (charged). The first refusal decides. A refused or held call
//! charges nothing and changes no history.
//!
//! The rest of a call that the server had a question to (`Call::continues`) is asked of `require`, `deny` and
//! `only during` once more, and charged no second time.
//!
//! In a replay a clause may read what the log didn't keep. Then the later clauses are still asked: one
//! that surely refuses settles the verdict, and only otherwise is it unknown. An unknown call is taken
//! as let through, as it was when it was recorded.

use tollbook_policy::Decimal;
use tollbook_policy::json::Value;
use tollbook_policy::policy::{Default, Path, Scope};

use crate::approval::Answer;
use crate::argument::{Args, Found};
use crate::call::Call;
use crate::canonical::hash128;
use crate::codes::Code;
use crate::compile::{ApprovePlan, Engine, LimitPlan, Plan, Step, Text};
use crate::condition::{Truth, any};
use crate::decision::{Decision, Fact, Reason};
use crate::flight::Charged;
use crate::history::History;
use crate::keyed::Handle;
use crate::record::{Hash128, Verdict};
use crate::run::CallId;
use crate::state::State;
use crate::tool_id::ToolIds;

impl Engine {
    /// Judges one call, and charges what it lets through. `seq` names the call when it settles; it must
    /// grow from call to call.
    pub fn decide<'a>(&'a self, state: &mut State, seq: u64, call: &Call<'a>) -> Decision<'a> {
        let mut decision = Decision::default();
        self.decide_into(&mut decision, state, seq, call);
        decision
    }

    /// The same, written over a decision that stands already, whatever it was. Decisions are large: moving
    /// one to where it is wanted takes an eighth of the time that judging does.
    pub fn decide_into<'a>(&'a self, decision: &mut Decision<'a>, state: &mut State, seq: u64, call: &Call<'a>) {
        decision.clear();
        let worked_out;
        let plan = match self.ready_plan(call.tool) {
            Some(plan) => plan,
            None => {
                worked_out = self.plan(call.tool, call.category);
                &*worked_out
            }
        };
        let mut judging = Judging {
            engine: self,
            call,
            now_us: call.at_us.map(|at_us| state.advance(at_us)),
            plan,
            decision,
            approval: None,
            tool_id: plan.tool_id,
            binding: None,
            history: None,
            refusing: None,
            grows: false,
        };
        // Whether the tool is named can't be told either, so the default doesn't settle it.
        let category_lacks = self.judges_by_category() && call.category.is_none();
        if plan.hidden {
            judging.refuse(Reason::Hidden, "(hidden)", None);
        } else if !plan.named && self.default == Default::Deny && !category_lacks {
            judging.refuse(Reason::DefaultDeny, "(default deny)", None);
        } else {
            if category_lacks {
                judging.cannot_tell("(category)", false);
            }
            // None once the verdict is settled.
            let _ = judging.judge(state, seq);
        }
    }
}

struct Judging<'a, 'b> {
    engine: &'a Engine,
    call: &'b Call<'a>,
    now_us: Option<i64>,
    plan: &'b Plan,
    decision: &'b mut Decision<'a>,
    /// An approval that lets the call pass.
    approval: Option<Handle>,
    tool_id: Option<u64>,
    /// The state's numbers of the engine's counters, where a limit asked for them.
    binding: Option<usize>,
    /// Its session's history, where a breaker found one.
    history: Option<Handle>,
    /// The first limit that refuses.
    refusing: Option<(Reason, &'a LimitPlan)>,
    /// Whether charging the limits takes new memory.
    grows: bool,
}

impl<'a, 'b> Judging<'a, 'b> {
    fn judge(&mut self, state: &mut State, seq: u64) -> Option<()> {
        for step in &self.plan.steps {
            match *step {
                Step::Require(place) => self.require(place)?,
                Step::Deny(place) => self.deny(place)?,
                Step::During(place) => self.only_during(place)?,
                _ if self.call.continues => {}
                Step::FindApproval => self.find_approval(state),
                Step::Break(place) => self.breaker(state, place)?,
                Step::Limit(place) => self.probe(state, place)?,
                Step::Fit => self.fit()?,
                Step::Approve(place) => self.approve(state, seq, place)?,
            }
        }
        if self.call.continues { Some(()) } else { self.charge(state, seq) }
    }

    fn refuse(&mut self, reason: Reason, rule: &'a str, message: Option<&'a str>) {
        self.decision.verdict = Verdict::Deny;
        self.decision.reason = reason;
        self.decision.rule = Some(rule);
        self.decision.message = message;
    }

    /// A clause refuses: for good, or under `shadow` on paper.
    #[inline(never)]
    fn clause_refuses(&mut self, reason: Reason, text: &'a Text) -> Option<()> {
        if text.shadow {
            self.decision.shadow_rules.push(&text.rule);
            return Some(());
        }
        self.refuse(reason, &text.rule, text.message.as_deref());
        None
    }

    /// A clause reads what isn't known. Unless a later one surely refuses, so is the verdict.
    #[cold]
    #[inline(never)]
    fn cannot_tell(&mut self, rule: &'a str, shadow: bool) {
        if !shadow && self.decision.verdict == Verdict::Allow {
            self.decision.verdict = Verdict::Unknown;
            self.decision.reason = Reason::Unrecorded;
            self.decision.rule = Some(rule);
        }
    }

    #[inline(never)]
    fn require(&mut self, place: usize) -> Option<()> {
        let clause = self.engine.clauses.require.get(place)?;
        match any(&clause.any_of, &self.call.args) {
            Truth::True => {}
            Truth::NotTrue => self.clause_refuses(Reason::Require, &clause.text)?,
            Truth::Unrecorded => self.cannot_tell(&clause.text.rule, clause.text.shadow),
        }
        Some(())
    }

    fn deny(&mut self, place: usize) -> Option<()> {
        let clause = self.engine.clauses.deny.get(place)?;
        match any(&clause.any_of, &self.call.args) {
            Truth::True => self.clause_refuses(Reason::Deny, &clause.text)?,
            Truth::NotTrue => {}
            Truth::Unrecorded => self.cannot_tell(&clause.text.rule, clause.text.shadow),
        }
        Some(())
    }

    #[inline(never)]
    fn only_during(&mut self, place: usize) -> Option<()> {
        let (hours, text) = self.engine.clauses.hours.get(place)?;
        match self.now_us {
            None => self.cannot_tell(&text.rule, text.shadow),
            Some(now_us) if !hours.contain(now_us) => self.clause_refuses(Reason::OnlyDuring, text)?,
            Some(_) => {}
        }
        Some(())
    }

    #[inline(never)]
    fn breaker(&mut self, state: &mut State, place: usize) -> Option<()> {
        let plan = self.engine.clauses.breaks.get(place)?;
        if self.approval.is_some() {
            return Some(());
        }
        let (Some(now_us), Some(session)) = (self.now_us, self.call.session) else {
            self.cannot_tell(&plan.text.rule, plan.text.shadow);
            return Some(());
        };
        let tool = self.tool(&mut state.counters.tool_ids);
        let call_id = self.call_id(tool);
        self.history = self.history.or_else(|| self.find_history(state, session));
        let history = self.history.and_then(|place| state.sessions.get(place));
        let Some(run) = history.and_then(|history| history.run(plan, tool, call_id, now_us)) else { return Some(()) };
        if !plan.text.shadow {
            self.decision.run = Some((run.period, run.repeats));
            self.decision.retry_at_us = Some(run.lets_go_at_us);
        }
        self.clause_refuses(Reason::Break, &plan.text)
    }

    /// Puts the facts of a limit into the decision: those of all of them, for the record.
    #[inline(never)]
    fn probe(&mut self, state: &mut State, place: usize) -> Option<()> {
        let limit = self.engine.clauses.limits.get(place)?;
        let key = self.call.scope_value(limit.scope, &self.engine.server);
        let amount = match &limit.of {
            None => Amount::Micros(ONE_CALL),
            Some((path, text)) => amount(&self.call.args, path, text),
        };
        let (Some(now_us), Some(key), false) = (self.now_us, key, matches!(amount, Amount::Unrecorded)) else {
            self.cannot_tell(&limit.rule, limit.shadow);
            return Some(());
        };
        let amount_micros = if let Amount::Micros(micros) = amount { Some(micros) } else { None };
        // An amount that cannot be told is more than any window admits.
        let micros = amount_micros.unwrap_or(i64::MAX);
        let binding = *self.binding.get_or_insert_with(|| state.counters.binding(self.engine));
        let counter = state.counters.counter(binding, place);
        let tool = limit.tool(self.call.tool);
        // Where tools are counted apart the scope's value isn't all of the key.
        let code = if tool.is_empty() { self.call.scope_code(limit.scope) } else { None };
        let (held, probe) = state.counters.probe(((counter, tool, key), code), &limit.measure, now_us, micros);
        let fits = probe.fits && amount_micros.is_some();
        self.grows |= fits && (held.is_none() || limit.measure.rolling);
        self.decision.limits.push(Fact {
            plan: limit,
            counter,
            held,
            key,
            window_start_us: probe.start_us,
            used_before_micros: probe.used_micros,
            amount_micros,
            fits,
            frees_at_us: probe.frees_at_us,
        });
        if !fits && limit.shadow {
            self.decision.shadow_rules.push(&limit.rule);
        } else if !fits && self.refusing.is_none() {
            let reason = if matches!(amount, Amount::Invalid) { Reason::AmountInvalid } else { Reason::Limit };
            self.refusing = Some((reason, limit));
        }
        Some(())
    }

    /// Refuses by the first limit that the call doesn't fit into.
    fn fit(&mut self) -> Option<()> {
        let Some((reason, limit)) = self.refusing else { return Some(()) };
        self.refuse(reason, &limit.rule, limit.message.as_deref());
        self.decision.retry_at_us = self.retry_at_us();
        None
    }

    /// When every enforced limit that refuses has room again; None where one of them never will.
    fn retry_at_us(&self) -> Option<i64> {
        let refusing = self.decision.limits.iter().filter(|fact| !fact.fits && !fact.plan.shadow);
        refusing.map(|fact| fact.frees_at_us).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    #[inline(never)]
    fn find_approval(&mut self, state: &State) {
        let Some(now_us) = self.now_us else { return };
        for plan in self.approvals().filter(|plan| !plan.text.shadow) {
            let applies = plan.any_of.is_empty() || any(&plan.any_of, &self.call.args) == Truth::True;
            let fingerprint = self.fingerprint(&plan.text.rule).filter(|_| applies);
            let found = fingerprint.and_then(|fingerprint| state.approvals.find(fingerprint, now_us));
            if let Some((handle, Answer::Approved, _)) = found {
                self.approval = Some(handle);
            }
        }
    }

    fn approvals(&self) -> impl Iterator<Item = &'a ApprovePlan> + use<'a, 'b> {
        let clauses = &self.engine.clauses;
        self.plan.steps.iter().filter_map(|step| match *step {
            Step::Approve(place) => clauses.approve.get(place),
            _ => None,
        })
    }

    #[inline(never)]
    fn approve(&mut self, state: &mut State, seq: u64, place: usize) -> Option<()> {
        let plan = self.engine.clauses.approve.get(place)?;
        let applies = if plan.any_of.is_empty() { Truth::True } else { any(&plan.any_of, &self.call.args) };
        let (fingerprint, now_us) = match (applies, self.fingerprint(&plan.text.rule), self.now_us) {
            (Truth::NotTrue, ..) => return Some(()),
            (Truth::True, Some(fingerprint), Some(now_us)) if self.decision.verdict == Verdict::Allow => {
                (fingerprint, now_us)
            }
            _ => {
                self.cannot_tell(&plan.text.rule, plan.text.shadow);
                return Some(());
            }
        };
        if plan.text.shadow {
            self.decision.shadow_rules.push(&plan.text.rule);
            return Some(());
        }
        let (answer, id) = match state.approvals.find(fingerprint, now_us) {
            Some((_, answer, id)) => (answer, id.to_owned()),
            None => {
                let max = state.bounds.approvals_max;
                let Some(id) = state.approvals.open(fingerprint, seq, plan.within_us, now_us, max) else {
                    self.refuse(Reason::StateFull, &plan.text.rule, None);
                    return None;
                };
                (Answer::Open, id)
            }
        };
        self.decision.approval = Some(id);
        match answer {
            Answer::Approved => return Some(()),
            Answer::Open => {
                self.refuse(Reason::ApprovalNeeded, &plan.text.rule, plan.text.message.as_deref());
                self.decision.verdict = Verdict::Hold;
            }
            Answer::Refused => {
                self.refuse(Reason::ApprovalRefused, &plan.text.rule, plan.text.message.as_deref());
            }
        }
        None
    }

    /// Charges every limit over the call, or none where the state has no room.
    fn charge(&mut self, state: &mut State, seq: u64) -> Option<()> {
        let now_us = self.now_us?;
        let plenty = !self.grows || state.counters.has_plenty(self.decision.limits.len(), &state.bounds);
        let shadow_too = plenty || self.has_room(state, now_us)?;
        let session = if self.engine.look_back > 0 { self.remember(state, now_us)? } else { None };
        let tool = if session.is_some() { self.tool(&mut state.counters.tool_ids) } else { 0 };
        let mut charges = state.flight.put(seq, now_us, session, tool);
        for (fact, micros) in self.fitting(shadow_too) {
            let measure = &fact.plan.measure;
            let counter = match fact.held {
                Some(held) if state.counters.charge(held, measure, now_us, micros) => held,
                _ => {
                    let key = (fact.counter, fact.plan.tool(self.call.tool), fact.key);
                    let new = state.counters.charge_new(key, measure, (fact.window_start_us, now_us), micros);
                    let Some(new) = new else { continue };
                    new
                }
            };
            if let Some(charges) = &mut charges {
                charges.push(Charged { counter, start_us: fact.window_start_us, micros });
            }
        }
        if charges.is_some() {
            state.flight.keep(state.bounds.in_flight_max);
        }
        if self.decision.approval.is_some() {
            self.spend_approvals(state, now_us);
        }
        Some(())
    }

    /// Makes room for the charges, or else for those that aren't shadow alone: what is only measured never
    /// refuses, so it goes unmeasured first. Returns whether there is room for all; None for neither.
    #[inline(never)]
    fn has_room(&mut self, state: &mut State, now_us: i64) -> Option<bool> {
        let room = [true, false].into_iter().find(|shadow_too| {
            let (keys, charges) = self.needs(*shadow_too);
            state.counters.has_room(keys, charges, &state.bounds, now_us)
        });
        if room.is_none() {
            self.refuse(Reason::StateFull, "(state full)", None);
        }
        room
    }

    /// The limits that are to be charged, with what the call adds to each.
    fn fitting(&self, shadow_too: bool) -> impl Iterator<Item = (&Fact<'a>, i64)> {
        let facts = self.decision.limits.iter().filter(move |fact| fact.fits && (shadow_too || !fact.plan.shadow));
        facts.filter_map(|fact| Some((fact, fact.amount_micros?)))
    }

    /// How many new keys and new charges of rolling windows charging takes.
    fn needs(&self, shadow_too: bool) -> (usize, u64) {
        self.fitting(shadow_too).fold((0, 0), |(keys, charges), (fact, _)| {
            (keys + usize::from(fact.held.is_none()), charges + u64::from(fact.plan.measure.rolling))
        })
    }

    /// Puts the call into its session's history. The outer None: there is no room for one more session.
    #[inline(never)]
    fn remember(&mut self, state: &mut State, now_us: i64) -> Option<Option<Handle>> {
        let Some(session) = self.call.session else { return Some(None) };
        let key = (0, &*self.engine.server, session);
        let held = match self.history.or_else(|| self.find_history(state, session)) {
            Some(held) => Some(held),
            None if state.has_room_for_session(now_us) => state.sessions.insert(key, History::default()),
            None => None,
        };
        let Some(held) = held else {
            self.refuse(Reason::StateFull, "(state full)", None);
            return None;
        };
        let tool = self.tool(&mut state.counters.tool_ids);
        let call_id = self.call_id(tool);
        if let Some(history) = state.sessions.get_mut(held) {
            history.allowed(self.engine, tool, call_id, now_us);
        }
        Some(Some(held))
    }

    #[inline]
    fn find_history(&self, state: &mut State, session: &str) -> Option<Handle> {
        // Sessions of one name may be of several servers, so each server has a list of its own.
        let list = self.call.codes.map_or(0, |codes| codes.server);
        let code = self.call.scope_code(Scope::Session);
        state.sessions.find_mut((0, &*self.engine.server, session), (list, code)).map(|(history, _)| history)
    }

    #[inline(never)]
    fn spend_approvals(&self, state: &mut State, now_us: i64) {
        for plan in self.approvals() {
            let Some(fingerprint) = self.fingerprint(&plan.text.rule) else { continue };
            if let Some((handle, Answer::Approved, _)) = state.approvals.find(fingerprint, now_us) {
                state.approvals.remove(handle);
            }
        }
    }

    fn fingerprint(&self, rule: &str) -> Option<Hash128> {
        let args = self.call.args.hash?;
        let grant = self.call.grant?;
        // Lengths first, so that no two lists of parts read the same.
        let parts = [&*self.engine.server, grant, rule, self.call.tool];
        let text: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        Some(hash128(format!("{text}{args}").as_bytes()))
    }

    #[inline]
    fn tool(&mut self, kept: &mut ToolIds) -> u64 {
        if let Some(tool) = self.tool_id {
            return tool;
        }
        let tool = kept.of(self.call.tool, Code::of(self.call.codes, |codes| codes.tool));
        self.tool_id = Some(tool);
        tool
    }

    #[inline]
    fn call_id(&self, tool: u64) -> Option<CallId> {
        let args = self.call.args.hash?.first_64();
        // A hash may be zero; then it stands for another that may be as well.
        Some(CallId::new(tool ^ args).unwrap_or(CallId::MIN))
    }
}

/// One call, in millionths.
const ONE_CALL: i64 = 1_000_000;

enum Amount {
    Micros(i64),
    /// More than any limit admits.
    Huge,
    Invalid,
    Unrecorded,
}

#[inline(never)]
fn amount(args: &Args<'_>, path: &Path, path_text: &str) -> Amount {
    let number = match args.find(path, path_text) {
        Found::Unrecorded => return Amount::Unrecorded,
        Found::Value(Value::Number(number)) => number,
        Found::Missing | Found::Value(_) => return Amount::Invalid,
    };
    if let Some(micros) = number.short_micros() {
        return Amount::Micros(micros);
    }
    match Decimal::parse(number.text) {
        Some(decimal) if decimal.is_negative() || decimal.places() > 6 => Amount::Invalid,
        Some(decimal) => decimal.to_micros().map_or(Amount::Huge, Amount::Micros),
        None => Amount::Invalid,
    }
}
