//! Deletes and overwrites: everything known about one person, and what is past its time in tables of others.

use super::{StoreError, seals::has_table};
use policy::UserId;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};

const IS_ERASED: &str = "SELECT erased_at IS NOT NULL FROM users WHERE id = $1";
/// The lookup must be unique, and no digest has a space in it.
const OVERWRITE: &str = "UPDATE users SET email = '', email_lower = 'erased ' || CAST($2 AS text), display_name = '', \
    seal = NULL, password_hash = NULL, role = 'member', disabled = TRUE, erased_at = $3 WHERE id = $1";
/// What else is about one person, by the text or the id of whom it is. Tables that a store does not have are skipped.
const BY_TEXT: &[(&str, &str)] = &[
    (
        "incidents",
        "UPDATE incidents SET address = NULL, address_index = NULL WHERE actor = $1 AND actor <> ''",
    ),
    ("answers", "DELETE FROM answers WHERE actor = $1"),
];
const BY_ID: &[(&str, &str)] = &[
    ("keys", "UPDATE keys SET name = 'erased', hint = '' WHERE user_id = $1"),
    ("identities", "DELETE FROM identities WHERE user_id = $1"),
];
const FORGET_USES: &str =
    "DELETE FROM key_uses WHERE NOT EXISTS (SELECT 1 FROM keys WHERE keys.id = key_uses.key_id)";
const ANSWERS_DUE: &str = "SELECT count(*) FROM answers WHERE created_at <= $1";
const SESSIONS_DUE: &str = "SELECT count(*) FROM sessions WHERE expires_at <= $1";
/// Sessions have been ended; their rows go when every service has forgotten of it.
const FORGET_CLIENTS: &str = "UPDATE sessions SET client = $2 WHERE user_id = $1";
const DELETED_DUE: [&str; 4] = [
    "SELECT count(*) FROM users WHERE deleted_at <= $1",
    "SELECT count(*) FROM groups WHERE deleted_at <= $1",
    "SELECT count(*) FROM models WHERE deleted_at <= $1",
    "SELECT count(*) FROM model_sets WHERE deleted_at <= $1",
];

/// Whether a user was erased; `None` when there never was one.
pub(crate) async fn is_erased(tx: &mut Tx, id: UserId) -> Result<Option<bool>, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar(IS_ERASED).bind(id.uuid()).fetch_optional(on).await)?)
}

/// Overwrites the person's row and deletes what else is about them.
pub(crate) async fn erase(tx: &mut Tx, id: UserId, at: policy::Time) -> Result<(), StoreError> {
    let text = id.to_string();
    on_tx!(tx, |on| sqlx::query(OVERWRITE)
        .bind(id.uuid())
        .bind(&text)
        .bind(Time(at))
        .execute(on)
        .await
        .map(drop))?;
    for (table, query) in BY_TEXT {
        if has_table(tx, table).await? {
            on_tx!(tx, |on| sqlx::query(*query).bind(&text).execute(on).await.map(drop))?;
        }
    }
    for (table, query) in BY_ID {
        if has_table(tx, table).await? {
            on_tx!(tx, |on| sqlx::query(*query).bind(id.uuid()).execute(on).await.map(drop))?;
        }
    }
    on_tx!(tx, |on| sqlx::query(FORGET_CLIENTS)
        .bind(id.uuid())
        .bind(&[][..] as &[u8])
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Forgets how often keys were used that are gone.
pub(crate) async fn forget_uses(db: &Db) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(FORGET_USES).execute(pool).await.map(drop))?;
    Ok(())
}

/// How many answers were kept until `until`.
pub(crate) async fn answers_due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar(ANSWERS_DUE).bind(Time(until)).fetch_one(pool).await)?)
}

/// How many sessions ended up to `until`.
pub(crate) async fn sessions_due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    count(db, "sessions", &[SESSIONS_DUE], until).await
}

/// How much was deleted up to `until` and could still be taken back.
pub(crate) async fn deleted_due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    count(db, "model_sets", &DELETED_DUE, until).await
}

/// Adds up what these queries count, when the table is there.
async fn count(
    db: &Db,
    table: &str,
    queries: &[&'static str],
    until: policy::Time,
) -> Result<i64, StoreError> {
    let mut tx = db.begin_read().await?;
    let mut sum = 0;
    if has_table(&mut tx, table).await? {
        for query in queries {
            let count: i64 =
                on_tx!(&mut tx, |on| sqlx::query_scalar(*query).bind(Time(until)).fetch_one(on).await)?;
            sum += count;
        }
    }
    Ok(sum)
}
