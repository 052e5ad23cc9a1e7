//! One frame from a client: what it is, or why it can't be trusted to be one thing.
//!
//! What was judged must be what the server will see. Two readers of the same bytes can disagree: on
//! which of two equal keys counts, on whether `Name` is `name`, on what follows the first value. So a
//! frame that isn't one clean JSON-RPC object is refused whole, before anybody reads a meaning into it.

mod id;

use tollbook_engine::ArgPath;
use tollbook_policy::json::{self, Fault, Node, Value};
use tollbook_policy::same::same;

use crate::spelling;
pub(crate) use id::IdKey;
pub use id::RequestId;

/// Keys of a JSON-RPC object.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Keys of the params of a `tools/call` that are read here.
const CALL_PARAMS: [&str; 5] = ["name", "arguments", "requestState", "_meta", "inputResponses"];

/// Where a request of its own says the protocol's version, under `_meta`.
pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Where a request of its own says who sends it, under `_meta`.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// Longest tool name, in bytes; real logs have some of 10,010.
const TOOL_BYTES_MAX: usize = 64 << 10;

/// Longest name of a client, in bytes; more is cut off.
const AGENT_BYTES_MAX: usize = 1 << 10;

/// A client's frame.
#[derive(Debug)]
pub(crate) struct Said<'n> {
    /// The request's id; none in a notification, which no answer goes to, and in an answer.
    pub id: Option<RequestId>,
    /// The id as it came, where it is a number.
    number: Option<&'n str>,
    /// Who the client says that it is; see [`client`].
    pub client: Option<&'n Node<'n>>,
    /// The W3C trace id that the frame carries.
    pub trace_id: Option<&'n str>,
    /// What it asks for.
    pub asked: Asked<'n>,
}

/// What a client's frame asks for.
#[derive(Debug)]
pub(crate) enum Asked<'n> {
    /// `tools/call`
    Call(CallFrame<'n>),
    /// `tools/list`
    List,
    /// `notifications/cancelled`
    Cancelled(RequestId),
    /// Anything else, which passes through.
    Other,
}

/// A `tools/call`.
#[derive(Debug)]
pub(crate) struct CallFrame<'n> {
    pub tool: &'n str,
    pub args: Option<&'n Node<'n>>,
    /// Whether it says the protocol's version itself, as since 2026-07-28.
    pub stands_alone: bool,
    /// What the server gave along with a question, where this is the answer to it.
    pub request_state: Option<&'n str>,
}

impl Said<'_> {
    /// JSON text of the request's id.
    pub fn id_text(&self) -> Option<&str> {
        self.id.as_ref()?.text().or(self.number)
    }
}

/// Why a frame is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Stable code.
    pub code: &'static str,
    /// In words, with the place.
    pub why: String,
}

fn refused<T>(code: &'static str, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, why: why.into() })
}

/// Reads a client's frame as JSON.
pub(crate) fn read(frame: &[u8]) -> Result<Node<'_>, Refused> {
    json::parse(frame).map_err(|error| {
        let code = match error.fault {
            Fault::Syntax | Fault::Truncated => "frame_not_json",
            Fault::DuplicateKey => "frame_duplicate_key",
            Fault::TooDeep => "frame_too_deep",
            Fault::InvalidUtf8 => "frame_invalid_utf8",
            Fault::TrailingData => "frame_trailing_data",
            Fault::NotFinite => "frame_not_finite",
            Fault::LoneSurrogate => "frame_lone_surrogate",
        };
        Refused { code, why: error.to_string() }
    })
}

/// Tells what a client's frame is and asks for.
pub(crate) fn said<'n>(frame: &'n Node<'n>) -> Result<Said<'n>, Refused> {
    if frame.members().is_none() {
        return match frame.value {
            Value::Array(_) => refused("frame_batch", "a batch; expected one JSON-RPC object"),
            _ => refused("frame_not_jsonrpc", "not an object; expected one JSON-RPC object"),
        };
    }
    let [jsonrpc, id, method, params, result, error] = exact(frame, ENVELOPE)?;
    if jsonrpc.and_then(Node::as_str) != Some("2.0") {
        return refused("frame_not_jsonrpc", "`jsonrpc` isn't \"2.0\"");
    }
    let answer = result.or(error).is_some();
    let number = id.and_then(|id| if let Value::Number(number) = &id.value { Some(number.text) } else { None });
    let id = id.map(RequestId::read).transpose()?;
    let Some(method) = method else {
        let other = Said { id: None, number: None, client: None, trace_id: None, asked: Asked::Other };
        return if answer { Ok(other) } else { refused("frame_not_jsonrpc", "neither a request nor an answer") };
    };
    let Some(method) = method.as_str().filter(|_| !answer) else {
        return refused("frame_not_jsonrpc", "`method` isn't a string, or stands beside an answer");
    };
    let about = About::of(params, method)?;
    let asked = match method {
        "tools/call" => Asked::Call(call(params, about.version.is_some())?),
        "tools/list" if id.is_some() => Asked::List,
        "notifications/cancelled" => match about.named {
            Some(node) => Asked::Cancelled(RequestId::read(node)?),
            None => Asked::Other,
        },
        _ if alike(method.trim(), "tools/call") => {
            let why = format!("the method `{method}` differs from `tools/call` only in its letters' case");
            return refused("frame_method_case", why);
        }
        _ => Asked::Other,
    };
    let trace_id = about.traceparent.and_then(Node::as_str).and_then(trace_id);
    Ok(Said { id, number, client: about.client, trace_id, asked })
}

