//! Batches, and the lines that were answered so far. The claim of the same id says who may write to them.

use crate::{
    batches::{Batch, Counts, Fault, Status},
    error::Error,
};
use shared::{
    db::{Time, Tx},
    on, on_tx,
    seal::{
        Sealer,
        rows::{Table, Vault},
    },
};
use sqlx::QueryBuilder;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Batches.
pub(super) const BATCHES: Table = Table { name: "batches", key: ("id", None), columns: &[METADATA, ERRORS] };
/// Their lines.
pub(super) const BATCH_LINES: Table =
    Table { name: "batch_lines", key: ("batch", Some("line")), columns: &[BODY] };

const METADATA: &str = "metadata";
const ERRORS: &str = "errors";
const BODY: &str = "body";

const INSERT: &str = "INSERT INTO batches (id, owner, input, endpoint, completion_window, metadata, status, total, \
     completed, failed, created, expires, seal) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, $8, $9, $10)";

const SELECT: &str = "SELECT id, owner, input, endpoint, completion_window, metadata, status, errors, total, completed, \
     failed, output, error_output, created, expires, in_progress, finalizing, cancelling, ended FROM batches";

const BEGIN: &str = "UPDATE batches SET status = CASE WHEN status = 1 THEN 3 ELSE status END, total = $2, \
     in_progress = $3 WHERE id = $1";

const COUNT: &str = "UPDATE batches SET completed = $2, failed = $3 WHERE id = $1";

const FINALIZING: &str = "UPDATE batches SET status = CASE WHEN status = 3 THEN 4 ELSE status END, finalizing = $2 \
     WHERE id = $1";

const CANCELLING: &str =
    "UPDATE batches SET status = 7, cancelling = $2 WHERE id = $1 AND status IN (1, 3, 4)";

// Its values may have been sealed with several keys from here on.
const FINISH: &str = "UPDATE batches SET status = $2, output = $3, error_output = $4, errors = $5, completed = $6, \
     failed = $7, ended = $8, seal = CASE WHEN seal = $9 THEN seal ELSE '' END WHERE id = $1";

const LINES: &str = "SELECT line, failed FROM batch_lines WHERE batch = $1";

const BODIES: &str = "SELECT line, body FROM batch_lines WHERE batch = $1 AND failed = $2 AND line > $3 ORDER BY line \
     LIMIT $4";

const CLEAR: &str = "DELETE FROM batch_lines WHERE batch = $1";

const PURGE: &str = "DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE ended <= $1 ORDER BY ended LIMIT $2) \
     RETURNING id";

/// Rows of one statement; each is five values.
const ROWS: usize = 500;

/// A line that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u32,
    /// Whether it is for the errors.
    pub(crate) failed: bool,
    /// What is written of it, without the end of the line.
    pub(crate) body: Vec<u8>,
}

/// How a batch ends.
#[derive(Debug, Clone)]
pub(crate) struct Finish<'a> {
    pub(crate) status: Status,
    pub(crate) output: Option<Uuid>,
    pub(crate) error_output: Option<Uuid>,
    pub(crate) faults: &'a [Fault],
    pub(crate) counts: Counts,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    owner: Uuid,
    input: Uuid,
    endpoint: String,
    completion_window: String,
    metadata: Vec<u8>,
    status: i32,
    errors: Option<Vec<u8>>,
    total: i64,
    completed: i64,
    failed: i64,
    output: Option<Uuid>,
    error_output: Option<Uuid>,
    created: Time,
    expires: Time,
    in_progress: Option<Time>,
    finalizing: Option<Time>,
    cancelling: Option<Time>,
    ended: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    line: i64,
    failed: bool,
}

