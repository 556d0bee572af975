//! The tables of sessions and of the refresh tokens that carry them: digests, never tokens.
//!
//! Opening and refreshing happen in a transaction of their own, away from the head; ending belongs to a write.

use super::StoreError;
use crate::sessions::Session;
use policy::{SessionId, UserId};
use shared::{
    auth::secret::Digest,
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: Uuid,
    user_id: Uuid,
    method: String,
    client: Vec<u8>,
    created_at: Time,
    refreshed_at: Time,
    expires_at: Time,
    ended_at: Option<Time>,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.id),
            user: UserId(row.user_id),
            method: row.method,
            sealed_client: row.client,
            created_at: row.created_at.0,
            refreshed_at: row.refreshed_at.0,
            expires_at: row.expires_at.0,
            ended_at: row.ended_at.map(policy::Time::from),
        }
    }
}

/// Nobody who is disabled opens a session.
const OPEN: &str = "INSERT INTO sessions (id, user_id, method, client, created_at, refreshed_at, expires_at) \
    SELECT $1, id, $3, $4, $5, $6, $7 FROM users \
    WHERE id = $2 AND NOT disabled AND deleted_at IS NULL";
const ADD_TOKEN: &str = "INSERT INTO refresh_tokens (hash, session_id) VALUES ($1, $2)";
/// Of two who show the same token, one finds it unspent: the other waits for the row, then no longer matches.
const SPEND: &str = "UPDATE refresh_tokens SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL \
    RETURNING session_id";
const OF_TOKEN: &str = "SELECT session_id FROM refresh_tokens WHERE hash = $1";
const REFRESH: &str = "UPDATE sessions SET refreshed_at = $2 \
    WHERE id = $1 AND ended_at IS NULL AND expires_at > $2 \
    RETURNING id, user_id, method, client, created_at, refreshed_at, expires_at, ended_at";
const GET: &str = "SELECT id, user_id, method, client, created_at, refreshed_at, expires_at, ended_at \
    FROM sessions WHERE id = $1";
const LIST: &str = "SELECT id, user_id, method, client, created_at, refreshed_at, expires_at, ended_at \
    FROM sessions WHERE user_id = $1 AND id > $2 AND ended_at IS NULL AND expires_at > $3 ORDER BY id LIMIT $4";
const END: &str = "UPDATE sessions SET ended_at = $2, tokens_until = $3 \
    WHERE id = $1 AND ended_at IS NULL AND expires_at > $2 \
    RETURNING id, user_id, method, client, created_at, refreshed_at, expires_at, ended_at";
const END_ALL: &str = "UPDATE sessions SET ended_at = $2, tokens_until = $3 \
    WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND id <> $4 \
    RETURNING id, user_id, method, client, created_at, refreshed_at, expires_at, ended_at";
const FORGET: &str = "DELETE FROM sessions WHERE expires_at <= $1";

/// Keeps a new session and its first token. Returns whether its user may have one.
pub(crate) async fn open(db: &Db, session: &Session, token: &Digest) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let opened = on_tx!(&mut tx, |on| sqlx::query(OPEN)
        .bind(session.id.uuid())
        .bind(session.user.uuid())
        .bind(&session.method)
        .bind(&session.sealed_client)
        .bind(Time(session.created_at))
        .bind(Time(session.refreshed_at))
        .bind(Time(session.expires_at))
        .execute(on)
        .await
        .map(|done| done.rows_affected()))?;
    if opened == 0 {
        return Ok(false);
    }
    add_token(&mut tx, session.id, token).await?;
    tx.commit().await?;
    Ok(true)
}

async fn add_token(tx: &mut Tx, session: SessionId, token: &Digest) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(ADD_TOKEN)
        .bind(&token.as_bytes()[..])
        .bind(session.uuid())
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// What became of a refresh token that was shown.
#[derive(Debug)]
pub(crate) enum Spent {
    /// It was good: the session goes on with the next token.
    Refreshed(Session),
    /// It was good, but its session had ended.
    Over(SessionId),
    /// It had been spent before.
    Again(SessionId),
    /// Nobody's.
    Unknown,
}

