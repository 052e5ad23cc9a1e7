//! Intercept's event files, `events/<instance>.jsonl`: one JSON object for each event of its proxy.
//!
//! | field | becomes |
//! |---|---|
//! | `ts`, RFC 3339 | `ts` |
//! | `instance` | `session`: one proxy serves one client |
//! | `tool` | `tool` |
//! | `args_hash`, `sha256:…` | `args_hash`, its first 128 bits, to be compared within this log; the arguments are unknown |
//! | `result`, `allowed` or `denied` | `label`: the decision was another program's |
//! | `rule`, `message` | the same |
//! | `server` of the instance's `startup` event | `server` |
//!
//! Other events (`config_reload`, `heartbeat`, `shutdown`) are passed over. How calls ended isn't recorded.

use std::collections::BTreeMap;

use tollbook_engine::{Hash128, RecordedArgs};
use tollbook_policy::json::Node;

use super::found::{Fields, Found};
use super::order::Call;

#[derive(Default)]
pub(super) struct Intercept {
    servers: BTreeMap<String, String>,
}

impl Intercept {
    pub fn read(&mut self, node: &Node<'_>, grant: &str) -> Result<Option<Call>, String> {
        let fields = Fields::of(node)?;
        let instance = fields.text("instance")?.ok_or("it has no `instance`")?;
        match fields.text("type")?.ok_or("it has no `type`")?.as_str() {
            "startup" => {
                if let Some(server) = fields.text("server")? {
                    self.servers.insert(instance, server);
                }
                Ok(None)
            }
            "tool_call" => self.call(&fields, instance, grant).map(Some),
            _ => Ok(None),
        }
    }

    fn call(&self, fields: &Fields<'_, '_>, instance: String, grant: &str) -> Result<Call, String> {
        let sum = fields.text("args_hash")?;
        let first = sum.as_deref().and_then(|sum| sum.strip_prefix("sha256:")?.get(..32));
        let found = Found {
            ts_us: fields.time("ts")?,
            server: self.servers.get(&instance).cloned(),
            session: Some(instance),
            tool: fields.text("tool")?.ok_or("it has no `tool`")?,
            args: RecordedArgs { hash: first.and_then(Hash128::from_hex), ..RecordedArgs::default() },
            label: fields.text("result")?,
            rule: fields.text("rule")?,
            message: fields.text("message")?,
            ..Found::default()
        };
        found.into_call(grant, None)
    }
}
