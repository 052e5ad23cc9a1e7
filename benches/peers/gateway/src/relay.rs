//! The bare relay: bytes from one side to the other, neither read nor kept. It is what any gateway costs at least.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Lines, one thread for each direction.
pub fn stdio() -> anyhow::Result<()> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["server-stdio", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (to, from) = (server.stdin.take().context("no pipe")?, server.stdout.take().context("no pipe")?);
    let up = std::thread::spawn(move || lines(std::io::stdin(), to));
    lines(from, std::io::stdout())?;
    up.join().expect("the thread ends")?;
    server.wait()?;
    Ok(())
}

fn lines(from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        line.clear();
    }
    Ok(())
}

type Up = (Client<HttpConnector, Body>, String);

/// Requests, over connections that are kept.
pub async fn http(url: &str) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let router = Router::new().fallback(passed_on).with_state((client, url.to_owned()));
    use axum::serve::ListenerExt;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn passed_on(State((client, url)): State<Up>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.uri = url.parse().expect("a URL");
    parts.headers.remove("host");
    match client.request(Request::from_parts(parts, body)).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
