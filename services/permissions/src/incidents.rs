//! Security incidents: kept in batches away from every request and off the head, listed and counted for people.

use crate::{
    error::Error,
    field,
    list::{Listed, Page},
    store,
};
use policy::Time;
use shared::{
    db::Db,
    page::PageError,
    seal::Sealer,
    security::{Batch, Kind, Seen, WINDOW, Watch},
    server::Tasks,
};
use std::{net::IpAddr, time::Duration};
use uuid::Uuid;

/// Most buckets of one answer.
const BUCKETS: u128 = 1_000;

/// An incident as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) id: Uuid,
    pub(crate) seen: Seen,
}

/// Which incidents.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) from: Time,
    /// First instant after them.
    pub(crate) to: Time,
    pub(crate) kind: Option<Kind>,
    pub(crate) actor: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

/// Incidents of one kind in one stretch of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) start: Time,
    pub(crate) kind: Kind,
    pub(crate) count: i64,
}

/// Keeps what this process sees.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    db: Db,
    sealer: Sealer,
    watch: Watch,
}

impl Keeper {
    /// Starts to take what `watch` has collected to the store.
    pub(crate) fn start(db: Db, sealer: Sealer, watch: Watch, tasks: &Tasks) -> Self {
        let keeper = Self { db, sealer, watch };
        let writer = keeper.clone();
        keeper.watch.deliver(tasks, WINDOW, move |batch| {
            let writer = writer.clone();
            async move { writer.keep(batch).await }
        });
        keeper
    }

    /// What this process sees.
    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Writes a batch; what could not be written comes back.
    async fn keep(&self, mut batch: Batch) -> Result<(), Batch> {
        if let Err(error) = self.record(&batch.incidents).await {
            tracing::debug!(%error, "incidents could not be kept; they are tried again");
            return Err(batch);
        }
        batch.incidents.clear();
        if let Err(error) = store::keys::add_uses(&self.db, &batch.uses).await {
            tracing::debug!(%error, "uses of keys could not be kept; they are tried again");
            return Err(batch);
        }
        Ok(())
    }

    /// Keeps incidents that somebody has seen.
    pub(crate) async fn record(&self, incidents: &[Seen]) -> Result<(), Error> {
        Ok(store::incidents::insert(&self.db, &self.sealer, incidents).await?)
    }

    /// Lists incidents, newest first, those of this very moment included.
    pub(crate) async fn list(&self, filter: &Filter, page: &Page) -> Result<Listed<Incident>, Error> {
        self.catch_up().await;
        let before = Some(page.after()).filter(|after| !after.is_empty()).map(position).transpose()?;
        let rows = store::incidents::list(&self.db, &self.sealer, filter, before, page.limit()).await?;
        Ok(page.cut(rows, |incident| format!("{} {}", incident.seen.first.micros(), incident.id)))
    }

    /// Counts incidents by kind in stretches of `width`.
    pub(crate) async fn count(&self, filter: &Filter, width: Duration) -> Result<Vec<Bucket>, Error> {
        if filter.to.since(filter.from).as_micros() > width.as_micros().saturating_mul(BUCKETS) {
            return Err(Error::invalid("bucket", "must be wider: at most 1,000 of them fit into an answer"));
        }
        self.catch_up().await;
        Ok(store::incidents::count(&self.db, &self.sealer, filter, width).await?)
    }

    /// Writes what this process still holds, so that whoever looks sees it.
    async fn catch_up(&self) {
        let batch = self.watch.take();
        if !batch.is_empty()
            && let Err(rest) = self.keep(batch).await
        {
            self.watch.give_back(rest);
        }
    }
}

/// Where a page starts.
pub(crate) fn position(text: &str) -> Result<(Time, Uuid), Error> {
    let parts =
        text.split_once(' ').and_then(|(time, id)| Some((Time(time.parse().ok()?), id.parse().ok()?)));
    let (time, id) = parts.ok_or_else(|| Error::page(PageError::Token))?;
    Ok((field::instant("page_token", Some(time))?, id))
}
