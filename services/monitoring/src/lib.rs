//! Monitoring: the ledger of what every accepted request used, counted exactly once, and what it costs; budgets; what is
//! measured; how everything is; alerts; instances of engines.
//!
//! A call enters in `api`, is decided in the file named after its verb (`usage::record`, `budgets::lease`) and is kept in
//! `store`. Who is asking, [`shared::auth`] settled before; [`AskPermissions`] tells it who holds a key.

mod alerting;
mod api;
mod budgets;
mod config;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gpus;
mod health;
mod identify;
mod instances;
mod moment;
mod place;
mod prices;
mod signals;
mod store;
mod usage;
mod why;

pub use config::{Alerts, Config, Encryption, Gpu, Health as HealthBounds, Receiver, Smtp};
pub use identify::AskPermissions;

use axum::Router;
use events::Events;
use proto::{
    common::v1::{event_service_server, log_service_server},
    externalscaler::external_scaler_server::ExternalScalerServer,
    monitoring::v1::{
        alert_rule_service_server::AlertRuleServiceServer,
        alert_service_server::AlertServiceServer,
        budget_service_server::{self, BudgetServiceServer},
        cost_service_server::{self, CostServiceServer},
        health_service_server::{self, HealthServiceServer},
        instance_service_server::{self, InstanceServiceServer},
        metrics_service_server::{self, MetricsServiceServer},
        notification_service_server::NotificationServiceServer,
        price_service_server::{self, PriceServiceServer},
        request_service_server::{self, RequestServiceServer},
        scaling_service_server::{self, ScalingServiceServer},
        silence_service_server::SilenceServiceServer,
        usage_service_server::{self, UsageServiceServer},
    },
};
use shared::{
    auth::{Access, AuthLayer, ServiceToken, Verify},
    config::{Faults, Validate},
    db::{Db, Migrations},
    deadline::DeadlineLayer,
    event::serve::{EventApi, Logged as _},
    health::{Health, database},
    request_id::RequestIdLayer,
    seal::Sealer,
    security::Watch,
    server::{Guard, Tasks, grpc_refusal, guarded},
    telemetry::{ObserveLayer, serve::LogApi},
    time,
};
use sqlx::migrate::Migrator;
use std::time::Duration;
use tower::ServiceBuilder;

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/monitoring/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/monitoring/sqlite");

/// The tables of this service, for [`Db::open`].
pub static MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };

/// The database schema of this service on PostgreSQL, for [`Db::open`].
pub const SCHEMA: &str = "monitoring";

/// Bytes of a price list and what is around it.
const MAX_IMPORT: usize = 4 * 1024 * 1024;

/// For calls that name no deadline.
const DEADLINE: Duration = Duration::from_secs(10);

