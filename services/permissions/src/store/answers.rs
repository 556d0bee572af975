//! The table of answers that are kept for repetitions of the same request.

use super::StoreError;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

/// An answer, encrypted, and the keyed digest of what it answers.
#[derive(sqlx::FromRow)]
pub(crate) struct Kept {
    pub(crate) body: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

const FIND: &str =
    "SELECT body, answer FROM answers WHERE actor = $1 AND request_id = $2 AND created_at > $3";
const PUT: &str = "INSERT INTO answers (actor, request_id, body, answer, created_at) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (actor, request_id) DO UPDATE SET body = excluded.body, answer = excluded.answer, \
    created_at = excluded.created_at";
const FORGET: &str = "DELETE FROM answers WHERE created_at <= $1";

pub(crate) async fn find(
    tx: &mut Tx,
    actor: &str,
    id: Uuid,
    since: policy::Time,
) -> Result<Option<Kept>, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_as::<_, Kept>(FIND)
        .bind(actor)
        .bind(id)
        .bind(Time(since))
        .fetch_optional(on)
        .await)?)
}

pub(crate) async fn put(
    tx: &mut Tx,
    (actor, id): (&str, Uuid),
    body: &[u8],
    answer: &[u8],
    now: policy::Time,
) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(PUT)
        .bind(actor)
        .bind(id)
        .bind(body)
        .bind(answer)
        .bind(Time(now))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Deletes what is older than answers are kept.
pub(crate) async fn forget(db: &Db, until: policy::Time) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(FORGET).bind(Time(until)).execute(pool).await.map(drop))?;
    Ok(())
}
