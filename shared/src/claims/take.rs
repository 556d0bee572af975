//! Taking work, keeping it, and ending it. Whoever writes names the fence of the row as it was when they took it.

use super::{Claim, End, Failure, MESSAGE, PAYLOAD, RESULT, State, TABLE, Ticket};
use crate::{
    db::{Db, Time, Tx},
    on, on_tx,
    seal::{Sealer, rows::Vault},
};
use uuid::Uuid;

const NEXT: &str = "SELECT MIN(due) AS due FROM claims WHERE queue = $1 AND state <= 2";

// Materialized, so that the rows are locked once, however the planner joins them.
const TAKE_POSTGRES: &str = "WITH free AS MATERIALIZED (SELECT id FROM claims WHERE queue = $1 AND state <= 2 \
     AND due <= $2 ORDER BY due, id LIMIT $3 FOR UPDATE SKIP LOCKED) \
     UPDATE claims SET state = 2, attempt = attempt + 1, fence = fence + 1, worker = $4, due = $5, \
     started = COALESCE(started, $2) WHERE id IN (SELECT id FROM free) \
     RETURNING id, kind, owner, payload, lock_name, attempt, attempts, percent, fence, cancel, created";

const TAKE_SQLITE: &str = "UPDATE claims SET state = 2, attempt = attempt + 1, fence = fence + 1, worker = $4, \
     due = $5, started = COALESCE(started, $2) WHERE id IN (SELECT id FROM claims WHERE queue = $1 AND state <= 2 \
     AND due <= $2 ORDER BY due, id LIMIT $3) \
     RETURNING id, kind, owner, payload, lock_name, attempt, attempts, percent, fence, cancel, created";

const BEAT: &str = "UPDATE claims SET due = $3, percent = $4 WHERE id = $1 AND fence = $2 AND state = 2 \
     RETURNING cancel";

const HOLDS_POSTGRES: &str = "SELECT id FROM claims WHERE id = $1 AND fence = $2 AND state = 2 FOR UPDATE";

const HOLDS_SQLITE: &str = "SELECT id FROM claims WHERE id = $1 AND fence = $2 AND state = 2";

// What it was done with is of no use any more, and may be large.
const END: &str = "UPDATE claims SET state = $3, percent = CASE WHEN $3 = 3 THEN 100 ELSE percent END, ended = $4, \
     expires = $5, result = $6, reason = $7, message = $8, payload = $9, seal = $10 \
     WHERE id = $1 AND fence = $2 AND state = 2 RETURNING id";

// Its values may have been sealed with several keys from here on.
const AGAIN: &str = "UPDATE claims SET state = 1, due = $3, reason = $4, message = $5, worker = NULL, \
     seal = CASE WHEN seal = $6 THEN seal ELSE '' END \
     WHERE id = $1 AND fence = $2 AND state = 2 RETURNING id";

const BACK: &str = "UPDATE claims SET state = 1, due = $3, attempt = attempt - 1, worker = NULL \
     WHERE id = $1 AND fence = $2 AND state = 2 RETURNING id";

const CANCEL: &str = "UPDATE claims SET cancel = TRUE, ended = CASE WHEN state = 1 THEN $3 ELSE ended END, \
     expires = CASE WHEN state = 1 THEN $4 ELSE expires END, payload = CASE WHEN state = 1 THEN $5 ELSE payload END, \
     state = CASE WHEN state = 1 THEN 5 ELSE state END WHERE id = $1 AND owner = $2 AND state <= 2 RETURNING state";

const CANCEL_LATER: &str = "UPDATE claims SET cancel = TRUE, due = CASE WHEN state = 1 THEN $3 ELSE due END \
     WHERE id = $1 AND owner = $2 AND state <= 2 RETURNING state";

const PURGE: &str = "DELETE FROM claims WHERE id IN (SELECT id FROM claims WHERE expires <= $1 ORDER BY expires \
     LIMIT $2) RETURNING id";

/// What is left of a payload in the end.
const NOTHING: &[u8] = &[];