/// The service behind all its layers, over a database that [`Db::open`] has migrated. `watch` hears who is turned away;
/// whoever made it has it told to permissions.
///
/// # Errors
/// When the configuration has faults.
pub fn routes(
    config: Config,
    db: Db,
    tasks: &Tasks,
    health: &Health,
    verify: impl Verify,
    service_token: Option<ServiceToken>,
    watch: Watch,
) -> Result<Router, Faults> {
    let mut faults = Vec::new();
    config.validate(&mut faults);
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    // Not just "database": in one process with other services, each has its own to report on.
    database::watch(db.clone(), health.component("usage database", true), tasks);
    look_after_instances(&db, tasks);
    forget_refusals(&db, tasks);
    health.serves(usage_service_server::SERVICE_NAME);
    health.serves(price_service_server::SERVICE_NAME);
    health.serves(request_service_server::SERVICE_NAME);
    health.serves(budget_service_server::SERVICE_NAME);
    health.serves(cost_service_server::SERVICE_NAME);
    budgets::gauge::watch(&db, tasks);
    health.serves(instance_service_server::SERVICE_NAME);
    health.serves(scaling_service_server::SERVICE_NAME);
    health.serves(metrics_service_server::SERVICE_NAME);
    health.serves(health_service_server::SERVICE_NAME);
    health.serves(event_service_server::SERVICE_NAME);
    health.serves(log_service_server::SERVICE_NAME);
    let events = Events(db.clone());
    let signals = signals::Signals::start(&db, tasks);
    let board = health::Board::start(&db, &signals, &config.health, &config.limits, tasks);
    let sealer = Sealer::new(&config.encryption_keys);
    let sealer = sealer.map_err(|fault| Faults(vec![format!("monitoring.encryption_keys: {fault}")]))?;
    let alerting = alerting::Alerting::start(db.clone(), sealer, &config.alerts, signals.clone(), tasks);
    let alerts = api::alerts::AlertApi(alerting.map_err(|fault| Faults(vec![fault]))?);
    let (limits, stop) = (config.limits.clone(), tasks.stopping());
    let api = api::Api::new(db, signals, board, limits, stop, config.gpu.weights());
    let service = tonic::service::Routes::new(UsageServiceServer::new(api.clone()))
        .add_service(PriceServiceServer::new(api.clone()).max_decoding_message_size(MAX_IMPORT))
        .add_service(RequestServiceServer::new(api.clone()))
        .add_service(BudgetServiceServer::new(api.clone()))
        .add_service(CostServiceServer::new(api.clone()))
        .add_service(InstanceServiceServer::new(api.clone()))
        .add_service(ScalingServiceServer::new(api.clone()))
        .add_service(HealthServiceServer::new(api.clone()))
        .add_service(MetricsServiceServer::new(api))
        .add_service(EventApi::server(events.clone()))
        .add_service(LogApi::server(Events::SERVICE, events, tasks))
        .add_service(AlertRuleServiceServer::new(alerts.clone()))
        .add_service(AlertServiceServer::new(alerts.clone()))
        .add_service(SilenceServiceServer::new(alerts.clone()))
        .add_service(NotificationServiceServer::new(alerts));
    let guard =
        Guard { in_flight: config.in_flight, deadline: Some(DEADLINE), service: "monitoring", hear: None };
    let auth = AuthLayer::new(verify, service_token, Access::Methods, grpc_refusal);
    let auth = auth.watched(watch).limited(config.limits);
    Ok(guarded(service.into_axum_router().reset_fallback(), &guard, auth))
}

/// What KEDA asks, for a listener of its own: KEDA has no credential of ours, so nothing else is served there.
pub fn keda(db: Db, tasks: &Tasks) -> Router {
    let keda = api::keda::Keda { db, stop: tasks.stopping() };
    let service = tonic::service::Routes::new(ExternalScalerServer::new(keda));
    let layers = ServiceBuilder::new()
        .layer(RequestIdLayer)
        .layer(ObserveLayer::new("monitoring"))
        .layer(DeadlineLayer { default: Some(DEADLINE), refuse: grpc_refusal });
    service.into_axum_router().reset_fallback().layer(layers)
}

/// Forgets refusals that are old, from now on.
fn forget_refusals(db: &Db, tasks: &Tasks) {
    let db = db.clone();
    tasks.repeat(why::refusals::EVERY, move || {
        let db = db.clone();
        async move {
            if let Err(error) = why::refusals::sweep(&db, time::now()).await {
                tracing::warn!(%error, "old refusals were not forgotten; the next round will");
            }
        }
    });
}

/// Gives up instances that are silent, and recommends replicas, from now on.
fn look_after_instances(db: &Db, tasks: &Tasks) {
    let db = db.clone();
    tasks.repeat(instances::replicas::EVERY, move || {
        let db = db.clone();
        async move {
            let looked = async {
                instances::sweep::sweep(&db, api::lease(), time::now()).await?;
                instances::replicas::look(&db, time::now()).await
            };
            if let Err(error) = looked.await {
                tracing::warn!(%error, "instances were not looked after; the next round will");
            }
        }
    });
}
