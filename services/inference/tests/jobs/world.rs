//! A database for each test, and work to enter in it.

use policy::Time;
use shared::{
    claims::{self, Claim, Entered, New},
    db::Db,
    seal::{Sealer, rows::Vault},
};
use sqlx::{Connection, PgConnection, QueryBuilder};
use std::time::Duration;
use uuid::Uuid;

/// The queue of the tests.
pub(crate) const QUEUE: &str = "ai_tasks";
/// Until a lease ends that is not put off.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// An empty database.
pub(crate) struct World {
    pub(crate) vault: Vault,
    /// Whose the work is.
    pub(crate) owner: Uuid,
    name: Option<String>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        Self::over(Db::memory(&inference::MIGRATIONS).await.unwrap(), None)
    }

    pub(crate) async fn postgres() -> Self {
        let server = server().await;
        let name = format!("inference_{}", Uuid::now_v7().simple());
        run(server, "CREATE DATABASE ", &name).await;
        let (scheme, rest) = server.split_once("://").unwrap();
        let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, _) = address.split_once('/').unwrap_or((address, ""));
        let url = format!("{scheme}://{host}/{name}?{parameters}").into();
        let db = Db::open(&url, inference::SCHEMA, &inference::MIGRATIONS).await.unwrap();
        Self::over(db, Some(name))
    }

    fn over(db: Db, name: Option<String>) -> Self {
        let sealer = Sealer::new(&[Sealer::generate()]).unwrap();
        Self { vault: Vault { db, sealer }, owner: Uuid::now_v7(), name }
    }

    pub(crate) async fn end(self) {
        self.vault.db.close().await;
        if let Some(name) = self.name {
            run(server().await, "DROP DATABASE ", &name).await;
        }
    }

    /// Enters one that may be begun three times.
    pub(crate) async fn enter(&self, due: Time) -> Uuid {
        let id = Uuid::now_v7();
        assert_eq!(self.try_enter(&self.new_one(id, due)).await, Entered::New);
        id
    }

    pub(crate) fn new_one(&self, id: Uuid, due: Time) -> New<'static> {
        New {
            id,
            queue: QUEUE,
            kind: "completion",
            owner: self.owner,
            payload: b"what to do",
            lock: None,
            request: None,
            attempts: 3,
            due,
        }
    }

    pub(crate) async fn try_enter(&self, new: &New<'_>) -> Entered {
        let mut tx = self.vault.begin().await.unwrap();
        let entered = claims::enter(&mut tx, &self.vault.sealer, new, at(0)).await.unwrap();
        tx.commit().await.unwrap();
        entered
    }

    /// Takes up to so many at a time.
    pub(crate) async fn take(&self, worker: &str, most: u32, now: Time) -> Vec<Claim> {
        claims::take(&self.vault, QUEUE, worker, most, (now, now.plus(LEASE))).await.unwrap()
    }

    /// Takes the one that there is.
    pub(crate) async fn take_one(&self, now: Time) -> Claim {
        let mut taken = self.take("a worker", 10, now).await;
        assert_eq!(taken.len(), 1);
        taken.remove(0)
    }
}

/// So many seconds after a beginning.
pub(crate) fn at(seconds: i64) -> Time {
    Time(1_700_000_000_000_000 + seconds * 1_000_000)
}

async fn server() -> &'static str {
    tokio::task::spawn_blocking(tests::postgres::url).await.unwrap()
}

async fn run(url: &str, command: &str, name: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    QueryBuilder::new(command).push(name).build().execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
