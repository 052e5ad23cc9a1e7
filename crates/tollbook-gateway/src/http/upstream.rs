//! A server that is reached over HTTP.
//!
//! What goes up is chosen by name: the protocol's own headers, what the client accepts, and its trace. Its
//! `Authorization`, its cookies and whatever else it sends stay here; the server gets the credentials that the
//! operator gave. A redirect isn't followed, because what was judged goes where it was meant to go, or nowhere.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use url::Url;

use super::connect::{ConnectError, Connector, Route};
use super::soon::{SOON, Soon};
use crate::desk::End;

/// Headers that go up, besides those that begin with `mcp-`.
const UP: [&str; 5] = ["accept", "last-event-id", "traceparent", "tracestate", "user-agent"];

/// Headers that come down, besides those that begin with `mcp-`.
const DOWN: [&str; 4] = ["cache-control", "content-type", "retry-after", "allow"];

/// A server over HTTP.
#[derive(Debug, Clone)]
pub struct Upstream {
    reached: Arc<Reached>,
    /// The same for each lane, with connections of its own.
    lanes: Vec<Self>,
}

/// How it is reached.
#[derive(Debug)]
struct Reached {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    uri: Uri,
    /// What every request gets.
    headers: HeaderMap,
    soon: Soon,
}

/// Why a server can't be reached in the way that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It isn't an address of HTTP.
    #[error("`{0}` isn't an http or https URL")]
    Url(String),
    /// A header that can't be sent.
    #[error("the header `{0}` can't be sent")]
    Header(String),
    /// No connections can be made.
    #[error("cannot set up the HTTP client")]
    Client(#[from] ConnectError),
}

impl Upstream {
    /// A server at this URL, with the headers that every request to it gets.
    ///
    /// # Errors
    /// A URL or a header that can't be used.
    pub fn new(url: &str, headers: &[(String, String)], connect_within: Duration) -> Result<Self, UpstreamError> {
        Self::by(url, headers, &Matcher::from_env(), connect_within)
    }

    /// The same with these proxies.
    pub(super) fn by(
        url: &str,
        headers: &[(String, String)],
        proxies: &Matcher,
        connect_within: Duration,
    ) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::Url(url.to_owned());
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut parsed = parsed.ok_or_else(bad)?;
        let user = user(&mut parsed);
        let uri: Uri = parsed.as_str().parse().map_err(|_| bad())?;
        let route = Route::to(&uri, proxies, connect_within)?;
        let mut map = HeaderMap::new();
        // What is compressed couldn't be looked at.
        map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        map.extend(route.proxy_authorization.clone().map(|value| (PROXY_AUTHORIZATION, value)));
        map.extend(user.map(|value| (AUTHORIZATION, value)));
        for (name, value) in headers {
            let bad = || UpstreamError::Header(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(true);
            map.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
        }
        let connector = route.connector();
        let reached = Reached { client: client(&connector), connector, uri, headers: map, soon: Soon::new(SOON) };
        Ok(Self { reached: Arc::new(reached), lanes: Vec::new() })
    }

    /// The same for so many lanes.
    pub(crate) fn in_lanes(mut self, lanes: usize) -> Self {
        let Reached { connector, uri, headers, .. } = self.reached.as_ref();
        let reached = || Reached {
            client: client(connector),
            connector: connector.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            soon: Soon::new(SOON),
        };
        self.lanes = (0..lanes).map(|_| Self { reached: Arc::new(reached()), lanes: Vec::new() }).collect();
        self
    }

    /// The server as a lane reaches it.
    pub(crate) fn of_lane(&self, lane: usize) -> &Self {
        self.lanes.get(lane).unwrap_or(self)
    }

    /// Sends a request with the client's headers that may go up. Returns once the answer begins.
    pub(crate) async fn send(&self, method: Method, from: &HeaderMap, body: Option<Bytes>) -> Result<Answer, End> {
        let Reached { client, uri, headers: own, soon, .. } = self.reached.as_ref();
        let mut headers = HeaderMap::with_capacity(from.len() + own.len() + 4);
        for (name, value) in from.iter().filter(|(name, _)| goes(name, &UP)) {
            headers.append(name, value.clone());
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json, text/event-stream"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("tollbook"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in own {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        match soon.answer(client.request(request)).await {
            Ok(response) => Ok(Answer(response)),
            Err(error) => {
                tracing::warn!(error = causes(&error), "a request did not reach the server");
                Err(if error.is_connect() { End::Unreachable } else { End::Lost })
            }
        }
    }
}

/// Takes the user and the password out of a URL, which no header may show, and says them as HTTP has it.
fn user(url: &mut Url) -> Option<HeaderValue> {
    let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let (name, password) = (text(url.username()), url.password().map(text));
    // Only a URL without a host takes none.
    let _ = (url.set_username(""), url.set_password(None));
    if name.is_empty() && password.is_none() {
        return None;
    }
    let said = BASE64_STANDARD.encode(format!("{name}:{}", password.unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {said}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn client(connector: &Connector) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector.clone())
}

/// An answer that has begun.
#[derive(Debug)]
pub(crate) struct Answer(Response<Incoming>);

impl Answer {
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next bytes of its body; none at the end. An error is that it broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, End> {
        loop {
            match self.0.body_mut().frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = causes(&error), "an answer of the server broke off");
                    return Err(End::Lost);
                }
                None => return Ok(None),
            }
        }
    }
}

/// An error and what led to it.
fn causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

/// The headers of an answer that the client gets.
pub(crate) fn coming_down(headers: &HeaderMap) -> HeaderMap {
    headers.iter().filter(|(name, _)| goes(name, &DOWN)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn goes(name: &HeaderName, named: &[&str]) -> bool {
    named.contains(&name.as_str()) || name.as_str().starts_with("mcp-")
}
