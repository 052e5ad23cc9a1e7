//! One request of a client, from the desk to its answer.

use std::borrow::Cow;

use crate::desk::{Desk, End, lock};
use crate::frame::{IdKey, RequestId};
use crate::http::session::SharedConnection;
use crate::stdio::SharedDesk;

type TellServer = Box<dyn FnOnce(&RequestId, Reason) + Send>;

/// Why a request isn't waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its client has gone.
    ClientGone,
    /// The answer took too long.
    TooLong,
}

/// A request whose answer is awaited. Dropped before, its client has gone, and the call is recorded as
/// cancelled.
pub(crate) struct Exchange {
    desk: SharedDesk,
    connection: SharedConnection,
    /// None where no answer is awaited, or none any more.
    request: Option<RequestId>,
    /// Tells the server that nobody waits any more.
    tell_server: Option<TellServer>,
}

impl Exchange {
    pub fn new(desk: SharedDesk, connection: SharedConnection, request: Option<RequestId>) -> Self {
        Self { desk, connection, request, tell_server: None }
    }

    /// What tells the server that nobody waits any more, where the end of a connection doesn't by itself.
    pub fn tells_server(&mut self, by: impl FnOnce(&RequestId, Reason) + Send + 'static) {
        self.tell_server = Some(Box::new(by));
    }

    /// The request that waits.
    pub fn request(&self) -> Option<&RequestId> {
        self.request.as_ref()
    }

    /// Takes one frame of the server past the desk.
    pub fn returned<'f>(&mut self, frame: &'f [u8]) -> Cow<'f, [u8]> {
        let returned = Desk::hear_server(&self.desk, &self.connection, frame);
        if returned.answers.is_some() && returned.answers.as_ref().map(key) == self.request.as_ref().map(key) {
            self.request = None;
        }
        returned.bytes
    }

    /// Takes one frame of the server past the desk, and tells whether it was the awaited answer.
    pub fn answered<'f>(&mut self, frame: &'f [u8]) -> (Cow<'f, [u8]>, bool) {
        let awaited = self.request.is_some();
        let told = self.returned(frame);
        (told, awaited && self.request.is_none())
    }

    /// The answer won't come. What the client is to be told, if it still waits.
    pub fn unanswered(&mut self, end: End) -> Option<Vec<u8>> {
        let request = self.request.take()?;
        if let (End::Timeout, Some(tell)) = (end, self.tell_server.take()) {
            tell(&request, Reason::TooLong);
        }
        Some(lock(&self.desk).unanswered(&mut lock(&self.connection), &request, end))
    }

    /// The answer may still come on another stream.
    pub fn goes_on_elsewhere(&mut self) {
        self.request = None;
    }
}

fn key(id: &RequestId) -> &IdKey {
    &id.key
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            lock(&self.desk).cancelled(&mut lock(&self.connection), &request);
            if let Some(tell) = self.tell_server.take() {
                tell(&request, Reason::ClientGone);
            }
        }
    }
}

/// What tells a server that a request isn't waited for any more.
pub(crate) fn cancellation(request: &RequestId, reason: Reason) -> Vec<u8> {
    let reason = match reason {
        Reason::ClientGone => "the client went away",
        Reason::TooLong => "the answer took too long",
    };
    let params = format!(r#"{{"requestId":{request},"reason":"{reason}"}}"#);
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#).into_bytes()
}