/// Spends a refresh token for the next one, both or none.
pub(crate) async fn refresh(
    db: &Db,
    token: &Digest,
    next: &Digest,
    now: policy::Time,
) -> Result<Spent, StoreError> {
    let mut tx = db.begin().await?;
    let spent: Option<Uuid> = on_tx!(&mut tx, |on| sqlx::query_scalar(SPEND)
        .bind(&token.as_bytes()[..])
        .bind(Time(now))
        .fetch_optional(on)
        .await)?;
    let Some(session) = spent else {
        let known: Option<Uuid> = on_tx!(&mut tx, |on| sqlx::query_scalar(OF_TOKEN)
            .bind(&token.as_bytes()[..])
            .fetch_optional(on)
            .await)?;
        return Ok(known.map_or(Spent::Unknown, |session| Spent::Again(SessionId(session))));
    };
    let row = on_tx!(&mut tx, |on| sqlx::query_as::<_, SessionRow>(REFRESH)
        .bind(session)
        .bind(Time(now))
        .fetch_optional(on)
        .await)?;
    let Some(session) = row.map(Session::from) else { return Ok(Spent::Over(SessionId(session))) };
    add_token(&mut tx, session.id, next).await?;
    tx.commit().await?;
    Ok(Spent::Refreshed(session))
}

/// The session that a refresh token belongs to, spent or not.
pub(crate) async fn of_token(db: &Db, token: &Digest) -> Result<Option<SessionId>, StoreError> {
    let found: Option<Uuid> =
        on!(db, |pool| sqlx::query_scalar(OF_TOKEN).bind(&token.as_bytes()[..]).fetch_optional(pool).await)?;
    Ok(found.map(SessionId))
}

pub(crate) async fn get(db: &Db, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row =
        on!(db, |pool| sqlx::query_as::<_, SessionRow>(GET).bind(id.uuid()).fetch_optional(pool).await)?;
    Ok(row.map(Session::from))
}

pub(crate) async fn find(tx: &mut Tx, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, SessionRow>(GET).bind(id.uuid()).fetch_optional(on).await)?;
    Ok(row.map(Session::from))
}

/// The sessions of a user that go on, after the id `after`.
pub(crate) async fn list(
    db: &Db,
    user: UserId,
    after: Uuid,
    limit: i64,
    now: policy::Time,
) -> Result<Vec<Session>, StoreError> {
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, SessionRow>(LIST).bind(user.uuid()).bind(after);
        query.bind(Time(now)).bind(limit).fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Ends a session unless it has ended; `until` is from when on none of its tokens is valid anyway.
pub(crate) async fn end(
    tx: &mut Tx,
    id: SessionId,
    now: policy::Time,
    until: policy::Time,
) -> Result<Option<Session>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, SessionRow>(END).bind(id.uuid());
        query.bind(Time(now)).bind(Time(until)).fetch_optional(on).await
    })?;
    Ok(row.map(Session::from))
}

/// Ends all sessions of a user that go on, but for one.
pub(crate) async fn end_all(
    tx: &mut Tx,
    user: UserId,
    but: Option<SessionId>,
    now: policy::Time,
    until: policy::Time,
) -> Result<Vec<Session>, StoreError> {
    let but = but.map(SessionId::uuid).unwrap_or_default();
    let rows = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, SessionRow>(END_ALL).bind(user.uuid());
        query.bind(Time(now)).bind(Time(until)).bind(but).fetch_all(on).await
    })?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Deletes the sessions that ended before `until`, with their tokens.
pub(crate) async fn forget(db: &Db, until: policy::Time) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(FORGET).bind(Time(until)).execute(pool).await.map(drop))?;
    Ok(())
}
