//! Entering work, together with whatever else belongs to it.

use super::{New, PAYLOAD, TABLE};
use crate::{
    db::{Time, Tx},
    on_tx,
    seal::Sealer,
};
use uuid::Uuid;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is there now.
    New,
    /// Its owner had entered it before, under this id.
    Known(Uuid),
    /// Its owner has given its name to other work.
    Reused,
    /// Other work with the same lock is not over.
    Locked(Uuid),
}

// What has no lock or name of a request conflicts with nothing, so nothing is done only where one of them is taken.
const INSERT: &str = "INSERT INTO claims (id, queue, kind, owner, payload, lock_name, request_name, state, percent, \
     attempt, attempts, fence, cancel, due, created, seal, \
     request_body) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, 0, $8, 0, FALSE, $9, $10, $11, $12) ON CONFLICT DO NOTHING RETURNING id";

const BY_REQUEST: &str = "SELECT id, request_body FROM claims WHERE owner = $1 AND request_name = $2";

/// What the digests of what was asked are made for: nobody is to guess that from the table.
const REQUEST: &str = "claims.request_body";

const BY_LOCK: &str = "SELECT id FROM claims WHERE lock_name = $1 AND state <= 2";

#[derive(sqlx::FromRow)]
struct IdRow {
    id: Uuid,
    #[sqlx(default)]
    request_body: Option<Vec<u8>>,
}

/// Enters work in a transaction, unless it is there already or its lock is held.
///
/// # Errors
/// When the database is away.
pub async fn enter(
    tx: &mut Tx,
    sealer: &Sealer,
    new: &New<'_>,
    now: policy::Time,
) -> Result<Entered, sqlx::Error> {
    let payload = TABLE.seal(sealer, PAYLOAD, (new.id, 0), new.payload);
    // It may be over between the refusal and the look at what was in the way.
    for _ in 0..3 {
        if insert(tx, sealer, new, &payload, now).await? {
            return Ok(Entered::New);
        }
        if let Some((name, body)) = new.request
            && let Some(known) = find(tx, BY_REQUEST, (Some(new.owner), Some(name))).await?
        {
            let is_it = |digest| sealer.indexes(REQUEST, body).contains(&digest);
            let same = known.request_body.is_some_and(is_it);
            return Ok(if same { Entered::Known(known.id) } else { Entered::Reused });
        }
        if let Some(holder) = find(tx, BY_LOCK, (None, new.lock)).await? {
            return Ok(Entered::Locked(holder.id));
        }
    }
    Err(sqlx::Error::RowNotFound)
}

async fn insert(
    tx: &mut Tx,
    sealer: &Sealer,
    new: &New<'_>,
    payload: &[u8],
    now: policy::Time,
) -> Result<bool, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        sqlx::query_as::<_, IdRow>(INSERT)
            .bind(new.id)
            .bind(new.queue)
            .bind(new.kind)
            .bind(new.owner)
            .bind(payload)
            .bind(new.lock)
            .bind(new.request.map(|(name, _)| name))
            .bind(i64::from(new.attempts))
            .bind(Time(new.due))
            .bind(Time(now))
            .bind(sealer.current())
            .bind(new.request.map(|(_, body)| sealer.index(REQUEST, body)))
            .fetch_optional(connection)
            .await
    })?;
    Ok(row.is_some())
}

async fn find(
    tx: &mut Tx,
    query: &'static str,
    (owner, name): (Option<Uuid>, Option<&str>),
) -> Result<Option<IdRow>, sqlx::Error> {
    let Some(name) = name else { return Ok(None) };
    on_tx!(tx, |connection| {
        let query = sqlx::query_as::<_, IdRow>(query);
        let query = match owner {
            Some(owner) => query.bind(owner).bind(name),
            None => query.bind(name),
        };
        query.fetch_optional(connection).await
    })
}
