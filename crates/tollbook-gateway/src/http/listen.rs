//! The listener: so many connections and no more, and an end that lets open requests finish.
//!
//! Each connection belongs to one lane, a thread with a runtime of its own, and so do the connections to servers that
//! its requests take: nothing of a request is handed from one thread to another, where waking the other one costs more
//! than all that the gateway does. The lanes take turns, so that each has as many connections as the others.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

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
/// Where no thread can be had, or the listener has no address.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, end: impl Future<Output = ()>) -> io::Result<()> {
    let (phase, phases) = watch::channel(Phase::Serving);
    // Every lane holds one until its connections have ended.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut lanes = Vec::new();
    for place in 0..gateway.lanes {
        let (to, connections) = mpsc::channel(1);
        let lane = Lane { gateway: Arc::clone(&gateway), place };
        let handed = Handed { connections, at: listener.local_addr()? };
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
    gateway.end_children();
    phase.send_replace(Phase::Over);
    Ok(())
}

/// Serves the connections that a lane is handed. Programs that it started are its own, so it stays until all is over.
async fn run(lane: Lane, handed: Handed, phases: watch::Receiver<Phase>, open: mpsc::Sender<()>) {
    let reached = |phase| {
        let mut phases = phases.clone();
        async move {
            // It is as good as told where nobody can tell it any more.
            let _ = phases.wait_for(|now| *now >= phase).await;
        }
    };
    let serving = axum::serve(handed, lane.router()).with_graceful_shutdown(reached(Phase::Ending));
    tokio::select! {
        _ = serving => drop(open),
        () = reached(Phase::Over) => return,
    }
    reached(Phase::Over).await;
}

/// A connection on its way to a lane.
type Accepted = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Takes connections and hands them to the lanes in turn.
async fn accept(listener: TcpListener, lanes: &[mpsc::Sender<Accepted>], connections_max: usize) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    for lane in lanes.iter().cycle() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, from) = loop {
            match listener.accept().await.and_then(|(stream, from)| Ok((stream.into_std()?, from))) {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        // An answer shouldn't wait for the next one.
        let _ = stream.set_nodelay(true);
        if lane.send((stream, from, place)).await.is_err() {
            return;
        }
    }
}

/// What a lane listens to.
struct Handed {
    connections: mpsc::Receiver<Accepted>,
    at: SocketAddr,
}

impl Listener for Handed {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        loop {
            let Some((stream, from, place)) = self.connections.recv().await else {
                return std::future::pending().await;
            };
            match TcpStream::from_std(stream) {
                Ok(stream) => return (Held { stream, _place: place }, from),
                Err(error) => tracing::warn!(%error, "a connection was not taken"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

/// A connection that frees its place when it ends.
struct Held {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
