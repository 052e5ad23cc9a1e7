//! An MCP client of our own, connected through the real gateway to a server of its own.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write, pipe};
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::Context;
use serde_json::{Value, json};
use tollbook_gateway::Connection;
use tollbook_gateway::stdio::{self, RunError, SharedDesk};

/// One session.
pub struct Client {
    requests: PipeWriter,
    answers: BufReader<PipeReader>,
    gateway: JoinHandle<anyhow::Result<()>>,
    next_id: u64,
}

impl Client {
    /// Starts a server with the gateway in front of it, and says hello.
    pub fn connect(desk: &SharedDesk, program: &Path, session: usize) -> anyhow::Result<Self> {
        let (gateway_in, requests) = pipe().context("cannot make a pipe")?;
        let (answers, gateway_out) = pipe().context("cannot make a pipe")?;
        let desk = SharedDesk::clone(desk);
        let mut command = tokio::process::Command::new(program);
        command.arg("demo-server");
        let connection = Connection::new("billing", "demo", &format!("demo-{session:02}"));
        let gateway = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime
                .block_on(stdio::run(desk, connection, command, gateway_in, stdio::ClientOut::new(gateway_out)))
                .map_err(RunError::into)
                .map(drop)
        });
        let mut client = Self { requests, answers: BufReader::new(answers), gateway, next_id: 0 };
        let about = json!({ "name": "demo-agent", "version": env!("CARGO_PKG_VERSION") });
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": about });
        client.request("initialize", &hello)?;
        writeln!(client.requests, "{}", json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(client)
    }

    /// Calls a tool, and returns the answer's line.
    pub fn call(&mut self, tool: &str, args: &Value) -> anyhow::Result<String> {
        self.request("tools/call", &json!({ "name": tool, "arguments": args }))
    }

    /// Hangs up and waits until the server has ended.
    pub fn disconnect(self) -> anyhow::Result<()> {
        drop(self.requests);
        self.gateway.join().map_err(|_| anyhow::anyhow!("the gateway failed"))?
    }

    fn request(&mut self, method: &str, params: &Value) -> anyhow::Result<String> {
        self.next_id += 1;
        let id = self.next_id;
        writeln!(self.requests, "{}", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        anyhow::ensure!(answer.contains(&format!("\"id\":{id}")), "no answer to request {id}; found `{answer}`");
        Ok(answer.trim_end().to_owned())
    }
}
