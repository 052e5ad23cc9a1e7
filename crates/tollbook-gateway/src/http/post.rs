//! One request of a client that may speak to a server: what it posts, listens to or ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::unfold;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::timeout;

use super::answer::{Response, accepted, as_it_comes, at_once, json, plain, stream};
use super::child::{Awaited, Child, Children, Said};
use super::exchange::{Exchange, Reason, cancellation};
use super::guard::only;
use super::queue;
use super::relay::{self, Hears, Held, Patience};
use super::session::{NoSession, SharedConnection};
use super::shares::Permit;
use super::sse::message;
use super::{Gateway, SESSION_ID, Server, Upstream, Way};
use crate::desk::{Connection, Desk, End, Frame, Step, Ticket, lock};
use crate::frame::{Glance, RequestId, glance};
use crate::headers::Headers;
use crate::stdio::{LIST_CHANGED, SharedDesk};

/// Where a request comes from and where it is to go.
pub(super) struct From<'g> {
    pub gateway: &'g Gateway,
    pub lane: usize,
    pub name: &'g str,
    pub server: &'g Server,
    pub grant: String,
    pub headers: &'g HeaderMap,
    pub permit: Permit,
}

/// A conversation, and the id that its client gave.
struct Conversation {
    connection: SharedConnection,
    /// What its process is found by.
    key: String,
}

