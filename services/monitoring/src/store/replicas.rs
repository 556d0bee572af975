//! What operators allow, what gateways say, and what was recommended.

use crate::{
    instances::replicas::{Kept, Put, Said},
    moment::{at, micros, since},
};
use policy::Time as Moment;
use scaling::{Fleet, Inputs, Load, Reason, Recommendation, Scaler};
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;
use std::time::Duration;

const POLICIES: &str =
    "SELECT pool, models, policy, revision, update_time, updated_by FROM scaling_policies WHERE ";

const PUT: &str = "INSERT INTO scaling_policies (pool, models, policy, revision, update_time, updated_by) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (pool) DO UPDATE SET models = excluded.models, \
     policy = excluded.policy, revision = excluded.revision, update_time = excluded.update_time, \
     updated_by = excluded.updated_by WHERE scaling_policies.revision = excluded.revision - 1";

const SAY: &str =
    "INSERT INTO scaling_loads (model, gateway, report_time, queue_length, first_token_micros) ";

const SAY_AGAIN: &str = " ON CONFLICT (model, gateway) DO UPDATE SET report_time = excluded.report_time, \
     queue_length = excluded.queue_length, first_token_micros = excluded.first_token_micros \
     WHERE scaling_loads.report_time <= excluded.report_time";

const KEPT: &str = "SELECT pool, version, look_time, replicas, change_time, high_since, low_since, input_time, \
     replicas_before, reason, queue_length, first_token_micros, gpu_usage, warming, ready, draining \
     FROM scaling_states WHERE ";

const KEEP: &str = "INSERT INTO scaling_states (pool, version, look_time, replicas, change_time, high_since, low_since, \
     input_time, replicas_before, reason, queue_length, first_token_micros, gpu_usage, warming, ready, draining) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
     ON CONFLICT (pool) DO UPDATE SET version = excluded.version, look_time = excluded.look_time, \
     replicas = excluded.replicas, change_time = excluded.change_time, high_since = excluded.high_since, \
     low_since = excluded.low_since, input_time = excluded.input_time, replicas_before = excluded.replicas_before, \
     reason = excluded.reason, queue_length = excluded.queue_length, \
     first_token_micros = excluded.first_token_micros, gpu_usage = excluded.gpu_usage, warming = excluded.warming, \
     ready = excluded.ready, draining = excluded.draining WHERE scaling_states.version = excluded.version - 1";

#[derive(sqlx::FromRow)]
struct PolicyRow {
    pool: String,
    models: String,
    policy: String,
    revision: i64,
    update_time: Time,
    updated_by: String,
}

#[derive(sqlx::FromRow)]
struct LoadRow {
    model: String,
    gateway: String,
    report_time: Time,
    queue_length: i64,
    first_token_micros: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct KeptRow {
    pool: String,
    version: i64,
    look_time: Time,
    replicas: i64,
    change_time: Option<Time>,
    high_since: Option<Time>,
    low_since: Option<Time>,
    input_time: Option<Time>,
    replicas_before: i64,
    reason: String,
    queue_length: i64,
    first_token_micros: Option<i64>,
    gpu_usage: Option<f64>,
    warming: i64,
    ready: i64,
    draining: i64,
}

/// What was put for a pool.
pub(crate) async fn policy(db: &Db, pool_name: &str) -> Result<Option<Put>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(POLICIES);
        select.push("pool = ").push_bind(pool_name);
        select.build_query_as::<PolicyRow>().fetch_optional(pool).await
    })?;
    row.map(Put::try_from).transpose()
}

/// What was put, by pool, after one.
pub(crate) async fn policies(db: &Db, after: &str, limit: u32) -> Result<Vec<Put>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(POLICIES);
        select.push("pool > ").push_bind(after);
        select.push(" ORDER BY pool LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<PolicyRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Put::try_from).collect()
}

