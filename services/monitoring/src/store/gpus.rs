//! Prices of pools, and what says how long their GPUs were there and what was done with them.

use crate::{
    gpus::{
        GpuPriceVersion, GpuPrices, Position,
        cost::{Tokens, Who, Work},
        fleet::{Fleet, Machine, Step},
    },
    usage::report::Dimensions,
};
use policy::UserId;
use pricing::{History, Money, Version, gpu::GpuPrice};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use uuid::Uuid;

const SELECT: &str = "SELECT price_id, pool, hour_price, spot_hour_price, capacity, effective_from, reason, created_by, \
     created_time FROM gpu_prices WHERE 1 = 1";

const INSERT: &str = "INSERT INTO gpu_prices (price_id, pool, hour_price, spot_hour_price, capacity, effective_from, reason, \
     created_by, created_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Instances that were not over at a time: the state of the number 5 is the end.
const MACHINES: &str = "SELECT instance_id, pool, engine_url, gpus, spot, state FROM instances \
     WHERE state < 5 OR state_time >= $1";

const STEPS: &str = "SELECT e.instance_id, e.from_state, e.to_state, e.event_time FROM instance_events AS e \
     JOIN instances AS i ON i.instance_id = e.instance_id WHERE i.state < 5 OR i.state_time >= $1 \
     ORDER BY e.instance_id, e.epoch, e.version";

const PREEMPTIONS: &str = "SELECT i.pool AS pool, COUNT(*) AS preemptions, \
     CAST(COALESCE(SUM(p.unfinished), 0) AS BIGINT) AS cut_off FROM preemptions AS p \
     JOIN instances AS i ON i.instance_id = p.instance_id WHERE p.notice_time >= $1 AND p.notice_time < $2 GROUP BY i.pool";

#[derive(sqlx::FromRow)]
struct PriceRow {
    price_id: Uuid,
    pool: String,
    hour_price: Option<i64>,
    spot_hour_price: Option<i64>,
    capacity: Option<i64>,
    effective_from: Time,
    reason: String,
    created_by: Uuid,
    created_time: Time,
}

#[derive(sqlx::FromRow)]
struct MachineRow {
    instance_id: String,
    pool: String,
    engine_url: String,
    gpus: String,
    spot: bool,
    state: i32,
}

#[derive(sqlx::FromRow)]
struct StepRow {
    instance_id: String,
    from_state: Option<i32>,
    to_state: i32,
    event_time: Time,
}

#[derive(sqlx::FromRow)]
struct WorkRow {
    hour: Time,
    engine: String,
    user_id: Uuid,
    key_id: Uuid,
    group_id: Uuid,
    served_model: String,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    requests: i64,
}

/// What a cloud took away of a pool.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Preempted {
    pub(crate) pool: String,
    pub(crate) preemptions: i64,
    /// Requests that were not finished.
    pub(crate) cut_off: i64,
}

/// The price with this id.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<GpuPriceVersion>, sqlx::Error> {
    let row: Option<PriceRow> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" AND price_id = ").push_bind(id);
        select.build_query_as().fetch_optional(connection).await
    })?;
    Ok(row.map(GpuPriceVersion::from))
}

/// Adds a version whose id is new.
pub(crate) async fn insert(tx: &mut Tx, version: &GpuPriceVersion) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(version.id)
            .bind(version.pool.as_str())
            .bind(version.price.hour.map(|money| money.0))
            .bind(version.price.spot_hour.map(|money| money.0))
            .bind(version.price.capacity.map(u64::cast_signed))
            .bind(Time(version.from))
            .bind(version.reason.as_str())
            .bind(version.by.uuid())
            .bind(Time(version.created))
            .execute(connection)
            .await
            .map(drop)
    })
}

/// The first versions, those after `after` when there is one: by pool, the newest of each first.
pub(crate) async fn page(
    db: &Db,
    pool: Option<&str>,
    after: Option<&Position>,
    limit: u32,
) -> Result<Vec<GpuPriceVersion>, sqlx::Error> {
    let rows: Vec<PriceRow> = on!(db, |connections| {
        let mut select = QueryBuilder::new(SELECT);
        if let Some(pool) = pool {
            select.push(" AND pool = ").push_bind(pool);
        }
        if let Some(after) = after {
            select.push(" AND (pool > ").push_bind(&after.pool);
            select.push(" OR (pool = ").push_bind(&after.pool);
            select.push(" AND (effective_from, created_time, price_id) < (").push_bind(Time(after.from));
            select.push(", ").push_bind(Time(after.created));
            select.push(", ").push_bind(after.id).push(")))");
        }
        select.push(" ORDER BY pool, effective_from DESC, created_time DESC, price_id DESC LIMIT ");
        select.push_bind(i64::from(limit));
        select.build_query_as().fetch_all(connections).await
    })?;
    Ok(rows.into_iter().map(GpuPriceVersion::from).collect())
}

