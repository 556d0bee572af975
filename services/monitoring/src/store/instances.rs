//! Instances, their moves, and what clouds took away.

use crate::{
    instances::{Event, Filter, Instance, Preemption, Spec, Status, Wish},
    moment::{at, micros, since},
};
use policy::Time as Moment;
use scaling::{Cause, Entry, Record, State};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::time::Duration;
use uuid::Uuid;

const COLUMNS: &str = "SELECT instance_id, pool, node, engine_url, provider, spot, gpus, state, epoch, version, \
     state_time, seen_time, requests_running, requests_waiting, kv_cache_usage, gpu_usage, gpu_memory_used, \
     gpu_memory_total, drain_reason, drain_micros FROM instances WHERE ";

const INSERT: &str = "INSERT INTO instances (instance_id, pool, node, engine_url, provider, spot, gpus, state, epoch, \
     version, state_time, seen_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (instance_id) DO NOTHING";

/// What was seen, and asked for, in the life before says nothing of the new one.
const REPLACE: &str = "UPDATE instances SET pool = $2, node = $3, engine_url = $4, provider = $5, spot = $6, \
     gpus = $7, state = $8, epoch = $9, version = $10, state_time = $11, seen_time = $12, requests_running = NULL, \
     requests_waiting = NULL, kv_cache_usage = NULL, gpu_usage = NULL, gpu_memory_used = NULL, \
     gpu_memory_total = NULL, drain_reason = NULL, drain_micros = NULL \
     WHERE instance_id = $1 AND epoch = $13 AND version = $14";

const MOVE: &str = "UPDATE instances SET state = $2, version = $3, state_time = $4 \
     WHERE instance_id = $1 AND epoch = $5 AND version = $6";

const SEEN: &str = "UPDATE instances SET seen_time = $3, requests_running = $4, requests_waiting = $5, \
     kv_cache_usage = $6, gpu_usage = $7, gpu_memory_used = $8, gpu_memory_total = $9 \
     WHERE instance_id = $1 AND epoch = $2 AND state < 5";

/// Who asked first is who is named.
const WISH: &str = "UPDATE instances SET drain_reason = $2, drain_micros = $3 \
     WHERE instance_id = $1 AND drain_reason IS NULL";

const NOTE: &str = "INSERT INTO instance_events (event_id, instance_id, pool, epoch, version, from_state, to_state, \
     cause, detail, event_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const PREEMPT: &str = "INSERT INTO preemptions (instance_id, event_id, place, action, notice_time, deadline, end_time, \
     in_flight, finished, unfinished) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
     ON CONFLICT (instance_id, event_id) DO UPDATE SET deadline = COALESCE(preemptions.deadline, excluded.deadline), \
     end_time = COALESCE(preemptions.end_time, excluded.end_time), \
     in_flight = COALESCE(preemptions.in_flight, excluded.in_flight), \
     finished = COALESCE(preemptions.finished, excluded.finished), \
     unfinished = COALESCE(preemptions.unfinished, excluded.unfinished) \
     RETURNING instance_id, event_id, place, action, notice_time, deadline, end_time, in_flight, finished, unfinished";

#[derive(sqlx::FromRow)]
struct Row {
    instance_id: String,
    pool: String,
    node: String,
    engine_url: String,
    provider: String,
    spot: bool,
    gpus: String,
    state: i32,
    epoch: i64,
    version: i64,
    state_time: Time,
    seen_time: Time,
    requests_running: Option<f64>,
    requests_waiting: Option<f64>,
    kv_cache_usage: Option<f64>,
    gpu_usage: Option<f64>,
    gpu_memory_used: Option<i64>,
    gpu_memory_total: Option<i64>,
    drain_reason: Option<String>,
    drain_micros: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    event_id: Uuid,
    instance_id: String,
    pool: String,
    epoch: i64,
    version: i64,
    from_state: Option<i32>,
    to_state: i32,
    cause: i32,
    detail: String,
    event_time: Time,
}

#[derive(sqlx::FromRow)]
struct PreemptionRow {
    instance_id: String,
    event_id: String,
    place: Uuid,
    action: String,
    notice_time: Time,
    deadline: Option<Time>,
    end_time: Option<Time>,
    in_flight: Option<i64>,
    finished: Option<i64>,
    unfinished: Option<i64>,
}

/// One instance by its id.
pub(crate) async fn get(db: &Db, id: &str) -> Result<Option<Instance>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(COLUMNS);
        select.push("instance_id = ").push_bind(id);
        select.build_query_as::<Row>().fetch_optional(pool).await
    })?;
    row.map(Instance::try_from).transpose()
}

