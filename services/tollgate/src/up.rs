//! `tollgate up`: the whole suite in one process. The same services as apart; their channels stay inside.

use crate::{
    adopt::Adopter,
    banner,
    config::{Config, Options},
    door::Rooms,
    encryption,
    first_run::Welcome,
    reload,
};
use anyhow::Context;
use axum::Router;
use shared::{
    auth::{SERVICE_PREFIX, ServiceToken},
    channel,
    config::SecretString,
    db::Db,
    health::{self, Health},
    limits, process,
    report::{self, Beside, Source},
    request_id::RequestIdLayer,
    security::{self, Watch},
    server::{self, Listeners, Tasks},
    telemetry::{self, ObserveLayer},
    time,
    tls::{Dialer, Door},
};
use std::net::{Ipv4Addr, SocketAddr};

/// The services that run in this one process.
const APIS: [&str; 4] = ["permissions", "inference", "monitoring", "edge"];

/// Runs until the process is told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let loaded = options.load()?;
    let mut config = loaded.config;
    let telemetry = telemetry::start(&config.telemetry, "up")?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make the data folder {}", config.data_dir.display()))?;
    let listener = server::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (tasks, health) = (Tasks::default(), Health::default());
    let listeners = Listeners::new(&config.network, &config.tls, &tasks)?;
    let gate = config.gate();
    limits::start(&gate, &config.redis, &tasks, &health);
    let simulated = config.inference.engines.is_empty();
    if simulated {
        config.inference.engines = vec![simulated_engine(&tasks).await?];
    }
    let databases = Databases::open(&config).await?;
    config.permissions.encryption_keys =
        encryption::keys(&config.permissions.encryption_keys, &config.data_dir)?;
    config.inference.encryption_keys = encryption::keys(&config.inference.encryption_keys, &config.data_dir)?;
    config.monitoring.encryption_keys =
        encryption::keys(&config.monitoring.encryption_keys, &config.data_dir)?;
    let made = permissions::bootstrap(&databases.permissions, time::now()).await?;
    let base_url = format!("{}://{address}", listeners.scheme());
    let first = made.is_some();
    let welcome =
        made.map(|made| Welcome::new(&made, base_url.clone())).or_else(|| Welcome::read(&config.data_dir));
    let suite = Suite::start(&config, &databases, &health, &tasks).await?;
    let source =
        Source { service: "up", apis: &APIS, instance: format!("{}:{}", process::host(), address.port()) };
    let beside = Beside::default();
    beside.add(suite.gateway.fleet.figures());
    report::start(source.clone(), suite.monitoring.clone(), beside, &tasks);
    health::report::start(source, health.clone(), suite.monitoring.clone(), &tasks);
    let (reloaded, standing_in) = (suite.gateway.clone(), config.inference.engines.clone());
    reload::watch(&options, &tasks, move |config| {
        gate.configure(config.limits.clone());
        let mut config = config.inference.clone();
        if config.engines.is_empty() && simulated {
            config.engines.clone_from(&standing_in);
        }
        reloaded.configure(&config);
    });
    let owner = welcome.as_ref().map(|welcome| welcome.owner_id.clone());
    let mut adopter = Adopter::new(suite.permissions.clone(), suite.gateway.fleet.clone(), owner);
    let model = adopter.adopt().await.first().cloned().unwrap_or_default();
    listeners.serve(Door::Edge, listener, suite.rooms(&health)?);
    suite.open_ports(&config, &listeners).await;
    if let Some(keda) = config.monitoring.keda_listen {
        listeners.open(Door::Service, keda, monitoring::keda(databases.monitoring.clone(), &tasks)).await?;
    }
    health.until_ready().await;
    if let Some(mut welcome) = welcome {
        welcome.base_url = base_url;
        if welcome.model.is_empty() || !model.is_empty() {
            welcome.model = model;
        }
        welcome.write(&config.data_dir)?;
        banner::show(&welcome, &config.data_dir, simulated, first)?;
        let folder = config.data_dir.clone();
        adopter.watch(&tasks, move |models| {
            if welcome.model.is_empty() {
                let model = models.first().cloned().unwrap_or_default();
                let welcome = Welcome { model, ..welcome.clone() };
                if let Err(error) = welcome.write(&folder) {
                    tracing::warn!(%error, "first-run.json does not name the model");
                }
            }
        });
    } else {
        adopter.watch(&tasks, |_| {});
    }
    tracing::info!(%address, simulated, "ready");
    listeners.run(&health, &tasks, false).await?;
    databases.permissions.close().await;
    databases.monitoring.close().await;
    telemetry.flush();
    Ok(())
}

