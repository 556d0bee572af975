//! The agent's process: what it is told, whom it meets, and how it ends.

use crate::{Config, Upstreams, start};
use serde::Deserialize;
use shared::{
    auth,
    channel::{self, Channel},
    config::{Faults, Loaded, Secret, Validate},
    health::{self, Health},
    machine::Machine,
    process,
    report::{self, Beside, Source},
    server::{self, Listeners, Network, Tasks},
    telemetry,
    tls::{self, Dialer, Door},
};
use std::net::{Ipv4Addr, SocketAddr};
use tokio_util::sync::CancellationToken;

/// Settings of the process. What else is in a file belongs to the other services.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The agent's own.
    pub agent: Config,
    /// Addresses to listen on.
    pub ports: Ports,
    /// What stands between this process and whoever asks it.
    pub network: Network,
    /// TLS of the listener and towards other services.
    pub tls: tls::Config,
    /// Where the services are.
    pub upstream: Upstream,
    /// What services prove themselves with.
    pub service_token: Secret,
    /// How it tells about itself.
    pub telemetry: telemetry::Config,
}

/// Addresses to listen on.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// Health and metrics.
    pub agent_admin: SocketAddr,
}

impl Default for Ports {
    fn default() -> Self {
        Self { agent_admin: (Ipv4Addr::LOCALHOST, 7104).into() }
    }
}

/// Base URLs of the services.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// The gateway, where `agent.gateways` names none.
    pub inference: String,
    /// Who keeps the instances.
    pub monitoring: String,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { inference: "http://127.0.0.1:7002".into(), monitoring: "http://127.0.0.1:7003".into() }
    }
}

impl Validate for Settings {
    fn validate(&self, faults: &mut Vec<String>) {
        self.agent.validate(faults);
        self.tls.validate(faults);
        self.telemetry.validate(faults);
        auth::validate_token(&self.service_token, faults);
    }
}

/// An agent could not start, or not end in order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be followed.
    #[error(transparent)]
    Config(#[from] Faults),
    /// One of its parts cannot, in one sentence.
    #[error("{0}")]
    Settings(String),
    /// It could not begin to tell about itself.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Tls(#[from] tls::Fault),
    /// An address of a service is none.
    #[error(transparent)]
    Address(#[from] tonic::transport::Error),
    /// The listener could not be opened, or signals not be heard.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs until the process is told to stop, or another agent took over.
///
/// # Errors
/// When it cannot start.
pub async fn run(loaded: Loaded<Settings>) -> Result<(), Error> {
    let Settings { agent, ports, network, tls, upstream, service_token, telemetry } = loaded.config;
    let telemetry = telemetry::start(&telemetry, "agent")?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let (tasks, health) = (Tasks::default(), Health::default());
    let listeners = Listeners::new(&network, &tls, &tasks)?;
    let dialer = Dialer::open(&tls.services, "tls.services")?;
    dialer.watch(&tasks);
    let token = service_token.read().map_err(Error::Settings)?.ok_or_else(|| {
        Error::Settings("service_token: set TOLLGATE_SERVICE_TOKEN__FILE as for the other services".into())
    })?;
    let remote = |service, address: &str| -> Result<Channel, Error> {
        listeners.warn_of_plain(service, address);
        let channel = channel::with_service_token(channel::remote(address, &dialer)?, &token);
        Ok(channel::counted(channel, service))
    };
    let own = std::slice::from_ref(&upstream.inference);
    let gateways = if agent.gateways.is_empty() { own } else { &agent.gateways };
    let upstreams = Upstreams {
        monitoring: remote("monitoring", &upstream.monitoring)?,
        gateways: gateways.iter().map(|address| remote("inference", address)).collect::<Result<_, _>>()?,
    };
    let instance = format!("{}:{}", process::host(), ports.agent_admin.port());
    let source = Source { service: "agent", apis: &["agent"], instance };
    report::start(source.clone(), upstreams.monitoring.clone(), Beside::default(), &tasks);
    health::report::start(source, health.clone(), upstreams.monitoring.clone(), &tasks);
    // It is read to be shown; where limits are kept, they read it.
    let _ = Machine::start(&tasks);
    let stopping = CancellationToken::new();
    let ended = start(agent, upstreams, stopping.clone(), &health, &tasks).map_err(Error::Settings)?;
    let routes = server::admin(health.clone()).map_err(|error| Error::Settings(error.to_string()))?;
    listeners.open(Door::Admin, ports.agent_admin, routes).await?;
    tracing::info!(admin = %ports.agent_admin, "looking after the engine");
    tokio::select! {
        told = server::terminated() => told?,
        () = ended.cancelled() => {}
    }
    stopping.cancel();
    // What the engine has is finished first.
    ended.cancelled().await;
    listeners.end(&health, &tasks, true).await;
    telemetry.flush();
    Ok(())
}
