//! The ledger itself. Rows are added and read, never changed.

use super::{group_or_nil, id_or_nil, nil_to_none};
use crate::{
    usage::course::Course,
    usage::records::{Order, Position, Query},
    usage::{Charge, Entry, Kept, Outcome, Record, RecordKey},
};
use policy::{GroupId, ModelId, UserId};
use pricing::Money;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use uuid::Uuid;

/// One value per column: 1,000 records are 29,000 values, and SQLite takes 32,766 in one statement.
const INSERT: &str = "INSERT INTO usage_records (usage_id, attempt, request_id, user_id, key_id, model_id, model, \
     engine, endpoint, stream, outcome, estimated, prompt_tokens, cached_prompt_tokens, completion_tokens, \
     start_time, queue_micros, first_token_micros, duration_micros, cached, saved_prompt_tokens, \
     saved_completion_tokens, body_hash, group_id, served_model, cost, price_id, course, gpu_micros) ";

/// What counts of a record: itself, or what superseded it last.
const SELECT: &str = "SELECT r.usage_id, r.attempt, r.request_id, r.user_id, r.key_id, r.group_id, r.model_id, r.model, \
     r.served_model, r.engine, r.endpoint, r.stream, r.outcome, r.estimated, \
     COALESCE(c.prompt_tokens, r.prompt_tokens) AS prompt_tokens, \
     COALESCE(c.cached_prompt_tokens, r.cached_prompt_tokens) AS cached_prompt_tokens, \
     COALESCE(c.completion_tokens, r.completion_tokens) AS completion_tokens, r.start_time, r.queue_micros, \
     r.first_token_micros, r.duration_micros, r.cached, r.saved_prompt_tokens, r.saved_completion_tokens, r.course, r.gpu_micros, \
     CASE WHEN c.revision IS NULL THEN r.cost ELSE c.cost END AS cost, \
     CASE WHEN c.revision IS NULL THEN r.price_id ELSE c.price_id END AS price_id, \
     COALESCE(c.revision, 0) AS revision FROM (SELECT * FROM usage_records WHERE 1 = 1";

/// The records are found first: their corrections are looked up one by one.
const CORRECTED: &str = ") AS r LEFT JOIN usage_corrections AS c \
     ON c.usage_id = r.usage_id AND c.attempt = r.attempt AND c.revision = (SELECT MAX(l.revision) \
     FROM usage_corrections AS l WHERE l.usage_id = r.usage_id AND l.attempt = r.attempt)";

#[derive(sqlx::FromRow)]
struct KeyRow {
    usage_id: Uuid,
    attempt: i64,
}

#[derive(sqlx::FromRow)]
struct HashRow {
    #[sqlx(flatten)]
    key: KeyRow,
    body_hash: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    key: KeyRow,
    request_id: String,
    user_id: Uuid,
    key_id: Uuid,
    group_id: Uuid,
    model_id: Uuid,
    model: String,
    served_model: String,
    engine: String,
    endpoint: String,
    stream: bool,
    outcome: i32,
    estimated: bool,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    start_time: Time,
    queue_micros: Option<i64>,
    first_token_micros: Option<i64>,
    duration_micros: Option<i64>,
    cached: bool,
    saved_prompt_tokens: i64,
    saved_completion_tokens: i64,
    course: String,
    gpu_micros: Option<i64>,
    cost: Option<i64>,
    price_id: Option<Uuid>,
    revision: i64,
}

