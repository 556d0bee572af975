//! A pool and a transaction that run every statement under the eyes of [`Watch`].
//!
//! Both are executors, so queries are written as against the driver's own, and [`on!`](crate::on) and
//! [`on_tx!`](crate::on_tx) hand them out. What goes past them says so: [`Guarded::unwatched`].

mod asked;
mod executor;

use super::{plan::Explain, pool::Gauge, watch::Watch};
use sqlx::{Database, Pool, SqlSafeStr as _, SqlStr, Transaction};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A pool whose statements are watched.
#[derive(Debug)]
pub struct Guarded<D: Database> {
    pool: Pool<D>,
    watch: Arc<Watch>,
    gauge: Arc<Gauge>,
}

/// A transaction whose statements are watched. Dropping it rolls it back.
#[derive(Debug)]
pub struct Held<D: Database> {
    transaction: Transaction<'static, D>,
    pool: Guarded<D>,
    /// The longest that each statement may take.
    limit: Duration,
}

impl<D: Database> Guarded<D> {
    pub(super) fn new(pool: Pool<D>, watch: Watch) -> Self {
        let gauge = Gauge::new(watch.service(), &pool);
        Self { pool, watch: Arc::new(watch), gauge }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Begins a transaction with this statement, for statements that take no longer than `limit`.
    pub(super) async fn begin_held(
        &self,
        statement: &'static str,
        limit: Duration,
    ) -> Result<Held<D>, sqlx::Error> {
        let begun = Box::pin(async {
            let connection = self.gauge.acquire(&self.pool).await?;
            Transaction::begin(connection, Some(statement.into_sql_str())).await
        });
        let transaction = self.ask(self.watch.limit(), begun).await?;
        Ok(Held { transaction, pool: self.clone(), limit })
    }
}

impl<D: Database> Held<D> {
    /// Commits even while the breaker is open: the work is done, and only the database can say that it lasts.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.pool.conclude(self.transaction.commit()).await
    }
}

impl<D: Database> Clone for Guarded<D> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), watch: Arc::clone(&self.watch), gauge: Arc::clone(&self.gauge) }
    }
}

impl<D: Database> Guarded<D> {
    /// The driver's own pool, whose statements nobody watches.
    pub const fn unwatched(&self) -> &Pool<D> {
        &self.pool
    }
}

/// A statement that was sent. However it ends, its time is noted.
struct Running<D: Explain> {
    pool: Guarded<D>,
    sql: SqlStr,
    since: Instant,
}

impl<D: Explain> Running<D> {
    fn new(pool: &Guarded<D>, sql: SqlStr) -> Self {
        Self { pool: pool.clone(), sql, since: Instant::now() }
    }
}

impl<D: Explain> Drop for Running<D> {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        tracing::debug!(target: "shared::db::statement", statement = self.sql.as_str(), ?took);
        self.pool.gauge.ran(took);
        self.pool.watch.slow().note(&self.pool.pool, &self.sql, took);
    }
}
