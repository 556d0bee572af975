//! The table of API keys: hashes, never secrets. How often they are used is counted apart, in `uses`.

mod uses;

pub(crate) use uses::{add_uses, uses};

use super::StoreError;
use crate::keys::{Filter, Key, Limits, Rotation, State};
use ipnet::IpNet;
use policy::{KeyHash, KeyId, ModelId, OldSecret, Scope, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::{QueryBuilder, types::Json};
use std::time::Duration;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Uuid,
    user_id: Uuid,
    name: String,
    hash: Vec<u8>,
    hint: String,
    models: Option<Json<Vec<ModelId>>>,
    scopes: Option<Json<Vec<Scope>>>,
    networks: Option<Json<Vec<IpNet>>>,
    previous: Option<Json<Vec<OldSecret>>>,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    created_at: Time,
    secret_at: Time,
    rotate_every: Option<i64>,
    rotation_grace: Option<i64>,
    rotation: Option<String>,
    announced_at: Option<Time>,
}

impl TryFrom<KeyRow> for Key {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let rotation = row.rotate_every.zip(row.rotation).map(|(every, policy)| {
            let grace = seconds(row.rotation_grace.unwrap_or_default())?;
            Ok::<_, StoreError>(Rotation { every: seconds(every)?, grace, expires: policy == EXPIRE })
        });
        Ok(Self {
            id: KeyId(row.id),
            user: UserId(row.user_id),
            name: row.name,
            hash: hash(&row.hash)?,
            hint: row.hint,
            limits: Limits {
                models: row.models.map(|models| models.0),
                scopes: row.scopes.map(|scopes| scopes.0).unwrap_or_default().into(),
                networks: row.networks.map(|networks| networks.0).unwrap_or_default(),
            },
            previous: row.previous.map(|previous| previous.0).unwrap_or_default(),
            expires_at: row.expires_at.map(policy::Time::from),
            revoked_at: row.revoked_at.map(policy::Time::from),
            created_at: row.created_at.0,
            secret_at: row.secret_at.0,
            rotation: rotation.transpose()?,
            announced_at: row.announced_at.map(policy::Time::from),
        })
    }
}

const EXPIRE: &str = "expire";
const REMIND: &str = "remind";

fn seconds(count: i64) -> Result<Duration, StoreError> {
    u64::try_from(count).map(Duration::from_secs).map_err(|_| StoreError::Corrupt("keys"))
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn hash(bytes: &[u8]) -> Result<KeyHash, StoreError> {
    let digest: [u8; 32] = bytes.try_into().map_err(|_| StoreError::Corrupt("keys"))?;
    Ok(KeyHash::new(digest))
}

const SELECT: &str = "SELECT id, user_id, name, hash, hint, models, scopes, networks, previous, expires_at, \
    revoked_at, created_at, secret_at, rotate_every, rotation_grace, rotation, announced_at FROM keys WHERE id ";
const INSERT: &str = "INSERT INTO keys (id, user_id, created_at, name, hash, hint, models, scopes, networks, previous, \
    expires_at, revoked_at, secret_at, rotate_every, rotation_grace, rotation, due_at, ends_at, announced_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
const UPDATE: &str = "UPDATE keys SET user_id = $2, created_at = $3, name = $4, hash = $5, hint = $6, models = $7, \
    scopes = $8, networks = $9, previous = $10, expires_at = $11, revoked_at = $12, secret_at = $13, \
    rotate_every = $14, rotation_grace = $15, rotation = $16, due_at = $17, ends_at = $18, announced_at = $19 \
    WHERE id = $1";
const FIRST_UNANNOUNCED: &str = "SELECT id FROM keys WHERE revoked_at IS NULL AND due_at <= $1 \
    AND announced_at IS NULL ORDER BY due_at, id LIMIT 1";

pub(crate) async fn find(tx: &mut Tx, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("= ").push_bind(id.uuid());
        query.build_query_as::<KeyRow>().fetch_optional(on).await
    })?;
    row.map(Key::try_from).transpose()
}

pub(crate) async fn get(db: &Db, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("= ").push_bind(id.uuid());
        query.build_query_as::<KeyRow>().fetch_optional(pool).await
    })?;
    row.map(Key::try_from).transpose()
}

