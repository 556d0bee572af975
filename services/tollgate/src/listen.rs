//! Listeners of a process, and the order in which it ends.

use axum::Router;
use shared::{
    health::Health,
    peer::TrustedProxies,
    server::{self, Limits, Tasks},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time for background tasks to end.
const TASKS_END: Duration = Duration::from_secs(15);

/// The listeners of one process.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    serving: TaskTracker,
    stop: CancellationToken,
    limits: Limits,
}

impl Listeners {
    /// Listeners behind these proxies.
    pub(crate) fn behind(trusted_proxies: TrustedProxies) -> Self {
        Self { limits: Limits { trusted_proxies, ..Limits::default() }, ..Self::default() }
    }

    /// Serves a router on a listener until the end.
    pub(crate) fn serve(&self, listener: TcpListener, router: Router) {
        self.serving.spawn(server::serve(listener, router, self.limits.clone(), self.stop.clone()));
    }

    /// Binds and serves.
    pub(crate) async fn open(&self, address: SocketAddr, router: Router) -> io::Result<()> {
        self.serve(server::bind(address).await?, router);
        Ok(())
    }

    /// Serves until the process is told to stop, then ends it in order: not ready, no new connections, open ones
    /// drained, tasks ended. `tasks_first` is for services whose streams end only with their tasks.
    pub(crate) async fn run(self, health: &Health, tasks: &Tasks, tasks_first: bool) -> io::Result<()> {
        terminated().await?;
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
        tracing::info!("stopped");
        Ok(())
    }
}

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn terminated() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
