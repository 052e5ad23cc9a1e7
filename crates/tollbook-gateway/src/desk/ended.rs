//! What comes back: answers on their way to the client, and calls that end without one.

use std::borrow::Cow;

use tollbook_engine::{Body, BodyRef, Hash128, Mode, Outcome};
use tollbook_policy::json::{Node, Outline, Value, outline};

use super::connection::{Pending, Ticket};
use super::time::Now;
use super::{Connection, Desk};
use crate::catalog::without_hidden;
use crate::frame::{IdKey, RequestId, alike, answered_id, read};
use crate::refusal;

/// How a call came to an end other than by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Not a byte of it reached the server, or the server wouldn't hear of it.
    Unreachable,
    /// The server went away.
    Lost,
    /// The server took too long.
    Timeout,
}

/// A frame of the server, as the client is to get it.
#[derive(Debug, PartialEq, Eq)]
pub struct Returned<'f> {
    /// The frame's own bytes, unless something had to be kept back.
    pub bytes: Cow<'f, [u8]>,
    /// The request that it answers, if it is an answer.
    pub answers: Option<RequestId>,
}

/// What an answer says of the request that it ends.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    id: RequestId,
    end: tollbook_engine::End,
    result_bytes: Option<u64>,
    result_hash: Option<Hash128>,
}

impl Answer {
    fn new(id: RequestId, result: Option<&[u8]>, is_error: bool) -> Self {
        let end = match (result, is_error) {
            (None, _) => tollbook_engine::End::RpcError,
            (Some(_), true) => tollbook_engine::End::ToolError,
            (Some(_), false) => tollbook_engine::End::Ok,
        };
        let result_bytes = result.and_then(|result| u64::try_from(result.len()).ok());
        Self { id, end, result_bytes, result_hash: result.map(tollbook_engine::hash128) }
    }

    /// None where the frame answers nothing.
    fn of(frame: &[u8], node: &Node<'_>) -> Option<Self> {
        let id = answered_id(node)?;
        let result = node.get("result");
        let is_error = result.and_then(|result| result.get("isError"));
        let is_error = is_error.is_some_and(|is_error| is_error.value == Value::Bool(true));
        Some(Self::new(id, result.and_then(|result| frame.get(result.span.clone())), is_error))
    }

    /// The same, for an answer in which nothing else is ever looked at. None where it may be another.
    fn at_a_glance(frame: &[u8]) -> Option<Self> {
        let Outline { members, within } = outline(frame, "result")?;
        let (mut id, mut result, mut is_error) = (None, None, false);
        for (key, value) in members {
            match key {
                "id" => id = Some(value),
                "result" => result = Some(value.as_bytes()),
                "jsonrpc" => {}
                _ => return None,
            }
        }
        for (key, value) in within? {
            match key {
                "isError" => is_error = value == "true",
                "resultType" if value == r#""complete""# => {}
                "content" | "structuredContent" | "_meta" => {}
                _ => return None,
            }
        }
        Some(Self::new(RequestId::of_text(id?)?, result, is_error))
    }
}

/// A frame of the server as it was read.
pub(super) struct Reply<'f> {
    frame: &'f [u8],
    /// None where it answers nothing.
    answer: Option<Answer>,
    /// None where it can't be read, or a glance is enough.
    node: Option<Node<'f>>,
}

impl<'f> Reply<'f> {
    pub fn read(frame: &'f [u8]) -> Self {
        if let Some(answer) = Answer::at_a_glance(frame) {
            return Self { frame, answer: Some(answer), node: None };
        }
        let node = read(frame).ok();
        Self { frame, answer: node.as_ref().and_then(|node| Answer::of(frame, node)), node }
    }
}

