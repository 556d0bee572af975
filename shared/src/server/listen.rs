//! Listeners: connections are taken, shaken hands with where TLS is configured, served, and drained at the end.

use super::{handshake::Handshakes, in_turn::InTurn};
use crate::{peer::TrustedProxies, tls::Acceptor};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt};

/// Limits of a listener, and what it speaks. Defaults suit a public one without TLS.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Time a client has for its side of the TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS handshakes at once; when there are more, the oldest is given up.
    pub handshakes: usize,
    /// Time a client has to send a request's head.
    pub header_timeout: Duration,
    /// Time that a client may take nothing of what lies ready for it.
    pub unread_timeout: Duration,
    /// Time that open connections get to finish at shutdown.
    pub drain: Duration,
    /// Who is believed when they say for whom they ask.
    pub trusted_proxies: TrustedProxies,
    /// TLS, where it is spoken; nothing else is then.
    pub tls: Option<Acceptor>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 1_000,
            header_timeout: Duration::from_secs(10),
            unread_timeout: UNREAD_TIMEOUT,
            drain: Duration::from_secs(30),
            trusted_proxies: TrustedProxies::default(),
            tls: None,
        }
    }
}

/// As long as nginx waits between two successful writes to a client (`send_timeout`).
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Serves HTTP/1.1 and HTTP/2, over TLS where it is configured, until `stop`, then lets open connections finish.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<axum::BoxError>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let builder = builder(&limits);
    let mut handshakes = Handshakes::new(&limits, &stop);
    loop {
        let Some((stream, from, place)) = accept(&listener, &limits, &places, &stop).await else { break };
        let trusted = limits.trusted_proxies.clone();
        let service = service.clone().map_request(move |mut request: Request<Incoming>| {
            trusted.receive(&mut request, from);
            request
        });
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let handshake = handshakes.next();
        connections.spawn(async move {
            match handshake {
                None => converse(&builder, stream, service, watcher).await,
                Some(handshake) => {
                    if let Some(stream) = handshake.shake(stream).await {
                        converse(&builder, stream, service, watcher).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections were still open when their time to drain was over"
        );
    }
}

/// Serves one connection until its end.
async fn converse<I, S, B>(builder: &auto::Builder<TokioExecutor>, stream: I, service: S, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<axum::BoxError>,
{
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = InTurn::new(watcher.watch(connection)).await {
        tracing::debug!(error, "connection ended early");
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(1_000)
        .adaptive_window(true)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

async fn accept(
    listener: &TcpListener,
    limits: &Limits,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let next = async {
        loop {
            let place = Arc::clone(places).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, from)) => {
                    if let Err(error) = set_up(&stream, limits) {
                        tracing::debug!(%error, "a connection could not be set up");
                    }
                    return Some((stream, from, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = next => accepted,
    }
}

/// A client that takes nothing is not told from one that is slow by anybody but the system, which knows what it has
/// acknowledged. Elsewhere than on Linux it may wait for ever.
fn set_up(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limits.unread_timeout))?;
    Ok(())
}

/// Binds a listener, saying in the error which address it was.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}
