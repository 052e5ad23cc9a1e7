//! Streamable HTTP: many servers behind one listener, each at `/NAME/mcp`.
//!
//! ```text
//!  guard ──► session ──► desk ──► relay ──► upstream      a server over HTTP
//!  who       which       judges   ──────►  child          a server on standard input and output
//! ```
//!
//! Both eras of the protocol pass: with `initialize`, sessions, a stream to listen on and its resumption, and
//! without (2026-07-28), where each request stands alone. A client that goes away has cancelled what it waited
//! for, unless the stream was one that can be taken up again.

pub mod admin;
pub mod bridge;

mod answer;
mod child;
mod connect;
mod exchange;
mod guard;
mod listen;
mod post;
mod queue;
mod relay;
mod session;
mod shares;
mod soon;
mod sse;
mod upstream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use tokio::sync::broadcast;

use crate::desk::{Connection, lock};
use crate::grants::Tokens;
use crate::metrics::Metrics;
use crate::stdio::SharedDesk;
use answer::{Response, plain};
use child::Children;
use session::Sessions;
use shares::{Permit, Shares};

pub use child::Program;
pub use guard::Hosts;
pub(crate) use sse::Events;
pub use upstream::{Upstream, UpstreamError};

/// How much the gateway takes at once. Each says what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Largest frame of a client, in bytes. A larger one is refused and recorded.
    pub frame_bytes_max: usize,
    /// Largest answer or event of a server, in bytes. A larger one ends the call as lost.
    pub answer_bytes_max: usize,
    /// All headers of a request together, in bytes. More are answered with 431.
    pub header_bytes_max: usize,
    /// Connections of clients. Further ones wait until one ends.
    pub connections_max: usize,
    /// Requests and streams that are open. Further ones are answered with 503. The last quarter is for grants that have
    /// less than a quarter open.
    pub streams_max: usize,
    /// Conversations that are remembered. Further ones are answered with 503. The last quarter is for grants that have
    /// less than a quarter.
    pub sessions_max: usize,
    /// Processes of one server. A conversation that needs one more is answered with 503. The last quarter is for grants
    /// that have less than a quarter.
    pub children_max: usize,
    /// Silence after which a conversation is over and its process ends, in seconds.
    pub session_idle_s: u64,
    /// How long a connection may be without a request's whole headers, in seconds. Then it is closed.
    pub head_within_s: u64,
    /// How long a client may take to send a frame, in seconds. Then it is answered with 408.
    pub body_within_s: u64,
    /// How long connecting to a server may take, in seconds. Then the call didn't reach it.
    pub connect_within_s: u64,
    /// How long a server that owes an answer may be silent, in seconds. Then the call has timed out.
    pub answer_within_s: u64,
    /// How long requests that are open may go on once the gateway is to end, in seconds.
    pub drain_within_s: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            frame_bytes_max: crate::stdio::FRAME_BYTES_MAX,
            answer_bytes_max: crate::stdio::ANSWER_BYTES_MAX,
            header_bytes_max: 16 << 10,
            connections_max: 1_024,
            streams_max: 1_024,
            sessions_max: 10_000,
            children_max: 64,
            session_idle_s: 30 * 60,
            head_within_s: 60,
            body_within_s: 30,
            connect_within_s: 10,
            answer_within_s: 300,
            drain_within_s: 10,
        }
    }
}

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Place {
    /// Behind a URL.
    Url(Upstream),
    /// A program that is started, once for each conversation.
    Program(Program),
}

/// The gateway over HTTP.
pub struct Gateway {
    desk: SharedDesk,
    servers: BTreeMap<String, Server>,
    tokens: RwLock<Tokens>,
    sessions: Sessions,
    hosts: Hosts,
    bounds: Bounds,
    open: Arc<Mutex<Shares>>,
    metrics: Arc<Metrics>,
    lanes: usize,
}

/// The gateway, as one of its lanes has it; see [`listen`].
#[derive(Clone)]
struct Lane {
    gateway: Arc<Gateway>,
    place: usize,
}

struct Server {
    way: Way,
    news: broadcast::Sender<News>,
}

/// What streams for the server's own messages hear from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Other tools are hidden than before.
    ToolsChanged,
    /// The gateway is about to end.
    Ending,
}

enum Way {
    Url(Upstream),
    Program(Children),
}

