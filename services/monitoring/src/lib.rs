//! The usage ledger: what every accepted request used, counted exactly once.
//!
//! A request enters in `api`, is decided in the file named after its verb (`record`, `report`, `records`) and is kept
//! in `store`. Who is asking, [`shared::auth`] settled before; [`AskPermissions`] tells it who holds a key.

mod api;
mod config;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod identify;
mod place;
mod record;
mod records;
mod report;
mod restrict;
mod store;
mod usage;

pub use config::Config;
pub use identify::AskPermissions;

use axum::Router;
use proto::monitoring::v1::usage_service_server::{SERVICE_NAME, UsageServiceServer};
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
    health.serves(SERVICE_NAME);
    let service = tonic::service::Routes::new(UsageServiceServer::new(api::Api::new(db)));
    let guard = Guard { in_flight: config.in_flight, deadline: Some(DEADLINE), service: "monitoring" };
    let auth = AuthLayer::new(verify, service_token, Access::Methods, grpc_refusal);
    let auth = auth.watched(watch).limited(config.limits);
    Ok(guarded(service.into_axum_router().reset_fallback(), &guard, auth))
}