/// An engine in this process, on a loopback port.
async fn simulated_engine(tasks: &Tasks) -> anyhow::Result<String> {
    let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let config = simulator::Config {
        task: simulator::Task::Both,
        enable_responses_api_store: true,
        ..simulator::Config::default()
    };
    let stop = tasks.stopping();
    tasks.spawn(async move {
        if let Err(error) = simulator::Engine::start(config, listener, stop).await {
            tracing::error!(%error, "the simulated engine stopped");
        }
    });
    tracing::warn!(
        engine = url,
        "no engine is configured: answers are SIMULATED; set TOLLGATE_ENGINES to use vLLM"
    );
    Ok(url)
}

struct Databases {
    permissions: Db,
    monitoring: Db,
}

impl Databases {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let permissions = config.database(&config.permissions.database, "permissions.db");
        let monitoring = config.database(&config.monitoring.database, "monitoring.db");
        Ok(Self {
            permissions: Db::open(&permissions, "permissions", &permissions::MIGRATIONS)
                .await
                .context("permissions.database")?,
            monitoring: Db::open(&monitoring, monitoring::SCHEMA, &monitoring::MIGRATIONS)
                .await
                .context("monitoring.database")?,
        })
    }
}

/// How other gateways over the same engines are reached.
fn dialer(config: &Config, tasks: &Tasks) -> anyhow::Result<Dialer> {
    let dialer = Dialer::open(&config.tls.services, "tls.services")?;
    dialer.watch(tasks);
    Ok(dialer)
}

/// The running services.
struct Suite {
    /// To permissions, as a service.
    permissions: channel::Channel,
    permissions_routes: Router,
    /// To monitoring, as a service.
    monitoring: channel::Channel,
    monitoring_routes: Router,
    gateway: inference::Gateway,
    edge: Router,
}

impl Suite {
    async fn start(
        config: &Config,
        databases: &Databases,
        health: &Health,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let secret = service_token(config)?;
        let token = ServiceToken::new(&secret);
        let permissions_routes = permissions::routes(
            config.permissions.clone(),
            databases.permissions.clone(),
            tasks,
            health,
            Some(token.clone()),
        )
        .await?;
        let permissions = channel::in_process(permissions_routes.clone());
        let as_service = channel::with_service_token(permissions.clone(), &secret);
        let as_service = channel::counted(as_service, "permissions");
        let watch = Watch::default();
        security::ship(&watch, as_service.clone(), tasks);
        let monitoring_routes = monitoring::routes(
            config.monitoring.clone(),
            databases.monitoring.clone(),
            tasks,
            health,
            monitoring::AskPermissions::new(as_service.clone()),
            Some(token.clone()),
            watch,
        )?;
        let monitoring = channel::in_process(monitoring_routes.clone());
        let shipping = channel::with_service_token(monitoring.clone(), &secret);
        let shipping = channel::counted(shipping, "monitoring");
        let upstreams = inference::Upstreams {
            permissions: as_service.clone(),
            monitoring: shipping.clone(),
            peers: Some(inference::Peers { dialer: dialer(config, tasks)?, token: secret }),
        };
        let gateway =
            inference::open(config.inference.clone(), upstreams, Some(token), health, tasks).await?;
        let upstreams = edge::Upstreams {
            permissions,
            inference: channel::in_process(gateway.grpc.clone()),
            monitoring,
            inference_http: channel::http_in_process(gateway.http.clone()),
        };
        let edge = edge::router(config.edge.clone(), upstreams, tasks)?;
        let edge = edge.layer(ObserveLayer::new("edge")).layer(RequestIdLayer);
        Ok(Self {
            permissions: as_service,
            permissions_routes,
            monitoring: shipping,
            monitoring_routes,
            gateway,
            edge,
        })
    }

    fn rooms(&self, health: &Health) -> anyhow::Result<Rooms> {
        Ok(Rooms {
            admin: server::admin(health.clone())?,
            permissions: self.permissions_routes.clone(),
            inference: self.gateway.grpc.clone(),
            monitoring: self.monitoring_routes.clone(),
            edge: self.edge.clone(),
        })
    }

    /// The services' own ports stay open, so that what is written of them holds here too. The one address is enough,
    /// so a port that is taken, by another `up` perhaps, is no reason to stop.
    async fn open_ports(&self, config: &Config, listeners: &Listeners) {
        let ports: [(SocketAddr, Router); 3] = [
            (config.ports.permissions, self.permissions_routes.clone()),
            (config.ports.inference, Router::new().fallback_service(self.gateway.routes())),
            (config.ports.monitoring, self.monitoring_routes.clone()),
        ];
        for (address, routes) in ports {
            if let Err(error) = listeners.open(Door::Service, address, routes).await {
                tracing::warn!("{error}; the main address serves everything all the same");
            }
        }
    }
}

fn service_token(config: &Config) -> anyhow::Result<SecretString> {
    let configured = config.service_token.read().map_err(anyhow::Error::msg)?;
    Ok(configured.unwrap_or_else(|| {
        let random: [u8; 32] = rand::random();
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{SERVICE_PREFIX}{text}").into()
    }))
}
