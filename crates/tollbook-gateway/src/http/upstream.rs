//! A server that is reached over HTTP.
//!
//! What goes up is chosen by name: the protocol's own headers, what the client accepts, and its trace. Its
//! `Authorization`, its cookies and whatever else it sends stay here; the server gets the credentials that the
//! operator gave. A redirect isn't followed, because what was judged goes where it was meant to go, or nowhere.

use std::sync::Once;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::desk::End;

/// Headers that go up, besides those that begin with `mcp-`.
const UP: [&str; 5] = ["accept", "last-event-id", "traceparent", "tracestate", "user-agent"];

/// Headers that come down, besides those that begin with `mcp-`.
const DOWN: [&str; 4] = ["cache-control", "content-type", "retry-after", "allow"];

/// A server over HTTP.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
    url: Url,
    headers: HeaderMap,
    connect_within: Duration,
    /// The same for each lane, with connections of its own.
    lanes: Vec<Self>,
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
    /// The client can't be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

impl Upstream {
    /// A server at this URL, with the headers that every request to it gets.
    ///
    /// # Errors
    /// A URL or a header that can't be used.
    pub fn new(url: &str, headers: &[(String, String)], connect_within: Duration) -> Result<Self, UpstreamError> {
        static PROVIDER: Once = Once::new();
        // One that was installed before does as well.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or_else(|| UpstreamError::Url(url.to_owned()))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let bad = || UpstreamError::Header(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(true);
            map.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
        }
        let client = client(&parsed, connect_within).map_err(UpstreamError::Client)?;
        Ok(Self { client, url: parsed, headers: map, connect_within, lanes: Vec::new() })
    }

    /// The same for so many lanes.
    pub(crate) fn in_lanes(mut self, lanes: usize) -> Self {
        // What was set up once is set up again; where it isn't, lanes share their connections.
        let client = |_| client(&self.url, self.connect_within).unwrap_or_else(|_| self.client.clone());
        self.lanes = (0..lanes).map(client).map(|client| Self { client, ..self.clone() }).collect();
        self
    }

    /// The server as a lane reaches it.
    pub(crate) fn of_lane(&self, lane: usize) -> &Self {
        self.lanes.get(lane).unwrap_or(self)
    }

    /// Sends a request with the client's headers that may go up. Returns once the answer begins.
    pub(crate) async fn send(&self, method: Method, from: &HeaderMap, body: Option<Bytes>) -> Result<Response, End> {
        let mut headers = HeaderMap::new();
        for (name, value) in from.iter().filter(|(name, _)| goes(name, &UP)) {
            headers.append(name, value.clone());
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json, text/event-stream"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("tollbook"));
        // What is compressed couldn't be looked at.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let mut request = self.client.request(method, self.url.clone());
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request = request.body(body);
        }
        request.headers(headers).send().await.map_err(|error| {
            // Some servers take their key in the URL.
            let error = error.without_url();
            tracing::warn!(%error, "a request did not reach the server");
            if error.is_connect() { End::Unreachable } else { ended(&error) }
        })
    }
}

fn client(url: &Url, connect_within: Duration) -> reqwest::Result<Client> {
    let mut client = Client::builder().connect_timeout(connect_within).redirect(Policy::none());
    if url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
        client = client.no_proxy();
    }
    client.build()
}

/// How a call ends whose answer broke off.
pub(crate) fn ended(error: &reqwest::Error) -> End {
    if error.is_timeout() { End::Timeout } else { End::Lost }
}

/// The headers of an answer that the client gets.
pub(crate) fn coming_down(headers: &HeaderMap) -> HeaderMap {
    headers.iter().filter(|(name, _)| goes(name, &DOWN)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn goes(name: &HeaderName, named: &[&str]) -> bool {
    named.contains(&name.as_str()) || name.as_str().starts_with("mcp-")
}
