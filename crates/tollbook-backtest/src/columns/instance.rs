//! Which counters an instance counts in: its own, or those of the one that it carries on.

use std::collections::BTreeSet;

use tollbook_engine::Carried;

use crate::named::Numbers;

/// What an instance has counted by, for one that carries it on.
#[derive(Debug, Default)]
pub(super) struct Instance {
    /// What its counters are called; those that go on in another instance are the same.
    pub counters: u32,
    /// The servers whose counters it has.
    pub servers: BTreeSet<String>,
    pub latest_us: i64,
    pub grants: Numbers,
    pub sessions: Numbers,
    pub agents: Numbers,
    /// What it carries on; none where it has counters of its own alone.
    heritage: Option<Heritage>,
}

/// What an instance carries on of another one.
#[derive(Debug)]
struct Heritage {
    counters: u32,
    /// The servers whose counters the other one had, and those of them that are carried on.
    servers: BTreeSet<String>,
    taken: BTreeSet<String>,
}

/// What becomes of the counters of an instance that carries others on.
pub(super) enum Counters<'i> {
    /// They stay what they are.
    Same,
    /// They are those of this one.
    Of(&'i Instance),
    /// Several instances have counted for one server, each with counters of its own, or one has for several servers
    /// of which not all are carried on: that is no count of calls in one order.
    Mixed,
}

impl Instance {
    /// An instance that has recorded nothing.
    pub fn new(counters: u32) -> Self {
        Self { counters, latest_us: i64::MIN, ..Self::default() }
    }

    /// Takes in that others are carried on, before a call was made or behind one.
    pub fn carry<'i>(&mut self, carried: &Carried, earlier: &[&'i Self], is_begun: bool) -> Counters<'i> {
        let is_carried = |server: &str| carried.server.as_ref().is_none_or(|carried| carried == server);
        let mut relevant = earlier.iter().filter(|one| one.servers.iter().any(|server| is_carried(server)));
        let (one, more) = (relevant.next().copied(), relevant.next());
        let Some(one) = one else { return Counters::Same };
        let begins = self.heritage.is_none();
        let heritage = self.heritage.get_or_insert_with(|| Heritage {
            counters: one.counters,
            servers: one.servers.clone(),
            taken: BTreeSet::new(),
        });
        if more.is_some() || !carried.replays || heritage.counters != one.counters || (begins && is_begun) {
            return Counters::Mixed;
        }
        let taken = one.servers.iter().filter(|server| is_carried(server)).cloned();
        heritage.taken.extend(taken);
        self.servers.extend(heritage.taken.iter().cloned());
        if begins { Counters::Of(one) } else { Counters::Same }
    }

    /// Takes in that a server is called. False where its counters are another instance's and not carried on.
    pub fn calls(&mut self, server: &str) -> bool {
        if !self.servers.contains(server) {
            self.servers.insert(server.to_owned());
        }
        let left = |heritage: &Heritage| heritage.servers.contains(server) && !heritage.taken.contains(server);
        !self.heritage.as_ref().is_some_and(left)
    }
}
