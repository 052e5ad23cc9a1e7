//! The client in front: calls one at a time, each timed, and calls with so many in flight, counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderValue;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

pub const IN_FLIGHT: usize = 32;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Who makes a call, where that is to be told.
pub type Agent = Option<u64>;

fn call(id: usize, tool: &str, agent: Agent) -> String {
    let meta = agent.map(|agent| {
        format!(r#","_meta":{{"io.modelcontextprotocol/clientInfo":{{"name":"agent{agent}","version":"1"}}}}"#)
    });
    let args = format!(r#"{{"n":{id},"note":"a line of text, as tools are given","tags":["a","b"]}}"#);
    let params = format!(r#"{{"name":"{tool}","arguments":{args}{}}}"#, meta.unwrap_or_default());
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

fn is_good(answer: &[u8]) -> anyhow::Result<()> {
    let good = answer.windows(11).any(|found| found == b"it was done");
    ensure!(good, "a call went wrong: {}", String::from_utf8_lossy(answer));
    Ok(())
}

/// A client of whatever kind.
pub trait Client {
    /// How long each of so many calls took, one after the other.
    fn one_at_a_time(&mut self, calls: usize) -> anyhow::Result<Vec<Duration>>;
    /// Calls a second, with [`IN_FLIGHT`] of them under way for so long.
    fn in_flight(&mut self, lasts: Duration) -> anyhow::Result<f64>;
}

/// Standard input and output of a process.
pub struct Lines {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    line: Vec<u8>,
    next: usize,
    _process: Ended,
}

/// A process that ends with its client.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lines {
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (to, from) = (process.stdin.take().context("no pipe")?, process.stdout.take().context("no pipe")?);
        let (from, line, _process) = (BufReader::new(from), Vec::new(), Ended(process));
        let mut lines = Self { to, from, line, next: 1, _process };
        lines.say(HELLO)?;
        lines.hear()?;
        lines.say(READY)?;
        lines.say(r#"{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{}}"#)?;
        lines.hear()?;
        Ok(lines)
    }

    /// Calls of agents that were never heard of before.
    pub fn new_agents(&mut self, agents: u64) -> anyhow::Result<()> {
        let mut under_way = 0;
        for agent in 0..agents {
            self.say_call(Some(agent))?;
            under_way += 1;
            if under_way == IN_FLIGHT * 4 {
                self.hear()?;
                under_way -= 1;
            }
        }
        (0..under_way).try_for_each(|_| self.hear())
    }

    fn say_call(&mut self, agent: Agent) -> anyhow::Result<()> {
        self.next += 1;
        self.say(&call(self.next, "echo", agent))
    }

    fn say(&mut self, frame: &str) -> anyhow::Result<()> {
        Ok(self.to.write_all(format!("{frame}\n").as_bytes())?)
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        ensure!(self.from.read_until(b'\n', &mut self.line)? > 0, "it ended");
        Ok(())
    }
}

impl Client for Lines {
    fn one_at_a_time(&mut self, calls: usize) -> anyhow::Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            self.say_call(None)?;
            self.hear()?;
            took.push(began.elapsed());
            is_good(&self.line)?;
        }
        Ok(took)
    }

    fn in_flight(&mut self, lasts: Duration) -> anyhow::Result<f64> {
        let began = Instant::now();
        for _ in 0..IN_FLIGHT {
            self.say_call(None)?;
        }
        let (mut answered, mut under_way) = (0_u32, IN_FLIGHT);
        while under_way > 0 {
            self.hear()?;
            is_good(&self.line)?;
            answered += 1;
            match began.elapsed() < lasts {
                true => self.say_call(None)?,
                false => under_way -= 1,
            }
        }
        Ok(f64::from(answered) / began.elapsed().as_secs_f64())
    }
}

/// Connections to a URL, all in one session.
pub struct Posts {
    runtime: Runtime,
    line: Line,
    connections: Vec<SendRequest<Full<Bytes>>>,
}

/// Where it posts to, and as whom.
#[derive(Clone)]
struct Line {
    host: String,
    path: String,
    tool: String,
    token: Option<HeaderValue>,
    session: Option<HeaderValue>,
}

impl Posts {
    pub fn connect(url: &str, tool: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).context("a URL")?;
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose()?;
        let (host, path, tool) = (host.to_owned(), format!("/{path}"), tool.to_owned());
        let mut line = Line { host, path, tool, token, session: None };
        let mut connections = Vec::new();
        for _ in 0..IN_FLIGHT {
            connections.push(runtime.block_on(connection(&line.host))?);
        }
        let first = &mut connections[0];
        line.session = runtime.block_on(line.begin(first))?;
        Ok(Self { runtime, line, connections })
    }

    /// Opens so many sessions and leaves them.
    pub fn open_sessions(&mut self, sessions: usize) -> anyhow::Result<()> {
        let Self { runtime, line, connections } = self;
        let first = connections.first_mut().context("no connection")?;
        runtime.block_on(async {
            for _ in 0..sessions {
                let mut line = Line { session: None, ..line.clone() };
                line.session = line.begin(first).await?;
                line.call(first, 1).await?;
            }
            Ok(())
        })
    }
}

async fn connection(host: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = tokio::net::TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Line {
    async fn post(&self, to: &mut SendRequest<Full<Bytes>>, frame: String) -> anyhow::Result<Response<Incoming>> {
        to.ready().await?;
        let mut request = Request::post(&self.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in [("authorization", &self.token), ("mcp-session-id", &self.session)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        Ok(to.send_request(request.body(Full::from(frame))?).await?)
    }

    /// Begins a session, and tells its id.
    async fn begin(&mut self, to: &mut SendRequest<Full<Bytes>>) -> anyhow::Result<Option<HeaderValue>> {
        let hello = self.post(to, HELLO.to_owned()).await?;
        ensure!(hello.status().is_success(), "it wouldn't begin: {}", hello.status());
        self.session = hello.headers().get("mcp-session-id").cloned();
        hello.into_body().collect().await?;
        self.post(to, READY.to_owned()).await?.into_body().collect().await?;
        Ok(self.session.clone())
    }

    async fn call(&self, to: &mut SendRequest<Full<Bytes>>, id: usize) -> anyhow::Result<()> {
        let response = self.post(to, call(id, &self.tool, None)).await?;
        is_good(&response.into_body().collect().await?.to_bytes())
    }
}

impl Client for Posts {
    fn one_at_a_time(&mut self, calls: usize) -> anyhow::Result<Vec<Duration>> {
        let Self { runtime, line, connections } = self;
        let first = connections.first_mut().context("no connection")?;
        runtime.block_on(async {
            let mut took = Vec::with_capacity(calls);
            for id in 0..calls {
                let began = Instant::now();
                line.call(first, id).await?;
                took.push(began.elapsed());
            }
            Ok(took)
        })
    }

    fn in_flight(&mut self, lasts: Duration) -> anyhow::Result<f64> {
        let Self { runtime, line, connections } = self;
        let began = Instant::now();
        let answered = runtime.block_on(async {
            let line = &*line;
            let all = connections.iter_mut().enumerate().map(|(number, to)| async move {
                let mut answered = 0_u32;
                while began.elapsed() < lasts {
                    // An id that is in flight twice in one session is refused, so each connection has its own.
                    line.call(to, number * 1_000_000 + answered as usize).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            });
            futures_util::future::try_join_all(all).await
        })?;
        Ok(f64::from(answered.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
    }
}
