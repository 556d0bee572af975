//! What is kept over restarts: jobs (the claim table of [`shared::claims`]), batches and files.
//!
//! The gateway serves without it: a database that is away when the process starts is opened as soon as it is there, and
//! until then what needs it is refused with a hint to come back. What callers say and are answered is sealed ([`seals`]).

pub(crate) mod batches;
pub(crate) mod dependencies;
pub(crate) mod files;
pub(crate) mod invalidations;
pub(crate) mod popularity;
mod seals;

use crate::error::{Error, Kept};
use shared::{
    config::SecretString,
    db::{Db, Figures, Migrations},
    health::{Reporter, database::LATELY},
    seal::{
        Sealer,
        rows::{self, Vault},
    },
    server::Tasks,
};
use sqlx::migrate::Migrator;
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/inference/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/inference/sqlite");

/// The tables of this service, for [`Db::open`].
pub static MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };

/// The database schema of this service on PostgreSQL, for [`Db::open`].
pub const SCHEMA: &str = "inference";

/// Said of a database that other keys sealed.
const WRONG_KEY: &str = "inference.encryption_keys lacks the key that the jobs database was encrypted with";

/// Between two tries to open it, and between two looks whether it answers.
const EVERY: Duration = Duration::from_secs(2);

/// The database, once it is open.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<OnceLock<Vault>>);

impl Store {
    /// Opens it now, or as soon as it is there, and then has something done with it.
    pub async fn open(
        url: SecretString,
        sealer: Sealer,
        health: Reporter,
        tasks: &Tasks,
        opened: impl FnOnce() + Send + 'static,
    ) -> Self {
        let store = Self::default();
        let (place, began) = ((url, sealer), tasks.clone());
        let mut opened = Some(move |vault| {
            seals::start(vault, &began);
            opened();
        });
        if let Err(error) = store.look(&place, &health, &mut opened).await {
            tracing::warn!(%error, "inference.database cannot be opened; jobs and files are not to be had until it is");
        }
        let (looking, stop) = (store.clone(), tasks.stopping());
        tasks.spawn(async move {
            let looks = async {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(EVERY) => {}
                        () = health.wanted() => {}
                    }
                    if let Err(error) = looking.look(&place, &health, &mut opened).await {
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
        place: &(SecretString, Sealer),
        health: &Reporter,
        opened: &mut Option<impl FnOnce(Vault)>,
    ) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        let answered = match self.0.get() {
            Some(vault) => vault.db.ping().await,
            None => open(place).await.map(|vault| {
                drop(self.0.set(vault.clone()));
                if let Some(opened) = opened.take() {
                    opened(vault);
                }
            }),
        };
        if let Some(vault) = self.0.get() {
            health.figures(Figures::of(&vault.db, LATELY, shared::time::now()));
        }
        let said = answered.as_ref().map_err(|error| match error {
            sqlx::Error::Decode(_) => WRONG_KEY.to_owned(),
            _ => "jobs and files cannot be reached".to_owned(),
        });
        health.looked(began.elapsed(), said.map(drop));
        answered
    }

    /// The database, for what is not sealed.
    ///
    /// # Errors
    /// While it was not there yet.
    pub fn db(&self) -> Result<&Db, Error> {
        Ok(&self.vault()?.db)
    }

    /// The database and the keys to it.
    ///
    /// # Errors
    /// While it was not there yet.
    pub fn vault(&self) -> Result<&Vault, Error> {
        self.0.get().ok_or(Error::Kept(Kept::NotOpen))
    }
}

/// The database, if the keys are those that are needed to read it.
async fn open((url, sealer): &(SecretString, Sealer)) -> Result<Vault, sqlx::Error> {
    let vault = Vault { db: Db::open(url, SCHEMA, &MIGRATIONS).await?, sealer: sealer.clone() };
    rows::prove(&vault).await?;
    Ok(vault)
}
