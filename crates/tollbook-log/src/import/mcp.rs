//! Transcripts of MCP: JSON-RPC messages, one a line, of one connection after the other.
//!
//! A line is a message, or an object that holds one as `message`, `payload`, `frame` or `data`, with its
//! time as `ts`, `time` or `timestamp`.
//!
//! | message | becomes |
//! |---|---|
//! | request `initialize` | a new session; `clientInfo` becomes `agent`, as name and version |
//! | its result | `serverInfo.name` becomes `server` |
//! | request `tools/call` | a call: `params.name`, `params.arguments` and the id |
//! | a result with the id of a call | `outcome`: `tool_error` where `isError` is true, else `ok`; with its size and hash |
//! | an error with the id of a call | `outcome`: `rpc_error` |
//!
//! Other messages are passed over. Both ends number their requests, and a line doesn't tell which end sent
//! it: where the server's own request takes the id of a call that is under way, the call's outcome stays
//! unknown. A batch is no message of this protocol any more and is rejected.

use tollbook_engine::{End, canonical};
use tollbook_policy::json::{Node, Value};

use super::found::{self, Fields, Found};
use super::pairs::Pairs;

pub(super) struct Mcp {
    pub pairs: Pairs,
    /// What sessions are named for.
    name: String,
    session: u64,
    agent: Option<String>,
    server: Option<String>,
    /// The id of an `initialize` without its result as yet.
    initialize: Option<String>,
}

/// The message of a line and the fields around it.
fn message<'n, 'a>(node: &'n Node<'a>) -> Option<(Fields<'n, 'a>, Fields<'n, 'a>)> {
    let around = Fields::of(node).ok()?;
    if around.value("jsonrpc").is_some() {
        return Some((Fields(node), around));
    }
    let inner = ["message", "payload", "frame", "data"].iter().find_map(|name| around.within(name))?;
    inner.value("jsonrpc").is_some().then_some((inner, around))
}

impl Mcp {
    pub fn new(name: &str) -> Self {
        Self { pairs: Pairs::default(), name: name.to_owned(), session: 0, agent: None, server: None, initialize: None }
    }

    pub fn is_message(node: &Node<'_>) -> bool {
        message(node).is_some()
    }

    pub fn read(&mut self, node: &Node<'_>, grant: &str) -> Result<(), String> {
        if matches!(node.value, Value::Array(_)) {
            return Err("it is a batch".to_owned());
        }
        let (message, around) = message(node).ok_or("it isn't a JSON-RPC message")?;
        let times = ["ts", "time", "timestamp"].iter().find(|name| around.value(name).is_some());
        let ts_us = times.map_or(Ok(None), |name| around.time(name))?;
        let id = message.value("id").map(canonical);
        match (message.text("method")?.as_deref(), id) {
            (Some("initialize"), id) => {
                self.session += 1;
                self.pairs.forget_all();
                let client = message.within("params").and_then(|params| params.within("clientInfo"));
                self.agent = client.and_then(|client| named(&client, true));
                (self.server, self.initialize) = (None, id);
            }
            (Some("tools/call"), Some(id)) => {
                let params = message.within("params").ok_or("its `params` aren't an object")?;
                let found = Found {
                    ts_us,
                    session: Some(format!("{}-{}", self.name, self.session)),
                    server: self.server.clone(),
                    agent: self.agent.clone(),
                    tool: params.text("name")?.ok_or("its `params` have no `name`")?,
                    args: found::args(params.value("arguments")),
                    request_id: Some(id.clone()),
                    ..Found::default()
                };
                self.pairs.begin(Some(id), found.into_call(grant, None)?);
            }
            (Some(_), Some(id)) => self.pairs.forget(&id),
            (Some(_), None) => {}
            (None, Some(id)) => self.answer(&message, &id, ts_us)?,
            (None, None) => return Err("it is neither a request nor an answer".to_owned()),
        }
        Ok(())
    }

    fn answer(&mut self, message: &Fields<'_, '_>, id: &str, ts_us: Option<i64>) -> Result<(), String> {
        let result = message.value("result");
        if self.initialize.as_deref() == Some(id) {
            self.initialize = None;
            let server = message.within("result").and_then(|result| result.within("serverInfo"));
            self.server = server.and_then(|server| named(&server, false));
            return Ok(());
        }
        let failed = message.within("result").map_or(Ok(None), |result| result.flag("isError"))?;
        let (end, result) = match (failed, message.value("error")) {
            (_, Some(error)) => (End::RpcError, Some(error)),
            (Some(true), None) => (End::ToolError, result),
            (_, None) => (End::Ok, result),
        };
        self.pairs.end(id, |call| found::done(call.ts_us, ts_us, end, result));
        Ok(())
    }
}

fn named(info: &Fields<'_, '_>, versioned: bool) -> Option<String> {
    let name = info.word("name")?;
    Some(match info.word("version").filter(|_| versioned) {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    })
}
