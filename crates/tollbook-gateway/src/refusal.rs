//! What a client is told when its frame goes no further.
//!
//! The agent gets the text, the reason's code and when to try again, and nothing else of the policy.

use serde_json::{Map, Value, json};
use tollbook_engine::{Decision, Reason};

use crate::desk::End;
use crate::frame::{CallFrame, Refused, RequestId};

/// JSON-RPC: the frame can't be read as JSON.
const PARSE_ERROR: i64 = -32_700;
/// JSON-RPC: the frame isn't a request.
const INVALID_REQUEST: i64 = -32_600;
/// JSON-RPC: wrong params; MCP's code for a tool that doesn't exist.
const INVALID_PARAMS: i64 = -32_602;
/// MCP, since 2026-07-28: a header says something else than the body.
const HEADER_MISMATCH: i64 = -32_020;
/// JSON-RPC: an error of the gateway's own.
const GATEWAY_ERROR: i64 = -32_000;

/// The answer to a call that the policy refused or holds, as one line.
pub(crate) fn denied(id: &RequestId, call: &CallFrame<'_>, decision: &Decision<'_>, now_us: i64) -> Vec<u8> {
    if decision.reason == Reason::Hidden {
        return unknown_tool(id, call);
    }
    // Rounded up, so that a call made then isn't too early by a fraction.
    let retry_after_ms = decision.retry_at_us.map(|at_us| (at_us.saturating_sub(now_us).max(0) + 999) / 1_000);
    let approval = decision.approval.as_deref();
    let go_on = match decision.reason {
        Reason::ApprovalNeeded => " Once it has been approved, make the same call again.",
        _ => "",
    };
    let text = format!("{}{go_on}", decision.text());
    refusal(id, call, &text, decision.reason.code(), retry_after_ms, approval)
}

/// The answer to a call of a tool that the client isn't to know of.
pub(crate) fn unknown_tool(id: &RequestId, call: &CallFrame<'_>) -> Vec<u8> {
    error(Some(id), INVALID_PARAMS, &format!("Unknown tool: {}", call.tool), None)
}

/// The answer to a call that the gateway refused by itself.
pub(crate) fn refused_call(id: &RequestId, call: &CallFrame<'_>, code: &str, text: &str) -> Vec<u8> {
    refusal(id, call, text, code, None, None)
}

fn refusal(
    id: &RequestId,
    call: &CallFrame<'_>,
    text: &str,
    code: &str,
    retry_after_ms: Option<i64>,
    approval: Option<&str>,
) -> Vec<u8> {
    let mut told = format!("[POLICY DENIED] {text} ({code}");
    let mut meta = Map::from_iter([("tollbook/reason".to_owned(), code.into())]);
    if let Some(retry_after_ms) = retry_after_ms {
        told.push_str(&format!("; retry_after_ms={retry_after_ms}"));
        meta.insert("tollbook/retry_after_ms".to_owned(), retry_after_ms.into());
    }
    if let Some(approval) = approval {
        told.push_str(&format!("; approval={approval}"));
        meta.insert("tollbook/approval".to_owned(), approval.into());
    }
    told.push(')');
    let mut result = json!({ "content": [{ "type": "text", "text": told }], "isError": true, "_meta": meta });
    if call.stands_alone
        && let Some(result) = result.as_object_mut()
    {
        result.insert("resultType".to_owned(), "complete".into());
    }
    line(Some(id), &format!("\"result\":{result}"))
}

/// The answer to a frame that isn't one clean JSON-RPC object. Its id can't be trusted.
pub(crate) fn refused_frame(refused: &Refused) -> Vec<u8> {
    let code = match refused.code {
        "frame_not_json" | "frame_invalid_utf8" => PARSE_ERROR,
        "header_mismatch" => HEADER_MISMATCH,
        _ => INVALID_REQUEST,
    };
    let message = format!("[POLICY DENIED] The frame was refused: {}.", refused.why);
    error(None, code, &message, Some(json!({ "tollbook/reason": refused.code })))
}

/// The answer where a list of tools can't be trusted to be without the hidden ones.
pub(crate) fn withheld_list(id: Option<&RequestId>) -> Vec<u8> {
    error(id, GATEWAY_ERROR, "The server's list of tools could not be read, so it is withheld.", None)
}

/// The answer to a request that the server won't answer.
pub(crate) fn unanswered(id: &RequestId, end: End) -> Vec<u8> {
    let message = match end {
        End::Unreachable => "The server could not be reached.",
        End::Lost => "The server ended before it answered.",
        End::Timeout => "The server did not answer in time.",
    };
    error(Some(id), GATEWAY_ERROR, message, None)
}

fn error(id: Option<&RequestId>, code: i64, message: &str, data: Option<Value>) -> Vec<u8> {
    let mut error = Map::from_iter([("code".to_owned(), code.into()), ("message".to_owned(), message.into())]);
    error.extend(data.map(|data| ("data".to_owned(), data)));
    let error = Value::Object(error);
    line(id, &format!("\"error\":{error}"))
}

fn line(id: Option<&RequestId>, rest: &str) -> Vec<u8> {
    let id = id.map_or_else(|| "null".to_owned(), RequestId::to_string);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{rest}}}\n").into_bytes()
}
