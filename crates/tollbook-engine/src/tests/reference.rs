//! A second engine: slow, obvious, and written from the language's definition.
//!
//! It keeps every past call in a list and answers each question by looking through the list. It shares
//! the policy's model and the rule ids with the engine, and nothing else.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollbook_policy::json::{Node, Value, parse};
use tollbook_policy::policy::{
    Condition, Count, Default, Limit, Literal, OnlyDuring, Op, Path, Rule, Rules, Run, Scope, Selector,
};
use tollbook_policy::{Policy, tool_owner};

use super::script::{FactTold, Made, Step, Told};
use crate::End;

pub struct Reference {
    policy: Policy,
    past: Vec<Past>,
    /// What happened to sessions' runs of results and failures, in order.
    ends: Vec<Ended>,
    approvals: Vec<Approval>,
    latest_us: i64,
    steps: usize,
}

/// A call that was let through.
struct Past {
    step: usize,
    at_us: i64,
    made: Made,
    /// Limits it charged, by rule, with the bucket and the amount.
    charged: Vec<(String, String, i64)>,
    given_back: bool,
    settled: bool,
}

enum Ended {
    Allowed { session: String, tool: String },
    Settled { session: String, tool: String, at_us: i64, end: End, result: Option<u8> },
}

struct Approval {
    /// The holds that were told its id.
    steps: Vec<usize>,
    fingerprint: (String, String, String, String),
    within_us: i64,
    expires_us: i64,
    answer: Option<bool>,
    spent: bool,
}

const S: i64 = 1_000_000;

impl Reference {
    pub fn new(policy: Policy) -> Self {
        Self { policy, past: Vec::new(), ends: Vec::new(), approvals: Vec::new(), latest_us: i64::MIN, steps: 0 }
    }

    pub fn step(&mut self, step: &Step) -> Option<Told> {
        let number = self.steps;
        self.steps += 1;
        match step {
            Step::Call(made) => {
                self.latest_us = self.latest_us.max(made.at_us);
                Some(self.call(number, made))
            }
            Step::Settle { step, end, result } => {
                if let Some(past) = self.past.iter_mut().find(|past| past.step == *step && !past.settled) {
                    past.settled = true;
                    past.given_back = matches!(end, End::RpcError | End::Unreachable);
                    self.ends.push(Ended::Settled {
                        session: past.made.session.clone(),
                        tool: past.made.tool.clone(),
                        at_us: past.at_us,
                        end: *end,
                        result: *result,
                    });
                }
                None
            }
            Step::Answer { step, approved } => {
                let now = self.latest_us;
                let first = self.approvals.iter().position(|approval| approval.steps.contains(step));
                let approval = first.map(|index| &mut self.approvals[index])?;
                if approval.answer.is_none() && now < approval.expires_us && !approval.spent {
                    approval.answer = Some(*approved);
                    if *approved {
                        approval.expires_us = now + approval.within_us;
                    }
                }
                None
            }
        }
    }

    /// The blocks that apply to a tool, in order, each with the prefix of its rule ids.
    fn blocks(&self, tool: &str) -> Vec<(String, Rules)> {
        let policy = &self.policy;
        let selected = |of: &Selector| match of {
            Selector::Name(name) => name == tool,
            Selector::Glob(glob) => {
                let pattern = glob.split('*').map(regex::escape).collect::<Vec<_>>().join("(?s:.*)");
                regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(tool)
            }
            Selector::Category(name) => name == tollbook_policy::Category::by_name(tool).name(),
        };
        let mut blocks = vec![("/all_tools".to_owned(), policy.all_tools.clone())];
        for group in policy.groups.iter().filter(|group| group.of.iter().any(selected)) {
            blocks.push((group.owner(), group.rules.clone()));
        }
        for pattern in policy.patterns.iter().filter(|pattern| selected(&pattern.of)) {
            blocks.push((pattern.owner(), pattern.rules.clone()));
        }
        if let Some(rules) = policy.tools.get(tool) {
            blocks.push((tool_owner(tool), rules.clone()));
        }
        blocks
    }

