//! AWS CloudTrail: the management and data events of an account, `{"Records": […]}`.
//!
//! | field | becomes |
//! |---|---|
//! | `eventTime` | `ts`; records aren't in order in the file, so they are put into it |
//! | `eventSource` | `server`, such as `s3.amazonaws.com` |
//! | `eventName` | `tool` |
//! | `userIdentity.arn`, else `.principalId`, else `.type` | `session`: an assumed role's ARN names its session |
//! | `userAgent` | `agent` |
//! | `requestParameters` | `args` in full; unknown where it is null, because CloudTrail leaves out what it holds to be sensitive |
//! | `errorCode` | `outcome`: `tool_error` where there is one, else `ok`; and `label` |
//! | `responseElements` | `result_bytes`, `result_hash` |
//! | `requestID` | `request_id` |
//!
//! Other fields are passed over. How long a call took isn't recorded.

use tollbook_engine::{End, canonical};
use tollbook_policy::json::Node;

use super::found::{self, Fields, Found};
use super::order::Call;

pub(super) fn read(node: &Node<'_>, grant: &str) -> Result<Call, String> {
    let fields = Fields::of(node)?;
    let identity = fields.within("userIdentity");
    let names = ["arn", "principalId", "type"];
    let session = identity.and_then(|identity| names.iter().find_map(|name| identity.word(name)).map(str::to_owned));
    let ts_us = fields.time("eventTime")?;
    let error = fields.text("errorCode")?;
    let end = if error.is_some() { End::ToolError } else { End::Ok };
    let found = Found {
        ts_us,
        session,
        server: fields.text("eventSource")?,
        agent: fields.text("userAgent")?,
        tool: fields.text("eventName")?.ok_or("it has no `eventName`")?,
        args: found::args(fields.value("requestParameters")),
        request_id: fields.value("requestID").map(canonical),
        label: error,
        ..Found::default()
    };
    found.into_call(grant, Some(found::done(ts_us, None, end, fields.value("responseElements"))))
}
