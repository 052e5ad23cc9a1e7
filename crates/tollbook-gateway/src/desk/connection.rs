//! One client's side of the desk: who it is, and what it waits for.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::PENDING_MAX;
use super::questions::Asked;
use crate::frame::{IdKey, Refused, RequestId};

/// One client in front of one server.
#[derive(Debug)]
pub struct Connection {
    pub(super) server: String,
    pub(super) session: Option<String>,
    pub(super) grant: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) pending: HashMap<IdKey, Pending, RandomState>,
}

/// A call's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) seq: u64,
    /// Which log has its decision: after a failure another one is begun.
    pub(crate) opening: u64,
    /// Whether that log has it; a call may go on unrecorded where that was asked for.
    pub(crate) recorded: bool,
}

/// A request whose answer is looked at on its way back.
#[derive(Debug)]
pub(super) enum Pending {
    Call { id: RequestId, ticket: Ticket, sent: Instant, asked: Option<Box<Asked>> },
    List,
}

impl Connection {
    /// A client of a grant in front of a server, in a session of its own.
    #[must_use]
    pub fn new(server: &str, grant: &str, session: &str) -> Self {
        let (session, grant) = (Some(session.to_owned()), Some(grant.to_owned()));
        Self { server: server.to_owned(), session, grant, agent: None, pending: HashMap::default() }
    }

    /// Somebody in front of a server who hasn't shown who it is. Whatever it says is to be refused.
    #[must_use]
    pub(crate) fn stranger(server: &str) -> Self {
        Self { server: server.to_owned(), session: None, grant: None, agent: None, pending: HashMap::default() }
    }

    /// A grant, where it isn't known which conversation it is about.
    #[must_use]
    pub(crate) fn of_grant(server: &str, grant: &str) -> Self {
        Self { grant: Some(grant.to_owned()), ..Self::stranger(server) }
    }

    /// The client said before what it is called.
    pub(crate) fn name_agent(&mut self, agent: Option<String>) {
        self.agent = agent;
    }

    /// Refuses a request whose answer couldn't be told from another's, or one too many.
    pub(super) fn check_free(&self, id: Option<&RequestId>) -> Result<(), Refused> {
        if id.is_some_and(|id| self.pending.contains_key(&id.key)) {
            return Err(Refused {
                code: "id_in_flight",
                why: "the id is that of a request which is still open".to_owned(),
            });
        }
        if self.pending.len() >= PENDING_MAX {
            let why = format!("{PENDING_MAX} calls are open on this connection, which is the most");
            return Err(Refused { code: "too_many_in_flight", why });
        }
        Ok(())
    }

    /// The call with this place in the log isn't in it after all.
    pub(super) fn call_unrecorded(&mut self, ticket: Ticket) {
        let held = self.pending.values_mut().find_map(|pending| match pending {
            Pending::Call { ticket: held, .. } if *held == ticket => Some(held),
            _ => None,
        });
        if let Some(held) = held {
            held.recorded = false;
        }
    }

    /// Takes out everything, and tells which calls were open, in the order in which they were made.
    pub(super) fn take_calls(&mut self) -> Vec<(RequestId, Ticket)> {
        let open = std::mem::take(&mut self.pending).into_values();
        let mut calls: Vec<_> = open
            .filter_map(|pending| match pending {
                Pending::Call { id, ticket, .. } => Some((id, ticket)),
                Pending::List => None,
            })
            .collect();
        calls.sort_by_key(|(_, ticket)| (ticket.opening, ticket.seq));
        calls
    }

    /// Takes out the call with this place in the log.
    pub(super) fn take_call(&mut self, ticket: Ticket) -> Option<RequestId> {
        let key = self.pending.iter().find_map(|(key, pending)| match pending {
            Pending::Call { ticket: held, .. } if *held == ticket => Some(key.clone()),
            _ => None,
        })?;
        match self.pending.remove(&key)? {
            Pending::Call { id, .. } => Some(id),
            Pending::List => None,
        }
    }
}