impl Desk {
    pub(super) fn returned<'f>(&mut self, connection: &mut Connection, reply: Reply<'f>, now: Now) -> Returned<'f> {
        let Reply { frame, answer, node } = reply;
        let Some(Answer { id, end, result_bytes, result_hash }) = answer else {
            let withheld = match &node {
                None if self.hides() => withheld_unread(connection),
                // Some clients would take it for the answer that they wait for.
                Some(node) if self.hides() && may_list(node) => Some(withheld(connection)),
                _ => None,
            };
            return withheld.unwrap_or(Returned { bytes: Cow::Borrowed(frame), answers: None });
        };
        let bytes = match (connection.pending.remove(&id.key), &node) {
            (Some(Pending::Call { ticket, sent, asked, .. }), _) => {
                if ticket.opening == self.gap.opening {
                    let result = node.as_ref().and_then(|node| node.get("result"));
                    if let (Some(asked), Some(result), true) = (asked, result, ticket.recorded) {
                        self.questions.hear(connection, &asked, ticket.seq, result, now.us);
                    }
                    let upstream_us = u64::try_from(now.at.saturating_duration_since(sent).as_micros()).ok();
                    let outcome = Outcome { call_seq: ticket.seq, end, upstream_us, result_bytes, result_hash };
                    self.record_end(ticket, outcome, now.us, true);
                }
                Cow::Borrowed(frame)
            }
            (Some(Pending::List), Some(node)) => self.list(connection, &id, frame, node),
            // A list that comes where nobody waits for it, as on a stream that was taken up again, or under an id that
            // only some clients take for that of their request.
            (None, Some(node)) if is_list(node) || (awaits_list(connection).is_some() && may_list(node)) => {
                self.list(connection, &id, frame, node)
            }
            // At a glance there is no list in it.
            (Some(Pending::List), None) if self.hides() => refusal::withheld_list(Some(&id)).into(),
            _ => Cow::Borrowed(frame),
        };
        Returned { bytes, answers: Some(id) }
    }

    fn list<'f>(&mut self, connection: &Connection, id: &RequestId, frame: &'f [u8], node: &Node<'_>) -> Cow<'f, [u8]> {
        let server = &connection.server;
        self.engines.learn(server, node);
        let engine = self.engines.judge(server, connection.grant.as_deref());
        let shows = |tool: &str| {
            !self.hides()
                || engine.is_some_and(|engine| !engine.hides(tool, Some(self.engines.category(server, tool).name())))
        };
        without_hidden(frame, node, shows).unwrap_or_else(|| match self.hides() {
            true => refusal::withheld_list(Some(id)).into(),
            false => frame.into(),
        })
    }

    /// Whether hidden tools are kept out of lists. In shadow mode they can be called, so they are shown as well.
    fn hides(&self) -> bool {
        self.manner.mode == Mode::Enforce
    }

    /// The client no longer waits for this request.
    pub(crate) fn cancelled(&mut self, connection: &mut Connection, id: &RequestId) {
        let now_us = self.now_us();
        self.cancelled_at(connection, id, now_us);
    }

    /// The same, for one of several frames that have come at once.
    pub(super) fn cancelled_at(&mut self, connection: &mut Connection, id: &RequestId, now_us: i64) {
        if let Some(Pending::Call { ticket, .. }) = connection.pending.remove(&id.key) {
            self.end(ticket, tollbook_engine::End::Cancelled, now_us);
        }
    }

    /// A request ended without an answer. Returns what the client is to be told, where it waits.
    pub(crate) fn unanswered(&mut self, connection: &mut Connection, id: &RequestId, end: End) -> Vec<u8> {
        if let Some(Pending::Call { ticket, .. }) = connection.pending.remove(&id.key) {
            let now_us = self.now_us();
            self.end(ticket, end.recorded(), now_us);
        }
        refusal::unanswered(id, end)
    }

    /// A call that was to be forwarded didn't get through. Returns what the client is to be told.
    pub fn not_forwarded(&mut self, connection: &mut Connection, call: Ticket, end: End) -> Option<Vec<u8>> {
        let id = connection.take_call(call);
        let now_us = self.now_us();
        self.end(call, end.recorded(), now_us);
        Some(refusal::unanswered(&id?, end))
    }

    /// The server has gone: every request that it owed an answer is lost. Returns what the client is to be
    /// told.
    pub fn server_gone(&mut self, connection: &mut Connection) -> Vec<Vec<u8>> {
        let (open, now_us) = (connection.take_calls().into_iter(), self.now_us());
        let lost = open.map(|(id, ticket)| {
            self.end(ticket, tollbook_engine::End::Lost, now_us);
            refusal::unanswered(&id, End::Lost)
        });
        lost.collect()
    }

    /// The client has gone, and won't come back for what it waits for.
    pub(crate) fn client_gone(&mut self, connection: &mut Connection) {
        let now_us = self.now_us();
        for (_, ticket) in connection.take_calls() {
            self.end(ticket, tollbook_engine::End::Cancelled, now_us);
        }
    }

    /// The end of a call of an earlier log is no event of this one.
    fn end(&mut self, call: Ticket, end: tollbook_engine::End, now_us: i64) {
        if call.opening == self.gap.opening {
            let (upstream_us, result_bytes, result_hash) = (None, None, None);
            let outcome = Outcome { call_seq: call.seq, end, upstream_us, result_bytes, result_hash };
            self.record_end(call, outcome, now_us, false);
        }
    }

    /// `with_others` where it is handed over later, with what came together.
    fn record_end(&mut self, call: Ticket, outcome: Outcome, now_us: i64, with_others: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.ended(outcome.end.as_str());
        }
        let (call_seq, end, result) = (outcome.call_seq, outcome.end, outcome.result_hash);
        if !call.recorded {
            // Nor is its end.
            return self.state.settle(call_seq, end, result);
        }
        let body = Body::Outcome(outcome);
        let recorded = if with_others { self.put(now_us, &BodyRef::Other(&body)) } else { self.append(now_us, body) };
        if let Err(error) = recorded {
            tracing::error!(%error, call_seq, "the end of a call was not recorded");
            // A replay won't see it, so the state doesn't either. Where the log takes nothing more, the next one begins
            // with the state instead, and nobody is to pay there for a call that didn't reach its tool.
            if self.takes_records() {
                return;
            }
        }
        self.state.settle(call_seq, end, result);
    }
}

