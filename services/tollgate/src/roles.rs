//! Each service alone in its process, meeting the others over sockets.

use crate::{
    config::{Config, Options},
    encryption,
    first_run::{self, Welcome},
    reload,
};
use anyhow::Context;
use shared::{
    auth::ServiceToken,
    channel::{self, Channel},
    config::{Loaded, SecretString},
    db::Db,
    health::{self, Health},
    limits::{self, Gate},
    machine::Machine,
    process,
    report::{self, Beside, Source},
    request_id::RequestIdLayer,
    security::{self, Watch},
    server::{self, Listeners, Routes, Tasks},
    telemetry::{self, ObserveLayer, Telemetry},
    time,
    tls::{Dialer, Door},
};
use std::net::SocketAddr;

/// What every role begins with.
struct Start {
    config: Config,
    telemetry: Telemetry,
    tasks: Tasks,
    health: Health,
    listeners: Listeners,
    dialer: Dialer,
    gate: Gate,
}

impl Start {
    fn new(options: &Options, service: &'static str) -> anyhow::Result<Self> {
        let mut loaded = options.load()?;
        let telemetry = telemetry::start(&loaded.config.telemetry, service)?;
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let (tasks, health) = (Tasks::default(), Health::default());
        let listeners = Listeners::new(&loaded.config.network, &loaded.config.tls, &tasks)?;
        let dialer = Dialer::open(&loaded.config.tls.services, "tls.services")?;
        dialer.watch(&tasks);
        let gate = loaded.config.gate();
        Ok(Self { config: loaded.config, telemetry, tasks, health, listeners, dialer, gate })
    }

    /// Limits the calls of this service, as the configuration says while it runs; the rest of it is for `take`.
    fn limit(&self, options: &Options, take: impl Fn(&Config) + Send + 'static) {
        let gate = self.gate.clone();
        limits::start(&gate, &self.config.redis, &self.tasks, &self.health);
        reload::watch(options, &self.tasks, move |config| {
            gate.configure(config.limits.clone());
            take(config);
        });
    }

    /// Tells monitoring, over this channel, what the process at this address measures, with what is added beside it, and
    /// how it is.
    fn report(
        &self,
        service: &'static [&'static str; 1],
        address: SocketAddr,
        monitoring: Channel,
    ) -> Beside {
        let instance = format!("{}:{}", process::host(), address.port());
        let source = Source { service: service[0], apis: service, instance };
        let beside = Beside::default();
        report::start(source.clone(), monitoring.clone(), beside.clone(), &self.tasks);
        health::report::start(source, self.health.clone(), monitoring, &self.tasks);
        beside
    }

    fn token(&self) -> anyhow::Result<SecretString> {
        let token = self.config.service_token.read().map_err(anyhow::Error::msg)?;
        token.context("service_token: is needed when services run apart; set TOLLGATE_SERVICE_TOKEN__FILE for all of them")
    }

    fn channel(&self, service: &'static str, address: &str) -> anyhow::Result<Channel> {
        let channel = channel::with_service_token(self.remote(service, address)?, &self.token()?);
        Ok(channel::counted(channel, service))
    }

    /// A channel that proves nothing by itself.
    fn remote(&self, service: &'static str, address: &str) -> anyhow::Result<Channel> {
        self.listeners.warn_of_plain(service, address);
        Ok(channel::remote(address, &self.dialer)?)
    }

    async fn run(
        self,
        door: Door,
        address: SocketAddr,
        admin: SocketAddr,
        routes: impl Routes,
        tasks_first: bool,
    ) -> anyhow::Result<()> {
        // A probe that passes promises that the service can be reached.
        self.listeners.open(door, address, routes).await?;
        self.listeners.open(Door::Admin, admin, server::admin(self.health.clone())?).await?;
        tracing::info!(%address, %admin, "listening");
        self.listeners.run(&self.health, &self.tasks, tasks_first).await?;
        self.telemetry.flush();
        Ok(())
    }
}

/// `tollgate permissions`
pub(crate) async fn permissions(options: Options) -> anyhow::Result<()> {
    let start = Start::new(&options, "permissions")?;
    let token = ServiceToken::new(&start.token()?);
    std::fs::create_dir_all(&start.config.data_dir)?;
    let mut config = start.config.permissions.clone();
    config.encryption_keys = encryption::keys(&config.encryption_keys, &start.config.data_dir)?;
    let url = start.config.database(&config.database, "permissions.db");
    let db = Db::open(&url, "permissions", &permissions::MIGRATIONS).await.context("permissions.database")?;
    if let Some(made) = permissions::bootstrap(&db, time::now()).await? {
        Welcome::new(&made, format!("{}://{}", start.listeners.scheme(), start.config.listen))
            .write(&start.config.data_dir)?;
        let file = first_run::path(&start.config.data_dir);
        tracing::info!(file = %file.display(), "an owner account and an API key were made");
    }
    start.limit(&options, |_| {});
    let routes = permissions::routes(config, db.clone(), &start.tasks, &start.health, Some(token)).await?;
    let ports = start.config.ports.clone();
    let monitoring = start.channel("monitoring", &start.config.upstream.monitoring)?;
    start.report(&["permissions"], ports.permissions, monitoring);
    start.run(Door::Service, ports.permissions, ports.permissions_admin, routes, true).await?;
    db.close().await;
    Ok(())
}

