//! Recorded calls in columns, on which a limit that stands alone is counted rather than judged.
//!
//! What a limit lets through depends on the calls of its key alone, so the calls are laid out by key once;
//! every window then takes one pass over times that lie side by side. In a plain window the n-th call is
//! refused by each maximum below n, so one count of places answers for all maxima. In a rolling window only
//! what was let through counts, so each maximum is followed by itself.
//!
//! [`Columns::lay_out`] says where that isn't the whole truth (units were given back, an operator reset a
//! counter, the engine's bounds were in reach): there the events must be replayed.

mod counts;
mod instance;
mod layout;

use std::collections::BTreeSet;
use std::hash::Hash;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::{Equivalent, HashMap};
use tollbook_engine::{Body, BodyRef, Bounds, Carried, Code, Codes, End, EventRef, Judge, Reads, RecordRef};
use tollbook_policy::Category;
use tollbook_policy::policy::{Scope, Selector};

use crate::lineage::{Left, Lineage};
use crate::named::{Named, index};
use crate::sweep::Label;

pub use counts::{Counts, Refused};
use instance::{Counters, Instance};
pub use layout::{Busy, Layout};

/// A name that isn't known.
const NONE: u32 = u32::MAX;
/// A time that isn't known.
const NO_TIME: i64 = i64::MIN;

/// Recorded calls in columns: 33 bytes a call.
#[derive(Debug, Default)]
pub struct Columns {
    at_us: Vec<i64>,
    kind: Vec<u32>,
    grant: Vec<u32>,
    session: Vec<u32>,
    agent: Vec<u32>,
    instance: Vec<u32>,
    label: Vec<Label>,
    kinds: HashMap<Kind, u32, RandomState>,
    /// A name of another instance is another one, unless that is carried on.
    grants: Named<()>,
    sessions: Named<()>,
    agents: Named<()>,
    /// The instance that is read, and those before it that will be carried on.
    current: Instance,
    left: Left<Instance>,
    instances: u32,
    /// The server of the last call.
    server: String,
    /// Of the instance that is read: its calls' sequence numbers, and from which place on.
    seqs: Vec<u64>,
    begins: usize,
    given_back: BTreeSet<u32>,
    reset: bool,
    unordered: bool,
    continued: bool,
    carried: bool,
}

/// What a limit's selectors and counters go by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    server: String,
    tool: String,
    category: String,
}

/// A kind, looked up without making one: there is one look-up for each call.
#[derive(Hash)]
struct KindRef<'a> {
    server: &'a str,
    tool: &'a str,
    category: &'a str,
}

impl Equivalent<Kind> for KindRef<'_> {
    fn equivalent(&self, kind: &Kind) -> bool {
        self.tool == kind.tool && self.server == kind.server && self.category == kind.category
    }
}

impl From<&KindRef<'_>> for Kind {
    fn from(kind: &KindRef<'_>) -> Self {
        Self { server: kind.server.to_owned(), tool: kind.tool.to_owned(), category: kind.category.to_owned() }
    }
}

/// Why counting would not give the engine's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inexact {
    /// Calls never reached their tool, and gave their units back.
    GivenBack,
    /// An operator reset counters.
    Reset,
    /// Times go back within an instance.
    Unordered,
    /// Calls are the rest of others, and weren't charged.
    Continued,
    /// Instances carry on the counters of several others at once.
    Carried,
    /// The engine's bounds are in reach.
    Bounds,
}

impl Columns {
    /// What is read of each call.
    pub const READS: Reads =
        Reads { args: false, args_hash: false, decision: false, result_hash: false, ended: false, rest: false };

    /// The events of another instance follow. Its counters begin empty, unless it carries others on.
    pub fn begin(&mut self, instance: &str, lineage: &Lineage) {
        self.instances += 1;
        let mut ended = std::mem::replace(&mut self.current, Instance::new(self.instances));
        ended.grants = self.grants.begin();
        ended.sessions = self.sessions.begin();
        ended.agents = self.agents.begin();
        self.left.begin(instance, lineage, ended);
        self.server.clear();
        self.seqs.clear();
        self.begins = self.at_us.len();
    }

