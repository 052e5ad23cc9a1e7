//! HTTP in front of a server over HTTP: bodies go on as they came, events as soon as they are whole.

use std::time::Duration;

use futures::stream::unfold;
use hyper::body::Bytes;
use hyper::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::News;
use super::answer::{Response, as_it_comes, at_once, json, plain};
use super::exchange::Exchange;
use super::shares::Permit;
use super::sse::{Events, message};
use super::upstream::{Answer, Upstream, coming_down};
use crate::desk::End;

/// How long answers may take and how large they may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Longest silence of a server that owes an answer.
    pub answer_within: Duration,
    /// Largest answer or event.
    pub answer_bytes_max: usize,
}

/// What a stream holds for as long as it is open.
pub(crate) struct Held {
    /// Frees its place among the requests that may be open.
    pub permit: Permit,
    /// Whether the request belongs to a session, so that its stream can be taken up again.
    pub in_session: bool,
    /// What the gateway has to say; only on a stream for the server's own messages.
    pub hears: Option<Hears>,
}

/// How a stream for the server's own messages hears from the gateway.
pub(crate) struct Hears {
    pub news: broadcast::Receiver<News>,
    /// The message that says that the tools are others now; none where the client doesn't want to know.
    pub tools_changed: Option<Vec<u8>>,
}

/// Sends a frame up and brings back what it is answered with.
pub(crate) async fn post(
    upstream: &Upstream,
    headers: &HeaderMap,
    frame: Bytes,
    mut exchange: Exchange,
    patience: Patience,
    held: Held,
) -> Response {
    let sent = timeout(patience.answer_within, upstream.send(Method::POST, headers, Some(frame))).await;
    match sent.unwrap_or(Err(End::Timeout)) {
        Ok(response) => answer(response, exchange, patience, held).await,
        Err(end) => not_answered(&mut exchange, end),
    }
}

/// Opens a stream for the server's own messages, or ends a session.
pub(crate) async fn without_body(
    upstream: &Upstream,
    method: Method,
    headers: &HeaderMap,
    mut exchange: Exchange,
    patience: Patience,
    held: Held,
) -> Response {
    let sent = timeout(patience.answer_within, upstream.send(method, headers, None)).await;
    match sent.unwrap_or(Err(End::Timeout)) {
        Ok(response) => answer(response, exchange, patience, held).await,
        Err(end) => not_answered(&mut exchange, end),
    }
}

/// A JSON-RPC error where a request waits, and otherwise HTTP's own.
fn not_answered(exchange: &mut Exchange, end: End) -> Response {
    match exchange.unanswered(end) {
        Some(answer) => json(StatusCode::OK, answer),
        None if end == End::Timeout => plain(StatusCode::GATEWAY_TIMEOUT, "the server did not answer in time"),
        None => plain(StatusCode::BAD_GATEWAY, "the server could not be reached"),
    }
}

async fn answer(from: Answer, mut exchange: Exchange, patience: Patience, held: Held) -> Response {
    let (status, headers) = (from.status(), coming_down(from.headers()));
    let encoded = from.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if encoded || status.is_redirection() || status == StatusCode::UNAUTHORIZED {
        tracing::warn!(%status, encoded, "an answer of the server was not passed on");
        let end = if status.is_success() { End::Lost } else { End::Unreachable };
        return not_answered(&mut exchange, end);
    }
    let kind = from.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let events = kind == "text/event-stream";
    let body = if status.is_success() && (events || held.hears.is_some()) {
        as_it_comes(stream(from, if events { Cut::Events } else { Cut::Lines }, exchange, patience, held))
    } else {
        match whole(from, patience).await {
            Ok(body) => {
                let told = exchange.returned(&body).into_owned();
                let refused = status.is_client_error();
                exchange.unanswered(if refused { End::Unreachable } else { End::Lost });
                at_once(told)
            }
            Err(end) => return not_answered(&mut exchange, end),
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // One grant's list of tools is nothing to keep for another.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// The whole body.
pub(crate) async fn whole(mut from: Answer, patience: Patience) -> Result<Vec<u8>, End> {
    let mut body = Vec::new();
    loop {
        match timeout(patience.answer_within, from.chunk()).await {
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= patience.answer_bytes_max => {
                body.extend_from_slice(&chunk);
            }
            Ok(Ok(Some(_))) => {
                tracing::warn!(patience.answer_bytes_max, "an answer was larger than may be");
                return Err(End::Lost);
            }
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(end)) => return Err(end),
            Err(_) => return Err(End::Timeout),
        }
    }
}

/// What a stream is cut into. A subscription is told in events, and by some servers in lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Events,
    Lines,
}

struct Stream {
    from: Answer,
    cut: Cut,
    events: Events,
    /// The beginning of a line.
    line: Vec<u8>,
    exchange: Exchange,
    patience: Patience,
    in_session: bool,
    resumable: bool,
    hears: Option<Hears>,
    _permit: Permit,
}

fn stream(
    from: Answer,
    cut: Cut,
    exchange: Exchange,
    patience: Patience,
    held: Held,
) -> impl futures::Stream<Item = Vec<u8>> {
    let Held { permit: _permit, in_session, hears } = held;
    let (events, line, resumable) = (Events::default(), Vec::new(), false);
    let stream = Stream { from, cut, events, line, exchange, patience, in_session, resumable, hears, _permit };
    unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        let (bytes, more) = stream.next().await?;
        Some((bytes, more.then_some(stream)))
    })
}