impl From<'_> {
    /// Takes one frame.
    pub async fn post(self, body: Incoming) -> Response {
        let Bounded { frame_bytes_max, body_within, .. } = self.bounded();
        let frame = match timeout(body_within, Limited::new(body, frame_bytes_max).collect()).await {
            Ok(Ok(frame)) => frame.to_bytes(),
            Ok(Err(error)) if !error.is::<LengthLimitError>() => {
                return plain(StatusCode::BAD_REQUEST, "the frame broke off");
            }
            Ok(Err(_)) => {
                return self.refuse(
                    "frame_too_large",
                    format!("more than {frame_bytes_max} bytes, which is the most"),
                    413,
                );
            }
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the frame took too long to come"),
        };
        let said = match self.said(&frame) {
            Ok(said) => said,
            Err(why) => return self.refuse("header_mismatch", why, 400),
        };
        let read = Frame::read(&frame);
        let glance = glance(read.node());
        let conversation = match self.conversation(&glance) {
            Ok(conversation) => conversation,
            Err(none) => return no_session(&none),
        };
        let began = Instant::now();
        let step = Desk::hear_client(&self.gateway.desk, &conversation.connection, read, &said);
        let response = match step {
            Step::Answer(answer) => json(StatusCode::OK, answer),
            Step::Refuse(answer) => json(StatusCode::BAD_REQUEST, answer),
            Step::Drop => accepted(),
            Step::Forward { call, request } => {
                // From here on, a client that goes away has cancelled.
                let (desk, connection) = (Arc::clone(&self.gateway.desk), Arc::clone(&conversation.connection));
                let exchange = Exchange::new(desk, connection, request);
                if let Some(answer) = self.not_safely_recorded(&conversation, call).await {
                    return json(StatusCode::OK, answer);
                }
                self.gateway.metrics.added(began.elapsed());
                return self.forward(frame, &glance, conversation, exchange).await;
            }
        };
        self.gateway.metrics.added(began.elapsed());
        response
    }

    async fn forward(self, frame: Bytes, glance: &Glance, conversation: Conversation, exchange: Exchange) -> Response {
        match &self.server.way {
            Way::Url(upstream) => {
                let upstream = upstream.of_lane(self.lane);
                let mut patience = self.patience();
                if glance.listen {
                    patience.answer_within = Duration::MAX;
                }
                let in_session = self.session_id().is_some();
                let mut exchange = exchange;
                if in_session {
                    exchange.tells_server(cancelling(upstream, self.headers));
                }
                let tools_changed = glance.tools_changed.clone();
                let hears = glance.listen.then(|| Hears { news: self.server.news.subscribe(), tools_changed });
                let held = Held { permit: self.permit, in_session, hears };
                let response = relay::post(upstream, self.headers, frame, exchange, patience, held).await;
                if let (true, Ok(Some(id))) = (glance.initialize, only(response.headers(), &SESSION_ID)) {
                    self.gateway.begun(self.name, &self.grant, id, glance);
                }
                response
            }
            Way::Program(children) => self.ask_child(children, &frame, glance, conversation, exchange).await,
        }
    }

    /// Speaks to a process, which is started where the conversation begins.
    async fn ask_child(
        self,
        children: &Children,
        frame: &[u8],
        glance: &Glance,
        conversation: Conversation,
        mut exchange: Exchange,
    ) -> Response {
        let child = match children.of(&conversation.key, &self.grant) {
            Some(child) => child,
            None if self.session_id().is_some() => {
                // Its client begins another one and calls again, which is the first time that the tool hears of it.
                exchange.unanswered(End::Unreachable);
                return plain(StatusCode::NOT_FOUND, "there is no such session");
            }
            None => match children.start(&conversation.key, &self.grant, Arc::clone(&conversation.connection)) {
                Ok(Some(child)) => child,
                Ok(None) => {
                    return not_started(&mut exchange, StatusCode::SERVICE_UNAVAILABLE);
                }
                Err(error) => {
                    tracing::error!(%error, server = self.name, "the server's program can't be started");
                    return not_started(&mut exchange, StatusCode::BAD_GATEWAY);
                }
            },
        };
        let Some(request) = exchange.request().cloned() else {
            return match child.send(frame).await {
                true => accepted(),
                false => plain(StatusCode::BAD_GATEWAY, "the server has ended"),
            };
        };
        let takes_more = self.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(accepts_stream);
        let mut awaited = child.await_answer(request, takes_more, glance);
        exchange.goes_on_elsewhere();
        let answer_within = self.patience().answer_within;
        // What a process that reads nothing hasn't even queued for it will never come to it.
        if !timeout(answer_within, child.send(frame)).await.unwrap_or(false) {
            return json(StatusCode::OK, awaited.give_up(End::Unreachable));
        }
        let patience = if glance.listen { Duration::MAX } else { answer_within };
        let mut response = answer_of(awaited, patience, self.permit).await;
        if glance.initialize
            && let Ok(id) = HeaderValue::from_str(&conversation.key)
        {
            response.headers_mut().insert(SESSION_ID, id);
        }
        response
    }

    /// Opens a stream for what the server says by itself.
    pub async fn stream(self) -> Response {
        let Some(id) = self.session_id().map(str::to_owned) else {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "a stream belongs to a session");
        };
        let connection = match self.gateway.sessions.given(self.name, &self.grant, &id) {
            Ok(connection) => connection,
            Err(none) => return no_session(&none),
        };
        match &self.server.way {
            Way::Url(upstream) => {
                let upstream = upstream.of_lane(self.lane);
                let exchange = Exchange::new(Arc::clone(&self.gateway.desk), connection, None);
                let (patience, tools_changed) = (self.patience(), Some(LIST_CHANGED.to_vec()));
                let hears = Some(Hears { news: self.server.news.subscribe(), tools_changed });
                let held = Held { permit: self.permit, in_session: true, hears };
                relay::without_body(upstream, Method::GET, self.headers, exchange, patience, held).await
            }
            Way::Program(children) => match children.of(&id, &self.grant) {
                Some(child) => stream(as_it_comes(heard(child.open_stream(), child, self.permit))),
                None => plain(StatusCode::NOT_FOUND, "there is no such session"),
            },
        }
    }

    /// Ends a session.
    pub async fn end(self) -> Response {
        let Some(id) = self.session_id().map(str::to_owned) else {
            return plain(StatusCode::BAD_REQUEST, "which session is to end isn't said");
        };
        let connection = match self.gateway.sessions.given(self.name, &self.grant, &id) {
            Ok(connection) => connection,
            Err(none) => return no_session(&none),
        };
        let response = match &self.server.way {
            Way::Url(upstream) => {
                let upstream = upstream.of_lane(self.lane);
                let exchange = Exchange::new(Arc::clone(&self.gateway.desk), connection, None);
                let held = Held { permit: self.permit, in_session: true, hears: None };
                let patience = Patience {
                    answer_within: Duration::from_secs(self.gateway.bounds.answer_within_s),
                    answer_bytes_max: self.gateway.bounds.answer_bytes_max,
                };
                relay::without_body(upstream, Method::DELETE, self.headers, exchange, patience, held).await
            }
            Way::Program(children) => {
                children.end(&id);
                plain(StatusCode::OK, "the session has ended")
            }
        };
        if response.status().is_success() {
            self.gateway.sessions.end(self.name, &id);
        }
        response
    }

    fn session_id(&self) -> Option<&str> {
        only(self.headers, &SESSION_ID).ok().flatten()
    }

    fn conversation(&self, glance: &Glance) -> Result<Conversation, NoSession> {
        let sessions = &self.gateway.sessions;
        if let Some(id) = self.session_id() {
            return Ok(Conversation { connection: sessions.given(self.name, &self.grant, id)?, key: id.to_owned() });
        }
        let program = matches!(self.server.way, Way::Program(_));
        if program && glance.initialize {
            let id = new_session_id();
            return Ok(Conversation { connection: sessions.given(self.name, &self.grant, &id)?, key: id });
        }
        let client = glance.agent.as_deref().unwrap_or_default();
        let (key, shared) = sessions.silent(self.name, &self.grant, client)?;
        let connection = match &self.server.way {
            Way::Program(children) => {
                // A process that has been idle for too long ends before the call is pending, or stays for it.
                children.of(&key, &self.grant);
                shared
            }
            // Over HTTP each request stands alone.
            Way::Url(_) => Arc::new(Mutex::new(Connection::new(self.name, &self.grant, &key))),
        };
        Ok(Conversation { connection, key })
    }

    /// What the headers say of the frame.
    fn said(&self, frame: &[u8]) -> Result<Headers, String> {
        let text = |name: &'static str| {
            only(self.headers, &HeaderName::from_static(name)).map(|value| value.map(str::to_owned))
        };
        let kind = only(self.headers, &CONTENT_TYPE)?.unwrap_or_default().to_ascii_lowercase();
        let mut parts = kind.split(';').map(str::trim);
        let json = parts.next() == Some("application/json")
            && parts.all(|part| part.trim_matches('"') == "charset=utf-8" || part == "charset=\"utf-8\"");
        if !json {
            return Err("the header Content-Type says something else than application/json in UTF-8".to_owned());
        }
        if only(self.headers, &CONTENT_ENCODING)?.is_some_and(|encoding| encoding != "identity") {
            return Err("the header Content-Encoding says that the frame is something else than it is".to_owned());
        }
        if frame.trim_ascii().is_empty() {
            return Err("there is no frame behind the headers".to_owned());
        }
        only(self.headers, &SESSION_ID)?;
        Ok(Headers {
            method: text("mcp-method")?,
            name: text("mcp-name")?,
            version: text("mcp-protocol-version")?,
            traceparent: text("traceparent")?,
        })
    }

    fn refuse(&self, code: &'static str, why: String, status: u16) -> Response {
        let connection = Connection::of_grant(self.name, &self.grant);
        let told = lock(&self.gateway.desk).refuse(&connection, 0, code, why);
        json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), told)
    }

    /// Waits for the call's record. What the client is told where it isn't safe.
    async fn not_safely_recorded(&self, conversation: &Conversation, call: Option<Ticket>) -> Option<Vec<u8>> {
        not_safely_recorded(&self.gateway.desk, &conversation.connection, call?).await
    }

    fn patience(&self) -> Patience {
        let bounds = &self.gateway.bounds;
        let answer_within = Duration::from_secs(bounds.answer_within_s);
        Patience { answer_within, answer_bytes_max: bounds.answer_bytes_max }
    }

    fn bounded(&self) -> Bounded {
        let bounds = &self.gateway.bounds;
        Bounded { frame_bytes_max: bounds.frame_bytes_max, body_within: Duration::from_secs(bounds.body_within_s) }
    }
}

