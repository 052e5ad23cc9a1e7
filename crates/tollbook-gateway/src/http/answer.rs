//! The gateway's own answers.

use std::convert::Infallible;

use futures::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::http::{HeaderValue, StatusCode};

/// An answer of any kind.
pub(crate) type Response = hyper::Response<Body>;

/// What an answer says: all of it at once, or as it comes.
pub(crate) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// A body that is all there.
pub(crate) fn at_once(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// A body that goes on for as long as there are pieces.
pub(crate) fn as_it_comes(pieces: impl Stream<Item = Vec<u8>> + Send + 'static) -> Body {
    let frames = pieces.map(|piece| Ok(Frame::data(piece.into())));
    Either::Right(StreamBody::new(frames).boxed_unsync())
}

/// A JSON-RPC answer.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    with(status, "application/json", at_once(body))
}

/// A stream of events.
pub(crate) fn stream(body: Body) -> Response {
    with(StatusCode::OK, "text/event-stream", body)
}

/// Words, for whoever looks.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = with(status, "text/plain; charset=utf-8", at_once(text));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollbook\""));
    }
    response
}

/// A text of some kind.
pub(crate) fn text(kind: &'static str, body: String) -> Response {
    with(StatusCode::OK, kind, at_once(body))
}

/// Nothing to say.
pub(crate) fn accepted() -> Response {
    let mut response = Response::new(at_once(Bytes::new()));
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