/// What a beat finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Go on.
    Held,
    /// It is held, and its owner wants it no more.
    Cancelled,
    /// Somebody else has it, or it is over.
    Lost,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    owner: Uuid,
    payload: Vec<u8>,
    lock_name: Option<String>,
    attempt: i64,
    attempts: i64,
    percent: i32,
    fence: i64,
    cancel: bool,
    created: Time,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    due: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct CancelRow {
    cancel: bool,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    state: i32,
}

#[derive(sqlx::FromRow)]
struct IdRow {
    #[expect(dead_code, reason = "that there is a row says it all")]
    id: Uuid,
}

/// When the first of a queue may be taken; nothing when it is empty. Asking costs less than taking in vain.
///
/// # Errors
/// When the database is away.
pub async fn next_due(db: &Db, queue: &str) -> Result<Option<policy::Time>, sqlx::Error> {
    let row = on!(db, |pool| sqlx::query_as::<_, DueRow>(NEXT).bind(queue).fetch_one(pool).await)?;
    Ok(row.due.map(policy::Time::from))
}

/// Takes up to `most` of a queue that are due, for `worker`, until `lease` unless that is put off. What none of the keys
/// at hand opens is left to somebody else.
///
/// # Errors
/// When the database is away.
pub async fn take(
    vault: &Vault,
    queue: &str,
    worker: &str,
    most: u32,
    (now, lease): (policy::Time, policy::Time),
) -> Result<Vec<Claim>, sqlx::Error> {
    let text = match &vault.db {
        Db::Postgres(_) => TAKE_POSTGRES,
        Db::Sqlite(_) => TAKE_SQLITE,
    };
    let rows = on!(&vault.db, |pool| {
        sqlx::query_as::<_, Row>(text)
            .bind(queue)
            .bind(Time(now))
            .bind(i64::from(most))
            .bind(worker)
            .bind(Time(lease))
            .fetch_all(pool)
            .await
    })?;
    let opened = rows.into_iter().filter_map(|row| {
        let id = row.id;
        let claim = row.open(&vault.sealer);
        claim.inspect_err(|error| tracing::error!(%id, %error, "what is kept of a job cannot be read")).ok()
    });
    Ok(opened.collect())
}

/// Says that it is still worked on, and how far that is.
///
/// # Errors
/// When the database is away; then the lease goes on running.
pub async fn beat(db: &Db, ticket: Ticket, percent: u8, lease: policy::Time) -> Result<Beat, sqlx::Error> {
    let row = on!(db, |pool| {
        sqlx::query_as::<_, CancelRow>(BEAT)
            .bind(ticket.id)
            .bind(ticket.fence)
            .bind(Time(lease))
            .bind(i32::from(percent.min(100)))
            .fetch_optional(pool)
            .await
    })?;
    Ok(match row {
        None => Beat::Lost,
        Some(CancelRow { cancel: true }) => Beat::Cancelled,
        Some(CancelRow { cancel: false }) => Beat::Held,
    })
}

/// Whether it is held, and stays so until the transaction ends.
///
/// # Errors
/// When the database is away.
pub async fn holds(tx: &mut Tx, ticket: Ticket) -> Result<bool, sqlx::Error> {
    let text = match tx {
        Tx::Postgres(_) => HOLDS_POSTGRES,
        Tx::Sqlite(_) => HOLDS_SQLITE,
    };
    let row = on_tx!(tx, |connection| {
        sqlx::query_as::<_, IdRow>(text).bind(ticket.id).bind(ticket.fence).fetch_optional(connection).await
    })?;
    Ok(row.is_some())
}

/// Ends it, together with whatever else is in the transaction, and keeps what came of it until `expires`. Returns
/// whether it was held; when it was not, the transaction must not be committed.
///
/// # Errors
/// When the database is away.
pub async fn end_held(
    tx: &mut Tx,
    sealer: &Sealer,
    ticket: Ticket,
    end: &End,
    (now, expires): (policy::Time, policy::Time),
) -> Result<bool, sqlx::Error> {
    let seal = |column, plain: &[u8]| TABLE.seal(sealer, column, (ticket.id, 0), plain);
    let (state, result, failure) = match end {
        End::Succeeded(result) => (State::Succeeded, Some(seal(RESULT, result)), None),
        End::Failed(failure) => (State::Failed, None, Some(failure)),
        End::Cancelled => (State::Cancelled, None, None),
    };
    let row = on_tx!(tx, |connection| {
        sqlx::query_as::<_, IdRow>(END)
            .bind(ticket.id)
            .bind(ticket.fence)
            .bind(state.number())
            .bind(Time(now))
            .bind(Time(expires))
            .bind(result)
            .bind(failure.map(|failure| failure.reason.as_str()))
            .bind(failure.map(|failure| seal(MESSAGE, failure.message.as_bytes())))
            .bind(NOTHING)
            .bind(sealer.current())
            .fetch_optional(connection)
            .await
    })?;
    Ok(row.is_some())
}

