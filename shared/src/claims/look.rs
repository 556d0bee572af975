//! Reading work as its owner and its operators see it. Nothing here shows what it is done with.

use super::{Failure, MESSAGE, New, RESULT, State, TABLE};
use crate::{
    db::{Db, Time},
    on,
    seal::{Sealer, rows::Vault},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const COLUMNS: &str = "SELECT id, queue, kind, state, percent, attempt, attempts, cancel, due, created, started, ended, \
     expires, lock_name, reason, message";

/// So many of a queue and a state are counted: whoever has more need not wait until all of them were.
const COUNTED: u32 = 10_000;

const BUSY: &str = "SELECT worker, queue, COUNT(*) AS number, MIN(started) AS started FROM claims \
     WHERE state = 2 AND worker IS NOT NULL GROUP BY worker, queue ORDER BY worker, queue";

const WAITING: &str = "SELECT COUNT(*) AS number FROM (SELECT 1 FROM claims WHERE owner = $1 AND state <= 2 \
     LIMIT $2) AS theirs";

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: Uuid,
    /// Whose workers take it.
    pub queue: String,
    /// What is to be done.
    pub kind: String,
    /// Where it stands.
    pub state: State,
    /// How far it is, 0 to 100.
    pub percent: u8,
    /// How often it was begun.
    pub attempt: u32,
    /// How often it may be begun.
    pub attempts: u32,
    /// Whether its owner wants it no more.
    pub cancel: bool,
    /// When it may begin; of one that is worked on, when it would be taken from a worker that says nothing.
    pub due: policy::Time,
    /// Since when it is there.
    pub created: policy::Time,
    /// When it was first begun.
    pub started: Option<policy::Time>,
    /// Since when it is over.
    pub ended: Option<policy::Time>,
    /// Until when it is kept.
    pub expires: Option<policy::Time>,
    /// The lock that it holds, or held.
    pub lock: Option<String>,
    /// Why it was given up, or is tried again.
    pub failure: Option<Failure>,
    /// What came of it; only where one is asked for by its id.
    pub result: Option<Vec<u8>>,
}

impl New<'_> {
    /// What it would be, once it was entered.
    #[must_use]
    pub fn row(&self, now: policy::Time) -> Row {
        Row {
            id: self.id,
            queue: self.queue.to_owned(),
            kind: self.kind.to_owned(),
            state: State::Pending,
            percent: 0,
            attempt: 0,
            attempts: self.attempts,
            cancel: false,
            due: self.due,
            created: now,
            started: None,
            ended: None,
            expires: None,
            lock: self.lock.map(str::to_owned),
            failure: None,
            result: None,
        }
    }
}

/// Which of an owner's are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Those of this queue.
    pub queue: Option<&'a str>,
    /// Those in this state.
    pub state: Option<State>,
    /// Those of this kind.
    pub kind: Option<&'a str>,
}

/// How many of a queue are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: State,
    /// How many, up to ten thousand.
    pub number: u64,
}

/// A worker that has something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// Its name.
    pub worker: String,
    /// The queue that it takes from.
    pub queue: String,
    /// How many it has.
    pub number: u64,
    /// When the first of them was begun.
    pub since: Option<policy::Time>,
}

#[derive(sqlx::FromRow)]
struct Stored {
    id: Uuid,
    queue: String,
    kind: String,
    state: i32,
    percent: i32,
    attempt: i64,
    attempts: i64,
    cancel: bool,
    due: Time,
    created: Time,
    started: Option<Time>,
    ended: Option<Time>,
    expires: Option<Time>,
    lock_name: Option<String>,
    reason: Option<String>,
    message: Option<Vec<u8>>,
    #[sqlx(default)]
    result: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct CountRow {
    place: i32,
    state: i32,
    number: i64,
}

#[derive(sqlx::FromRow)]
struct BusyRow {
    worker: String,
    queue: String,
    number: i64,
    started: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct NumberRow {
    number: i64,
}

/// One of somebody's, with what came of it.
///
/// # Errors
/// When the database is away.
pub async fn get(vault: &Vault, id: Uuid, owner: Uuid) -> Result<Option<Row>, sqlx::Error> {
    let row = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(COLUMNS);
        select.push(", result FROM claims WHERE id = ").push_bind(id);
        select.push(" AND owner = ").push_bind(owner);
        select.build_query_as::<Stored>().fetch_optional(pool).await
    })?;
    row.map(|row| row.open(&vault.sealer)).transpose()
}

