//! A database for each test, on the server that `tests::postgres` finds or starts.

use sqlx::{Connection, PgConnection, QueryBuilder};
use uuid::Uuid;

/// A database of its own for one test.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    /// Makes an empty database.
    pub(crate) async fn new() -> Self {
        let server = server().await;
        let name = format!("monitoring_{}", Uuid::now_v7().simple());
        run(server, "CREATE DATABASE ", &name).await;
        let (scheme, rest) = server.split_once("://").unwrap();
        let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, _) = address.split_once('/').unwrap_or((address, ""));
        Self { url: format!("{scheme}://{host}/{name}?{parameters}"), name }
    }

    /// Drops it again.
    pub(crate) async fn end(self) {
        run(server().await, "DROP DATABASE ", &self.name).await;
    }
}

async fn server() -> &'static str {
    tokio::task::spawn_blocking(tests::postgres::url).await.unwrap()
}

async fn run(url: &str, command: &str, name: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    QueryBuilder::new(command).push(name).build().execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
