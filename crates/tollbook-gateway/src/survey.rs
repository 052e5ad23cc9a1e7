//! Asks a server for its tools, all pages of them, as a client would.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::http::header::CONTENT_TYPE;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::desk::End;
use crate::http::{Bounds, Events, Place, Program, SESSION_ID, Upstream};

/// Most pages that are asked for.
const PAGES_MAX: usize = 1_000;

/// The version with `initialize`, and the one without, which is tried where the server won't have the first.
const VERSIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// Why a server's tools aren't known.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Its program can't be started or spoken to.
    #[error("cannot speak to the server")]
    Pipe(#[from] std::io::Error),
    /// There is no connection to it. Why is a warning of its own.
    #[error("the server could not be reached")]
    Unreachable,
    /// It says nothing in time, or breaks off.
    #[error("the server did not answer")]
    Silent,
    /// It says something that isn't an answer.
    #[error("the server answered `{0}`")]
    Answer(String),
    /// It has no end of pages.
    #[error("the server has more than {PAGES_MAX} pages of tools")]
    Pages,
}

impl SurveyError {
    /// Of a request that came to this end.
    fn of(end: End) -> Self {
        if end == End::Unreachable { Self::Unreachable } else { Self::Silent }
    }
}

/// Everything that the server's `tools/list` gives, in its order.
///
/// # Errors
/// Where the server can't be asked, or doesn't answer as one.
pub async fn tools(place: &Place) -> Result<Vec<Value>, SurveyError> {
    let mut line = match place {
        Place::Url(upstream) => Line::Http { upstream: upstream.clone(), headers: HeaderMap::new() },
        Place::Program(program) => Line::start(program)?,
    };
    let about = json!({ "name": "tollbook-scan", "version": env!("CARGO_PKG_VERSION") });
    let [with_hello, without] = VERSIONS;
    let hello = json!({ "protocolVersion": with_hello, "capabilities": {}, "clientInfo": about });
    let mut common = json!({});
    match line.ask(0, "initialize", &hello, with_hello).await {
        Ok(_) => line.tell(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), with_hello).await?,
        Err(SurveyError::Answer(_)) => {
            common = json!({ "_meta": {
                "io.modelcontextprotocol/protocolVersion": without,
                "io.modelcontextprotocol/clientInfo": about,
                "io.modelcontextprotocol/clientCapabilities": {},
            } });
        }
        Err(error) => return Err(error),
    }
    let version = if common.get("_meta").is_some() { without } else { with_hello };
    let mut tools = Vec::new();
    for page in 1..=PAGES_MAX {
        let mut result = line.ask(page, "tools/list", &common, version).await?;
        match result.get_mut("tools").map(Value::take) {
            Some(Value::Array(some)) => tools.extend(some),
            _ => return Err(SurveyError::Answer(result.to_string())),
        }
        match result.get("nextCursor").and_then(Value::as_str).map(str::to_owned) {
            Some(cursor) => {
                drop(common.as_object_mut().map(|params| params.insert("cursor".to_owned(), cursor.into())))
            }
            None => return Ok(tools),
        }
    }
    Err(SurveyError::Pages)
}

/// A line to a server.
enum Line {
    Http { upstream: Upstream, headers: HeaderMap },
    Program { stdin: ChildStdin, stdout: BufReader<ChildStdout>, _process: Box<Child> },
}

impl Line {
    fn start(program: &Program) -> Result<Self, SurveyError> {
        let mut process = Box::new(program.to_start().spawn()?);
        let missing = || std::io::Error::other("the pipe is missing");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = BufReader::new(process.stdout.take().ok_or_else(missing)?);
        Ok(Self::Program { stdin, stdout, _process: process })
    }

    /// The result of a request.
    async fn ask(&mut self, id: usize, method: &str, params: &Value, version: &str) -> Result<Value, SurveyError> {
        let frame = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let within = Duration::from_secs(Bounds::default().answer_within_s);
        let answer = tokio::time::timeout(within, self.answer(&frame, method, version)).await;
        let mut answer = answer.map_err(|_| SurveyError::Silent)??;
        match answer.get_mut("result").map(Value::take) {
            Some(result) => Ok(result),
            None => Err(SurveyError::Answer(answer.to_string())),
        }
    }

    async fn answer(&mut self, frame: &Value, method: &str, version: &str) -> Result<Value, SurveyError> {
        let id = frame.get("id");
        let is_it = |said: &Value| said.get("id") == id && said.get("method").is_none();
        match self {
            Self::Program { stdin, stdout, .. } => {
                stdin.write_all(format!("{frame}\n").as_bytes()).await?;
                let most = u64::try_from(Bounds::default().answer_bytes_max).unwrap_or(u64::MAX);
                loop {
                    let mut line = Vec::new();
                    if (&mut *stdout).take(most).read_until(b'\n', &mut line).await? == 0 {
                        return Err(SurveyError::Silent);
                    }
                    match serde_json::from_slice::<Value>(&line) {
                        Ok(said) if is_it(&said) => return Ok(said),
                        _ => {}
                    }
                }
            }
            Self::Http { upstream, headers } => {
                headers
                    .insert("mcp-protocol-version", HeaderValue::from_str(version).map_err(|_| SurveyError::Silent)?);
                headers.insert("mcp-method", HeaderValue::from_str(method).map_err(|_| SurveyError::Silent)?);
                let sent = upstream.send(Method::POST, headers, Some(Bytes::from(frame.to_string()))).await;
                let mut response = sent.map_err(SurveyError::of)?;
                headers.extend(response.headers().get(SESSION_ID).map(|id| (SESSION_ID, id.clone())));
                let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
                let (status, stream) = (response.status(), kind.starts_with("text/event-stream"));
                let mut events = Events::default();
                let mut body = Vec::new();
                while let Some(chunk) = response.chunk().await.map_err(|_| SurveyError::Silent)? {
                    if body.len().max(events.held_bytes()) > Bounds::default().answer_bytes_max {
                        return Err(SurveyError::Silent);
                    }
                    if !stream {
                        body.extend_from_slice(&chunk);
                        continue;
                    }
                    events.push(&chunk);
                    while let Some(data) = events.next().map(|event| event.data.unwrap_or_default()) {
                        match serde_json::from_slice::<Value>(&data) {
                            Ok(said) if is_it(&said) => return Ok(said),
                            _ => {}
                        }
                    }
                }
                let shown = || SurveyError::Answer(format!("{status}, {}", String::from_utf8_lossy(&body)));
                serde_json::from_slice(&body).map_err(|_| shown())
            }
        }
    }

    /// Says something that isn't answered.
    async fn tell(&mut self, frame: &Value, version: &str) -> Result<(), SurveyError> {
        match self {
            Self::Program { stdin, .. } => Ok(stdin.write_all(format!("{frame}\n").as_bytes()).await?),
            Self::Http { upstream, headers } => {
                headers
                    .insert("mcp-protocol-version", HeaderValue::from_str(version).map_err(|_| SurveyError::Silent)?);
                headers.remove(HeaderName::from_static("mcp-method"));
                let sent = upstream.send(Method::POST, headers, Some(Bytes::from(frame.to_string()))).await;
                sent.map(drop).map_err(SurveyError::of)
            }
        }
    }
}