    fn call(&mut self, step: usize, made: &Made) -> Told {
        let now = self.latest_us;
        let args = parse(made.args.as_bytes()).unwrap();
        let blocks = self.blocks(&made.tool);
        let mut told = Told {
            verdict: "allow",
            reason: "allowed",
            rule: String::new(),
            message: None,
            facts: Vec::new(),
            shadow_rules: Vec::new(),
            run: None,
            retry_at_us: None,
            waits_or_passes: false,
        };
        let refuse = |mut told: Told, reason, rule: &str, message: &Option<String>| {
            (told.verdict, told.reason, told.rule, told.message) = ("deny", reason, rule.to_owned(), message.clone());
            told
        };
        let hidden = self.policy.hide.iter().any(|of| match of {
            Selector::Name(name) => *name == made.tool,
            Selector::Glob(glob) => glob == "*",
            Selector::Category(name) => name == tollbook_policy::Category::by_name(&made.tool).name(),
        });
        if hidden {
            return refuse(told, "hidden", "(hidden)", &None);
        }
        if blocks.len() == 1 && self.policy.default == Default::Deny {
            return refuse(told, "default_deny", "(default deny)", &None);
        }
        // require, then deny
        for (owner, rules) in &blocks {
            for (rule, id) in rules.require.iter().zip(rules.ids(owner).require) {
                if holds(rule, &args) {
                    continue;
                }
                if !rule.shadow {
                    return refuse(told, "require", &id, &rule.on_deny);
                }
                told.shadow_rules.push(id);
            }
        }
        for (owner, rules) in &blocks {
            for (rule, id) in rules.deny_if.iter().zip(rules.ids(owner).deny_if) {
                if !holds(rule, &args) {
                    continue;
                }
                if !rule.shadow {
                    return refuse(told, "deny", &id, &rule.on_deny);
                }
                told.shadow_rules.push(id);
            }
        }
        for (owner, rules) in &blocks {
            for (hours, id) in rules.only_during.iter().zip(rules.ids(owner).only_during) {
                if open(hours, now) {
                    continue;
                }
                if !hours.shadow {
                    return refuse(told, "only_during", &id, &hours.on_deny);
                }
                told.shadow_rules.push(id);
            }
        }
        if made.continues {
            return told;
        }
        let approving: Vec<(String, tollbook_policy::policy::Approve)> = blocks
            .iter()
            .flat_map(|(owner, rules)| rules.ids(owner).approve.into_iter().zip(rules.approve.clone()))
            .filter(|(_, approve)| approve.any_of.is_empty() || approve.any_of.iter().any(|list| all(list, &args)))
            .collect();
        let approved = approving.iter().any(|(id, approve)| {
            !approve.shadow
                && self.find_approval(id, made, now).is_some_and(|found| self.approvals[found].answer == Some(true))
        });
        if !approved {
            for (owner, rules) in &blocks {
                for (clause, id) in rules.breaks.iter().zip(rules.ids(owner).breaks) {
                    let Some((run, began)) = self.run(clause.on, clause.after, made) else { continue };
                    let lets_go = began + i64::from(clause.within_s) * S;
                    if now >= lets_go {
                        continue;
                    }
                    if !clause.shadow {
                        told.run = Some(run);
                        told.retry_at_us = Some(lets_go);
                        return refuse(told, "break", &id, &clause.on_deny);
                    }
                    told.shadow_rules.push(id);
                }
            }
        }
        // limits, probed
        let mut charges = Vec::new();
        let mut refusal: Option<(&'static str, String, Option<String>)> = None;
        let mut frees: Vec<Option<i64>> = Vec::new();
        for (owner, rules) in &blocks {
            for (limit, id) in rules.limits.iter().zip(rules.ids(owner).limits) {
                let pattern = owner.starts_with("/patterns/");
                let (fact, bucket, invalid) = self.probe(limit, &id, pattern, made, &args, now);
                if fact.fits {
                    charges.push((id.clone(), bucket, fact.amount_micros.unwrap()));
                } else if limit.shadow {
                    told.shadow_rules.push(id.clone());
                } else {
                    frees.push(fact.frees_at_us);
                    let reason = if invalid { "amount_invalid" } else { "limit" };
                    refusal.get_or_insert((reason, id.clone(), limit.on_deny.clone()));
                }
                told.facts.push(fact);
            }
        }
        if let Some((reason, id, message)) = refusal {
            told.retry_at_us = if frees.iter().all(Option::is_some) { frees.into_iter().flatten().max() } else { None };
            return refuse(told, reason, &id, &message);
        }
        for (id, approve) in &approving {
            if approve.shadow {
                told.shadow_rules.push(id.clone());
                continue;
            }
            told.waits_or_passes = true;
            let found = self.find_approval(id, made, now).unwrap_or_else(|| {
                let within_us = i64::from(approve.within_s) * S;
                let fingerprint = fingerprint(id, made);
                let expires_us = now + within_us;
                self.approvals.push(Approval {
                    steps: Vec::new(),
                    fingerprint,
                    within_us,
                    expires_us,
                    answer: None,
                    spent: false,
                });
                self.approvals.len() - 1
            });
            match self.approvals[found].answer {
                Some(true) => {}
                Some(false) => {
                    self.approvals[found].steps.push(step);
                    return refuse(told, "approval_refused", id, &approve.on_deny);
                }
                None => {
                    self.approvals[found].steps.push(step);
                    let mut told = refuse(told, "approval_needed", id, &approve.on_deny);
                    told.verdict = "hold";
                    return told;
                }
            }
        }
        for (id, _) in approving.iter().filter(|(_, approve)| !approve.shadow) {
            if let Some(found) = self.find_approval(id, made, now) {
                self.approvals[found].spent = true;
            }
        }
        self.ends.push(Ended::Allowed { session: made.session.clone(), tool: made.tool.clone() });
        self.past.push(Past {
            step,
            at_us: now,
            made: made.clone(),
            charged: charges,
            given_back: false,
            settled: false,
        });
        told
    }

    fn find_approval(&self, rule: &str, made: &Made, now: i64) -> Option<usize> {
        let fingerprint = fingerprint(rule, made);
        self.approvals.iter().rposition(|held| !held.spent && held.fingerprint == fingerprint && now < held.expires_us)
    }

    fn probe(
        &self,
        limit: &Limit,
        id: &str,
        pattern: bool,
        made: &Made,
        args: &Node<'_>,
        now: i64,
    ) -> (FactTold, String, bool) {
        let key = match limit.scope {
            Scope::Grant => made.grant.clone(),
            Scope::Session => made.session.clone(),
            Scope::Agent => made.agent.clone(),
            Scope::Server => "srv".to_owned(),
            Scope::Everyone => String::new(),
        };
        let apart = pattern || limit.count == Some(Count::Each);
        let bucket = format!("{key}/{}", if apart { made.tool.as_str() } else { "" });
        let (amount, invalid) = match &limit.of {
            None => (Some(S), false),
            Some(path) => match at(args, path) {
                Some(Value::Number(number)) => match thousandths(number.text) {
                    Some(thousandths) if thousandths >= 0 => (Some(i64::try_from(thousandths).unwrap() * 1_000), false),
                    _ => (None, true),
                },
                _ => (None, true),
            },
        };
        let length = i64::try_from(limit.window.seconds()).unwrap() * S;
        let max = i64::try_from(limit.max).unwrap() * S;
        let used = |now: i64| -> i64 {
            let charged = self.past.iter().filter(|past| !past.given_back).flat_map(|past| {
                past.charged
                    .iter()
                    .filter(|(rule, held, _)| rule == id && *held == bucket)
                    .map(|(.., amount)| (past.at_us, *amount))
            });
            let within = |at_us: i64| {
                if limit.rolling { now - at_us < length } else { at_us.div_euclid(length) == now.div_euclid(length) }
            };
            charged.filter(|(at_us, _)| within(*at_us)).map(|(_, amount)| amount).sum()
        };
        let fits = amount.is_some_and(|amount| used(now) + amount <= max);
        let frees_at_us = match amount {
            Some(amount) if !fits && amount <= max => {
                let changes = self.past.iter().map(|past| {
                    if limit.rolling { past.at_us + length } else { (past.at_us.div_euclid(length) + 1) * length }
                });
                changes.filter(|change| *change > now && used(*change) + amount <= max).min()
            }
            _ => None,
        };
        let start_us = if limit.rolling { now - length } else { now.div_euclid(length) * length };
        let fact = FactTold {
            rule: id.to_owned(),
            key,
            start_us,
            used_micros: used(now),
            amount_micros: amount,
            fits,
            frees_at_us,
        };
        (fact, bucket, invalid)
    }

    /// The run that the call would carry on, and when it began.
    fn run(&self, on: Run, after: u32, made: &Made) -> Option<((u32, u32), i64)> {
        let after = after as usize;
        let calls: Vec<(i64, (&str, String))> = self
            .past
            .iter()
            .filter(|past| past.made.session == made.session)
            .map(|past| (past.at_us, identity(&past.made)))
            .collect();
        let repeats = |period: usize| {
            let tail = calls.len().checked_sub(period * after).map(|from| &calls[from..])?;
            let periodic = |p: usize| (p..tail.len()).all(|i| tail[i].1 == tail[i - p].1);
            let carried_on = tail[tail.len() - period].1 == identity(made);
            let shorter = (1..period).any(|p| period.is_multiple_of(p) && periodic(p));
            (periodic(period) && carried_on && !shorter).then(|| ((period as u32, after as u32), tail[0].0))
        };
        let streak = |alike: &dyn Fn(&End, &Option<u8>) -> Option<u16>| {
            let mut run: Vec<(String, u16, i64)> = Vec::new();
            for ended in &self.ends {
                match ended {
                    Ended::Allowed { session, tool } if *session == made.session => {
                        if run.last().is_some_and(|last| last.0 != *tool) {
                            run.clear();
                        }
                    }
                    Ended::Settled { session, tool, at_us, end, result } if *session == made.session => {
                        match alike(end, result) {
                            Some(kind) => {
                                if run.last().is_some_and(|last| last.0 != *tool || last.1 != kind) {
                                    run.clear();
                                }
                                run.push((tool.clone(), kind, *at_us));
                            }
                            None => run.clear(),
                        }
                    }
                    _ => {}
                }
            }
            let began = run.len().checked_sub(after).map(|from| run[from].2)?;
            (run.last()?.0 == made.tool).then_some(((1, after as u32), began))
        };
        match on {
            Run::IdenticalCalls => repeats(1),
            Run::Cycle { period_max } => (2..=usize::from(period_max)).find_map(repeats),
            Run::IdenticalResults => streak(&|end, result| {
                matches!(end, End::Ok | End::ToolError | End::RpcError).then_some(())?;
                result.map(u16::from)
            }),
            Run::Failures => streak(&|end, _| matches!(end, End::ToolError | End::RpcError).then_some(0)),
        }
    }
}

fn identity(made: &Made) -> (&str, String) {
    (&made.tool, crate::canonical(&parse(made.args.as_bytes()).unwrap()))
}

fn fingerprint(rule: &str, made: &Made) -> (String, String, String, String) {
    let (tool, args) = identity(made);
    (rule.to_owned(), made.grant.clone(), tool.to_owned(), args)
}

fn open(hours: &OnlyDuring, now: i64) -> bool {
    let zone = TimeZone::get(&hours.zone).unwrap();
    let local = zone.to_datetime(Timestamp::from_microsecond(now).unwrap());
    let minute = local.hour() as u16 * 60 + local.minute() as u16;
    let day = |back: i64| {
        hours
            .days
            .iter()
            .any(|day| *day as i64 == (i64::from(local.weekday().to_monday_zero_offset()) - back).rem_euclid(7))
    };
    let over_midnight = hours.to_minute <= hours.from_minute;
    if over_midnight {
        (day(0) && minute >= hours.from_minute) || (day(1) && minute < hours.to_minute)
    } else {
        day(0) && minute >= hours.from_minute && minute < hours.to_minute
    }
}

fn holds(rule: &Rule, args: &Node<'_>) -> bool {
    if rule.any_of.is_empty() { all(&rule.conditions, args) } else { rule.any_of.iter().any(|list| all(list, args)) }
}

fn all(list: &[Condition], args: &Node<'_>) -> bool {
    list.iter().all(|condition| is_true(condition, args) == Some(true))
}

fn at<'a>(args: &'a Node<'a>, path: &Path) -> Option<&'a Value<'a>> {
    let mut node = args;
    for key in &path.keys {
        node = node.get(key)?;
    }
    if node.value == Value::Null { None } else { Some(&node.value) }
}