/// Adds entries whose keys differ from each other with what each costs, and returns the keys that were new.
pub(crate) async fn insert(
    tx: &mut Tx,
    entries: &[Entry],
    charges: &[Charge],
) -> Result<HashSet<RecordKey>, sqlx::Error> {
    let rows = on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(
            entries.iter().zip(charges),
            |mut row, (Entry { record, body_hash, .. }, charge)| {
                row.push_bind(record.key.usage_id)
                    .push_bind(i64::from(record.key.attempt))
                    .push_bind(record.request_id.as_str())
                    .push_bind(record.user.uuid())
                    .push_bind(id_or_nil(record.api_key))
                    .push_bind(record.model_id.uuid())
                    .push_bind(record.model.as_str())
                    .push_bind(record.engine.as_str())
                    .push_bind(record.endpoint.as_str())
                    .push_bind(record.stream)
                    .push_bind(number(record.outcome))
                    .push_bind(record.estimated)
                    .push_bind(record.prompt_tokens)
                    .push_bind(record.cached_prompt_tokens)
                    .push_bind(record.completion_tokens)
                    .push_bind(Time(record.start))
                    .push_bind(micros(record.queue))
                    .push_bind(micros(record.first_token))
                    .push_bind(micros(record.duration))
                    .push_bind(record.cached)
                    .push_bind(record.saved_prompt_tokens)
                    .push_bind(record.saved_completion_tokens)
                    .push_bind(body_hash.as_slice())
                    .push_bind(group_or_nil(record.group))
                    .push_bind(record.served_model.as_str())
                    .push_bind(charge.cost.map(|cost| cost.0))
                    .push_bind(charge.price)
                    .push_bind(written(&record.course))
                    .push_bind(micros(record.gpu));
            },
        );
        query.push(" ON CONFLICT (usage_id, attempt) DO NOTHING RETURNING usage_id, attempt");
        // The text differs by the number of rows: remembering each would only fill the statement cache.
        query.build_query_as::<KeyRow>().persistent(false).fetch_all(connection).await
    })?;
    rows.into_iter().map(RecordKey::try_from).collect()
}

/// What the ledger holds under the keys of these entries, as hashes.
pub(crate) async fn hashes(
    tx: &mut Tx,
    entries: &[&Entry],
) -> Result<HashMap<RecordKey, [u8; 32]>, sqlx::Error> {
    if entries.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "SELECT usage_id, attempt, body_hash FROM usage_records WHERE (usage_id, attempt) IN (",
        );
        query.push_values(entries, |mut row, entry| {
            row.push_bind(entry.record.key.usage_id).push_bind(i64::from(entry.record.key.attempt));
        });
        query.push(")");
        query.build_query_as::<HashRow>().persistent(false).fetch_all(connection).await
    })?;
    rows.into_iter()
        .map(|row| Ok((row.key.try_into()?, row.body_hash.try_into().map_err(|_| unreadable("body_hash"))?)))
        .collect()
}

/// The first records of `query`, those after `after` when there is one.
pub(crate) async fn page(
    db: &Db,
    query: &Query,
    order: Order,
    after: Option<&Position>,
    limit: u32,
) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        if let Some(request_id) = &query.request_id {
            // The second half lets both engines use the index that leaves out empty ids.
            select.push(" AND request_id = ").push_bind(request_id).push(" AND request_id <> ''");
        }
        if let Some(usage_id) = query.usage_id {
            select.push(" AND usage_id = ").push_bind(usage_id);
        }
        if let Some(user) = query.user {
            select.push(" AND user_id = ").push_bind(user.uuid());
        }
        if let Some(key) = query.api_key {
            select.push(" AND key_id = ").push_bind(key.uuid());
        }
        if let Some(model) = &query.model {
            select.push(" AND model = ").push_bind(model);
        }
        if let Some(outcome) = query.outcome {
            select.push(" AND outcome = ").push_bind(number(outcome));
        }
        if let Some(start) = query.start {
            select.push(" AND start_time >= ").push_bind(Time(start));
        }
        if let Some(end) = query.end {
            select.push(" AND start_time < ").push_bind(Time(end));
        }
        let (then, direction) = match order {
            Order::NewestFirst => (" AND (start_time, usage_id, attempt) < (", " DESC"),
            Order::OldestFirst => (" AND (start_time, usage_id, attempt) > (", ""),
        };
        if let Some(after) = after {
            select.push(then).push_bind(Time(after.start));
            select.push(", ").push_bind(after.usage_id);
            select.push(", ").push_bind(i64::from(after.attempt)).push(")");
        }
        let by = |prefix: &str| {
            format!(
                " ORDER BY {prefix}start_time{direction}, {prefix}usage_id{direction}, {prefix}attempt{direction}"
            )
        };
        select.push(by("")).push(" LIMIT ").push_bind(i64::from(limit)).push(CORRECTED).push(by("r."));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Kept::try_from).collect()
}

