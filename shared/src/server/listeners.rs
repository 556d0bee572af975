//! Listeners of a process, and the order in which it ends.

use super::{Limits, Tasks, UNREAD_TIMEOUT, bind, serve};
use crate::{
    health::Health,
    peer::TrustedProxies,
    tls::{self, Door},
};
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use std::{convert::Infallible, io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

/// Time for background tasks to end.
const TASKS_END: Duration = Duration::from_secs(15);

/// What stands between a process and its clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Networks of proxies, such as `10.0.0.0/8`: what they say in `x-forwarded-for` is believed.
    pub trusted_proxies: TrustedProxies,
    /// How long a client may take nothing of what lies ready for it before its connection is closed.
    #[serde(with = "humantime_serde")]
    pub unread_timeout: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self { trusted_proxies: TrustedProxies::default(), unread_timeout: UNREAD_TIMEOUT }
    }
}

/// Whatever answers requests on a listener.
pub trait Routes:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Routes for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The listeners of one process.
#[derive(Debug, Default)]
pub struct Listeners {
    serving: TaskTracker,
    stop: CancellationToken,
    /// Probes and metrics are answered until everything else has ended.
    probes: TaskTracker,
    last: CancellationToken,
    limits: Limits,
    tls: Option<tls::Listeners>,
}

impl Listeners {
    /// Listeners as they are configured, with certificates that stay as new as their files.
    ///
    /// # Errors
    /// When a file of `tls` cannot be used.
    pub fn new(network: &Network, tls: &tls::Config, tasks: &Tasks) -> Result<Self, tls::Fault> {
        let limits = Limits {
            trusted_proxies: network.trusted_proxies.clone(),
            unread_timeout: network.unread_timeout,
            ..Limits::default()
        };
        let tls = tls::Listeners::open(tls)?;
        if let Some(tls) = &tls {
            tls.watch(tasks);
        }
        Ok(Self { limits, tls, ..Self::default() })
    }

    /// How addresses of these listeners begin.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Warns of an address of another service that is not encrypted where the listeners of this one are.
    pub fn warn_of_plain(&self, service: &str, address: &str) {
        if self.scheme() == "https" && address.starts_with("http://") {
            tracing::warn!(
                "upstream.{service} is not https, though tls.cert_file is set: what goes there is not encrypted"
            );
        }
    }

    /// Serves routes on a listener until the end.
    pub fn serve(&self, door: Door, listener: TcpListener, routes: impl Routes) {
        let tls = self.tls.as_ref().and_then(|tls| tls.acceptor(door));
        let limits = Limits { tls, ..self.limits.clone() };
        let (tracker, stop) = match door {
            Door::Admin => (&self.probes, &self.last),
            _ => (&self.serving, &self.stop),
        };
        tracker.spawn(serve(listener, routes, limits, stop.clone()));
    }

    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn open(&self, door: Door, address: SocketAddr, routes: impl Routes) -> io::Result<()> {
        self.serve(door, bind(address).await?, routes);
        Ok(())
    }

    /// Serves until the process is told to stop, then ends it in order: not ready, no new connections, open ones
    /// drained, tasks ended, probes and metrics last. `tasks_first` is for services whose streams end only with their tasks.
    ///
    /// # Errors
    /// When signals cannot be heard.
    pub async fn run(self, health: &Health, tasks: &Tasks, tasks_first: bool) -> io::Result<()> {
        terminated().await?;
        self.end(health, tasks, tasks_first).await;
        Ok(())
    }

    /// The same when it is known already that the process is to end.
    pub async fn end(self, health: &Health, tasks: &Tasks, tasks_first: bool) {
        tracing::info!("stopping: open requests are finished first");
        health.stopping();
        if tasks_first {
            tasks.stopping().cancel();
        }
        self.stop.cancel();
        self.serving.close();
        self.serving.wait().await;
        if !tasks.end(TASKS_END).await {
            tracing::warn!("some tasks did not end in time");
        }
        self.last.cancel();
        self.probes.close();
        self.probes.wait().await;
        tracing::info!("stopped");
    }
}

/// Resolves at SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be heard.
pub async fn terminated() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
