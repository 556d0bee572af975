//! `tollgate engine`: a simulated engine on a port of its own.

use shared::server;
use simulator::Engine;
use std::{io::Write, net::SocketAddr};

/// Where it listens and how it behaves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    #[command(flatten)]
    config: simulator::Config,
}

/// Runs until it is told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let listener = server::bind(options.listen).await?;
    writeln!(std::io::stderr(), "simulated engine on http://{}", listener.local_addr()?)?;
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = Engine::start(options.config, listener, stop.clone());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        signal = server::terminated() => signal?,
    }
    stop.cancel();
    Ok(serving.await?)
}