impl Stream {
    /// What the client gets next, and whether there may be more; none at the end.
    async fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        loop {
            if let Some(event) = self.events.next() {
                self.resumable |= self.in_session && event.id.is_some();
                // An event without a payload only says where the stream can be taken up again.
                let Some(data) = event.data.as_ref().filter(|data| !data.is_empty()) else {
                    return Some((event.raw, true));
                };
                let told = self.exchange.returned(data);
                let same = *told == **data;
                let bytes = if same { event.raw } else { event.with_data(&told) };
                return Some((bytes, true));
            }
            if self.events.held_bytes().max(self.line.len()) > self.patience.answer_bytes_max {
                tracing::warn!(self.patience.answer_bytes_max, "an event was larger than may be");
                return self.over(End::Lost);
            }
            // A stream for the server's own messages may be silent for as long as it likes.
            let silence = if self.hears.is_some() { Duration::MAX } else { self.patience.answer_within };
            tokio::select! {
                chunk = timeout(silence, self.from.chunk()) => match chunk {
                    Ok(Ok(Some(chunk))) if self.cut == Cut::Lines => {
                        self.line.extend_from_slice(&chunk);
                        if let Some(lines) = self.whole_lines() {
                            return Some((lines, true));
                        }
                    }
                    Ok(Ok(Some(chunk))) => self.events.push(&chunk),
                    Ok(Ok(None)) => return self.over(End::Lost),
                    Ok(Err(end)) => return self.over(end),
                    Err(_) => return self.over(End::Timeout),
                },
                news = heard(&mut self.hears) => match news {
                    News::ToolsChanged => {
                        if let Some(told) = self.hears.as_ref().and_then(|hears| hears.tools_changed.clone()) {
                            return Some((self.told(&told), true));
                        }
                    }
                    News::Ending => return None,
                },
            }
        }
    }

    /// The lines that are whole, past the desk; none where none is.
    fn whole_lines(&mut self) -> Option<Vec<u8>> {
        let end = self.line.iter().rposition(|byte| *byte == b'\n')? + 1;
        let rest = self.line.split_off(end);
        let whole = std::mem::replace(&mut self.line, rest);
        Some(
            whole
                .split_inclusive(|byte| *byte == b'\n')
                .flat_map(|line| self.exchange.returned(line).into_owned())
                .collect(),
        )
    }

    /// A message of the gateway's own.
    fn told(&self, frame: &[u8]) -> Vec<u8> {
        match self.cut {
            Cut::Events => message(frame),
            Cut::Lines => [frame, b"\n"].concat(),
        }
    }

    /// The server's stream has ended. Where its events have ids, the client may take it up again.
    fn over(&mut self, end: End) -> Option<(Vec<u8>, bool)> {
        if self.resumable {
            self.exchange.goes_on_elsewhere();
        }
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            let told = self.exchange.returned(&line).into_owned();
            self.exchange.unanswered(end);
            return Some((told, false));
        }
        self.exchange.unanswered(end).map(|answer| (self.told(&answer), false))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.resumable {
            self.exchange.goes_on_elsewhere();
        }
    }
}

async fn heard(hears: &mut Option<Hears>) -> News {
    match hears {
        Some(hears) => match hears.news.recv().await {
            Ok(news) => news,
            // Whoever missed something asks anew.
            Err(broadcast::error::RecvError::Lagged(_)) => News::ToolsChanged,
            Err(broadcast::error::RecvError::Closed) => News::Ending,
        },
        None => std::future::pending().await,
    }
}
