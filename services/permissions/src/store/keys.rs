//! The table of API keys: hashes, never secrets.

use super::StoreError;
use crate::keys::Key;
use policy::{KeyHash, KeyId, ModelId, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::types::Json;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Uuid,
    user_id: Uuid,
    name: String,
    hash: Vec<u8>,
    hint: String,
    models: Option<Json<Vec<ModelId>>>,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    created_at: Time,
}

impl TryFrom<KeyRow> for Key {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: KeyId(row.id),
            user: UserId(row.user_id),
            name: row.name,
            hash: hash(&row.hash)?,
            hint: row.hint,
            models: row.models.map(|models| models.0),
            expires_at: row.expires_at.map(policy::Time::from),
            revoked_at: row.revoked_at.map(policy::Time::from),
            created_at: row.created_at.0,
        })
    }
}

pub(super) fn hash(bytes: &[u8]) -> Result<KeyHash, StoreError> {
    let digest: [u8; 32] = bytes.try_into().map_err(|_| StoreError::Corrupt("keys"))?;
    Ok(KeyHash::new(digest))
}

const FIND: &str = "SELECT id, user_id, name, hash, hint, models, expires_at, revoked_at, created_at FROM keys \
    WHERE id = $1";
const LIST: &str = "SELECT id, user_id, name, hash, hint, models, expires_at, revoked_at, created_at FROM keys \
    WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const INSERT: &str = "INSERT INTO keys (id, user_id, name, hash, hint, models, expires_at, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const REVOKE: &str = "UPDATE keys SET revoked_at = $2 WHERE id = $1";

pub(crate) async fn find(tx: &mut Tx, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, KeyRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(Key::try_from).transpose()
}

/// The keys of one user after the id `after`.
pub(crate) async fn list(db: &Db, user: UserId, after: Uuid, limit: i64) -> Result<Vec<Key>, StoreError> {
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, KeyRow>(LIST).bind(user.uuid()).bind(after).bind(limit);
        query.fetch_all(pool).await
    })?;
    rows.into_iter().map(Key::try_from).collect()
}

pub(crate) async fn insert(tx: &mut Tx, key: &Key) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(key.id.uuid())
        .bind(key.user.uuid())
        .bind(&key.name)
        .bind(&key.hash.as_bytes()[..])
        .bind(&key.hint)
        .bind(key.models.as_ref().map(Json))
        .bind(key.expires_at.map(Time))
        .bind(Time(key.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn revoke(tx: &mut Tx, id: KeyId, at: policy::Time) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(REVOKE).bind(id.uuid()).bind(Time(at)).execute(on).await.map(drop))?;
    Ok(())
}