    /// The next event of the instance; `label` is asked for calls alone.
    pub fn event(&mut self, event: &EventRef<'_>, label: Label) {
        match &event.body {
            BodyRef::Decision(record) if record.judged_by != Judge::Gateway => self.call(event, record, label),
            BodyRef::Other(Body::Outcome(outcome)) if matches!(outcome.end, End::Unreachable | End::RpcError) => {
                let place = self.seqs.binary_search(&outcome.call_seq).ok();
                self.given_back.extend(place.and_then(|place| self.kind.get(self.begins + place)));
            }
            BodyRef::Other(Body::Reset(_)) => self.reset = true,
            BodyRef::Other(Body::Carried(carried)) => self.carry(carried),
            _ => {}
        }
    }

    /// The tools that were called, by name.
    #[must_use]
    pub fn tools(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(|kind| kind.tool.as_str()).collect()
    }

    /// The categories of the tools that were called.
    #[must_use]
    pub fn categories(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(|kind| kind.category.as_str()).collect()
    }

    /// What a key of a layout of this scope is called; nothing for a server or everyone.
    #[must_use]
    pub fn name(&self, scope: Scope, value: u32) -> &str {
        let names = match scope {
            Scope::Grant => &self.grants,
            Scope::Session => &self.sessions,
            Scope::Agent => &self.agents,
            Scope::Server | Scope::Everyone => return "",
        };
        names.name(value).unwrap_or_default()
    }

    /// Sessions so far.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        u64::try_from(self.sessions.len()).unwrap_or(u64::MAX)
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.at_us.len()
    }

    /// Calls of these tools by label: clean, and bad; none means all tools.
    #[must_use]
    pub fn labels(&self, of: &[Selector]) -> (u64, u64) {
        let mut chosen = vec![false; self.kinds.len()];
        // In any order: each kind is looked at by itself.
        for (kind, number) in &self.kinds {
            if let Some(chosen) = chosen.get_mut(index(*number)) {
                *chosen = of.is_empty() || of.iter().any(|selector| selector.chooses(&kind.tool, &kind.category));
            }
        }
        let counted = self.kind.iter().zip(&self.label).filter(|(kind, _)| chosen.get(index(**kind)) == Some(&true));
        counted.fold((0, 0), |(clean, bad), (_, label)| match label {
            Label::Clean => (clean + 1, bad),
            Label::Bad => (clean, bad + 1),
        })
    }

    fn carry(&mut self, carried: &Carried) {
        let earlier: Vec<&Instance> = self.left.of(&carried.from).collect();
        match self.current.carry(carried, &earlier, self.at_us.len() > self.begins) {
            Counters::Same => {}
            Counters::Mixed => self.carried = true,
            Counters::Of(earlier) => {
                self.current.counters = earlier.counters;
                self.current.latest_us = earlier.latest_us;
                self.grants.go_on(&earlier.grants);
                self.sessions.go_on(&earlier.sessions);
                self.agents.go_on(&earlier.agents);
            }
        }
    }

    fn call(&mut self, event: &EventRef<'_>, record: &RecordRef<'_>, label: Label) {
        let Some(tool) = record.tool else { return };
        self.continued |= record.continues.is_some();
        let category = record.category.unwrap_or_else(|| Category::by_name(tool).name());
        let kind = KindRef { server: record.server, tool, category };
        let kind = match self.kinds.get(&kind) {
            Some(number) => *number,
            None => {
                let next = u32::try_from(self.kinds.len()).unwrap_or(NONE);
                *self.kinds.entry(Kind::from(&kind)).or_insert(next)
            }
        };
        if let Some(at_us) = event.ts_us {
            self.unordered |= at_us < self.current.latest_us;
            self.current.latest_us = at_us;
        }
        if self.server != record.server {
            record.server.clone_into(&mut self.server);
            self.carried |= !self.current.calls(record.server);
        }
        self.seqs.push(event.seq);
        self.at_us.push(event.ts_us.unwrap_or(NO_TIME));
        self.kind.push(kind);
        let code = |name: fn(&Codes) -> u32| Code::of(event.codes.as_ref(), name);
        let grant = record.grant.map(|grant| self.grants.number(grant, code(|codes| codes.grant)));
        let session = record.session.map(|session| self.sessions.number(session, code(|codes| codes.session)));
        let agent = record.agent.map(|agent| self.agents.number(agent, code(|codes| codes.agent)));
        self.grant.push(grant.unwrap_or(NONE));
        self.session.push(session.unwrap_or(NONE));
        self.agent.push(agent.unwrap_or(NONE));
        self.instance.push(self.current.counters);
        self.label.push(label);
    }

    /// Lays out by key the calls that a limit of these tools counts; none means all tools.
    ///
    /// # Errors
    /// Where counting them would not give the engine's answers.
    pub fn lay_out(&self, of: &[Selector], scope: Scope) -> Result<Layout, Inexact> {
        let mut chosen = vec![NONE; self.kinds.len()];
        let mut servers: HashMap<&str, u32, RandomState> = HashMap::default();
        // In any order: each kind is looked at by itself, and a server's number means nothing.
        for (kind, number) in &self.kinds {
            if !of.is_empty() && !of.iter().any(|selector| selector.chooses(&kind.tool, &kind.category)) {
                continue;
            }
            if self.given_back.contains(number) {
                return Err(Inexact::GivenBack);
            }
            let next = u32::try_from(servers.len()).unwrap_or(NONE);
            let server = *servers.entry(kind.server.as_str()).or_insert(next);
            if let Some(chosen) = chosen.get_mut(index(*number)) {
                *chosen = server;
            }
        }
        for (is_so, inexact) in [
            (self.reset, Inexact::Reset),
            (self.unordered, Inexact::Unordered),
            (self.continued, Inexact::Continued),
            (self.carried, Inexact::Carried),
        ] {
            if is_so {
                return Err(inexact);
            }
        }
        self.by_key(&chosen, scope)
    }

    /// Two passes, as a counting sort does: how many calls each key has, and then where each call goes.
    fn by_key(&self, chosen: &[u32], scope: Scope) -> Result<Layout, Inexact> {
        let mut keys = Keys::default();
        let mut key_of = vec![NONE; self.at_us.len()];
        let mut unknown = 0;
        let columns = self.kind.iter().zip(&self.at_us).zip(self.values(scope));
        for (((kind, at_us), value), key_of) in columns.zip(&mut key_of) {
            let server = chosen.get(index(*kind)).copied().unwrap_or(NONE);
            if server == NONE {
                continue;
            }
            if *value == NONE || *at_us == NO_TIME {
                unknown += 1;
                continue;
            }
            *key_of = keys.count(server, *value);
        }
        let calls: usize = keys.counts.iter().sum();
        let bounds = Bounds::default();
        if exceeds(keys.counts.len(), bounds.keys_max) || exceeds(calls, bounds.rolling_charges_max) {
            return Err(Inexact::Bounds);
        }
        let mut layout = Layout::new(keys.values, &keys.counts, self.sessions.len(), unknown);
        let mut next = layout.begins();
        let columns = self.at_us.iter().zip(&self.session).zip(&self.label);
        for (((at_us, session), label), key) in columns.zip(&key_of) {
            if let Some(next) = next.get_mut(index(*key)) {
                layout.put(*next, *at_us, *session, *label);
                *next += 1;
            }
        }
        Ok(layout)
    }

    /// The scope's value of each call. No two instances share one, unless one carries on the other.
    fn values(&self, scope: Scope) -> &[u32] {
        match scope {
            Scope::Grant => &self.grant,
            Scope::Session => &self.session,
            Scope::Agent => &self.agent,
            Scope::Server | Scope::Everyone => &self.instance,
        }
    }
}