/// The keys of users who are not deleted, or of one of them, as the policy knows them.
pub(crate) async fn facts(tx: &mut Tx, user: Option<Uuid>) -> Result<Vec<policy::Key>, StoreError> {
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push(
            "IS NOT NULL AND EXISTS (SELECT 1 FROM users u WHERE u.id = user_id AND u.deleted_at IS NULL)",
        );
        if let Some(user) = user {
            query.push(" AND user_id = ").push_bind(user);
        }
        query.build_query_as::<KeyRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(|row| Key::try_from(row).map(|key| key.fact())).collect()
}

/// The keys after the id `after` that pass the filter at `now`.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    now: policy::Time,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("> ").push_bind(after);
        if let Some(user) = filter.user {
            query.push(" AND user_id = ").push_bind(user.uuid());
        }
        match filter.state {
            Some(State::Revoked) => {
                query.push(" AND revoked_at IS NOT NULL");
            }
            Some(State::Expired) => {
                query.push(" AND revoked_at IS NULL AND ends_at <= ").push_bind(Time(now));
            }
            Some(State::Active) => {
                query.push(" AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > ");
                query.push_bind(Time(now)).push(")");
            }
            None => {}
        }
        if let Some(before) = filter.stop_before {
            query.push(" AND revoked_at IS NULL AND ends_at > ").push_bind(Time(now));
            query.push(" AND ends_at < ").push_bind(Time(before));
        }
        if filter.rotation_due {
            query.push(" AND revoked_at IS NULL AND due_at <= ").push_bind(Time(now));
            query.push(" AND (ends_at IS NULL OR ends_at > ").push_bind(Time(now)).push(")");
        }
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as::<KeyRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Key::try_from).collect()
}

/// The keys of a user that were not revoked.
pub(crate) async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<Key>, StoreError> {
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("IS NOT NULL AND revoked_at IS NULL AND user_id = ").push_bind(user.uuid());
        query.push(" ORDER BY id");
        query.build_query_as::<KeyRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(Key::try_from).collect()
}

/// Whether any key is due to be rotated and was not announced.
pub(crate) async fn any_unannounced(db: &Db, now: policy::Time) -> Result<bool, StoreError> {
    let first = on!(db, |pool| {
        sqlx::query_scalar::<_, Uuid>(FIRST_UNANNOUNCED).bind(Time(now)).fetch_optional(pool).await
    })?;
    Ok(first.is_some())
}

/// Some of the keys that are due to be rotated and were not announced since their secret was made.
pub(crate) async fn unannounced(tx: &mut Tx, now: policy::Time, limit: i64) -> Result<Vec<Key>, StoreError> {
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("IS NOT NULL AND revoked_at IS NULL AND due_at <= ").push_bind(Time(now));
        query.push(" AND announced_at IS NULL ORDER BY due_at, id LIMIT ").push_bind(limit);
        query.build_query_as::<KeyRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(Key::try_from).collect()
}

pub(crate) async fn insert(tx: &mut Tx, key: &Key) -> Result<(), StoreError> {
    put(tx, INSERT, key).await
}

pub(crate) async fn update(tx: &mut Tx, key: &Key) -> Result<(), StoreError> {
    put(tx, UPDATE, key).await
}

async fn put(tx: &mut Tx, query: &'static str, key: &Key) -> Result<(), StoreError> {
    let scopes: Vec<Scope> = key.limits.scopes.into();
    let rotation = key.rotation.as_ref();
    on_tx!(tx, |on| sqlx::query(query)
        .bind(key.id.uuid())
        .bind(key.user.uuid())
        .bind(Time(key.created_at))
        .bind(&key.name)
        .bind(&key.hash.as_bytes()[..])
        .bind(&key.hint)
        .bind(key.limits.models.as_ref().map(Json))
        .bind(Json(&scopes))
        .bind(Json(&key.limits.networks))
        .bind(Json(&key.previous))
        .bind(key.expires_at.map(Time))
        .bind(key.revoked_at.map(Time))
        .bind(Time(key.secret_at))
        .bind(rotation.map(|rotation| whole_seconds(rotation.every)))
        .bind(rotation.map(|rotation| whole_seconds(rotation.grace)))
        .bind(rotation.map(|rotation| if rotation.expires { EXPIRE } else { REMIND }))
        .bind(key.due_at().map(Time))
        .bind(key.ends_at().map(Time))
        .bind(key.announced_at.map(Time))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}
