//! One database type over two drivers, and one text per query.
//!
//! `$1` placeholders and `FromRow` work on both, so a query is written once and dispatched by [`on!`](crate::on)
//! (a pool) or [`on_tx!`](crate::on_tx) (a transaction). Times go through [`Time`], because SQLite has none.

mod time;

pub use time::Time;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, Executor as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{str::FromStr, time::Duration};

/// A pool of either kind.
#[derive(Debug, Clone)]
pub enum Db {
    /// Production.
    Postgres(PgPool),
    /// The embedded default: a file, or memory in tests.
    Sqlite(SqlitePool),
}

/// A transaction of either kind. Dropping it rolls it back.
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
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
                let $connection = &mut **transaction;
                $query
            }
            $crate::db::Tx::Sqlite(transaction) => {
                let $connection = &mut **transaction;
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

/// The constraint that an error is about, or `None` when it is about something else.
#[must_use]
pub fn violation(error: &sqlx::Error) -> Option<Violation> {
    use sqlx::error::ErrorKind;
    Some(match error.as_database_error()?.kind() {
        ErrorKind::UniqueViolation => Violation::Unique,
        ErrorKind::ForeignKeyViolation => Violation::ForeignKey,
        ErrorKind::NotNullViolation | ErrorKind::CheckViolation | ErrorKind::ExclusionViolation => {
            Violation::Other
        }
        _ => return None,
    })
}

impl Db {
    /// Opens `postgres://…` or `sqlite:PATH`, in a schema of the service's own, and applies its migrations.
    ///
    /// # Errors
    /// When the URL is not understood, the database is away, or a migration fails.
    pub async fn open(
        url: &SecretString,
        schema: &'static str,
        migrations: &Migrations,
    ) -> Result<Self, sqlx::Error> {
        let url = url.expose_secret();
        if url.starts_with("postgres") {
            let db = Self::Postgres(postgres(url, schema).await?);
            db.migrate(migrations).await?;
            return Ok(db);
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        let db = Self::Sqlite(pool);
        db.migrate(migrations).await?;
        Ok(db)
    }

    /// A SQLite database in memory, for tests. It has one connection that is never given back.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn memory(migrations: &Migrations) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        let db = Self::Sqlite(pool);
        db.migrate(migrations).await?;
        Ok(db)
    }

    async fn migrate(&self, migrations: &Migrations) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(pool) => migrations.postgres.run(pool).await?,
            Self::Sqlite(pool) => migrations.sqlite.run(pool).await?,
        }
        Ok(())
    }

    /// Begins a write transaction; on SQLite it holds the single writer's place from the start.
    ///
    /// # Errors
    /// When the database is away or busy for too long.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        Ok(match self {
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
        })
    }

    /// Begins a transaction whose queries all see the same state. It only reads, and holds no writer up.
    ///
    /// # Errors
    /// When the database is away or busy for too long.
    pub async fn begin_read(&self) -> Result<Tx, sqlx::Error> {
        Ok(match self {
            Self::Postgres(pool) => {
                Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
        })
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// When it does not give one.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(pool) => pool.acquire().await?.ping().await,
            Self::Sqlite(pool) => pool.acquire().await?.ping().await,
        }
    }

    /// Closes the pool once its connections are given back.
    pub async fn close(&self) {
        on!(self, |pool| pool.close().await);
    }
}

impl Tx {
    /// Makes the transaction's writes last.
    ///
    /// # Errors
    /// When the database does not confirm it.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await,
            Self::Sqlite(transaction) => transaction.commit().await,
        }
    }
}

async fn postgres(url: &str, schema: &'static str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("tollgate")
        .options([("search_path", schema), ("statement_timeout", "10s")]);
    PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(3))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                let mut create = sqlx::QueryBuilder::<Postgres>::new("CREATE SCHEMA IF NOT EXISTS ");
                create.push(schema);
                connection.execute(create.build()).await.map(drop).or_else(|error| {
                    // Two processes may create it at once; the second finds it there.
                    if violation(&error) == Some(Violation::Unique) { Ok(()) } else { Err(error) }
                })
            })
        })
        .connect_with(options)
        .await
}
