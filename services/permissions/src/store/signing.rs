//! The table of the keys that sign access tokens. The private halves are encrypted.

use super::StoreError;
use crate::signing::SigningKey;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};

#[derive(sqlx::FromRow)]
struct SigningKeyRow {
    kid: String,
    public: Vec<u8>,
    seed: Vec<u8>,
    active_at: Time,
    retired_at: Option<Time>,
    until: Option<Time>,
}

impl TryFrom<SigningKeyRow> for SigningKey {
    type Error = StoreError;

    fn try_from(row: SigningKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: row.kid,
            public: row.public.try_into().map_err(|_| StoreError::Corrupt("signing_keys"))?,
            sealed_seed: row.seed,
            active_at: row.active_at.0,
            retired_at: row.retired_at.map(policy::Time::from),
            until: row.until.map(policy::Time::from),
        })
    }
}

const ALL: &str =
    "SELECT kid, public, seed, active_at, retired_at, until FROM signing_keys ORDER BY active_at, kid";
const PUT: &str = "INSERT INTO signing_keys (kid, public, seed, active_at, retired_at, until, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (kid) DO UPDATE SET retired_at = excluded.retired_at, until = excluded.until";
const DELETE: &str = "DELETE FROM signing_keys WHERE kid = $1";

/// Every key, in the order in which they sign.
pub(crate) async fn all(db: &Db) -> Result<Vec<SigningKey>, StoreError> {
    let rows = on!(db, |pool| sqlx::query_as::<_, SigningKeyRow>(ALL).fetch_all(pool).await)?;
    rows.into_iter().map(SigningKey::try_from).collect()
}

/// Every key, in the order in which they sign, while the head is locked.
pub(crate) async fn all_in(tx: &mut Tx) -> Result<Vec<SigningKey>, StoreError> {
    let rows = on_tx!(tx, |on| sqlx::query_as::<_, SigningKeyRow>(ALL).fetch_all(on).await)?;
    rows.into_iter().map(SigningKey::try_from).collect()
}

pub(crate) async fn put(tx: &mut Tx, key: &SigningKey, now: policy::Time) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(PUT)
        .bind(&key.kid)
        .bind(&key.public[..])
        .bind(&key.sealed_seed)
        .bind(Time(key.active_at))
        .bind(key.retired_at.map(Time))
        .bind(key.until.map(Time))
        .bind(Time(now))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, kid: &str) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DELETE).bind(kid).execute(on).await.map(drop))?;
    Ok(())
}
