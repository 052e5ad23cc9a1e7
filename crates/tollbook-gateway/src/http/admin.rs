//! What a supervisor and Prometheus ask: `/healthz`, `/readyz` and `/metrics`, on a listener of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::{Request, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Gateway;
use super::answer::{Response, plain, text};
use super::listen::{accepted, connection};
use crate::desk::lock;
use crate::metrics::Levels;

/// Connections that are open at once. One more waits for its turn.
const CONNECTIONS_MAX: usize = 64;

/// Answers until `end` is there.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, end: impl Future<Output = ()> + Send + 'static) {
    let head_within = Duration::from_secs(gateway.bounds.head_within_s);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let (stream, gateway) = (accepted(&listener).await, Arc::clone(&gateway));
            tokio::spawn(async move {
                let answer = |request| std::future::ready(answer(&gateway, &request));
                connection(stream, answer, head_within, std::future::pending()).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = end => {}
    }
}

fn answer(gateway: &Gateway, request: &Request<Incoming>) -> Response {
    if gateway.hosts.refuses(request.headers()).is_some() {
        return plain(StatusCode::FORBIDDEN, "this host is none of the gateway's");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, "it runs"),
        "/readyz" if lock(&gateway.desk).takes_records() => plain(StatusCode::OK, "it takes calls"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "the log can't be written"),
        "/metrics" => metrics(gateway),
        _ => plain(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics is expected"),
    }
}

fn metrics(gateway: &Gateway) -> Response {
    let unsynced = lock(&gateway.desk).unsynced();
    let levels = Levels { unsynced, sessions: gateway.sessions.open(), children: gateway.running_children() };
    match gateway.metrics.text(levels) {
        Ok(told) => text("application/openmetrics-text; version=1.0.0; charset=utf-8", told),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be told"),
    }
}