/// True, false, or unknown.
fn is_true(condition: &Condition, args: &Node<'_>) -> Option<bool> {
    let found = at(args, &condition.path);
    if condition.op == Op::Exists {
        return Some(found.is_some() == (condition.value == Literal::Bool(true)));
    }
    let value = found?;
    match (condition.op, &condition.value) {
        (Op::Eq, literal) => Some(equal(value, literal)),
        (Op::Neq, literal) => Some(!equal(value, literal)),
        (Op::In, Literal::List(list)) => Some(list.iter().any(|literal| equal(value, literal))),
        (Op::NotIn, Literal::List(list)) => Some(!list.iter().any(|literal| equal(value, literal))),
        (Op::Lt | Op::Lte | Op::Gt | Op::Gte, Literal::Number(number)) => {
            let Value::Number(argument) = value else { return None };
            let (a, b) = (thousandths(argument.text)?, thousandths(&number.to_string())?);
            Some(match condition.op {
                Op::Lt => a < b,
                Op::Lte => a <= b,
                Op::Gt => a > b,
                _ => a >= b,
            })
        }
        (Op::Regex | Op::NotRegex, Literal::String(pattern)) => {
            let Value::String(text) = value else { return None };
            Some(regex::Regex::new(pattern).unwrap().is_match(text) == (condition.op == Op::Regex))
        }
        (Op::Contains | Op::NotContains, literal) => {
            let contains = match (value, literal) {
                (Value::String(text), Literal::String(part)) => text.contains(part.as_str()),
                (Value::Array(elements), literal) => elements.iter().any(|element| equal(&element.value, literal)),
                _ => return None,
            };
            Some(contains == (condition.op == Op::Contains))
        }
        _ => None,
    }
}

fn equal(value: &Value<'_>, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Bool(a), Literal::Bool(b)) => a == b,
        (Value::String(a), Literal::String(b)) => a == b,
        (Value::Number(a), Literal::Number(b)) => thousandths(a.text) == thousandths(&b.to_string()),
        _ => false,
    }
}

/// The numbers of the tests have at most three places, and no exponent.
fn thousandths(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{whole}{places:0<3}");
    Some(sign * padded.parse::<i128>().ok()?)
}