/// Numbers of keys, which are a server and a scope's value, and how many calls each has.
#[derive(Debug, Default)]
struct Keys {
    /// By value: the server that it was first seen with, and the key.
    first: Vec<(u32, u32)>,
    others: HashMap<(u32, u32), u32, FixedState>,
    counts: Vec<usize>,
    values: Vec<u32>,
}

impl Keys {
    /// Counts a call, and returns the number of its key.
    fn count(&mut self, server: u32, value: u32) -> u32 {
        let next = u32::try_from(self.counts.len()).unwrap_or(NONE);
        if index(value) >= self.first.len() {
            self.first.resize(index(value) + 1, (NONE, NONE));
        }
        let key = match self.first.get_mut(index(value)) {
            Some((first, key)) if *first == server => *key,
            Some(first) if first.0 == NONE => {
                *first = (server, next);
                next
            }
            _ => *self.others.entry((server, value)).or_insert(next),
        };
        if key == next {
            self.counts.push(0);
            self.values.push(value);
        }
        if let Some(count) = self.counts.get_mut(index(key)) {
            *count += 1;
        }
        key
    }
}

fn exceeds(count: usize, bound: u64) -> bool {
    u64::try_from(count).map_or(true, |count| count > bound)
}

#[cfg(test)]
mod tests;
