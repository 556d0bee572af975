//! The usage ledger: what every accepted request used, counted exactly once.
//!
//! A request enters in `api`, is decided in the file named after its verb (`record`, `report`, `records`) and is kept
//! in `store`. What it costs, `charge` says by the versions in `prices`. Who is asking, [`shared::auth`] settled before; [`AskPermissions`] tells it who holds a key.

mod api;
mod charge;
mod config;
mod correct;
mod error;
mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod identify;
mod place;
mod prices;
mod reconcile;
mod record;
mod records;
mod report;
mod rerate;
mod restrict;
mod store;
mod usage;

pub use config::Config;
pub use identify::AskPermissions;

use axum::Router;
use proto::monitoring::v1::{
    price_service_server::{self, PriceServiceServer},
    usage_service_server::{self, UsageServiceServer},
};
use shared::{
    auth::{Access, AuthLayer, ServiceToken, Verify},
    config::{Faults, Validate},
    db::{Db, Migrations},
    health::Health,
    security::Watch,
    server::{Guard, Tasks, grpc_refusal, guarded},
};
use sqlx::migrate::Migrator;
use std::time::Duration;

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
    health::watch(db.clone(), health.component("usage database", true), tasks);
    health.serves(usage_service_server::SERVICE_NAME);
    health.serves(price_service_server::SERVICE_NAME);
    let api = api::Api::new(db);
    let prices = PriceServiceServer::new(api.clone()).max_decoding_message_size(MAX_IMPORT);
    let service = tonic::service::Routes::new(UsageServiceServer::new(api)).add_service(prices);
    let guard = Guard { in_flight: config.in_flight, deadline: Some(DEADLINE), service: "monitoring" };
    let auth = AuthLayer::new(verify, service_token, Access::Methods, grpc_refusal);
    let auth = auth.watched(watch).limited(config.limits);
    Ok(guarded(service.into_axum_router().reset_fallback(), &guard, auth))
}