/// One record, in a transaction that will supersede it: of two, the second waits for the first.
pub(crate) async fn locked(tx: &mut Tx, key: RecordKey) -> Result<Option<Kept>, sqlx::Error> {
    let lock = match tx {
        Tx::Postgres(_) => " FOR UPDATE",
        Tx::Sqlite(_) => "",
    };
    let row = on_tx!(tx, |connection| {
        let of = |select: &mut QueryBuilder<_>| {
            select.push(" AND usage_id = ").push_bind(key.usage_id);
            select.push(" AND attempt = ").push_bind(i64::from(key.attempt));
        };
        // Whoever waited for the lock sees with the next statement alone what the one before it did.
        let mut wait = QueryBuilder::new("SELECT usage_id, attempt FROM usage_records WHERE 1 = 1");
        of(&mut wait);
        wait.push(lock);
        wait.build_query_as::<KeyRow>().fetch_optional(&mut *connection).await?;
        let mut select = QueryBuilder::new(SELECT);
        of(&mut select);
        select.push(CORRECTED);
        select.build_query_as::<Row>().fetch_optional(&mut *connection).await
    })?;
    row.map(Kept::try_from).transpose()
}

impl TryFrom<KeyRow> for RecordKey {
    type Error = sqlx::Error;

    fn try_from(row: KeyRow) -> Result<Self, sqlx::Error> {
        let attempt = u32::try_from(row.attempt).map_err(|_| unreadable("attempt"))?;
        Ok(Self { usage_id: row.usage_id, attempt })
    }
}

impl TryFrom<Row> for Kept {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let charge = Charge { cost: row.cost.map(Money), price: row.price_id };
        let revision = u32::try_from(row.revision).map_err(|_| unreadable("revision"))?;
        let record = Record {
            key: row.key.try_into()?,
            request_id: row.request_id,
            user: UserId(row.user_id),
            api_key: nil_to_none(row.key_id),
            group: (!row.group_id.is_nil()).then_some(GroupId(row.group_id)),
            model_id: ModelId(row.model_id),
            model: row.model,
            served_model: row.served_model,
            engine: row.engine,
            endpoint: row.endpoint,
            stream: row.stream,
            outcome: outcome(row.outcome).ok_or_else(|| unreadable("outcome"))?,
            estimated: row.estimated,
            prompt_tokens: row.prompt_tokens,
            cached_prompt_tokens: row.cached_prompt_tokens,
            completion_tokens: row.completion_tokens,
            start: row.start_time.0,
            queue: duration(row.queue_micros)?,
            first_token: duration(row.first_token_micros)?,
            duration: duration(row.duration_micros)?,
            cached: row.cached,
            saved_prompt_tokens: row.saved_prompt_tokens,
            saved_completion_tokens: row.saved_completion_tokens,
            gpu: duration(row.gpu_micros)?,
            course: course(&row.course)?,
        };
        Ok(Self { record, charge, revision })
    }
}

/// How a request went, as the table holds it.
fn written(course: &Course) -> String {
    if *course == Course::default() {
        String::new()
    } else {
        serde_json::to_string(course).unwrap_or_default()
    }
}

fn course(text: &str) -> Result<Course, sqlx::Error> {
    if text.is_empty() {
        return Ok(Course::default());
    }
    serde_json::from_str(text).map_err(|_| unreadable("course"))
}

/// The number of an outcome in the table; never given to another one.
fn number(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Finished => 1,
        Outcome::Cancelled => 2,
        Outcome::Failed => 3,
        Outcome::Crashed => 4,
    }
}

fn outcome(stored: i32) -> Option<Outcome> {
    use Outcome::{Cancelled, Crashed, Failed, Finished};
    [Finished, Cancelled, Failed, Crashed].into_iter().find(|outcome| number(*outcome) == stored)
}

fn micros(duration: Option<Duration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

fn duration(micros: Option<i64>) -> Result<Option<Duration>, sqlx::Error> {
    let read =
        |micros| u64::try_from(micros).map(Duration::from_micros).map_err(|_| unreadable("a duration"));
    micros.map(read).transpose()
}

fn unreadable(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("usage_records: {column} holds what this version cannot read").into())
}
