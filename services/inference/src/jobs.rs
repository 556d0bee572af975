//! Jobs: work that goes on in the background and outlives its process.
//!
//! [`submit`] enters one in the claim table, the workers of its queue take it ([`run`]), and its owner sees and cancels
//! it here. [`kind`] is the list of what jobs can do; [`person`] says in whose name.

pub mod kind;
mod open;
pub mod person;
pub mod run;
pub mod submit;

use crate::{
    config,
    error::{Error, Kept, Thing},
    lock,
    store::{self, Store},
};
use kind::{Kind, Queue};
use policy::UserId;
use run::Runner;
use shared::{
    claims::{self, Busy, Count, Filter, Row, State, Workers},
    redis::locks::Locks,
    seal::rows::Vault,
    server::Tasks,
    time,
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use uuid::Uuid;

/// Between two looks for what is kept no longer.
const CLEAN: Duration = Duration::from_secs(30);
/// So many are forgotten at once.
const SWEEP: u32 = 500;

/// The jobs of an installation.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub(crate) store: Store,
    pub(crate) settings: Arc<config::Jobs>,
    pub(crate) locks: Locks,
    crew: Arc<OnceLock<Vec<Workers<Runner>>>>,
}

impl Jobs {
    /// Jobs of a store. Nobody works on them before [`Self::start`].
    #[must_use]
    pub fn new(store: Store, settings: config::Jobs, locks: Locks) -> Self {
        Self { store, settings: Arc::new(settings), locks, crew: Arc::default() }
    }

    /// Works on them until the process ends.
    pub fn start(&self, vault: &Vault, name: &str, runner: &Runner, tasks: &Tasks) {
        let crew = Queue::ALL.map(|queue| {
            let places = queue.places(&self.settings);
            Workers::new(vault.clone(), name, queue.name(), places, self.settings.pace(), runner.clone())
        });
        crew.iter().for_each(|workers| workers.start(tasks));
        drop(self.crew.set(crew.into()));
        open::start(&vault.db, tasks);
        let (vault, keep) = (vault.clone(), self.settings.keep_for);
        tasks.repeat(CLEAN, move || {
            let vault = vault.clone();
            async move { clean(&vault, keep).await }
        });
    }

    /// One of somebody's.
    ///
    /// # Errors
    /// When there is none, or the store is away.
    pub async fn get(&self, id: Uuid, owner: UserId) -> Result<Row, Error> {
        let found = claims::get(self.store.vault()?, id, owner.uuid()).await?;
        Ok(found.ok_or_else(|| Kept::missing(Thing::Job, id))?)
    }

    /// Somebody's, the newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn page(
        &self,
        owner: UserId,
        filter: Filter<'_>,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Row>, Error> {
        Ok(claims::page(self.store.vault()?, owner.uuid(), filter, before, limit).await?)
    }

    /// Cancels one of somebody's.
    ///
    /// # Errors
    /// [`Kept::Over`] when there is nothing left to cancel.
    pub async fn cancel(&self, id: Uuid, owner: UserId) -> Result<Row, Error> {
        let before = self.get(id, owner).await?;
        let (vault, now) = (self.store.vault()?, time::now());
        let is_batch = before.kind == Kind::Batch.name();
        let mut tx = vault.begin().await?;
        let keep = now.plus(self.settings.keep_for);
        let state = claims::cancel(&mut tx, (id, owner.uuid()), is_batch, (now, keep)).await?;
        let state = state.ok_or(Kept::Over)?;
        if is_batch {
            store::batches::cancelling(&mut tx, id, now).await?;
        }
        tx.commit().await?;
        if let (State::Cancelled, Some(lock)) = (state, &before.lock) {
            self.locks.free(lock, &lock::token_of(id));
        }
        self.nudge(&before.queue, id);
        self.get(id, owner).await
    }

    /// How many there are, and who works on them.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn statistics(&self) -> Result<(Vec<Count>, Vec<Busy>), Error> {
        let db = &self.store.vault()?.db;
        Ok((claims::count(db, &Queue::ALL.map(Queue::name)).await?, claims::busy(db).await?))
    }

    /// The workers of this gateway.
    #[must_use]
    pub fn crew(&self) -> &[Workers<Runner>] {
        self.crew.get().map_or(&[], Vec::as_slice)
    }

    /// Says that something was entered in a queue.
    fn wake(&self, queue: Queue) {
        self.crew().iter().filter(|workers| workers.queue() == queue.name()).for_each(Workers::wake);
    }

    fn nudge(&self, queue: &str, id: Uuid) {
        self.crew().iter().filter(|workers| workers.queue() == queue).for_each(|workers| workers.nudge(id));
    }
}

/// Forgets what is kept no longer. What cannot be done now is done the next time.
async fn clean(vault: &Vault, keep: Duration) {
    let now = time::now();
    let all = async {
        while claims::purge(&vault.db, SWEEP, now).await? == SWEEP as usize {}
        while store::batches::purge(vault, SWEEP, now.minus(keep)).await? == SWEEP as usize {}
        // Files are large, so few go at once.
        while store::files::purge(vault, 10, now).await? == 10 {}
        Ok::<_, Error>(())
    };
    if let Err(error) = all.await {
        tracing::debug!(%error, "what is kept no longer could not be deleted");
    }
}
