//! What HTTP says of a frame beside its bytes, held against them.
//!
//! The 2026-07-28 protocol repeats the method and the name in headers, so that what stands between can route
//! without reading the body. Whoever routes by the one and runs the other has been tricked: a header that
//! contradicts the body is refused.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tollbook_policy::json::Node;

use crate::frame::{PROTOCOL_VERSION, Refused, meta};

/// What the transport says of a frame. On standard input and output, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Mcp-Method`
    pub method: Option<String>,
    /// `Mcp-Name`
    pub name: Option<String>,
    /// `MCP-Protocol-Version`
    pub version: Option<String>,
    /// `traceparent`
    pub traceparent: Option<String>,
}

impl Headers {
    /// Refuses a header that says something else than the body.
    pub(crate) fn agree(&self, frame: &Node<'_>) -> Result<(), Refused> {
        if let Self { method: None, name: None, version: None, .. } = self {
            return Ok(());
        }
        let method = frame.get("method").and_then(Node::as_str);
        differs("Mcp-Method", self.method.as_deref(), method)?;
        // What it repeats of a method that isn't known here is for the server to compare.
        if let Some(key) = named_in(method.unwrap_or_default()) {
            let name = frame.get("params").and_then(|params| params.get(key)?.as_str());
            let said = self.name.as_deref().map(|said| decoded(said).unwrap_or_else(|| said.to_owned()));
            differs("Mcp-Name", said.as_deref(), name)?;
        }
        match meta(frame, PROTOCOL_VERSION).and_then(Node::as_str) {
            Some(version) => differs("MCP-Protocol-Version", self.version.as_deref(), Some(version)),
            None => Ok(()),
        }
    }
}

/// The member of a method's params that `Mcp-Name` repeats.
pub(crate) fn named_in(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn differs(header: &str, said: Option<&str>, body: Option<&str>) -> Result<(), Refused> {
    match said {
        Some(said) if Some(said) != body => {
            let body = body.map_or_else(|| "has none".to_owned(), |body| format!("has `{body}`"));
            Err(Refused { code: "header_mismatch", why: format!("the header {header} says `{said}`, the body {body}") })
        }
        _ => Ok(()),
    }
}

/// The text of a header that had to be wrapped, as `=?base64?…?=`.
fn decoded(said: &str) -> Option<String> {
    let payload = said.strip_prefix("=?base64?")?.strip_suffix("?=")?;
    String::from_utf8(BASE64_STANDARD.decode(payload).ok()?).ok()
}

/// A header's value for this text, wrapped where it would not survive.
pub(crate) fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text;
    match plain && !text.starts_with("=?base64?") {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(text)),
    }
}

#[cfg(test)]
mod tests;