/// The request for a list of tools that is open.
fn awaits_list(connection: &Connection) -> Option<IdKey> {
    let open = connection.pending.iter().find(|(_, pending)| matches!(pending, Pending::List));
    open.map(|(key, _)| key.clone())
}

/// What can't be read may be the list that was asked for.
fn withheld_unread(connection: &mut Connection) -> Option<Returned<'static>> {
    let key = awaits_list(connection)?;
    connection.pending.remove(&key);
    tracing::warn!("an answer that cannot be read was withheld, because a list of tools is awaited");
    let id = RequestId::from(key);
    Some(Returned { bytes: refusal::withheld_list(Some(&id)).into(), answers: Some(id) })
}

/// A list of tools that answers no request, to our reading.
fn withheld(connection: &mut Connection) -> Returned<'static> {
    withheld_unread(connection)
        .unwrap_or_else(|| Returned { bytes: refusal::withheld_list(None).into(), answers: None })
}

/// Whether any reader could find a list of tools in a frame: one that takes a batch, or ignores letter case.
fn may_list(frame: &Node<'_>) -> bool {
    let has =
        |frame: &Node<'_>| members_like(frame, "result").any(|result| members_like(result, "tools").next().is_some());
    frame.elements().map_or_else(|| has(frame), |frames| frames.iter().any(has))
}

fn members_like<'f, 'n>(object: &'f Node<'n>, key: &str) -> impl Iterator<Item = &'f Node<'n>> {
    let members = object.members().unwrap_or_default().iter();
    members.filter(move |member| alike(&member.key, key)).map(|member| &member.node)
}

fn is_list(answer: &Node<'_>) -> bool {
    let tools = answer.get("result").and_then(|result| result.get("tools")).and_then(Node::elements);
    let named = |tool: &Node<'_>| tool.get("name").and_then(Node::as_str).is_some();
    tools.is_some_and(|tools| tools.is_empty() || tools.iter().any(named))
}

impl End {
    fn recorded(self) -> tollbook_engine::End {
        match self {
            Self::Unreachable => tollbook_engine::End::Unreachable,
            Self::Lost => tollbook_engine::End::Lost,
            Self::Timeout => tollbook_engine::End::Timeout,
        }
    }
}

#[cfg(test)]
mod tests;
