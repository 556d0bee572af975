//! How a database is opened: its pool, its schema, its migrations, and the limits of what is asked of it.

use super::{Db, Guarded, Migrations, Violation, violation, watch::Watch};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection as _, Executor as _, PgPool, Postgres, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{str::FromStr, sync::Mutex, time::Duration};

/// The longest that PostgreSQL works on one statement before it gives up by itself.
const STATEMENT: &str = "10s";
/// Begins a transaction that reads all of it as it is now, however long that takes.
pub(super) const BEGIN_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '120s'";
/// The longest wait for a statement of such a transaction.
pub(super) const READ: Duration = Duration::from_secs(125);
/// Time in which a connection that is given back must answer, or it is closed.
const RELEASE: Duration = Duration::from_secs(5);

/// How much a database may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A statement that takes longer is slow: logged with its plan, counted and listed.
    pub slow_after: Duration,
    /// The longest wait for one statement, where the request's own deadline allows more. It is beyond the time that
    /// the server gives it, and so only counts when the server does not even say that it gave up.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { slow_after: Duration::from_secs(1), limit: Duration::from_secs(12) }
    }
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
        Self::open_with(url, schema, migrations, Options::default()).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// When the URL is not understood, the database is away, or a migration fails.
    pub async fn open_with(
        url: &SecretString,
        schema: &'static str,
        migrations: &Migrations,
        options: Options,
    ) -> Result<Self, sqlx::Error> {
        let url = url.expose_secret();
        let watch = Watch::new(schema, options);
        let db = if url.starts_with("postgres") {
            Self::Postgres(Guarded::new(postgres(url, schema).await?, watch))
        } else {
            Self::Sqlite(Guarded::new(sqlite(url).await?, watch))
        };
        db.migrate(migrations).await?;
        Ok(db)
    }

    /// A SQLite database in memory, for tests. It has one connection at a time; another one, which asks nothing, keeps
    /// what is in it when that one is closed because a query was given up.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn memory(migrations: &Migrations) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(format!("/{}", uuid::Uuid::new_v4()))
            .vfs("memdb")
            .create_if_missing(true)
            .foreign_keys(true)
            .disable_statement_logging();
        let keeper = Mutex::new(options.connect().await?);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |_, _| {
                let _kept = &keeper;
                Box::pin(async { Ok(()) })
            })
            .connect_with(options)
            .await?;
        let db = Self::Sqlite(Guarded::new(pool, Watch::new("memory", Options::default())));
        db.migrate(migrations).await?;
        Ok(db)
    }

    async fn migrate(&self, migrations: &Migrations) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(pool) => migrations.postgres.run(pool.unwatched()).await?,
            Self::Sqlite(pool) => migrations.sqlite.run(pool.unwatched()).await?,
        }
        Ok(())
    }
}

async fn sqlite(url: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await
}

async fn postgres(url: &str, schema: &'static str) -> Result<PgPool, sqlx::Error> {
    // Statements are logged here, slow ones with their plan.
    let options = PgConnectOptions::from_str(url)?
        .application_name("tollgate")
        .options([("search_path", schema), ("statement_timeout", STATEMENT)])
        .disable_statement_logging();
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
        // A connection that hangs would be held for as long as TCP hopes, and the pool would run dry.
        .after_release(|connection, _| {
            Box::pin(async move {
                let answer = tokio::time::timeout(RELEASE, connection.ping()).await;
                answer.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
            })
        })
        .connect_with(options)
        .await
}
