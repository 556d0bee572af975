//! Requests that may be asked again ahead of their callers, and how often they were asked in which hour of the week.

use crate::error::Error;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
    seal::{
        Sealer,
        rows::{Table, Vault},
    },
};
use uuid::Uuid;

/// Requests that were asked often.
pub(super) const REQUESTS: Table = Table { name: "cache_requests", key: ("id", None), columns: &[BODY] };

const BODY: &str = "body";

const REQUEST: &str = "INSERT INTO cache_requests (key, model, revision, endpoint, template, tags, owner, owner_key, \
     body, seen, id, seal) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, owner_key = excluded.owner_key, seen = excluded.seen";

const USES: &str = "INSERT INTO cache_uses (key, week, hour, uses) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (key, week, hour) DO UPDATE SET uses = cache_uses.uses + excluded.uses";

const POPULAR: &str = "SELECT r.key, r.model, r.revision, r.endpoint, r.template, r.tags, r.owner, r.owner_key, r.body, \
     CAST(SUM(u.uses) AS BIGINT) AS uses FROM cache_requests r JOIN cache_uses u ON u.key = r.key WHERE u.week >= $1 \
     GROUP BY r.key, r.model, r.revision, r.endpoint, r.template, r.tags, r.owner, r.owner_key, r.body \
     ORDER BY uses DESC, r.key LIMIT $2";

const EXPECTED: &str = "SELECT r.key, r.model, r.revision, r.endpoint, r.template, r.tags, r.owner, r.owner_key, r.body, \
     u.uses FROM cache_requests r JOIN (SELECT key, CAST(SUM(uses) AS BIGINT) AS uses FROM cache_uses \
     WHERE hour = $1 AND week >= $2 AND week < $3 GROUP BY key ORDER BY 2 DESC, key LIMIT $4) u ON u.key = r.key \
     ORDER BY u.uses DESC, r.key";

const KNOWN: &str = "SELECT key, model, revision, endpoint, template, tags FROM cache_requests";

const FORGET: &str = "DELETE FROM cache_requests WHERE key = $1";

const PURGE_USES: &str = "DELETE FROM cache_uses WHERE week < $1";

const PURGE_REQUESTS: &str = "DELETE FROM cache_requests WHERE seen <= $1";

const SHRINK: &str = "DELETE FROM cache_requests WHERE key IN \
     (SELECT key FROM cache_requests ORDER BY seen DESC, key LIMIT 1000 OFFSET $1)";

/// A request, and in whose name it was asked first.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Asked {
    pub(crate) key: Vec<u8>,
    pub(crate) model: String,
    pub(crate) revision: String,
    pub(crate) endpoint: String,
    pub(crate) template: String,
    pub(crate) tags: String,
    pub(crate) owner: Uuid,
    pub(crate) owner_key: Option<Uuid>,
    pub(crate) body: Vec<u8>,
    /// How often it was asked, in the time that is looked at.
    pub(crate) uses: i64,
}

/// What a request is of.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Known {
    pub(crate) key: Vec<u8>,
    pub(crate) model: String,
    pub(crate) revision: String,
    pub(crate) endpoint: String,
    pub(crate) template: String,
    pub(crate) tags: String,
}

/// An hour of a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hour {
    /// Weeks since the first Monday of 1970, or the one before.
    pub(crate) week: i64,
    /// From Monday 0 h, in UTC.
    pub(crate) hour: i32,
}

/// Notes that a request was asked so often more in an hour.
pub(crate) async fn count(
    tx: &mut Tx,
    sealer: &Sealer,
    asked: &Asked,
    hour: Hour,
    now: policy::Time,
) -> Result<(), Error> {
    let id = id_of(&asked.key);
    let (body, seal) = (REQUESTS.seal(sealer, BODY, (id, 0), &asked.body), sealer.current());
    on_tx!(tx, |connection| {
        sqlx::query(REQUEST)
            .bind(asked.key.as_slice())
            .bind(asked.model.as_str())
            .bind(asked.revision.as_str())
            .bind(asked.endpoint.as_str())
            .bind(asked.template.as_str())
            .bind(asked.tags.as_str())
            .bind(asked.owner)
            .bind(asked.owner_key)
            .bind(body.as_slice())
            .bind(Time(now))
            .bind(id)
            .bind(seal.as_str())
            .execute(connection)
            .await
            .map(drop)
    })?;
    on_tx!(tx, |connection| {
        sqlx::query(USES)
            .bind(asked.key.as_slice())
            .bind(hour.week)
            .bind(hour.hour)
            .bind(asked.uses)
            .execute(connection)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Those that were asked most since a week, that first.
pub(crate) async fn popular(vault: &Vault, since: i64, most: i64) -> Result<Vec<Asked>, Error> {
    let asked = on!(&vault.db, |pool| {
        sqlx::query_as::<_, Asked>(POPULAR).bind(since).bind(most).fetch_all(pool).await
    })?;
    opened(&vault.sealer, asked)
}

/// Those that were asked most in that hour of the weeks before, with the sum.
pub(crate) async fn expected(vault: &Vault, next: Hour, weeks: i64, most: i64) -> Result<Vec<Asked>, Error> {
    let asked = on!(&vault.db, |pool| {
        sqlx::query_as::<_, Asked>(EXPECTED)
            .bind(next.hour)
            .bind(next.week - weeks)
            .bind(next.week)
            .bind(most)
            .fetch_all(pool)
            .await
    })?;
    opened(&vault.sealer, asked)
}

fn opened(sealer: &Sealer, mut asked: Vec<Asked>) -> Result<Vec<Asked>, Error> {
    for one in &mut asked {
        one.body = REQUESTS.open(sealer, BODY, (id_of(&one.key), 0), &one.body)?;
    }
    Ok(asked)
}

/// The beginning of a key, by which its seal knows the row.
fn id_of(key: &[u8]) -> Uuid {
    Uuid::from_slice(key.get(..16).unwrap_or_default()).unwrap_or_default()
}

/// All that are known.
pub(crate) async fn known(tx: &mut Tx) -> Result<Vec<Known>, Error> {
    Ok(on_tx!(tx, |connection| sqlx::query_as::<_, Known>(KNOWN).fetch_all(connection).await)?)
}

/// Forgets one.
pub(crate) async fn forget(tx: &mut Tx, key: &[u8]) -> Result<(), Error> {
    on_tx!(tx, |connection| sqlx::query(FORGET).bind(key).execute(connection).await.map(drop))?;
    Ok(())
}

/// Forgets counts of before a week, requests that were not asked since then, and all but so many of the others.
pub(crate) async fn purge(db: &Db, week: i64, since: policy::Time, most: i64) -> Result<(), Error> {
    on!(db, |pool| sqlx::query(PURGE_USES).bind(week).execute(pool).await.map(drop))?;
    on!(db, |pool| sqlx::query(PURGE_REQUESTS).bind(Time(since)).execute(pool).await.map(drop))?;
    on!(db, |pool| sqlx::query(SHRINK).bind(most).execute(pool).await.map(drop))?;
    Ok(())
}

#[cfg(test)]
mod tests;