/// The same by itself.
///
/// # Errors
/// When the database is away.
pub async fn end(
    vault: &Vault,
    ticket: Ticket,
    end: &End,
    when: (policy::Time, policy::Time),
) -> Result<bool, sqlx::Error> {
    let mut tx = vault.begin().await?;
    let held = end_held(&mut tx, &vault.sealer, ticket, end, when).await?;
    tx.commit().await?;
    Ok(held)
}

/// Gives it back, to be tried again from `due` on. Returns whether it was held.
///
/// # Errors
/// When the database is away.
pub async fn again(
    vault: &Vault,
    ticket: Ticket,
    failure: &Failure,
    due: policy::Time,
) -> Result<bool, sqlx::Error> {
    let message = TABLE.seal(&vault.sealer, MESSAGE, (ticket.id, 0), failure.message.as_bytes());
    let row = on!(&vault.db, |pool| {
        sqlx::query_as::<_, IdRow>(AGAIN)
            .bind(ticket.id)
            .bind(ticket.fence)
            .bind(Time(due))
            .bind(failure.reason.as_str())
            .bind(message.as_slice())
            .bind(vault.sealer.current())
            .fetch_optional(pool)
            .await
    })?;
    Ok(row.is_some())
}

/// Gives it back as if it had not been taken. Returns whether it was held.
///
/// # Errors
/// When the database is away.
pub async fn back(db: &Db, ticket: Ticket, due: policy::Time) -> Result<bool, sqlx::Error> {
    let row = on!(db, |pool| {
        sqlx::query_as::<_, IdRow>(BACK)
            .bind(ticket.id)
            .bind(ticket.fence)
            .bind(Time(due))
            .fetch_optional(pool)
            .await
    })?;
    Ok(row.is_some())
}

/// Notes that its owner wants it no more. One that nobody has is over at once, or, when a worker has to clean up after
/// it (`later`), is taken once more for that. Returns how it stands then; nothing when it is not theirs or is over.
///
/// # Errors
/// When the database is away.
pub async fn cancel(
    tx: &mut Tx,
    (id, owner): (Uuid, Uuid),
    later: bool,
    (now, expires): (policy::Time, policy::Time),
) -> Result<Option<State>, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        let query = sqlx::query_as::<_, StateRow>(if later { CANCEL_LATER } else { CANCEL });
        let query = query.bind(id).bind(owner).bind(Time(now));
        let query = if later { query } else { query.bind(Time(expires)).bind(NOTHING) };
        query.fetch_optional(connection).await
    })?;
    row.map(|row| State::from_number(row.state)).transpose()
}

/// Forgets up to `most` of those that were to be kept until now. Returns how many.
///
/// # Errors
/// When the database is away.
pub async fn purge(db: &Db, most: u32, now: policy::Time) -> Result<usize, sqlx::Error> {
    let rows = on!(db, |pool| {
        sqlx::query_as::<_, IdRow>(PURGE).bind(Time(now)).bind(i64::from(most)).fetch_all(pool).await
    })?;
    Ok(rows.len())
}

impl Row {
    fn open(self, sealer: &Sealer) -> Result<Claim, sqlx::Error> {
        let row = self;
        let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Claim {
            ticket: Ticket { id: row.id, fence: row.fence },
            kind: row.kind,
            owner: row.owner,
            payload: TABLE.open(sealer, PAYLOAD, (row.id, 0), &row.payload)?,
            attempt: count(row.attempt),
            attempts: count(row.attempts),
            percent: u8::try_from(row.percent).unwrap_or(0),
            cancel: row.cancel,
            lock: row.lock_name,
            created: row.created.0,
        })
    }
}
