//! Session files of Claude Code: one JSON object a line, with `tool_use` and `tool_result` blocks.
//!
//! | field | becomes |
//! |---|---|
//! | `timestamp` | `ts` of the calls in `message.content`, `done_ts` of the results |
//! | `sessionId` | `session` |
//! | `version` | `agent`, as `claude-code/2.0.1` |
//! | `message.model` | `label` |
//! | block `tool_use`: `name` | `tool`, and `server`: `mcp__files__read` is the tool `read` of the server `files`, any other is one of `claude-code` |
//! | block `tool_use`: `input`, `id` | `args` in full, `request_id` |
//! | block `tool_result` with that id: `is_error`, `content` | `outcome`: `ok` or `tool_error`; `result_bytes`, `result_hash` |
//!
//! Lines of other types (`summary`, `system`, snapshots) and other blocks are passed over, as is a block
//! whose id was seen before: a session that was resumed repeats them.

use std::collections::BTreeSet;

use tollbook_engine::{End, canonical};
use tollbook_policy::json::Node;

use super::found::{self, Fields, Found};
use super::pairs::Pairs;

#[derive(Default)]
pub(super) struct ClaudeCode {
    pub pairs: Pairs,
    seen: BTreeSet<String>,
}

impl ClaudeCode {
    /// Whether a line is of such a file.
    pub fn is_line(node: &Node<'_>) -> bool {
        let fields = Fields(node);
        let marks = ["sessionId", "leafUuid", "uuid", "messageId"];
        fields.word("type").is_some() && marks.iter().any(|mark| fields.word(mark).is_some())
    }

    pub fn read(&mut self, node: &Node<'_>, grant: &str) -> Result<(), String> {
        let line = Fields::of(node)?;
        line.text("type")?.ok_or("it has no `type`")?;
        let Some(message) = line.within("message") else { return Ok(()) };
        let ts_us = line.time("timestamp")?;
        for block in message.list("content").iter().map(Fields) {
            match block.word("type") {
                Some("tool_use") => self.call(&line, &message, &block, ts_us, grant)?,
                Some("tool_result") => {
                    let id = block.text("tool_use_id")?.ok_or("a `tool_result` has no `tool_use_id`")?;
                    let end = if block.flag("is_error")? == Some(true) { End::ToolError } else { End::Ok };
                    self.pairs.end(&id, |call| found::done(call.ts_us, ts_us, end, block.value("content")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        line: &Fields<'_, '_>,
        message: &Fields<'_, '_>,
        block: &Fields<'_, '_>,
        ts_us: Option<i64>,
        grant: &str,
    ) -> Result<(), String> {
        let id = block.text("id")?.ok_or("a `tool_use` has no `id`")?;
        let name = block.text("name")?.ok_or("a `tool_use` has no `name`")?;
        if self.seen.contains(&id) {
            return Ok(());
        }
        let of_server = name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__"));
        let (server, tool) = of_server.unwrap_or(("claude-code", &name));
        let found = Found {
            ts_us,
            session: line.text("sessionId")?,
            server: Some(server.to_owned()),
            agent: line.text("version")?.map(|version| format!("claude-code/{version}")),
            tool: tool.to_owned(),
            args: found::args(block.value("input")),
            request_id: block.value("id").map(canonical),
            label: message.text("model")?,
            ..Found::default()
        };
        self.pairs.begin(Some(id.clone()), found.into_call(grant, None)?);
        self.seen.insert(id);
        Ok(())
    }
}
