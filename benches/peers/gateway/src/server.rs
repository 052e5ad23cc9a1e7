//! The server behind: one tool that gives back its number, over both transports. It reads as little as it can, so
//! that what stands between is most of what is measured.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// Answers lines until they end. `tools` is how many it lists.
pub fn stdio(tools: usize) -> anyhow::Result<()> {
    let (mut lines, mut out) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Some(mut answer) = answer(&line, tools) {
            answer.push(b'\n');
            out.write_all(&answer)?;
            out.flush()?;
        }
        line.clear();
    }
    Ok(())
}

/// Answers requests at a port of its own, which it tells first.
pub async fn http() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let router = Router::new().fallback(asked);
    use axum::serve::ListenerExt;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn asked(method: Method, _: HeaderMap, body: Bytes) -> Response {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(answer) = answer(&body, 1) else { return StatusCode::ACCEPTED.into_response() };
    let mut response = ([("content-type", "application/json")], answer).into_response();
    if has(&body, b"\"initialize\"") {
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed).to_string();
        response.headers_mut().insert("mcp-session-id", session.parse().expect("digits"));
    }
    response
}

fn answer(frame: &[u8], tools: usize) -> Option<Vec<u8>> {
    let id = id(frame)?;
    let result = if has(frame, b"\"tools/call\"") {
        r#"{"content":[{"type":"text","text":"it was done, and here is what came of it"}]}"#.to_owned()
    } else if has(frame, b"\"initialize\"") {
        let about = r#""capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}"#;
        format!(r#"{{"protocolVersion":"2025-11-25",{about}}}"#)
    } else if has(frame, b"\"tools/list\"") {
        let mut all = vec![r#"{"name":"echo","inputSchema":{"type":"object"}}"#.to_owned()];
        all.extend((1..tools).map(|n| format!(r#"{{"name":"tool_{n}","inputSchema":{{"type":"object"}}}}"#)));
        format!(r#"{{"tools":[{}]}}"#, all.join(","))
    } else {
        "{}".to_owned()
    };
    Some([br#"{"jsonrpc":"2.0","id":"#, id, b",\"result\":", result.as_bytes(), b"}"].concat())
}

/// The id as it stands: a number or a plain text.
fn id(frame: &[u8]) -> Option<&[u8]> {
    let at = frame.windows(5).position(|five| five == b"\"id\":")? + 5;
    let rest = frame.get(at..)?;
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some(rest[..end].trim_ascii())
}

fn has(frame: &[u8], word: &[u8]) -> bool {
    frame.windows(word.len()).any(|found| found == word)
}