impl Gateway {
    /// A gateway in front of these servers. `key` is random, and hides session ids in the log.
    #[must_use]
    pub fn new(
        desk: SharedDesk,
        places: BTreeMap<String, Place>,
        tokens: Tokens,
        hosts: Hosts,
        bounds: Bounds,
        key: [u8; 32],
    ) -> Self {
        let (idle, lanes) = (Duration::from_secs(bounds.session_idle_s), listen::lanes());
        let server = |place| {
            let way = match place {
                Place::Url(upstream) => Way::Url(upstream.in_lanes(lanes)),
                Place::Program(program) => {
                    let (desk, most) = (Arc::clone(&desk), bounds.children_max);
                    Way::Program(Children::new(desk, program, most, idle, bounds.answer_bytes_max))
                }
            };
            Server { way, news: broadcast::channel(4).0 }
        };
        let servers = places.into_iter().map(|(name, place)| (name, server(place))).collect();
        let sessions = Sessions::new(Arc::clone(&desk), key, idle, bounds.sessions_max);
        let open = Arc::new(Mutex::new(Shares::new(bounds.streams_max)));
        let metrics = Arc::new(Metrics::default());
        lock(&desk).count_in(Arc::clone(&metrics));
        Self { desk, servers, tokens: RwLock::new(tokens), sessions, hosts, bounds, open, metrics, lanes }
    }

    /// From the next request on, these tokens are good.
    pub fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(std::sync::PoisonError::into_inner) = tokens;
    }

    /// Tells a server's clients that they see other tools now, where the protocol has a way to.
    pub fn tools_changed(&self, server: &str) {
        let Some(server) = self.servers.get(server) else { return };
        // Nobody may have a stream open.
        let _ = server.news.send(News::ToolsChanged);
        if let Way::Program(children) = &server.way {
            children.tools_changed();
        }
    }

    /// Processes that run.
    fn running_children(&self) -> usize {
        let running = |server: &Server| match &server.way {
            Way::Program(children) => children.running(),
            Way::Url(_) => 0,
        };
        self.servers.values().map(running).sum()
    }

    /// Ends the streams that have no end of their own.
    fn end_streams(&self) {
        for server in self.servers.values() {
            let _ = server.news.send(News::Ending);
            if let Way::Program(children) = &server.way {
                children.end_streams();
            }
        }
    }

    /// Ends the servers' programs. What they still do then, such as saving something, they may finish.
    async fn end_children(&self) {
        let all = || {
            self.servers.values().filter_map(|server| match &server.way {
                Way::Program(children) => Some(children),
                Way::Url(_) => None,
            })
        };
        all().for_each(Children::end_all);
        let ended = async {
            for children in all() {
                children.ended().await;
            }
        };
        // Each is asked to end after half of that time.
        let _ = tokio::time::timeout(2 * child::FAREWELL, ended).await;
    }

    /// Takes one request as far as the method.
    async fn take(&self, lane: usize, request: Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix('/').and_then(|path| path.strip_suffix("/mcp"));
        let known = path.and_then(|name| self.servers.get_key_value(name));
        if let Some((code, why)) = self.hosts.refuses(&parts.headers) {
            let stranger = Connection::stranger(known.map(|(name, _)| name.as_str()).unwrap_or_default());
            let told = lock(&self.desk).refuse(&stranger, 0, code, why);
            return answer::json(StatusCode::FORBIDDEN, told);
        }
        let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > self.bounds.header_bytes_max {
            return plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large");
        }
        let Some((name, server)) = known else { return plain(StatusCode::NOT_FOUND, "there is no such server") };
        let Some(grant) = self.grant(name, &parts.headers) else {
            tracing::warn!(server = name, "a request showed no token that is good here");
            return plain(StatusCode::UNAUTHORIZED, "a bearer token that is good for this server is needed");
        };
        let Some(permit) = Permit::of(&self.open, &grant) else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests are open");
        };
        let from = post::From { gateway: self, lane, name, server, grant, headers: &parts.headers, permit };
        match parts.method {
            Method::POST => from.post(body).await,
            Method::GET => from.stream().await,
            Method::DELETE => from.end().await,
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "POST, GET or DELETE is expected"),
        }
    }

    fn grant(&self, server: &str, headers: &HeaderMap) -> Option<String> {
        let token = guard::bearer(headers)?;
        let tokens = self.tokens.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.grant(server, token).map(str::to_owned)
    }
}

pub use listen::serve;

/// The header that names a conversation.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

#[cfg(test)]
mod tests;
