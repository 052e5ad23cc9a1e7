//! What an operator does at the desk.

use std::collections::BTreeMap;

use tollbook_engine::{Answered, ArgsRef, Body, Expired, Frozen, Kept, Pruned, Reset};

use super::{Connection, Desk, Unrecorded};
use crate::frame::CallFrame;
use crate::operator::{COUNTERS_LOOKED_AT_MAX, COUNTERS_MAX, Counter, Held, Request, Response, SHOWN_BYTES_MAX};

/// Fewer held calls than this aren't searched for those that no longer wait.
const HELD_SWEPT_FROM: usize = 256;

impl Desk {
    /// Keeps what an operator is to see of a call that waits.
    pub(super) fn hold(
        &mut self,
        connection: &Connection,
        frame: &CallFrame<'_>,
        approval: &str,
        rule: Option<&str>,
        now_us: i64,
    ) {
        if self.held.contains_key(approval) {
            return;
        }
        // What is never recorded isn't shown either.
        let whole = self.manner.redaction.apply(ArgsRef::keep(Kept::Full, frame.args, &[]));
        let mut args = whole.json.unwrap_or_default().into_owned();
        if args.len() > SHOWN_BYTES_MAX {
            args.truncate(args.floor_char_boundary(SHOWN_BYTES_MAX));
        }
        let held = Held {
            approval: approval.to_owned(),
            tool: frame.tool.to_owned(),
            args,
            grant: connection.grant.clone().unwrap_or_default(),
            session: connection.session.clone().unwrap_or_default(),
            agent: connection.agent.clone(),
            rule: rule.map(str::to_owned),
            asked_us: now_us,
            expires_us: self.state.waits_until(approval).unwrap_or(now_us),
        };
        self.held.insert(approval.to_owned(), held);
        // Looking over all of them each time would make every hold as slow as there are many.
        if self.held.len() >= self.held_swept {
            self.forget_held(now_us);
            self.held_swept = HELD_SWEPT_FROM.max(self.held.len().saturating_mul(2));
        }
    }

    /// Records which calls nobody has answered in time, and which ones that were let pass nobody has made. To be done
    /// now and then.
    pub fn expire(&mut self) {
        if self.held.is_empty() && self.let_pass.is_empty() {
            return;
        }
        let now_us = self.now_us();
        // Asking the engine what waits takes longer the more there is, and calls wait for the desk meanwhile.
        if self.held.values().any(|held| held.expires_us <= now_us) {
            self.forget_held(now_us);
        }
        let over: Vec<String> =
            self.let_pass.extract_if(.., |_, until_us| *until_us <= now_us).map(|(id, _)| id).collect();
        for approval in over {
            // What has passed is no longer there.
            if self.state.passes_until(&approval).is_some() {
                self.record_expired(now_us, approval);
            }
        }
    }

    fn record_expired(&mut self, now_us: i64, approval: String) {
        if let Err(error) = self.append(now_us, Body::Expired(Expired { approval })) {
            tracing::warn!(%error, "that an approval expired was not recorded");
        }
    }

    /// Forgets what no longer waits, so that there is never more to show than the engine holds. Where that is because
    /// nobody answered, the log says so.
    fn forget_held(&mut self, now_us: i64) {
        let waiting: BTreeMap<String, i64> = self.state.waiting(now_us).into_iter().collect();
        let gone = self.held.extract_if(.., |approval, _| !waiting.contains_key(approval));
        let gone: Vec<Held> = gone.map(|(_, held)| held).collect();
        for Held { approval, expires_us, .. } in gone {
            // One that was answered is gone before its time.
            if now_us >= expires_us {
                self.record_expired(now_us, approval);
            }
        }
    }

    /// What this process is called in the log that it is writing; none once that is closed. A log that is begun
    /// anew has another name.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        self.log.as_ref().map(|log| log.instance().to_owned())
    }

    /// Records that the log's oldest events are about to go.
    ///
    /// # Errors
    /// Where the log can't take it; then they must stay.
    pub fn prune(&mut self, pruned: Pruned) -> Result<u64, Unrecorded> {
        let now_us = self.now_us();
        self.append(now_us, Body::Pruned(pruned))
    }

    /// What counters hold, by what names them.
    fn counters(&self, counter: Option<&str>, key: Option<&str>, now_us: i64) -> Vec<Counter> {
        let levels = self.state.levels((counter, key), now_us, (COUNTERS_MAX, COUNTERS_LOOKED_AT_MAX));
        let told = levels.into_iter().map(|level| Counter {
            server: level.server,
            counter: level.counter,
            tool: level.tool,
            key: level.key,
            window_s: level.window_us / 1_000_000,
            rolling: level.rolling,
            used_micros: level.used_micros,
        });
        let mut counters: Vec<Counter> = told.collect();
        counters.sort_by(|one, other| {
            let name = |counter: &Counter| (counter.server.clone(), counter.counter.clone(), counter.tool.clone());
            name(one).cmp(&name(other)).then_with(|| one.key.cmp(&other.key))
        });
        counters
    }

    /// Does what an operator asks for, once it is an event of the log.
    pub fn operate(&mut self, request: Request) -> Response {
        let now_us = self.now_us();
        self.forget_held(now_us);
        let body = match request {
            Request::Approvals => return Response::Approvals(self.held.values().cloned().collect()),
            Request::Counters { counter, key } => {
                return Response::Counters(self.counters(counter.as_deref(), key.as_deref(), now_us));
            }
            Request::Answer { approval, approved, by } => {
                if !self.held.contains_key(&approval) {
                    return Response::Refused(format!("no call waits for the approval `{approval}`"));
                }
                Body::Answered(Answered { approval, approved, by })
            }
            Request::Reset { counter, key, by } => Body::Reset(Reset { counter, key, by }),
            Request::Freeze { grant, frozen: true, .. } if !self.grants.contains(&grant) => {
                let known: Vec<String> = self.grants.iter().map(|known| format!("`{known}`")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Response::Refused(format!("there is no grant `{grant}`; there is {known}"));
            }
            Request::Freeze { grant, frozen: false, .. } if !self.frozen.contains(&grant) => {
                return Response::Refused(format!("the grant `{grant}` isn't frozen"));
            }
            Request::Freeze { grant, frozen, by } => Body::Frozen(Frozen { grant, frozen, by }),
        };
        let seq = match self.append(now_us, body.clone()) {
            Ok(seq) => seq,
            Err(error) => return Response::Refused(format!("it could not be recorded: {error}")),
        };
        match body {
            Body::Answered(answered) => {
                self.state.answer(&answered.approval, answered.approved, now_us);
                let until_us = self.state.passes_until(&answered.approval);
                self.let_pass.extend(until_us.map(|until_us| (answered.approval, until_us)));
            }
            Body::Reset(reset) => self.state.reset(reset.counter.as_deref(), reset.key.as_deref()),
            Body::Frozen(Frozen { grant, frozen: true, .. }) => {
                self.frozen.insert(grant);
            }
            Body::Frozen(Frozen { grant, .. }) => {
                self.frozen.remove(&grant);
            }
            _ => {}
        }
        self.forget_held(now_us);
        Response::Done { seq }
    }
}

#[cfg(test)]
mod tests;