/// Somebody's, the newest first, those before `before` when there is one.
///
/// # Errors
/// When the database is away.
pub async fn page(
    vault: &Vault,
    owner: Uuid,
    filter: Filter<'_>,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(COLUMNS);
        select.push(" FROM claims WHERE owner = ").push_bind(owner);
        if let Some(queue) = filter.queue {
            select.push(" AND queue = ").push_bind(queue);
        }
        if let Some(state) = filter.state {
            select.push(" AND state = ").push_bind(state.number());
        }
        if let Some(kind) = filter.kind {
            select.push(" AND kind = ").push_bind(kind);
        }
        if let Some(before) = before {
            select.push(" AND id < ").push_bind(before);
        }
        select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<Stored>().fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| row.open(&vault.sealer)).collect()
}

/// How many of somebody's are not over, counted up to `most`.
///
/// # Errors
/// When the database is away.
pub async fn waiting(db: &Db, owner: Uuid, most: u32) -> Result<u32, sqlx::Error> {
    let row = on!(db, |pool| {
        sqlx::query_as::<_, NumberRow>(WAITING).bind(owner).bind(i64::from(most)).fetch_one(pool).await
    })?;
    Ok(u32::try_from(row.number).unwrap_or(u32::MAX))
}

/// How many there are, by queue and state, counted up to ten thousand each.
///
/// # Errors
/// When the database is away.
pub async fn count(db: &Db, queues: &[&str]) -> Result<Vec<Count>, sqlx::Error> {
    let places = || queues.iter().enumerate().flat_map(|place| State::ALL.map(|state| (place, state)));
    let rows = on!(db, |pool| {
        let mut counts = QueryBuilder::new("");
        for ((place, queue), state) in places() {
            counts.push(if place == 0 && state == State::ALL[0] { "SELECT " } else { " UNION ALL SELECT " });
            counts.push(place).push(" AS place, ").push(state.number()).push(" AS state, ");
            counts.push("(SELECT COUNT(*) FROM (SELECT 1 FROM claims WHERE queue = ").push_bind(*queue);
            counts.push(" AND state = ").push(state.number()).push(" LIMIT ").push(COUNTED);
            counts.push(") AS counted) AS number");
        }
        counts.build_query_as::<CountRow>().fetch_all(pool).await
    })?;
    let count = |row: CountRow| {
        let queue = usize::try_from(row.place).ok().and_then(|place| queues.get(place))?;
        let number = u64::try_from(row.number).ok().filter(|number| *number > 0)?;
        Some(State::from_number(row.state).map(|state| Count { queue: (*queue).to_owned(), state, number }))
    };
    rows.into_iter().filter_map(count).collect()
}

/// Who works on what.
///
/// # Errors
/// When the database is away.
pub async fn busy(db: &Db) -> Result<Vec<Busy>, sqlx::Error> {
    let rows = on!(db, |pool| sqlx::query_as::<_, BusyRow>(BUSY).fetch_all(pool).await)?;
    let busy = |row: BusyRow| Busy {
        worker: row.worker,
        queue: row.queue,
        number: u64::try_from(row.number).unwrap_or(0),
        since: row.started.map(policy::Time::from),
    };
    Ok(rows.into_iter().map(busy).collect())
}

impl Stored {
    fn open(self, sealer: &Sealer) -> Result<Row, sqlx::Error> {
        let row = self;
        let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        let time = |time: Option<Time>| time.map(policy::Time::from);
        let message = row.message.unwrap_or_default();
        let message = TABLE.open_text(sealer, MESSAGE, (row.id, 0), &message)?;
        let failure = row.reason.map(|reason| Failure { reason, message });
        let result = row.result.map(|result| TABLE.open(sealer, RESULT, (row.id, 0), &result));
        Ok(Row {
            id: row.id,
            queue: row.queue,
            kind: row.kind,
            state: State::from_number(row.state)?,
            percent: u8::try_from(row.percent).unwrap_or(0),
            attempt: count(row.attempt),
            attempts: count(row.attempts),
            cancel: row.cancel,
            due: row.due.0,
            created: row.created.0,
            started: time(row.started),
            ended: time(row.ended),
            expires: time(row.expires),
            lock: row.lock_name,
            failure,
            result: result.transpose()?,
        })
    }
}