/// Keeps a policy, if the one before it is still the last.
pub(crate) async fn put(db: &Db, put: &Put) -> Result<bool, sqlx::Error> {
    let policy = serde_json::to_string(&put.policy).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let changed = on!(db, |pool| {
        sqlx::query(PUT)
            .bind(&put.pool)
            .bind(put.models.join("\n"))
            .bind(policy)
            .bind(put.revision)
            .bind(put.update_time.map(Time))
            .bind(&put.updated_by)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(changed == 1)
}

/// Keeps what a gateway says, each model once; what it said later stays.
pub(crate) async fn say(db: &Db, loads: &[Said]) -> Result<(), sqlx::Error> {
    if loads.is_empty() {
        return Ok(());
    }
    on!(db, |pool| {
        let mut query = QueryBuilder::new(SAY);
        query.push_values(loads, |mut row, said| {
            row.push_bind(&said.model)
                .push_bind(&said.gateway)
                .push_bind(Time(at(said.load.at)))
                .push_bind(i64::from(said.load.queue))
                .push_bind(said.load.first_token.map(micros));
        });
        query.push(SAY_AGAIN);
        query.build().persistent(false).execute(pool).await.map(drop)
    })
}

/// What gateways have said since.
pub(crate) async fn said(db: &Db, from: Moment) -> Result<Vec<Said>, sqlx::Error> {
    const SELECT: &str = "SELECT model, gateway, report_time, queue_length, first_token_micros \
         FROM scaling_loads WHERE report_time >= $1";
    let rows = on!(db, |pool| sqlx::query_as::<_, LoadRow>(SELECT).bind(Time(from)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(Said::from).collect())
}

/// Forgets what was said before.
pub(crate) async fn forget(db: &Db, before: Moment) -> Result<(), sqlx::Error> {
    const DELETE: &str = "DELETE FROM scaling_loads WHERE report_time < $1";
    on!(db, |pool| sqlx::query(DELETE).bind(Time(before)).execute(pool).await.map(drop))
}

/// What is kept of a pool.
pub(crate) async fn kept(db: &Db, pool_name: &str) -> Result<Option<Kept>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(KEPT);
        select.push("pool = ").push_bind(pool_name);
        select.build_query_as::<KeptRow>().fetch_optional(pool).await
    })?;
    Ok(row.map(Kept::from))
}

/// What is kept of every pool.
pub(crate) async fn all_kept(db: &Db) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(KEPT);
        select.push("version > 0");
        select.build_query_as::<KeptRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Kept::from).collect())
}

/// Keeps what became of a pool, unless another replica was first.
pub(crate) async fn keep(db: &Db, kept: &Kept) -> Result<(), sqlx::Error> {
    let moment = |at_time: Option<Duration>| at_time.map(|time| Time(at(time)));
    let seen = kept.seen;
    let inputs = seen.map(|seen| seen.inputs);
    let fleet = seen.map(|seen| seen.fleet).unwrap_or_default();
    on!(db, |pool| {
        sqlx::query(KEEP)
            .bind(&kept.pool)
            .bind(kept.version)
            .bind(Time(kept.look_time))
            .bind(i64::from(kept.scaler.replicas))
            .bind(moment(kept.scaler.changed))
            .bind(moment(kept.scaler.high_since))
            .bind(moment(kept.scaler.low_since))
            .bind(moment(inputs.map(|inputs| inputs.at)))
            .bind(i64::from(seen.map_or(kept.scaler.replicas, |seen| seen.before)))
            .bind(&kept.reason)
            .bind(i64::from(inputs.map_or(0, |inputs| inputs.queue)))
            .bind(inputs.and_then(|inputs| inputs.first_token).map(micros))
            .bind(inputs.and_then(|inputs| inputs.gpu))
            .bind(i64::from(fleet.warming))
            .bind(i64::from(fleet.ready))
            .bind(i64::from(fleet.draining))
            .execute(pool)
            .await
            .map(drop)
    })
}

impl TryFrom<PolicyRow> for Put {
    type Error = sqlx::Error;

    fn try_from(row: PolicyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            pool: row.pool,
            models: row.models.lines().map(str::to_owned).collect(),
            policy: serde_json::from_str(&row.policy).map_err(|error| sqlx::Error::Decode(error.into()))?,
            revision: row.revision,
            update_time: Some(row.update_time.0),
            updated_by: row.updated_by,
        })
    }
}

impl From<LoadRow> for Said {
    fn from(row: LoadRow) -> Self {
        let load = Load {
            at: since(row.report_time.0),
            queue: count(row.queue_length),
            first_token: row.first_token_micros.map(duration),
        };
        Self { model: row.model, gateway: row.gateway, load }
    }
}

impl From<KeptRow> for Kept {
    fn from(row: KeptRow) -> Self {
        let moment = |time: Option<Time>| time.map(|time| since(time.0));
        let scaler = Scaler {
            replicas: count(row.replicas),
            changed: moment(row.change_time),
            high_since: moment(row.high_since),
            low_since: moment(row.low_since),
        };
        let seen = moment(row.input_time).map(|input| Recommendation {
            replicas: scaler.replicas,
            before: count(row.replicas_before),
            // Kept in words, which is how it is told.
            reason: Reason::Enough,
            inputs: Inputs {
                at: input,
                queue: count(row.queue_length),
                first_token: row.first_token_micros.map(duration),
                gpu: row.gpu_usage,
            },
            fleet: Fleet {
                warming: count(row.warming),
                ready: count(row.ready),
                draining: count(row.draining),
            },
        });
        let (version, look_time) = (row.version, row.look_time.0);
        Self { pool: row.pool, version, look_time, scaler, seen, reason: row.reason }
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