/// All prices of all pools.
pub(crate) async fn prices(tx: &mut Tx) -> Result<GpuPrices, sqlx::Error> {
    let rows: Vec<PriceRow> = on_tx!(tx, |connection| sqlx::query_as(SELECT).fetch_all(connection).await)?;
    let mut pools: HashMap<String, Vec<Version<Uuid, GpuPrice>>> = HashMap::new();
    for row in rows.into_iter().map(GpuPriceVersion::from) {
        let version = Version { id: row.id, from: row.from.0, written: row.created.0, price: row.price };
        pools.entry(row.pool).or_default().push(version);
    }
    Ok(pools.into_iter().map(|(pool, versions)| (pool, History::new(versions))).collect())
}

/// The instances that were up between two times.
pub(crate) async fn fleet(tx: &mut Tx, start: policy::Time, end: policy::Time) -> Result<Fleet, sqlx::Error> {
    let machines: Vec<MachineRow> =
        on_tx!(tx, |connection| sqlx::query_as(MACHINES).bind(Time(start)).fetch_all(connection).await)?;
    let steps: Vec<StepRow> =
        on_tx!(tx, |connection| sqlx::query_as(STEPS).bind(Time(start)).fetch_all(connection).await)?;
    let machine = |row: MachineRow| Machine {
        id: row.instance_id,
        pool: row.pool,
        engine: row.engine_url,
        gpus: u32::try_from(row.gpus.lines().count()).unwrap_or(u32::MAX),
        spot: row.spot,
        over: row.state == 5,
    };
    let step = |row: StepRow| Step {
        instance: row.instance_id,
        was_up: row.from_state.is_some_and(|state| state < 5),
        is_up: row.to_state < 5,
        at: row.event_time.0,
    };
    let machines: Vec<Machine> = machines.into_iter().map(machine).collect();
    let steps: Vec<Step> = steps.into_iter().map(step).collect();
    Ok(Fleet::of(&machines, &steps, start, end))
}

/// What engines did in each hour, by whom, at most so many rows.
pub(crate) async fn work(
    tx: &mut Tx,
    start: policy::Time,
    end: policy::Time,
    by: Dimensions,
    limit: u32,
) -> Result<Vec<Work>, sqlx::Error> {
    let rows: Vec<WorkRow> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new("SELECT hour, engine");
        let mut grouped = String::from("hour, engine");
        for (asked, column) in [(by.user, "user_id"), (by.key, "key_id"), (by.group, "group_id")] {
            if asked {
                select.push(", ").push(column);
                grouped = format!("{grouped}, {column}");
            } else {
                select.push(", ").push_bind(Uuid::nil()).push(" AS ").push(column);
            }
        }
        if by.served_model {
            select.push(", served_model");
            grouped.push_str(", served_model");
        } else {
            select.push(", ").push_bind("").push(" AS served_model");
        }
        select.push(
            ", CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens, \
             CAST(SUM(cached_prompt_tokens) AS BIGINT) AS cached_prompt_tokens, \
             CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, \
             CAST(SUM(finished + cancelled + failed + crashed) AS BIGINT) AS requests \
             FROM usage_hourly WHERE hour >= ",
        );
        select.push_bind(Time(start)).push(" AND hour < ").push_bind(Time(end));
        // What no engine did, no GPU did.
        select.push(" AND engine <> '' GROUP BY ").push(&grouped).push(" ORDER BY ").push(&grouped);
        select.push(" LIMIT ").push_bind(i64::from(limit));
        select.build_query_as().fetch_all(connection).await
    })?;
    Ok(rows.into_iter().map(Work::from).collect())
}

/// What clouds took away between two times, by pool.
pub(crate) async fn preempted(
    tx: &mut Tx,
    start: policy::Time,
    end: policy::Time,
) -> Result<Vec<Preempted>, sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query_as(PREEMPTIONS).bind(Time(start)).bind(Time(end)).fetch_all(connection).await
    })
}

impl From<WorkRow> for Work {
    fn from(row: WorkRow) -> Self {
        Self {
            hour: row.hour.0,
            engine: row.engine,
            who: Who { user: row.user_id, key: row.key_id, group: row.group_id, model: row.served_model },
            tokens: Tokens {
                prompt: row.prompt_tokens.unsigned_abs(),
                cached: row.cached_prompt_tokens.unsigned_abs(),
                completion: row.completion_tokens.unsigned_abs(),
            },
            requests: row.requests.unsigned_abs(),
        }
    }
}

impl From<PriceRow> for GpuPriceVersion {
    fn from(row: PriceRow) -> Self {
        Self {
            id: row.price_id,
            pool: row.pool,
            price: GpuPrice {
                hour: row.hour_price.map(Money),
                spot_hour: row.spot_hour_price.map(Money),
                capacity: row.capacity.map(i64::unsigned_abs),
            },
            from: row.effective_from.0,
            reason: row.reason,
            by: UserId(row.created_by),
            created: row.created_time.0,
        }
    }
}
