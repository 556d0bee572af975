//! Decides who may use what, and tells every replica when that changes.
//!
//! A request enters in `api`, is decided in the file named after its noun or verb, and is kept in `store`. Every
//! change goes through `write`; `tail` follows the log of changes and holds the policy in memory, from which `check`
//! answers and `watch` streams. Who is asking, `shared::auth` settled before.

mod access_requests;
mod aliases;
mod api;
mod approval;
mod approval_policies;
mod attempts;
mod audit;
mod batches;
mod bootstrap;
mod changes;
mod check;
mod config;
mod deletion;
mod encryption;
mod erasure;
mod error;
mod etag;
mod export;
mod external;
mod field;
mod freshness;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grants;
mod groups;
mod hints;
mod history;
mod imports;
mod incidents;
mod keys;
mod list;
mod manage;
mod me;
mod models;
mod notifications;
mod passwords;
mod provider;
mod pump;
mod questions;
mod replicas;
mod retention;
mod sessions;
mod sets;
mod signing;
mod store;
mod sweep;
mod tail;
mod token;
mod users;
mod watch;
mod write;

pub use bootstrap::{FirstRun, bootstrap};
pub use check::Verifier;
pub use config::{Config, Events, Retention};
pub use error::{Error, Forbidden, SignInError};
pub use provider::{IdentityProvider, Kind as ProviderKind};
pub use sessions::RefreshError;
pub use store::StoreError;

use changes::Hub;
use history::History;
use incidents::Keeper;
use policy::Bounds;
use provider::Providers;
use replicas::Replicas;
use sessions::Sessions;
use shared::{
    auth::{Access, AuthLayer, ServiceToken},
    db::{Db, Migrations},
    health::{Health, database},
    limits::Gate,
    seal::Sealer,
    security::Watch,
    server::{self, Guard, Tasks},
};
use signing::Signing;
use std::time::Duration;
use tail::Tail;
use token::Tokens;
use write::Writer;

/// The tables of this service.
pub const MIGRATIONS: Migrations = Migrations {
    postgres: &sqlx::migrate!("../../migrations/permissions/postgres"),
    sqlite: &sqlx::migrate!("../../migrations/permissions/sqlite"),
};

/// For calls that name no deadline; a stream's length is its own.
const DEADLINE: Duration = Duration::from_secs(10);
/// Calls in progress at once.
const IN_FLIGHT: usize = 1_000;

/// The running service: its loops turn, and it can be asked.
#[derive(Debug, Clone)]
pub struct Permissions {
    api: api::Api,
    verifier: Verifier,
    limits: Gate,
}

impl Permissions {
    /// Loads the policy and starts to follow the log.
    ///
    /// # Errors
    /// When the store cannot be read, there is no key to encrypt with, or an identity provider is not set up right.
    pub async fn start(config: &Config, db: Db, tasks: &Tasks, health: &Health) -> Result<Self, Error> {
        let sealer = Sealer::new(&config.encryption_keys).map_err(Error::EncryptionKeys)?;
        encryption::prove(&db, &sealer).await?;
        encryption::close(&db, &sealer).await?;
        encryption::start(&db, &sealer, tasks);
        let incidents = Keeper::start(db.clone(), sealer.clone(), Watch::default(), tasks);
        database::watch(db.clone(), health.component("database", true), tasks);
        let bounds = Bounds { fresh_within: config.fresh_within, serve_stale_for: config.serve_stale_for };
        let reporter = health.component("policy", true);
        let tokens = Tokens::new(store::replicas::cluster(&db).await?, &sealer);
        let tail = Tail::start(db.clone(), tokens, bounds, config.poll_interval, tasks, reporter).await?;
        hints::start(&config.redis, &tail, tasks, health);
        let replicas = Replicas::start(db.clone(), tail.clone(), tasks);
        let providers = Providers::new(&config.identity_providers).map_err(Error::Config)?;
        api::SERVICES.iter().for_each(|service| health.serves(service));
        let verifier = Verifier::new(tail.clone());
        let history = History::start(db.clone(), tail.clone(), tasks);
        retention::start(&history, &config.events, tasks);
        let hub = Hub::start(history, tasks);
        let writer = Writer::new(db, tail, sealer);
        sweep::start(&writer, &config.retention, tasks);
        access_requests::start(&writer, tasks);
        let signing = Signing::new(writer.clone(), config);
        signing.start(tasks).await?;
        let sessions = Sessions::new(writer.clone(), signing.clone(), config);
        let api = api::Api {
            db: writer.db().clone(),
            tail: writer.tail().clone(),
            writer,
            replicas,
            verifier: verifier.clone(),
            sessions,
            signing,
            incidents,
            keys: api::KeyRules::new(config),
            retention: config.retention,
            providers,
            stop: tasks.stopping(),
            history: hub.history().clone(),
            hub,
            tasks: tasks.clone(),
        };
        Ok(Self { api, verifier, limits: config.limits.clone() })
    }

    /// Knows who holds an API key, from the policy in this process.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// All gRPC services of the package behind their layers.
    pub fn routes(&self, service_token: Option<ServiceToken>) -> axum::Router {
        let guard =
            Guard { in_flight: IN_FLIGHT, deadline: Some(DEADLINE), service: "permissions", hear: None };
        let auth = AuthLayer::new(self.verifier(), service_token, Access::Methods, server::grpc_refusal);
        let auth = auth.watched(self.api.watch().clone()).limited(self.limits.clone());
        server::guarded(self.api.routes(), &guard, auth)
    }
}

/// Starts the service and returns its routes, for those who need nothing else of it.
///
/// # Errors
/// When the store cannot be read.
pub async fn routes(
    config: Config,
    db: Db,
    tasks: &Tasks,
    health: &Health,
    service_token: Option<ServiceToken>,
) -> Result<axum::Router, Error> {
    Ok(Permissions::start(&config, db, tasks, health).await?.routes(service_token))
}
