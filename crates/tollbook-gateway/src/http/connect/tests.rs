use std::time::Duration;

use hyper::http::{HeaderMap, Method, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{ConnectError, Route, Way};
use crate::desk::End;
use crate::http::upstream::Upstream;

/// A proxy that hears one request and says this. What it heard, up to the empty line.
async fn heard(url: &str, said: &'static str) -> (String, Result<u16, End>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(said.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let proxies = Matcher::builder().all(format!("http://ann:secret@{at}")).build();
    let within = Duration::from_secs(5);
    let upstream = Upstream::by(url, &[], &proxies, within).unwrap();
    let answer = upstream.send(Method::GET, &HeaderMap::new(), None).await;
    (proxy.await.unwrap(), answer.map(|answer| answer.status().as_u16()))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
/// `ann:secret`
const ANN: &str = "proxy-authorization: Basic YW5uOnNlY3JldA==";

#[tokio::test]
async fn a_proxy_is_told_the_whole_url_and_who_asks() {
    let (head, answer) = heard("http://tools.invalid/mcp?key=1", OK).await;
    assert!(head.starts_with("GET http://tools.invalid/mcp?key=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(ANN) && head.contains("host: tools.invalid\r\n"), "{head}");
    assert_eq!(answer, Ok(200));
}

#[tokio::test]
async fn what_is_encrypted_goes_through_a_tunnel_and_shows_the_proxy_nothing() {
    let (head, answer) = heard("https://tools.invalid/mcp?key=1", NO).await;
    assert!(head.starts_with("CONNECT tools.invalid:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&ANN.to_ascii_lowercase()) && !head.contains("key"), "{head}");
    assert_eq!(answer, Err(End::Unreachable));
}

#[test]
fn what_is_here_and_what_the_environment_excepts_goes_past_the_proxy() {
    let proxies = Matcher::builder().all("http://127.0.0.1:1").no("inner.invalid").build();
    let way = |url: &'static str| match Route::to(&Uri::from_static(url), &proxies, Duration::from_secs(1)).unwrap().way
    {
        Way::Direct(_) => "direct",
        Way::Proxy { .. } | Way::Tunnel(_) => "by the proxy",
    };
    for url in ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/", "http://inner.invalid/"] {
        assert_eq!(way(url), "direct", "{url}");
    }
    assert_eq!(way("http://tools.invalid/"), "by the proxy");
}

#[test]
fn a_proxy_of_another_kind_is_an_error_that_shows_no_secret() {
    let proxies = Matcher::builder().all("socks5://ann:secret@127.0.0.1:1").build();
    let uri = Uri::from_static("http://tools.invalid/");
    let error = Route::to(&uri, &proxies, Duration::from_secs(1)).err().unwrap();
    assert!(matches!(&error, ConnectError::Proxy(kind) if kind == "socks5"), "{error}");
}

/// As a URL can hold them.
#[tokio::test]
async fn a_user_in_the_url_goes_up_in_a_header() {
    let (head, _) = heard("http://b%C3%B6b:pa%3Ass@tools.invalid/mcp", OK).await;
    assert!(head.starts_with("GET http://tools.invalid/mcp HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: Basic YsO2YjpwYTpzcw==\r\n"), "{head}");
}

/// It takes the connection and says nothing to TLS. The call has never been there, and costs nothing.
#[tokio::test]
async fn a_server_that_keeps_silent_while_it_is_connected_to_was_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", listener.local_addr().unwrap());
    let within = Duration::from_millis(200);
    let upstream = Upstream::by(&url, &[], &Matcher::builder().build(), within).unwrap();
    let headers = HeaderMap::new();
    let sent = upstream.send(Method::GET, &headers, None);
    let answer = tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap();
    assert_eq!(answer.map(|answer| answer.status()), Err(End::Unreachable));
}
