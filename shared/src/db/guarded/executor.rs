//! How queries get from the driver's API to a watched connection.

use super::{Guarded, Held, Running};
use crate::db::plan::Explain;
use futures_util::{
    TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use sqlx::{Database, Describe, Either, Execute, Executor, Postgres, SqlStr, Sqlite, error::BoxDynError};
use std::time::Duration;

/// A query on its way, whose text can be read without using it up.
struct Carried<D: Database> {
    sql: SqlStr,
    statement: Option<D::Statement>,
    arguments: Result<Option<D::Arguments>, BoxDynError>,
    persistent: bool,
}

impl<D: Database> Carried<D> {
    fn new<'q>(mut query: impl Execute<'q, D>) -> Self {
        let (arguments, persistent) = (query.take_arguments(), query.persistent());
        let statement = query.statement().cloned();
        Self { sql: query.sql(), statement, arguments, persistent }
    }
}

impl<D: Database> Execute<'_, D> for Carried<D> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&D::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<D::Arguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl<D: Explain> Guarded<D> {
    /// Runs a statement on a connection of its own. Waiting for that connection is not the statement's time.
    async fn run<T>(
        &self,
        query: Carried<D>,
        work: impl for<'c> FnOnce(&'c mut D::Connection, Carried<D>) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let on_a_connection = async {
            let mut connection = self.gauge.acquire(&self.pool).await?;
            let _running = Running::new(self, query.sql.clone());
            work(&mut connection, query).await
        };
        self.ask(self.watch.limit(), on_a_connection).await
    }
}

impl<D: Explain> Held<D> {
    /// Runs a statement in the transaction.
    async fn run<T>(
        &mut self,
        query: Carried<D>,
        work: impl for<'c> FnOnce(&'c mut D::Connection, Carried<D>) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let in_it = async {
            let _running = Running::new(&self.pool, query.sql.clone());
            work(&mut self.transaction, query).await
        };
        self.pool.ask(self.limit, in_it).await
    }
}

type Answer<'e, T> = BoxFuture<'e, Result<T, sqlx::Error>>;
type Answers<'e, D> =
    BoxStream<'e, Result<Either<<D as Database>::QueryResult, <D as Database>::Row>, sqlx::Error>>;

/// Rows one by one, each within the time that the whole statement has.
fn follow<'e, D: Explain>(
    guarded: &'e Guarded<D>,
    limit: Duration,
    rows: Answers<'e, D>,
    running: impl FnOnce() -> Running<D> + Send + 'e,
) -> Answers<'e, D> {
    let begin = async move {
        let asked = guarded.admit(limit)?;
        Ok::<_, sqlx::Error>((asked, running(), rows))
    };
    stream::once(begin)
        .map_ok(|state| {
            stream::try_unfold(state, |(mut asked, running, mut rows)| async move {
                let row = asked.wait(rows.try_next()).await?;
                asked.answered();
                Ok(row.map(|row| (row, (asked, running, rows))))
            })
        })
        .try_flatten()
        .boxed()
}

/// The connections of both databases are executors, but to say so of any database is beyond the compiler.
macro_rules! executors {
    ($($database:ty),+) => {$(
        impl<'p> Executor<'p> for &'p Guarded<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Answers<'e, $database>
            where
                'p: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let query = Carried::new(query);
                let sql = query.sql.clone();
                follow(self, self.watch.limit(), self.pool.fetch_many(query), move || Running::new(self, sql))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as Database>::TypeInfo],
            ) -> Answer<'e, <$database as Database>::Statement>
            where
                'p: 'e,
            {
                self.pool.prepare_with(sql, parameters)
            }

            fn describe<'e>(self, sql: SqlStr) -> Answer<'e, Describe<$database>>
            where
                'p: 'e,
            {
                self.pool.describe(sql)
            }

            executors!(@whole self, 'p, $database);
        }

        impl<'t> Executor<'t> for &'t mut Held<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Answers<'e, $database>
            where
                't: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let query = Carried::new(query);
                let (sql, pool) = (query.sql.clone(), &self.pool);
                let rows = self.transaction.fetch_many(query);
                follow(pool, self.limit, rows, move || Running::new(pool, sql))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as Database>::TypeInfo],
            ) -> Answer<'e, <$database as Database>::Statement>
            where
                't: 'e,
            {
                self.transaction.prepare_with(sql, parameters)
            }

            fn describe<'e>(self, sql: SqlStr) -> Answer<'e, Describe<$database>>
            where
                't: 'e,
            {
                self.transaction.describe(sql)
            }

            executors!(@whole self, 't, $database);
        }
    )+};
    (@whole $self:ident, $life:lifetime, $database:ty) => {
        fn execute<'e, 'q: 'e, E>($self, query: E) -> Answer<'e, <$database as Database>::QueryResult>
        where
            $life: 'e,
            E: 'q + Execute<'q, $database>,
        {
            let query = Carried::new(query);
            Box::pin(async move { $self.run(query, |on, query| on.execute(query)).await })
        }

        fn fetch_all<'e, 'q: 'e, E>($self, query: E) -> Answer<'e, Vec<<$database as Database>::Row>>
        where
            $life: 'e,
            E: 'q + Execute<'q, $database>,
        {
            let query = Carried::new(query);
            Box::pin(async move { $self.run(query, |on, query| on.fetch_all(query)).await })
        }

        fn fetch_optional<'e, 'q: 'e, E>($self, query: E) -> Answer<'e, Option<<$database as Database>::Row>>
        where
            $life: 'e,
            E: 'q + Execute<'q, $database>,
        {
            let query = Carried::new(query);
            Box::pin(async move { $self.run(query, |on, query| on.fetch_optional(query)).await })
        }
    };
}

executors!(Postgres, Sqlite);