#[derive(sqlx::FromRow)]
struct BodyRow {
    line: i64,
    body: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct IdRow {
    #[expect(dead_code, reason = "rows are counted")]
    id: Uuid,
}

/// Enters one.
pub(crate) async fn insert(tx: &mut Tx, sealer: &Sealer, batch: &Batch) -> Result<(), Error> {
    let metadata = serde_json::to_vec(&batch.metadata).unwrap_or_default();
    let metadata = BATCHES.seal(sealer, METADATA, (batch.id, 0), &metadata);
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(batch.id)
            .bind(batch.owner)
            .bind(batch.input)
            .bind(batch.endpoint.path())
            .bind(batch.window.as_str())
            .bind(metadata.as_slice())
            .bind(batch.status.number())
            .bind(Time(batch.created))
            .bind(Time(batch.expires))
            .bind(sealer.current())
            .execute(connection)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// One of somebody's.
pub(crate) async fn get(vault: &Vault, id: Uuid, owner: Uuid) -> Result<Option<Batch>, Error> {
    let row = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" WHERE id = ").push_bind(id);
        select.push(" AND owner = ").push_bind(owner);
        select.build_query_as::<Row>().fetch_optional(pool).await
    })?;
    Ok(row.map(|row| row.open(&vault.sealer)).transpose()?)
}

/// Somebody's, the newest first, those before `before` when there is one.
pub(crate) async fn page(
    vault: &Vault,
    owner: Uuid,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Batch>, Error> {
    let rows = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" WHERE owner = ").push_bind(owner);
        if let Some(before) = before {
            select.push(" AND id < ").push_bind(before);
        }
        select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(|row| row.open(&vault.sealer)).collect::<Result<_, _>>()?)
}

/// Its file was read, and has so many lines.
pub(crate) async fn begin(tx: &mut Tx, id: Uuid, total: u32, now: policy::Time) -> Result<(), Error> {
    on_tx!(tx, |connection| {
        sqlx::query(BEGIN).bind(id).bind(i64::from(total)).bind(Time(now)).execute(connection).await.map(drop)
    })?;
    Ok(())
}

