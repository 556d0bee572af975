//! What is kept over restarts: jobs (the claim table of [`shared::claims`]), batches and files.
//!
//! The gateway serves without it: a database that is away when the process starts is opened as soon as it is there, and
//! until then what needs it is refused with a hint to come back.

pub(crate) mod batches;
pub(crate) mod files;

use crate::error::{Error, Kept};
use shared::{
    config::SecretString,
    db::{Db, Migrations},
    health::{Condition, Reporter},
    server::Tasks,
};
use sqlx::migrate::Migrator;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/inference/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/inference/sqlite");

/// The tables of this service, for [`Db::open`].
pub static MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };

/// The database schema of this service on PostgreSQL, for [`Db::open`].
pub const SCHEMA: &str = "inference";

/// Between two tries to open it, and between two looks whether it answers.
const EVERY: Duration = Duration::from_secs(2);

/// The database, once it is open.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<OnceLock<Db>>);

impl Store {
    /// A store over a database that is open.
    #[must_use]
    pub fn of(db: Db) -> Self {
        Self(Arc::new(OnceLock::from(db)))
    }

    /// Opens it now, or as soon as it is there, and then has something done with it.
    pub async fn open(
        url: SecretString,
        health: Reporter,
        tasks: &Tasks,
        opened: impl FnOnce(Db) + Send + 'static,
    ) -> Self {
        let store = Self::default();
        let mut opened = Some(opened);
        if let Err(error) = store.look(&url, &health, &mut opened).await {
            tracing::warn!(%error, "inference.database cannot be opened; jobs and files are not to be had until it is");
        }
        let (looking, stop) = (store.clone(), tasks.stopping());
        tasks.spawn(async move {
            let looks = async {
                loop {
                    tokio::time::sleep(EVERY).await;
                    if let Err(error) = looking.look(&url, &health, &mut opened).await {
                        tracing::debug!(%error, "jobs and files cannot be reached");
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = looks => {}
            }
        });
        store
    }

    async fn look(
        &self,
        url: &SecretString,
        health: &Reporter,
        opened: &mut Option<impl FnOnce(Db)>,
    ) -> Result<(), sqlx::Error> {
        let answered = match self.0.get() {
            Some(db) => db.ping().await,
            None => Db::open(url, SCHEMA, &MIGRATIONS).await.map(|db| {
                drop(self.0.set(db.clone()));
                if let Some(opened) = opened.take() {
                    opened(db);
                }
            }),
        };
        health.set(match answered {
            Ok(()) => Condition::Up,
            Err(_) => Condition::Degraded("jobs and files cannot be reached".to_owned()),
        });
        answered
    }

    /// The database.
    ///
    /// # Errors
    /// While it was not there yet.
    pub fn db(&self) -> Result<&Db, Error> {
        self.0.get().ok_or(Error::Kept(Kept::NotOpen))
    }
}
