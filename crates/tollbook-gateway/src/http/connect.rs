//! How a server over HTTP is connected to: directly, or through the proxy that the environment names.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

/// Why no connections to a server can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TLS has nothing to go by.
    #[error("the system's certificates can't be used")]
    Tls(#[from] rustls::Error),
    /// A proxy that is spoken to in another way than HTTP.
    #[error("the environment names a proxy of the kind `{0}`, and only `http` and `https` are known")]
    Proxy(String),
}

/// How a server is reached.
pub(super) struct Route {
    way: Way,
    tls: Arc<ClientConfig>,
    connect_within: Duration,
    /// What a proxy that reads the requests wants to see in each.
    pub proxy_authorization: Option<HeaderValue>,
}

impl Route {
    /// The route to a server at this URL.
    ///
    /// # Errors
    /// A proxy that isn't HTTP's, or TLS that can't be had where it is needed.
    pub fn to(uri: &Uri, proxies: &Matcher, connect_within: Duration) -> Result<Self, ConnectError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_within));
        let secure = uri.scheme_str() == Some("https");
        let here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let Some(proxy) = proxies.intercept(uri).filter(|_| !here) else {
            let (way, tls) = (Way::Direct(tcp), tls(secure)?);
            return Ok(Self { way, tls, connect_within, proxy_authorization: None });
        };
        let (at, authorization) = (proxy.uri().clone(), proxy.basic_auth().cloned());
        let kind = at.scheme_str().unwrap_or_default();
        if !matches!(kind, "http" | "https") {
            return Err(ConnectError::Proxy(kind.to_owned()));
        }
        let tls = tls(secure || kind == "https")?;
        let to_proxy = HttpsConnector::from((tcp, Arc::clone(&tls)));
        let (way, proxy_authorization) = if secure {
            let tunnel = authorization.into_iter().fold(Tunnel::new(at, to_proxy), Tunnel::with_auth);
            (Way::Tunnel(tunnel), None)
        } else {
            (Way::Proxy { at, to_proxy }, authorization)
        };
        Ok(Self { way, tls, connect_within, proxy_authorization })
    }

    pub fn connector(&self) -> Connector {
        let to = HttpsConnector::from((self.way.clone(), Arc::clone(&self.tls)));
        Connector { to, within: self.connect_within }
    }
}

/// The system's certificates are read only where they are needed: where there are none, plain HTTP works all the same.
fn tls(needed: bool) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match needed {
        true => config.try_with_platform_verifier()?,
        false => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Makes connections to a server, in time or not at all: a proxy or TLS may have nothing to say either.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    to: HttpsConnector<Way>,
    within: Duration,
}

type Boxed = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Boxed>> + Send>>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = Boxed;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.to.poll_ready(cx)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = timeout(self.within, self.to.call(server));
        Box::pin(async { connecting.await.map_err(|_| "there was no connection in time")? })
    }
}

/// What lies between here and a server.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Nothing.
    Direct(HttpConnector),
    /// A proxy that is told whom each request is for, and reads it.
    Proxy { at: Uri, to_proxy: HttpsConnector<HttpConnector> },
    /// A proxy that passes bytes on, and can't read them.
    Tunnel(Tunnel<HttpsConnector<HttpConnector>>),
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = Boxed;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        // None of them is ever not.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(server);
                Box::pin(async { Ok(Stream { io: MaybeHttpsStream::Http(connecting.await?), by_proxy: false }) })
            }
            Self::Proxy { at, to_proxy } => {
                let connecting = to_proxy.call(at.clone());
                Box::pin(async { Ok(Stream { io: connecting.await?, by_proxy: true }) })
            }
            Self::Tunnel(tunnel) => {
                let connecting = tunnel.call(server);
                Box::pin(async { Ok(Stream { io: connecting.await?, by_proxy: false }) })
            }
        }
    }
}

/// A connection to a server or a proxy, before the server's own TLS.
#[derive(Debug)]
pub(super) struct Stream {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// Whether requests name the server too, and not only what is wanted of it.
    by_proxy: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.by_proxy)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests;
