//! One database type over two drivers, and one text per query.
//!
//! `$1` placeholders and `FromRow` work on both, so a query is written once and dispatched by [`on!`](crate::on)
//! (a pool) or [`on_tx!`](crate::on_tx) (a transaction). Times go through [`Time`], because SQLite has none.
//!
//! What is run passes a circuit breaker and a time limit on its way, and is listed when it was slow: [`Guarded`].

mod breaker;
mod failure;
mod figures;
mod guarded;
mod open;
mod plan;
mod pool;
mod slow;
mod time;
mod watch;

pub(crate) use failure::is_refusal;
pub use failure::{retry_after, violation};
pub use figures::Figures;
pub use guarded::{Guarded, Held};
pub use open::Options;
pub use plan::{Explain, Plan, Scan};
pub use slow::SlowQuery;
pub use time::Time;

use sqlx::{Connection as _, Postgres, Sqlite, migrate::Migrator};
use std::time::Duration;

/// A pool of either kind.
#[derive(Debug, Clone)]
pub enum Db {
    /// Production.
    Postgres(Guarded<Postgres>),
    /// The embedded default: a file, or memory in tests.
    Sqlite(Guarded<Sqlite>),
}

/// A transaction of either kind. Dropping it rolls it back.
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(Held<Postgres>),
    /// On SQLite.
    Sqlite(Held<Sqlite>),
}

/// Runs one query on whichever pool it is.
#[macro_export]
macro_rules! on {
    ($db:expr, |$pool:ident| $query:expr) => {
        match $db {
            $crate::db::Db::Postgres($pool) => $query,
            $crate::db::Db::Sqlite($pool) => $query,
        }
    };
}

/// Runs one query in whichever transaction it is.
#[macro_export]
macro_rules! on_tx {
    ($tx:expr, |$connection:ident| $query:expr) => {
        match $tx {
            $crate::db::Tx::Postgres(transaction) => {
                let $connection = &mut *transaction;
                $query
            }
            $crate::db::Tx::Sqlite(transaction) => {
                let $connection = &mut *transaction;
                $query
            }
        }
    };
}

/// The migrations of one service, the same numbers on both engines.
#[derive(Debug)]
pub struct Migrations {
    /// For PostgreSQL.
    pub postgres: &'static Migrator,
    /// For SQLite.
    pub sqlite: &'static Migrator,
}

/// What violates a constraint, without the driver's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A unique or primary key.
    Unique,
    /// A reference to a row that is not there.
    ForeignKey,
    /// Something else.
    Other,
}

impl Db {
    /// Begins a write transaction; on SQLite it holds the single writer's place from the start.
    ///
    /// # Errors
    /// When the database is away or busy for too long.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let limit = on!(self, |pool| pool.watch().limit());
        self.begin_with("BEGIN", "BEGIN IMMEDIATE", limit).await
    }

    /// Begins a transaction whose queries all see the same state. It only reads, and holds no writer up, so its
    /// queries may read whole tables.
    ///
    /// # Errors
    /// When the database is away or busy for too long.
    pub async fn begin_read(&self) -> Result<Tx, sqlx::Error> {
        self.begin_with(open::BEGIN_READ, "BEGIN", open::READ).await
    }

    async fn begin_with(
        &self,
        postgres: &'static str,
        sqlite: &'static str,
        limit: Duration,
    ) -> Result<Tx, sqlx::Error> {
        Ok(match self {
            Self::Postgres(pool) => Tx::Postgres(pool.begin_held(postgres, limit).await?),
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_held(sqlite, limit).await?),
        })
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// When it does not give one.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        on!(self, |pool| {
            pool.ask(pool.watch().limit(), Box::pin(async { pool.unwatched().acquire().await?.ping().await }))
                .await
        })
    }

    /// The statements that were slow, the slowest first.
    #[must_use]
    pub fn slow_queries(&self) -> Vec<SlowQuery> {
        on!(self, |pool| pool.watch().slow().list())
    }

    /// How the database would run a statement, whatever its values.
    ///
    /// # Errors
    /// When the database is away, or does not know such a statement.
    pub async fn explain(&self, statement: &str) -> Result<Plan, sqlx::Error> {
        match self {
            Self::Postgres(pool) => Postgres::explain(pool.unwatched(), statement).await,
            Self::Sqlite(pool) => Sqlite::explain(pool.unwatched(), statement).await,
        }
    }

    /// Closes the pool once its connections are given back.
    pub async fn close(&self) {
        on!(self, |pool| pool.unwatched().close().await);
    }
}

impl Tx {
    /// Makes the transaction's writes last.
    ///
    /// # Errors
    /// When the database does not confirm it.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(held) => held.commit().await,
            Self::Sqlite(held) => held.commit().await,
        }
    }
}