fn call<'n>(params: Option<&'n Node<'n>>, stands_alone: bool) -> Result<CallFrame<'n>, Refused> {
    let Some(params) = params.filter(|params| params.members().is_some()) else {
        return refused("call_invalid", "`params` isn't an object");
    };
    let [name, arguments, request_state, ..] = exact(params, CALL_PARAMS)?;
    let Some(tool) = name.and_then(Node::as_str) else {
        return refused("call_invalid", "`params.name` isn't a string");
    };
    spelling::visible(tool)?;
    if tool.len() > TOOL_BYTES_MAX {
        return refused(
            "call_invalid",
            format!("a tool name of {} bytes; at most {TOOL_BYTES_MAX} are taken", tool.len()),
        );
    }
    let args = arguments.filter(|args| args.value != Value::Null);
    if args.is_some_and(|args| args.members().is_none()) {
        return refused("call_invalid", "`params.arguments` isn't an object");
    }
    let request_state = request_state.and_then(Node::as_str);
    Ok(CallFrame { tool, args, stands_alone, request_state })
}

/// Refuses arguments with a key that differs only by letter case from one that the policy reads.
pub(crate) fn exact_arguments(args: Option<&Node<'_>>, reads: &[ArgPath]) -> Result<(), Refused> {
    for ArgPath { path, .. } in reads {
        let mut node = args;
        for key in &path.keys {
            let Some(object) = node else { break };
            [node] = exact(object, [key])?;
        }
    }
    Ok(())
}

/// What a request says of itself, beside what it asks for.
struct About<'n> {
    /// What it is about, where the method has a name for that.
    named: Option<&'n Node<'n>>,
    /// The protocol's version, where the request has its own.
    version: Option<&'n Node<'n>>,
    /// Who sends it.
    client: Option<&'n Node<'n>>,
    traceparent: Option<&'n Node<'n>>,
}

impl<'n> About<'n> {
    /// Refuses params in which another reader would find another client, version, name or request than is found here.
    fn of(params: Option<&'n Node<'n>>, method: &str) -> Result<Self, Refused> {
        let named = match method {
            "initialize" => Some("clientInfo"),
            "notifications/cancelled" => Some("requestId"),
            _ => crate::headers::named_in(method),
        };
        let [meta, named] =
            params.map_or(Ok([None; 2]), |params| exact(params, ["_meta", named.unwrap_or("_meta")]))?;
        let own = meta.map_or(Ok([None; 2]), |meta| exact(meta, [PROTOCOL_VERSION, CLIENT_INFO]));
        let [version, own_client] = own?;
        let begins = named.filter(|_| method == "initialize");
        for info in [begins, own_client].into_iter().flatten() {
            exact(info, ["name", "version"])?;
        }
        let client = if method == "initialize" { begins } else { own_client };
        Ok(Self { named, version, client, traceparent: meta.and_then(|meta| meta.get("traceparent")) })
    }
}

/// What stands under these keys. Refuses a key that a reader which ignores letter case would take for one of them.
pub(crate) fn exact<'n, const N: usize>(
    object: &'n Node<'n>,
    keys: [&str; N],
) -> Result<[Option<&'n Node<'n>>; N], Refused> {
    let mut found = [None; N];
    for member in object.members().unwrap_or_default() {
        let key = &*member.key;
        let mut places = keys.iter().zip(&mut found);
        if let Some((_, place)) = places.find(|(meant, _)| same(meant.as_bytes(), key.as_bytes())) {
            *place = Some(&member.node);
        } else if let Some(meant) = keys.iter().find(|meant| alike(meant, key)) {
            let at = member.key_span.start;
            return refused(
                "frame_key_case",
                format!("the key `{key}` at byte {at} differs from `{meant}` only in its letters' case"),
            );
        }
    }
    Ok(found)
}

