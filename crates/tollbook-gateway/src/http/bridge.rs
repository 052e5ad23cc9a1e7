//! Standard input and output in front of a server over HTTP.
//!
//! Each line of the client is a request of its own to the server; answers and events become lines. What the
//! protocol says in headers is taken from the frames: the session that the server opened, the version that was
//! agreed upon, the method and the name.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::http::header::CONTENT_TYPE;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Bounds;
use super::SESSION_ID;
use super::child::as_line;
use super::exchange::Exchange;
use super::post::{cancelling, not_safely_recorded};
use super::queue::{self, queue};
use super::relay::{Patience, whole};
use super::session::SharedConnection;
use super::sse::Events;
use super::upstream::{Answer, Upstream};
use crate::desk::{Connection, Desk, End, Frame, Step, lock};
use crate::frame::{Glance, IdKey, RequestId, glance};
use crate::headers::{Headers, encoded};
use crate::lines::{Line, Lines};
use crate::stdio::{ClientOut, FRAME_BYTES_MAX, SharedDesk};

/// Pause before a stream that broke off is taken up again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

struct Bridge {
    desk: SharedDesk,
    connection: SharedConnection,
    upstream: Upstream,
    patience: Patience,
    client_out: ClientOut,
    talk: Mutex<Talk>,
}

/// What later requests have to repeat.
#[derive(Default)]
struct Talk {
    session: Option<HeaderValue>,
    version: Option<String>,
    open: BTreeMap<IdKey, AbortHandle>,
}

/// Relays until the client hangs up, and then until its open requests are answered or the bounds' time is up.
pub async fn run(
    desk: SharedDesk,
    connection: Connection,
    upstream: Upstream,
    bounds: Bounds,
    client_in: impl AsFd + Send + 'static,
    client_out: ClientOut,
) {
    let patience = Patience {
        answer_within: Duration::from_secs(bounds.answer_within_s),
        answer_bytes_max: bounds.answer_bytes_max,
    };
    let bridge = Arc::new(Bridge {
        desk,
        connection: Arc::new(Mutex::new(connection)),
        upstream,
        patience,
        client_out,
        talk: Mutex::default(),
    });
    let (sender, mut lines) = queue();
    let runtime = Handle::current();
    // Reading from a client can't be interrupted, so this thread is never waited for.
    std::thread::spawn(move || read_lines(client_in, &sender, &runtime));
    let (mut open, mut listening) = (JoinSet::new(), JoinSet::new());
    while let Some(line) = lines.recv().await {
        bridge.take(line, &mut open, &mut listening).await;
        while open.try_join_next().is_some() {}
    }
    let answered = async { while open.join_next().await.is_some() {} };
    let _ = timeout(Duration::from_secs(bounds.drain_within_s), answered).await;
    listening.shutdown().await;
    bridge.end_session(Duration::from_secs(bounds.connect_within_s)).await;
    lock(&bridge.desk).client_gone(&mut lock(&bridge.connection));
}

enum Taken {
    Frame(Vec<u8>),
    TooLong { bytes: usize },
}

impl queue::Line for Taken {
    fn line(&self) -> &[u8] {
        if let Self::Frame(frame) = self { frame } else { &[] }
    }
}

fn read_lines(client: impl AsFd, lines: &queue::Sender<Taken>, runtime: &Handle) {
    let mut said = Lines::new(FRAME_BYTES_MAX);
    loop {
        let goes_on = match said.fill(&client) {
            Ok(goes_on) => goes_on,
            Err(error) => return tracing::error!(%error, "reading from the client failed"),
        };
        for line in said.whole() {
            let taken = match line {
                Line::Frame(frame) => Taken::Frame(frame.to_vec()),
                Line::TooLong { bytes } => Taken::TooLong { bytes },
            };
            if !runtime.block_on(lines.send(taken)) {
                return;
            }
        }
        said.take();
        if !goes_on {
            return;
        }
    }
}

impl Bridge {
    async fn take(self: &Arc<Self>, line: Taken, open: &mut JoinSet<()>, listening: &mut JoinSet<()>) {
        let frame = match &line {
            Taken::Frame(frame) if frame.trim_ascii().is_empty() => return,
            Taken::Frame(frame) => Frame::read(frame),
            Taken::TooLong { bytes } => Frame::too_long(*bytes, FRAME_BYTES_MAX),
        };
        let step = Desk::hear_client(&self.desk, &self.connection, frame, &Headers::default());
        match step {
            Step::Answer(answer) | Step::Refuse(answer) => self.tell_client(&answer),
            Step::Drop => {}
            Step::Forward { call, request } => {
                if let Some(call) = call
                    && let Some(answer) = not_safely_recorded(&self.desk, &self.connection, call).await
                {
                    return self.tell_client(&answer);
                }
                let Taken::Frame(frame) = line else { return };
                self.forward(frame, request, open, listening).await;
            }
        }
    }