struct Bounded {
    frame_bytes_max: usize,
    body_within: Duration,
}

impl Gateway {
    /// A server over HTTP has opened a session.
    fn begun(&self, server: &str, grant: &str, id: &str, glance: &Glance) {
        match self.sessions.given(server, grant, id) {
            Ok(connection) => lock(&connection).name_agent(glance.agent.clone()),
            Err(_) => tracing::warn!(server, "a session that was opened is not remembered"),
        }
    }
}

/// Tells a server over HTTP that nobody waits for a request any more. In a session the end of a connection says nothing; since
/// 2026-07-28, where there are none, it says it all.
pub(super) fn cancelling(upstream: &Upstream, headers: &HeaderMap) -> impl FnOnce(&RequestId, Reason) + Send + use<> {
    let upstream = upstream.clone();
    let mut kept = HeaderMap::new();
    for name in [SESSION_ID, HeaderName::from_static("mcp-protocol-version")] {
        kept.extend(headers.get(&name).cloned().map(|value| (name, value)));
    }
    move |request, reason| {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let frame = Bytes::from(cancellation(request, reason));
        // Nobody is left who could be told of a failure.
        runtime.spawn(async move { drop(upstream.send(Method::POST, &kept, Some(frame)).await) });
    }
}

/// Waits for a call's record, without holding up others. What its client is told where it isn't safe.
pub(super) async fn not_safely_recorded(
    desk: &SharedDesk,
    connection: &SharedConnection,
    call: Ticket,
) -> Option<Vec<u8>> {
    // Without a sync to wait for, it is what it is to be once it was taken.
    let recorded = lock(desk).recorded(call)?;
    let safe = match recorded {
        Ok(recorded) => recorded.await.is_ok(),
        Err(_) => false,
    };
    let mut desk = lock(desk);
    if safe || desk.goes_on_unrecorded() {
        return None;
    }
    tracing::error!(seq = call.seq, "a call was not forwarded because its record is not safe");
    desk.not_forwarded(&mut lock(connection), call, End::Unreachable)
}

