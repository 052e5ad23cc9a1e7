//! Who may speak to the gateway at all: the request's host, its origin and its bearer token.
//!
//! A page in a browser can make its own name point to this machine and send requests here. The browser tells
//! on it in `Host` and `Origin`, so both are held against the names under which the gateway is meant to be
//! reached.

use hyper::http::header::{AUTHORIZATION, HOST, ORIGIN};
use hyper::http::{HeaderMap, HeaderName};

/// The names under which the gateway is reached. Those of this machine's own loopback are always among them.
#[derive(Debug, Clone, Default)]
pub struct Hosts(pub Vec<String>);

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Hosts {
    /// Why the request isn't meant for this gateway: a stable code, and words.
    pub(crate) fn refuses(&self, headers: &HeaderMap) -> Option<(&'static str, String)> {
        let host = match only(headers, &HOST) {
            Ok(Some(host)) => host,
            Ok(None) => return Some(("host_not_allowed", "the request names no host".to_owned())),
            Err(why) => return Some(("host_not_allowed", why)),
        };
        if !self.has(host) {
            return Some(("host_not_allowed", format!("the host `{}` is none of this gateway's", shown(host))));
        }
        match only(headers, &ORIGIN) {
            Ok(None) => None,
            Ok(Some(origin)) => {
                let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
                let foreign = !name.is_some_and(|name| self.has(name));
                foreign.then(|| ("origin_not_allowed", format!("the origin `{}` is a foreign one", shown(origin))))
            }
            Err(why) => Some(("origin_not_allowed", why)),
        }
    }

    fn has(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let mut allowed = LOOPBACK.into_iter().chain(self.0.iter().map(String::as_str));
        allowed.any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
    }
}

/// What of a foreign name goes into a record.
fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}

/// A header that may stand once, as text.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the header {name} stands more than once"));
    }
    value.to_str().map(Some).map_err(|_| format!("the header {name} isn't plain text"))
}

/// The bearer token that the request shows.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let shown = only(headers, &AUTHORIZATION).ok()??;
    let (scheme, token) = shown.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests;
