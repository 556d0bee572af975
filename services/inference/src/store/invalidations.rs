//! Which cached answers are to go: rows in the order of their numbers, which every gateway reads.

use crate::error::Error;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

// It holds the row until the end of the transaction, so that no number is seen before a smaller one.
const NEXT: &str = "UPDATE cache_head SET sequence = sequence + 1 WHERE one = 1 RETURNING epoch, sequence";

const INSERT: &str = "INSERT INTO cache_invalidations (sequence, chosen, actor, reason, made, expires) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const HEAD: &str = "SELECT epoch, sequence FROM cache_head WHERE one = 1";

const AFTER: &str =
    "SELECT sequence, chosen FROM cache_invalidations WHERE sequence > $1 ORDER BY sequence LIMIT $2";

const PURGE: &str = "DELETE FROM cache_invalidations WHERE sequence IN (SELECT sequence FROM cache_invalidations \
     WHERE expires <= $1 ORDER BY expires LIMIT 1000)";

const SEEN: &str = "INSERT INTO cache_gateways (name, sequence, seen) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, seen = excluded.seen";

const GATEWAYS: &str =
    "SELECT name, sequence, seen FROM cache_gateways WHERE seen > $1 ORDER BY name LIMIT 1000";

const FORGET: &str = "DELETE FROM cache_gateways WHERE seen <= $1";

/// How many there were, in which database.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Head {
    pub(crate) epoch: Uuid,
    pub(crate) sequence: i64,
}

/// One of them, as it is written.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) sequence: i64,
    pub(crate) chosen: String,
}

/// How far a gateway is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) sequence: i64,
    pub(crate) seen: Time,
}

/// What is to go, who said so and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    pub(crate) chosen: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) made: policy::Time,
    /// When nothing that was made before can be there any more.
    pub(crate) expires: policy::Time,
}

/// Adds one and returns how many there are then.
pub(crate) async fn insert(tx: &mut Tx, new: New<'_>) -> Result<Head, Error> {
    let head = on_tx!(tx, |connection| sqlx::query_as::<_, Head>(NEXT).fetch_one(connection).await)?;
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(head.sequence)
            .bind(new.chosen)
            .bind(new.actor)
            .bind(new.reason)
            .bind(Time(new.made))
            .bind(Time(new.expires))
            .execute(connection)
            .await
            .map(drop)
    })?;
    Ok(head)
}

/// How many there are.
pub(crate) async fn head(db: &Db) -> Result<Head, Error> {
    Ok(on!(db, |pool| sqlx::query_as::<_, Head>(HEAD).fetch_one(pool).await)?)
}

/// Those that came after one, in order, up to so many.
pub(crate) async fn after(db: &Db, sequence: i64, most: i64) -> Result<Vec<Row>, Error> {
    Ok(on!(db, |pool| { sqlx::query_as::<_, Row>(AFTER).bind(sequence).bind(most).fetch_all(pool).await })?)
}

/// A gateway is that far.
pub(crate) async fn seen(db: &Db, name: &str, sequence: i64, now: policy::Time) -> Result<(), Error> {
    on!(db, |pool| {
        sqlx::query(SEEN).bind(name).bind(sequence).bind(Time(now)).execute(pool).await.map(drop)
    })?;
    Ok(())
}

/// How far those are that said so since then.
pub(crate) async fn gateways(db: &Db, since: policy::Time) -> Result<Vec<Reader>, Error> {
    Ok(on!(db, |pool| { sqlx::query_as::<_, Reader>(GATEWAYS).bind(Time(since)).fetch_all(pool).await })?)
}

/// Forgets those by which nothing can go any more, and gateways that were not seen since then.
pub(crate) async fn purge(db: &Db, now: policy::Time, since: policy::Time) -> Result<(), Error> {
    on!(db, |pool| sqlx::query(PURGE).bind(Time(now)).execute(pool).await.map(drop))?;
    on!(db, |pool| sqlx::query(FORGET).bind(Time(since)).execute(pool).await.map(drop))?;
    Ok(())
}