/// Adds lines that were answered. One that is there already stays as it is.
pub(crate) async fn add(
    tx: &mut Tx,
    sealer: &Sealer,
    id: Uuid,
    lines: &[Line],
    counts: Counts,
) -> Result<(), Error> {
    let seal = sealer.current();
    for lines in lines.chunks(ROWS) {
        on_tx!(tx, |connection| {
            let mut insert = QueryBuilder::new("INSERT INTO batch_lines (batch, line, failed, body, seal) ");
            insert.push_values(lines, |mut row, line| {
                let number = i64::from(line.number);
                row.push_bind(id)
                    .push_bind(number)
                    .push_bind(line.failed)
                    .push_bind(BATCH_LINES.seal(sealer, BODY, (id, number), &line.body))
                    .push_bind(seal.as_str());
            });
            insert.push(" ON CONFLICT (batch, line) DO NOTHING");
            insert.build().persistent(false).execute(connection).await.map(drop)
        })?;
    }
    on_tx!(tx, |connection| {
        sqlx::query(COUNT)
            .bind(id)
            .bind(i64::from(counts.completed))
            .bind(i64::from(counts.failed))
            .execute(connection)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Nothing more is asked of engines.
pub(crate) async fn finalizing(tx: &mut Tx, id: Uuid, now: policy::Time) -> Result<(), Error> {
    on_tx!(tx, |connection| {
        sqlx::query(FINALIZING).bind(id).bind(Time(now)).execute(connection).await.map(drop)
    })?;
    Ok(())
}

/// Its owner wants it no more.
pub(crate) async fn cancelling(tx: &mut Tx, id: Uuid, now: policy::Time) -> Result<(), Error> {
    on_tx!(tx, |connection| {
        sqlx::query(CANCELLING).bind(id).bind(Time(now)).execute(connection).await.map(drop)
    })?;
    Ok(())
}

/// It is over; its lines are in its files.
pub(crate) async fn finish(
    tx: &mut Tx,
    sealer: &Sealer,
    id: Uuid,
    finish: &Finish<'_>,
    now: policy::Time,
) -> Result<(), Error> {
    let faults = (!finish.faults.is_empty()).then(|| {
        let faults = serde_json::to_vec(finish.faults).unwrap_or_default();
        BATCHES.seal(sealer, ERRORS, (id, 0), &faults)
    });
    on_tx!(tx, |connection| {
        sqlx::query(FINISH)
            .bind(id)
            .bind(finish.status.number())
            .bind(finish.output)
            .bind(finish.error_output)
            .bind(faults.as_deref())
            .bind(i64::from(finish.counts.completed))
            .bind(i64::from(finish.counts.failed))
            .bind(Time(now))
            .bind(sealer.current())
            .execute(connection)
            .await
            .map(drop)
    })?;
    on_tx!(tx, |connection| sqlx::query(CLEAR).bind(id).execute(connection).await.map(drop))?;
    Ok(())
}

/// The numbers of the lines that were answered, and whether they are for the errors.
pub(crate) async fn answered(vault: &Vault, id: Uuid) -> Result<BTreeMap<u32, bool>, Error> {
    let rows = on!(&vault.db, |pool| sqlx::query_as::<_, LineRow>(LINES).bind(id).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(|row| (u32::try_from(row.line).unwrap_or(0), row.failed)).collect())
}

/// What is written of the lines after `after`, in their order.
pub(crate) async fn bodies(
    vault: &Vault,
    id: Uuid,
    failed: bool,
    after: u32,
    limit: u32,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let rows = on!(&vault.db, |pool| {
        sqlx::query_as::<_, BodyRow>(BODIES)
            .bind(id)
            .bind(failed)
            .bind(i64::from(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })?;
    let open = |row: BodyRow| {
        let body = BATCH_LINES.open(&vault.sealer, BODY, (id, row.line), &row.body)?;
        Ok((u32::try_from(row.line).unwrap_or(0), body))
    };
    rows.into_iter().map(open).collect()
}

/// Forgets up to `most` of those that were over by then. Returns how many.
pub(crate) async fn purge(vault: &Vault, most: u32, then: policy::Time) -> Result<usize, Error> {
    let rows = on!(&vault.db, |pool| {
        sqlx::query_as::<_, IdRow>(PURGE).bind(Time(then)).bind(i64::from(most)).fetch_all(pool).await
    })?;
    Ok(rows.len())
}

impl Row {
    fn open(self, sealer: &Sealer) -> Result<Batch, sqlx::Error> {
        let row = self;
        let open = |column, sealed: &[u8]| BATCHES.open(sealer, column, (row.id, 0), sealed);
        let unreadable = |column: &str| {
            sqlx::Error::Decode(format!("batches: {column} holds what this version cannot read").into())
        };
        let time = |time: Option<Time>| time.map(policy::Time::from);
        let count = |number: i64| u32::try_from(number).unwrap_or(0);
        let metadata: BTreeMap<String, String> =
            serde_json::from_slice(&open(METADATA, &row.metadata)?).map_err(|_| unreadable("metadata"))?;
        let faults = row.errors.as_deref().map(|errors| open(ERRORS, errors)).transpose()?;
        let faults = faults.map(|faults| serde_json::from_slice(&faults)).transpose();
        Ok(Batch {
            id: row.id,
            owner: row.owner,
            input: row.input,
            endpoint: row.endpoint.parse().map_err(|()| unreadable("endpoint"))?,
            window: row.completion_window,
            metadata,
            status: Status::from_number(row.status).ok_or_else(|| unreadable("status"))?,
            faults: faults.map_err(|_| unreadable("errors"))?.unwrap_or_default(),
            total: count(row.total),
            counts: Counts { completed: count(row.completed), failed: count(row.failed) },
            output: row.output,
            error_output: row.error_output,
            created: row.created.0,
            expires: row.expires.0,
            in_progress: time(row.in_progress),
            finalizing: time(row.finalizing),
            cancelling: time(row.cancelling),
            ended: time(row.ended),
        })
    }
}