    async fn forward(
        self: &Arc<Self>,
        frame: Vec<u8>,
        request: Option<RequestId>,
        open: &mut JoinSet<()>,
        listening: &mut JoinSet<()>,
    ) {
        let glance = glance(Frame::read(&frame).node());
        let headers = self.headers(&glance);
        let exchange = Exchange::new(Arc::clone(&self.desk), Arc::clone(&self.connection), request.clone());
        let (bridge, initialized) = (Arc::clone(self), glance.method == "notifications/initialized");
        // Without sessions, a request is cancelled by letting go of it.
        let cancelled = glance.cancels.as_ref().and_then(|id| lock(&self.talk).open.remove(id));
        if let Some(cancelled) = cancelled.filter(|_| lock(&self.talk).session.is_none()) {
            return cancelled.abort();
        }
        let sending = async move { bridge.exchange(headers, frame.into(), &glance, exchange).await };
        match request {
            Some(request) => {
                let handle = open.spawn(sending);
                lock(&self.talk).open.insert(request.key, handle);
            }
            // What isn't answered keeps its place before what follows.
            None => sending.await,
        }
        if initialized {
            let bridge = Arc::clone(self);
            listening.spawn(async move { bridge.listen().await });
        }
    }

    fn headers(&self, glance: &Glance) -> HeaderMap {
        let talk = lock(&self.talk);
        let version = glance.version.as_deref().or(talk.version.as_deref());
        let name = glance.name.as_deref().map(encoded);
        let texts = [
            ("mcp-protocol-version", version.map(str::to_owned)),
            ("mcp-method", (!glance.method.is_empty()).then(|| encoded(&glance.method))),
            ("mcp-name", name),
            ("traceparent", glance.traceparent.clone()),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in texts {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers.extend(talk.session.clone().map(|session| (SESSION_ID, session)));
        headers
    }

    async fn exchange(&self, headers: HeaderMap, frame: Bytes, glance: &Glance, mut exchange: Exchange) {
        let wait = if glance.listen { Duration::MAX } else { self.patience.answer_within };
        let end = match timeout(wait, self.upstream.send(Method::POST, &headers, Some(frame))).await {
            Ok(Ok(response)) => {
                if glance.initialize {
                    let session = response.headers().get(SESSION_ID).cloned();
                    lock(&self.talk).session = session;
                }
                self.answer(response, &mut exchange, glance, wait).await
            }
            Ok(Err(end)) => end,
            Err(_) => End::Timeout,
        };
        if end == End::Timeout && headers.contains_key(&SESSION_ID) && !glance.initialize {
            exchange.tells_server(cancelling(&self.upstream, &headers));
        }
        if let Some(answer) = exchange.unanswered(end) {
            self.tell_client(&answer);
        }
    }

    /// Passes on what the server answers. How the request ended, unless by its answer.
    async fn answer(&self, response: Answer, exchange: &mut Exchange, glance: &Glance, wait: Duration) -> End {
        let refused = response.status().is_client_error();
        if is_stream(&response) {
            return self.events(response, exchange, wait, &mut None).await;
        }
        match whole(response, self.patience).await {
            Ok(body) => {
                if glance.initialize {
                    lock(&self.talk).version = agreed_version(&body);
                }
                if let (told, true) = exchange.answered(&body) {
                    self.tell_client(&as_line(&told));
                }
                if refused { End::Unreachable } else { End::Lost }
            }
            Err(end) => end,
        }
    }

    /// Passes on events until the stream ends.
    async fn events(
        &self,
        mut from: Answer,
        exchange: &mut Exchange,
        wait: Duration,
        last_id: &mut Option<HeaderValue>,
    ) -> End {
        let mut events = Events::default();
        loop {
            while let Some(event) = events.next() {
                if let Some(id) = event.id.as_deref().and_then(|id| HeaderValue::from_bytes(id).ok()) {
                    *last_id = Some(id);
                }
                if let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) {
                    if let Some(version) = agreed_version(data) {
                        lock(&self.talk).version.get_or_insert(version);
                    }
                    self.tell_client(&as_line(&exchange.returned(data)));
                }
            }
            if events.held_bytes() > self.patience.answer_bytes_max {
                return End::Lost;
            }
            match timeout(wait, from.chunk()).await {
                Ok(Ok(Some(chunk))) => events.push(&chunk),
                Ok(Ok(None)) => return End::Lost,
                Ok(Err(end)) => return end,
                Err(_) => return End::Timeout,
            }
        }
    }

    /// Listens to what the server says by itself, for as long as it has a stream for that.
    async fn listen(&self) {
        let mut last_id = None;
        loop {
            let mut headers = self.headers(&Glance::default());
            headers.insert("accept", HeaderValue::from_static("text/event-stream"));
            headers.extend(last_id.clone().map(|id| (HeaderName::from_static("last-event-id"), id)));
            match self.upstream.send(Method::GET, &headers, None).await {
                Ok(response) if is_stream(&response) => {
                    let mut exchange = Exchange::new(Arc::clone(&self.desk), Arc::clone(&self.connection), None);
                    self.events(response, &mut exchange, Duration::MAX, &mut last_id).await;
                }
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                Ok(_) => return,
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn end_session(&self, within: Duration) {
        if lock(&self.talk).session.is_some() {
            let headers = self.headers(&Glance::default());
            // A server may keep its sessions for as long as it likes.
            let _ = timeout(within, self.upstream.send(Method::DELETE, &headers, None)).await;
        }
    }

    fn tell_client(&self, line: &[u8]) {
        self.client_out.say(line);
    }
}

fn is_stream(response: &Answer) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    response.status().is_success() && kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}

/// The protocol's version in the answer to an `initialize`.
fn agreed_version(answer: &[u8]) -> Option<String> {
    let node = tollbook_policy::json::parse(answer).ok()?;
    node.get("result")?.get("protocolVersion")?.as_str().map(str::to_owned)
}
