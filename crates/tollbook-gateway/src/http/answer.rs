//! The gateway's own answers.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// A JSON-RPC answer.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    with(status, "application/json", Body::from(body))
}

/// A stream of events.
pub(crate) fn stream(body: Body) -> Response {
    with(StatusCode::OK, "text/event-stream", body)
}

/// Words, for whoever looks.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = with(status, "text/plain; charset=utf-8", Body::from(text));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollbook\""));
    }
    response
}

/// A text of some kind.
pub(crate) fn text(kind: &'static str, body: String) -> Response {
    with(StatusCode::OK, kind, Body::from(body))
}

/// Nothing to say.
pub(crate) fn accepted() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn with(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