/// Whether two texts are one to a reader that ignores letter case.
pub(crate) fn alike(one: &str, other: &str) -> bool {
    // Here, so that the rest is seldom called: most texts are of another length.
    if one.len() != other.len() && one.is_ascii() && other.is_ascii() {
        return false;
    }
    one.eq_ignore_ascii_case(other) || (!(one.is_ascii() && other.is_ascii()) && fold(one) == fold(other))
}

/// Letter case gone, as the most lenient readers have it: up and down, so that `ſ` is `s` and the Kelvin
/// sign is `k`.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The id that an answer carries, if it carries a usable one.
pub(crate) fn answered_id(frame: &Node<'_>) -> Option<RequestId> {
    if frame.get("method").is_some() {
        return None;
    }
    frame.get("id").and_then(|id| RequestId::read(id).ok())
}

/// What a frame says, read ahead of the desk to find the conversation that it belongs to. It is empty where the
/// frame isn't clean, which the desk refuses in any case.
#[derive(Debug, Default)]
pub(crate) struct Glance {
    pub method: String,
    pub agent: Option<String>,
    pub initialize: bool,
    /// It opens a stream for what the server says by itself; and if that is to tell of tools that changed, how.
    pub listen: bool,
    pub tools_changed: Option<Vec<u8>>,
    /// What the header `Mcp-Name` has to repeat.
    pub name: Option<String>,
    /// The protocol's version, where the request has its own.
    pub version: Option<String>,
    pub traceparent: Option<String>,
    /// The request that is cancelled.
    pub cancels: Option<IdKey>,
}

/// Looks ahead at a frame; none where it can't be read.
pub(crate) fn glance(node: Option<&Node<'_>>) -> Glance {
    let Some(node) = node else { return Glance::default() };
    let method = node.get("method").and_then(Node::as_str).unwrap_or_default();
    let param = |key: &str| node.get("params").and_then(|params| params.get(key));
    let text = |node: Option<&Node<'_>>| node.and_then(Node::as_str).map(str::to_owned);
    let cancels = param("requestId").filter(|_| method == "notifications/cancelled");
    let info = if method == "initialize" { param("clientInfo") } else { meta(node, CLIENT_INFO) };
    let listen = method == "subscriptions/listen";
    let wanted = param("notifications").and_then(|wanted| wanted.get("toolsListChanged")).map(|wanted| &wanted.value);
    let id =
        node.get("id").and_then(|id| RequestId::read(id).ok()).filter(|_| listen && wanted == Some(&Value::Bool(true)));
    Glance {
        method: method.to_owned(),
        agent: info.and_then(client),
        initialize: method == "initialize",
        listen,
        tools_changed: id.map(|id| tools_changed(&id)),
        name: crate::headers::named_in(method).and_then(|key| text(param(key))),
        version: text(meta(node, PROTOCOL_VERSION)),
        traceparent: text(meta(node, "traceparent")),
        cancels: cancels.and_then(|id| RequestId::read(id).ok()).map(|id| id.key),
    }
}

/// What a subscription of this id is told where its tools are others now.
fn tools_changed(subscription: &RequestId) -> Vec<u8> {
    let meta = format!(r#"{{"io.modelcontextprotocol/subscriptionId":{subscription}}}"#);
    let method = r#""method":"notifications/tools/list_changed""#;
    format!(r#"{{"jsonrpc":"2.0",{method},"params":{{"_meta":{meta}}}}}"#).into_bytes()
}

/// What a request says of itself under `_meta`.
pub(crate) fn meta<'f, 'n>(frame: &'f Node<'n>, key: &str) -> Option<&'f Node<'n>> {
    frame.get("params")?.get("_meta")?.get(key)
}

/// The name that a client gives itself, `name/version`.
pub(crate) fn client(info: &Node<'_>) -> Option<String> {
    let name = info.get("name")?.as_str()?;
    let told = match info.get("version").and_then(Node::as_str) {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    };
    Some(told.get(..told.floor_char_boundary(AGENT_BYTES_MAX))?.to_owned())
}

/// The trace id of a W3C `traceparent`; none where the text isn't one.
pub(crate) fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let sound = version.len() == 2 && hex(version) && id.len() == 32 && hex(id) && id.bytes().any(|byte| byte != b'0');
    (sound && parts.next().is_some_and(|parent| parent.len() == 16 && hex(parent))).then_some(id)
}

#[cfg(test)]
mod tests;
