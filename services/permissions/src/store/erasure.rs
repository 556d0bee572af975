//! Deletes and overwrites: everything known about one person, and what is past its time in tables of others.

use super::StoreError;
use policy::UserId;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

const IS_ERASED: &str = "SELECT erased_at IS NOT NULL FROM users WHERE id = $1";
/// The lookup must be unique, and no digest has a space in it.
const OVERWRITE: &str = "UPDATE users SET email = '', email_lower = 'erased ' || CAST($2 AS text), display_name = '', \
    seal = NULL, password_hash = NULL, role = 'member', disabled = TRUE, erased_at = $3 WHERE id = $1";
/// What else says something of the person, by the id as text.
const BY_TEXT: [&str; 3] = [
    "UPDATE incidents SET address = NULL, address_index = NULL WHERE actor = $1 AND actor <> ''",
    "DELETE FROM answers WHERE actor = $1",
    "DELETE FROM imports WHERE actor = $1",
];
/// The same by the id. What was still in force has been withdrawn by events; here goes what was hidden with something
/// else that is deleted, so that it does not come back with that.
const BY_ID: [&str; 12] = [
    "UPDATE keys SET name = 'erased', hint = '' WHERE user_id = $1",
    "DELETE FROM identities WHERE user_id = $1",
    "DELETE FROM memberships WHERE member_kind = 'user' AND member_id = $1",
    "DELETE FROM grants WHERE grantee_kind = 'user' AND grantee_id = $1",
    "UPDATE models SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
        WHERE owner_kind = 'user' AND owner_id = $1",
    "UPDATE model_sets SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
        WHERE owner_kind = 'user' AND owner_id = $1",
    "UPDATE access_requests SET justification = '' WHERE requester = $1",
    "UPDATE access_decisions SET comment = '' WHERE approver = $1",
    "UPDATE access_comments SET text = '' WHERE author = $1",
    "DELETE FROM access_comments WHERE request_id IN (SELECT id FROM access_requests WHERE requester = $1)",
    "UPDATE access_decisions SET comment = '' \
        WHERE request_id IN (SELECT id FROM access_requests WHERE requester = $1)",
    "DELETE FROM notifications WHERE user_id = $1",
];
const GROUPS: &str = "SELECT group_id FROM memberships WHERE dead_ends = 0 AND member_kind = 'user' AND member_id = $1 ORDER BY group_id";
const MODELS: &str =
    "SELECT id FROM models WHERE owner_kind = 'user' AND owner_id = $1 AND deleted_at IS NULL ORDER BY id";
const SETS: &str = "SELECT id FROM model_sets WHERE owner_kind = 'user' AND owner_id = $1 AND deleted_at IS NULL ORDER BY id";
const PENDING: &str = "SELECT id FROM access_requests WHERE requester = $1 AND state = 'pending' ORDER BY id";
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

/// What a person has part in.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) groups: Vec<Uuid>,
    pub(crate) models: Vec<Uuid>,
    pub(crate) sets: Vec<Uuid>,
}

/// The groups a person is in, and what they own.
pub(crate) async fn parts(tx: &mut Tx, id: UserId) -> Result<Parts, StoreError> {
    Ok(Parts {
        groups: ids(tx, GROUPS, id).await?,
        models: ids(tx, MODELS, id).await?,
        sets: ids(tx, SETS, id).await?,
    })
}

/// What a person asks for and nobody has decided.
pub(crate) async fn pending_requests(tx: &mut Tx, id: UserId) -> Result<Vec<Uuid>, StoreError> {
    ids(tx, PENDING, id).await
}

async fn ids(tx: &mut Tx, query: &'static str, user: UserId) -> Result<Vec<Uuid>, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar(query).bind(user.uuid()).fetch_all(on).await)?)
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
    for query in BY_TEXT {
        on_tx!(tx, |on| sqlx::query(query).bind(&text).execute(on).await.map(drop))?;
    }
    for query in BY_ID {
        on_tx!(tx, |on| sqlx::query(query).bind(id.uuid()).execute(on).await.map(drop))?;
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
    count(db, &[ANSWERS_DUE], until).await
}

/// How many sessions ended up to `until`.
pub(crate) async fn sessions_due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    count(db, &[SESSIONS_DUE], until).await
}

/// How much was deleted up to `until` and could still be taken back.
pub(crate) async fn deleted_due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    count(db, &DELETED_DUE, until).await
}

/// Adds up what these queries count.
async fn count(db: &Db, queries: &[&'static str], until: policy::Time) -> Result<i64, StoreError> {
    let mut sum = 0;
    for query in queries {
        let count: i64 = on!(db, |pool| sqlx::query_scalar(*query).bind(Time(until)).fetch_one(pool).await)?;
        sum += count;
    }
    Ok(sum)
}
