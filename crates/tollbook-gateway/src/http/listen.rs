//! The listener: so many connections and no more, and an end that lets open requests finish.
//!
//! Each connection belongs to one lane, a thread with a runtime of its own, and so do the connections to servers that
//! its requests take: nothing of a request is handed from one thread to another, where waking the other one costs more
//! than all that the gateway does. The lanes take turns, so that each has as many connections as the others.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hyper::body::Incoming;
use hyper::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::answer::Response;
use super::{Gateway, Lane};

/// How many lanes there are: one for each processor.
pub(super) fn lanes() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// What is open may finish.
    Ending,
    /// Whatever is open has had its time.
    Over,
}

/// Serves until `end` is there, then lets what is open finish for as long as the bounds say.
///
/// # Errors
/// Where no thread can be had.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, end: impl Future<Output = ()>) -> io::Result<()> {
    let (phase, phases) = watch::channel(Phase::Serving);
    // Every lane holds one until its connections have ended.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut lanes = Vec::new();
    for place in 0..gateway.lanes {
        let (to, handed) = mpsc::channel(1);
        let lane = Lane { gateway: Arc::clone(&gateway), place };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (phases, open) = (phases.clone(), open.clone());
        std::thread::Builder::new().name(format!("lane {place}")).spawn(move || {
            runtime.block_on(run(lane, handed, phases, open));
            // A stream that nobody reads may never end.
            runtime.shutdown_background();
        })?;
        lanes.push(to);
    }
    drop((open, phases));
    tokio::select! {
        () = accept(listener, &lanes, gateway.bounds.connections_max) => {}
        () = end => {}
    }
    phase.send_replace(Phase::Ending);
    gateway.end_streams();
    // Nothing is sent: it is over once all lanes have let go of it.
    let closed = all_closed.recv();
    let _ = tokio::time::timeout(Duration::from_secs(gateway.bounds.drain_within_s), closed).await;
    gateway.end_children().await;
    phase.send_replace(Phase::Over);
    Ok(())
}

/// Serves the connections that a lane is handed. Programs that it started are its own, so it stays until all is over.
async fn run(lane: Lane, mut handed: mpsc::Receiver<Accepted>, phases: watch::Receiver<Phase>, open: mpsc::Sender<()>) {
    let reached = |phase| {
        let mut phases = phases.clone();
        async move {
            // It is as good as told where nobody can tell it any more.
            let _ = phases.wait_for(|now| *now >= phase).await;
        }
    };
    let head_within = Duration::from_secs(lane.gateway.bounds.head_within_s);
    // A timer that is nearly always the next to come. To set one that comes before all others takes a system call, and a
    // turn of the runtime for nothing; a request sets several, and they don't come before this one.
    let mut often = tokio::time::interval(Duration::from_millis(100));
    often.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Every connection holds one.
    let here = Arc::new(());
    loop {
        let accepted = tokio::select! {
            accepted = handed.recv() => accepted,
            () = reached(Phase::Ending) => None,
            _ = often.tick(), if Arc::strong_count(&here) > 1 => continue,
        };
        let Some((stream, place)) = accepted else { break };
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let (lane, ending) = (lane.clone(), reached(Phase::Ending));
                let held = (place, open.clone(), Arc::clone(&here));
                tokio::spawn(async move {
                    let answer = |request| lane.gateway.take(lane.place, request);
                    connection(stream, answer, head_within, ending).await;
                    drop(held);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection was not taken"),
        }
    }
    drop((open, handed));
    reached(Phase::Over).await;
}

/// Serves one connection until either side has had enough. One on which no request comes is not for ever: whoever has no
/// token could otherwise take all the places that there are.
pub(super) async fn connection<A: Future<Output = Response>>(
    stream: TcpStream,
    answer: impl Fn(Request<Incoming>) -> A,
    head_within: Duration,
    ending: impl Future<Output = ()>,
) {
    let answer = service_fn(|request| answer(request).map(Ok::<_, Infallible>));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_within);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    // How a connection ended concerns nobody but its client.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = ending => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// A connection on its way to a lane.
type Accepted = (std::net::TcpStream, OwnedSemaphorePermit);

/// Takes connections and hands them to the lanes in turn.
async fn accept(listener: TcpListener, lanes: &[mpsc::Sender<Accepted>], connections_max: usize) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    for lane in lanes.iter().cycle() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match accepted(&listener).await.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                continue;
            }
        };
        if lane.send((stream, place)).await.is_err() {
            return;
        }
    }
}

/// The next connection. What can't be accepted now, as where there are too many files, may be later.
pub(super) async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer shouldn't wait for the next one.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