/// `tollgate monitoring`
pub(crate) async fn monitoring(options: Options) -> anyhow::Result<()> {
    let start = Start::new(&options, "monitoring")?;
    let token = ServiceToken::new(&start.token()?);
    std::fs::create_dir_all(&start.config.data_dir)?;
    let mut config = start.config.monitoring.clone();
    config.encryption_keys = encryption::keys(&config.encryption_keys, &start.config.data_dir)?;
    let url = start.config.database(&config.database, "monitoring.db");
    let db =
        Db::open(&url, monitoring::SCHEMA, &monitoring::MIGRATIONS).await.context("monitoring.database")?;
    let permissions = start.channel("permissions", &start.config.upstream.permissions)?;
    let watch = Watch::default();
    security::ship(&watch, permissions.clone(), &start.tasks);
    let verify = monitoring::AskPermissions::new(permissions);
    let (tasks, health) = (&start.tasks, &start.health);
    start.limit(&options, |_| {});
    if let Some(keda) = config.keda_listen {
        start.listeners.open(Door::Service, keda, monitoring::keda(db.clone(), tasks)).await?;
    }
    let routes = monitoring::routes(config, db.clone(), tasks, health, verify, Some(token), watch)?;
    let ports = start.config.ports.clone();
    let itself = channel::with_service_token(channel::in_process(routes.clone()), &start.token()?);
    start.report(&["monitoring"], ports.monitoring, itself);
    start.run(Door::Service, ports.monitoring, ports.monitoring_admin, routes, true).await?;
    db.close().await;
    Ok(())
}

/// `tollgate inference`
pub(crate) async fn inference(options: Options) -> anyhow::Result<()> {
    let start = Start::new(&options, "inference")?;
    let token = ServiceToken::new(&start.token()?);
    let upstreams = inference::Upstreams {
        permissions: start.channel("permissions", &start.config.upstream.permissions)?,
        monitoring: start.channel("monitoring", &start.config.upstream.monitoring)?,
        peers: Some(inference::Peers { dialer: start.dialer.clone(), token: start.token()? }),
    };
    let beside = start.report(&["inference"], start.config.ports.inference, upstreams.monitoring.clone());
    let mut config = start.config.inference.clone();
    std::fs::create_dir_all(&config.data_dir)?;
    config.encryption_keys = encryption::keys(&config.encryption_keys, &config.data_dir)?;
    let gateway = inference::open(config, upstreams, Some(token), &start.health, &start.tasks).await?;
    beside.add(gateway.fleet.figures());
    let reloaded = gateway.clone();
    start.limit(&options, move |config| reloaded.configure(&config.inference));
    let ports = start.config.ports.clone();
    start.run(Door::Service, ports.inference, ports.inference_admin, gateway.routes(), false).await
}

/// `tollgate edge`
pub(crate) async fn edge(options: Options) -> anyhow::Result<()> {
    let start = Start::new(&options, "edge")?;
    let upstream = &start.config.upstream;
    let upstreams = edge::Upstreams {
        permissions: start.remote("permissions", &upstream.permissions)?,
        inference: start.remote("inference", &upstream.inference)?,
        monitoring: start.remote("monitoring", &upstream.monitoring)?,
        inference_http: channel::http_remote(upstream.inference.parse()?, &start.dialer),
    };
    let routes = edge::router(start.config.edge.clone(), upstreams, &start.tasks)?;
    let routes = routes.layer(ObserveLayer::new("edge")).layer(RequestIdLayer);
    let (listen, admin) = (start.config.listen, start.config.ports.edge_admin);
    // Its machine is shown; where limits are kept, they read it.
    let _ = Machine::start(&start.tasks);
    // The edge needs no token for what it passes on, so it may have none to report with.
    if start.config.service_token.read().is_ok_and(|token| token.is_some()) {
        start.report(&["edge"], listen, start.channel("monitoring", &start.config.upstream.monitoring)?);
    }
    start.run(Door::Edge, listen, admin, routes, false).await
}

/// `tollgate agent`
pub(crate) async fn agent(options: Options) -> anyhow::Result<()> {
    let loaded = options.load()?;
    let Config { agent, ports, network, tls, upstream, service_token, telemetry, .. } = loaded.config;
    let ports = agent::Ports { agent_admin: ports.agent_admin };
    let upstream = agent::Upstream { inference: upstream.inference, monitoring: upstream.monitoring };
    let settings = agent::Settings { agent, ports, network, tls, upstream, service_token, telemetry };
    Ok(agent::run(Loaded { config: settings, warnings: loaded.warnings }).await?)
}