fn not_started(exchange: &mut Exchange, status: StatusCode) -> Response {
    let answer = exchange.unanswered(End::Unreachable);
    answer.map_or_else(|| plain(status, "the server could not be started"), |answer| json(StatusCode::OK, answer))
}

fn no_session(none: &NoSession) -> Response {
    match none {
        NoSession::Foreign => plain(StatusCode::NOT_FOUND, "there is no such session"),
        NoSession::TooMany => plain(StatusCode::SERVICE_UNAVAILABLE, "too many sessions are open"),
    }
}

fn new_session_id() -> String {
    let random = || getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    format!("{:016x}{:016x}", random(), random())
}

fn accepts_stream(accept: &str) -> bool {
    accept.contains("text/event-stream") || accept.contains("*/*")
}

/// The answer alone, or a stream where the process says something else before it.
async fn answer_of(mut awaited: Awaited, patience: Duration, permit: Permit) -> Response {
    match timeout(patience, awaited.next()).await {
        Ok(Some(Said::Answer(answer))) => json(StatusCode::OK, answer),
        Ok(Some(Said::Other(line))) => stream(as_it_comes(events(line, awaited, patience, permit))),
        Ok(None) if awaited.listens() => stream(at_once(Bytes::new())),
        Ok(None) => json(StatusCode::OK, awaited.give_up(End::Lost)),
        Err(_) => json(StatusCode::OK, awaited.give_up(End::Timeout)),
    }
}

/// What a process says to a request, from its first line on.
fn events(
    first: Vec<u8>,
    awaited: Awaited,
    patience: Duration,
    permit: Permit,
) -> impl futures::Stream<Item = Vec<u8>> {
    unfold((Some(first), Some((awaited, permit))), move |(first, open)| async move {
        if let Some(line) = first {
            return Some((message(&line), (None, open)));
        }
        let (mut awaited, permit) = open?;
        let (line, rest) = match timeout(patience, awaited.next()).await {
            Ok(Some(Said::Other(line))) => (line, Some((awaited, permit))),
            Ok(Some(Said::Answer(line))) => (line, None),
            Ok(None) if awaited.listens() => return None,
            Ok(None) => (awaited.give_up(End::Lost), None),
            Err(_) => (awaited.give_up(End::Timeout), None),
        };
        Some((message(&line), (None, rest)))
    })
}

/// What a process says by itself.
fn heard(said: queue::Receiver<Said>, child: Arc<Child>, permit: Permit) -> impl futures::Stream<Item = Vec<u8>> {
    unfold((said, child, permit), |(mut said, child, permit)| async move {
        let (Said::Answer(line) | Said::Other(line)) = said.recv().await?;
        Some((message(&line), (said, child, permit)))
    })
}