/// Keeps an instance that registered, if what is known of it is still `before`.
pub(crate) async fn put(
    tx: &mut Tx,
    instance: &Instance,
    before: Option<Record>,
) -> Result<bool, sqlx::Error> {
    let Instance { id, spec, record, .. } = instance;
    let gpus = spec.gpus.join("\n");
    let changed = on_tx!(tx, |connection| {
        let query = sqlx::query(if before.is_some() { REPLACE } else { INSERT })
            .bind(id)
            .bind(&spec.pool)
            .bind(&spec.node)
            .bind(&spec.engine_url)
            .bind(&spec.provider)
            .bind(spec.spot)
            .bind(gpus)
            .bind(state_number(record.state))
            .bind(number(record.epoch))
            .bind(number(record.version))
            .bind(Time(instance.state_time))
            .bind(Time(instance.seen_time));
        let query = match before {
            Some(before) => query.bind(number(before.epoch)).bind(number(before.version)),
            None => query,
        };
        query.execute(connection).await.map(|done| done.rows_affected())
    })?;
    Ok(changed == 1)
}

/// Keeps a move, if what is known of the instance is still `before`.
pub(crate) async fn moved(tx: &mut Tx, instance: &Instance, before: Record) -> Result<bool, sqlx::Error> {
    let changed = on_tx!(tx, |connection| {
        sqlx::query(MOVE)
            .bind(&instance.id)
            .bind(state_number(instance.record.state))
            .bind(number(instance.record.version))
            .bind(Time(instance.state_time))
            .bind(number(before.epoch))
            .bind(number(before.version))
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(changed == 1)
}

/// Notes what happened.
pub(crate) async fn note(tx: &mut Tx, event: &Event) -> Result<(), sqlx::Error> {
    let entry = &event.entry;
    on_tx!(tx, |connection| {
        sqlx::query(NOTE)
            .bind(event.id)
            .bind(&event.instance)
            .bind(&event.pool)
            .bind(number(entry.epoch))
            .bind(number(entry.version))
            .bind(entry.from.map(state_number))
            .bind(state_number(entry.to))
            .bind(cause_number(entry.cause))
            .bind(&event.detail)
            .bind(Time(at(entry.at)))
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Notes that an instance of this epoch was heard of, unless it is over.
pub(crate) async fn seen(
    db: &Db,
    id: &str,
    epoch: u64,
    status: &Status,
    now: Moment,
) -> Result<(), sqlx::Error> {
    on!(db, |pool| {
        sqlx::query(SEEN)
            .bind(id)
            .bind(number(epoch))
            .bind(Time(now))
            .bind(status.running)
            .bind(status.waiting)
            .bind(status.kv_usage)
            .bind(status.gpu_usage)
            .bind(status.gpu_memory_used)
            .bind(status.gpu_memory_total)
            .execute(pool)
            .await
            .map(drop)
    })
}

/// Keeps that somebody wants an instance drained, unless somebody does already.
pub(crate) async fn wish(db: &Db, id: &str, wish: &Wish) -> Result<(), sqlx::Error> {
    on!(db, |pool| {
        sqlx::query(WISH)
            .bind(id)
            .bind(&wish.reason)
            .bind(wish.limit.map(micros))
            .execute(pool)
            .await
            .map(drop)
    })
}

/// Keeps what a cloud does, and returns what is known of it then.
pub(crate) async fn preempt(db: &Db, told: &Preemption) -> Result<Preemption, sqlx::Error> {
    let row = on!(db, |pool| {
        sqlx::query_as::<_, PreemptionRow>(PREEMPT)
            .bind(&told.instance)
            .bind(&told.event)
            .bind(told.place)
            .bind(&told.action)
            .bind(Time(told.notice))
            .bind(told.deadline.map(Time))
            .bind(told.end.map(Time))
            .bind(told.in_flight.map(i64::from))
            .bind(told.finished.map(i64::from))
            .bind(told.unfinished.map(i64::from))
            .fetch_one(pool)
            .await
    })?;
    Ok(row.into())
}

/// Instances in the order of their ids, those after `after`.
pub(crate) async fn page(
    db: &Db,
    filter: &Filter,
    after: &str,
    limit: u32,
) -> Result<Vec<Instance>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(COLUMNS);
        select.push("instance_id > ").push_bind(after);
        if let Some(name) = &filter.pool {
            select.push(" AND pool = ").push_bind(name);
        }
        match filter.state {
            Some(state) => select.push(" AND state = ").push_bind(state),
            None => select.push(" AND state < 5"),
        };
        select.push(" ORDER BY instance_id LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Instance::try_from).collect()
}

/// Every instance that is not over.
pub(crate) async fn living(db: &Db) -> Result<Vec<Instance>, sqlx::Error> {
    page(db, &Filter::default(), "", u32::MAX).await
}

/// Instances that are not over and were last heard of before that.
pub(crate) async fn silent(db: &Db, before: Moment) -> Result<Vec<Instance>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(COLUMNS);
        select.push("state < 5 AND seen_time < ").push_bind(Time(before)).push(" LIMIT 100");
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Instance::try_from).collect()
}

/// Forgets events of before `events`, and instances that are over since before `over`.
pub(crate) async fn forget(db: &Db, events: Moment, over: Moment) -> Result<(), sqlx::Error> {
    // Ids of events are in the order of their making, and begin with their milliseconds since 1970.
    let first = Uuid::from_u128(u128::from(since(events).as_millis() as u64) << 80);
    on!(db, |pool| {
        sqlx::query("DELETE FROM instance_events WHERE event_id < $1").bind(first).execute(pool).await?;
        sqlx::query("DELETE FROM preemptions WHERE place < $1").bind(first).execute(pool).await?;
        let forget = "DELETE FROM instances WHERE state = 5 AND state_time < $1";
        sqlx::query(forget).bind(Time(over)).execute(pool).await.map(drop)
    })
}

/// What happened, the newest first, before an event.
pub(crate) async fn events(
    db: &Db,
    instance: Option<&str>,
    before: Uuid,
    limit: u32,
) -> Result<Vec<Event>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(
            "SELECT event_id, instance_id, pool, epoch, version, from_state, to_state, cause, detail, event_time \
             FROM instance_events WHERE event_id < ",
        );
        select.push_bind(before);
        if let Some(id) = instance {
            select.push(" AND instance_id = ").push_bind(id);
        }
        select.push(" ORDER BY event_id DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<EventRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Event::try_from).collect()
}

/// What clouds took away, the newest first, before a place.
pub(crate) async fn preemptions(
    db: &Db,
    instance: Option<&str>,
    before: Uuid,
    limit: u32,
) -> Result<Vec<Preemption>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(
            "SELECT instance_id, event_id, place, action, notice_time, deadline, end_time, in_flight, finished, \
             unfinished FROM preemptions WHERE place < ",
        );
        select.push_bind(before);
        if let Some(id) = instance {
            select.push(" AND instance_id = ").push_bind(id);
        }
        select.push(" ORDER BY place DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<PreemptionRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Preemption::from).collect())
}

impl TryFrom<Row> for Instance {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let limit = row.drain_micros.map(|micros| Duration::from_micros(micros.unsigned_abs()));
        Ok(Self {
            id: row.instance_id,
            spec: Spec {
                pool: row.pool,
                node: row.node,
                engine_url: row.engine_url,
                provider: row.provider,
                spot: row.spot,
                gpus: row.gpus.lines().map(str::to_owned).collect(),
            },
            record: Record {
                state: state(row.state)?,
                epoch: row.epoch.unsigned_abs(),
                version: row.version.unsigned_abs(),
            },
            state_time: row.state_time.0,
            seen_time: row.seen_time.0,
            status: Status {
                running: row.requests_running,
                waiting: row.requests_waiting,
                kv_usage: row.kv_cache_usage,
                gpu_usage: row.gpu_usage,
                gpu_memory_used: row.gpu_memory_used,
                gpu_memory_total: row.gpu_memory_total,
            },
            wish: row.drain_reason.map(|reason| Wish { reason, limit }),
        })
    }
}

impl TryFrom<EventRow> for Event {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let cause = Cause::ALL.into_iter().find(|cause| cause_number(*cause) == row.cause);
        let entry = Entry {
            epoch: row.epoch.unsigned_abs(),
            version: row.version.unsigned_abs(),
            from: row.from_state.map(state).transpose()?,
            to: state(row.to_state)?,
            cause: cause.ok_or_else(|| unreadable("cause"))?,
            at: since(row.event_time.0),
        };
        let (id, instance) = (row.event_id, row.instance_id);
        Ok(Self { id, instance, pool: row.pool, entry, detail: row.detail })
    }
}

impl From<PreemptionRow> for Preemption {
    fn from(row: PreemptionRow) -> Self {
        let count = |count: Option<i64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Self {
            place: row.place,
            instance: row.instance_id,
            event: row.event_id,
            action: row.action,
            notice: row.notice_time.0,
            deadline: row.deadline.map(|time| time.0),
            end: row.end_time.map(|time| time.0),
            in_flight: count(row.in_flight),
            finished: count(row.finished),
            unfinished: count(row.unfinished),
        }
    }
}

/// The number of a state in the tables; never given to another one. Only the last means that it is over.
pub(crate) const fn state_number(state: State) -> i32 {
    match state {
        State::Init => 1,
        State::Warming => 2,
        State::Ready => 3,
        State::Draining => 4,
        State::Terminated => 5,
    }
}

fn state(number: i32) -> Result<State, sqlx::Error> {
    let known = State::ALL.into_iter().find(|state| state_number(*state) == number);
    known.ok_or_else(|| unreadable("state"))
}

/// The number of a cause in the tables; never given to another one.
const fn cause_number(cause: Cause) -> i32 {
    match cause {
        Cause::Registered => 1,
        Cause::EngineUp => 2,
        Cause::WarmedUp => 3,
        Cause::EngineLost => 4,
        Cause::WarmUpFailed => 5,
        Cause::Preemption => 6,
        Cause::Requested => 7,
        Cause::Stopped => 8,
        Cause::Idle => 9,
        Cause::Drained => 10,
        Cause::DrainLimit => 11,
        Cause::LeaseLost => 12,
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unreadable(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("instances: {column} holds what this version cannot read").into())
}
