//! Series and what they were, by the minute and by the hour.

use super::timed;
use policy::Time;
use series::{At, Buckets, Gauge, Kind, Labels, Point, Value};
use sha2::{Digest, Sha256};
use shared::{
    db::{Db, Time as Column, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use uuid::Uuid;

/// Series of one statement: 9 values each, and SQLite takes 32,766 in one statement.
pub(crate) const PART: usize = 500;

const VALUES: &str = "last, low, high, total, readings, counts";

/// A series as it is known in the database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) kind: Kind,
    bounds: Arc<[f64]>,
}

/// What a series was in one stretch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) series: Described,
    pub(crate) at: Time,
    pub(crate) value: Value,
}

impl Row {
    /// What a series of this name with these labels was.
    pub(crate) fn new(name: &str, labels: &Labels, at: &At, value: Value) -> Self {
        let bounds = match &value {
            Value::Histogram(buckets) => Arc::clone(buckets.bounds()),
            Value::Gauge(_) | Value::Counter(_) => Arc::from([]),
        };
        let kind = value.kind();
        let mut hash = Sha256::new();
        for text in [name, &written(labels), &json(&bounds)] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(number(kind).to_le_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        let id = uuid::Builder::from_custom_bytes(id).into_uuid();
        let series = Described { id, name: name.to_owned(), labels: labels.clone(), kind, bounds };
        Self { series, at: crate::signals::time(*at), value }
    }
}

#[derive(sqlx::FromRow)]
struct SeriesRow {
    series_id: Uuid,
    name: String,
    labels: String,
    kind: i32,
    bounds: String,
}

#[derive(sqlx::FromRow)]
struct StretchRow {
    series_id: Uuid,
    at: Column,
    last: f64,
    low: f64,
    high: f64,
    total: f64,
    readings: f64,
    counts: String,
}

#[derive(sqlx::FromRow)]
struct IdRow {
    series_id: Uuid,
}

#[derive(sqlx::FromRow)]
struct WriterRow {
    minute: Column,
    writer: Uuid,
}

/// Writes what one writer heard in a minute, and describes the series among them that are new. Again is as once.
pub(crate) async fn write_minute(
    db: &Db,
    writer: Uuid,
    new: &[&Row],
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    timed(db, "write_series", async {
        let mut tx = db.begin().await?;
        for part in new.chunks(PART) {
            describe(&mut tx, part).await?;
        }
        for part in rows.chunks(PART) {
            on_tx!(&mut tx, |connection| {
                let mut query = QueryBuilder::new("INSERT INTO metric_minutes (series_id, minute, writer, ");
                query.push(VALUES).push(") ");
                query.push_values(part, |mut row, Row { series, at, value }| {
                    row.push_bind(series.id).push_bind(Column(*at)).push_bind(writer);
                    let [last, low, high, total, readings] = numbers(value);
                    row.push_bind(last).push_bind(low).push_bind(high).push_bind(total).push_bind(readings);
                    row.push_bind(counts(value));
                });
                query.push(
                    " ON CONFLICT (series_id, minute, writer) DO UPDATE SET last = excluded.last, \
                     low = excluded.low, high = excluded.high, total = excluded.total, \
                     readings = excluded.readings, counts = excluded.counts",
                );
                query.build().persistent(false).execute(connection).await.map(drop)
            })?;
        }
        tx.commit().await
    })
    .await
}

async fn describe(tx: &mut Tx, rows: &[&Row]) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "INSERT INTO metric_series (series_id, name, labels, kind, bounds, seen_time) ",
        );
        query.push_values(rows, |mut row, Row { series, at, .. }| {
            row.push_bind(series.id)
                .push_bind(series.name.as_str())
                .push_bind(written(&series.labels))
                .push_bind(number(series.kind))
                .push_bind(json(&series.bounds))
                .push_bind(Column(*at));
        });
        query.push(" ON CONFLICT (series_id) DO UPDATE SET seen_time = excluded.seen_time");
        query.build().persistent(false).execute(connection).await.map(drop)
    })
}

/// Writes an hour of series that are described. Again is as once.
pub(crate) async fn write_hour(db: &Db, rows: &[Row]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    timed(db, "write_series_hour", async {
        on!(db, |pool| {
            let mut query = QueryBuilder::new("INSERT INTO metric_hours (series_id, hour, ");
            query.push(VALUES).push(") ");
            query.push_values(rows, |mut row, Row { series, at, value }| {
                row.push_bind(series.id).push_bind(Column(*at));
                let [last, low, high, total, readings] = numbers(value);
                row.push_bind(last).push_bind(low).push_bind(high).push_bind(total).push_bind(readings);
                row.push_bind(counts(value));
            });
            query.push(" ON CONFLICT (series_id, hour) DO NOTHING");
            query.build().persistent(false).execute(pool).await.map(drop)
        })
    })
    .await
}

/// Who wrote which minutes since then.
pub(crate) async fn writers(db: &Db, since: Time) -> Result<Vec<(Time, Uuid)>, sqlx::Error> {
    let rows: Vec<WriterRow> = on!(db, |pool| {
        sqlx::query_as(
            "SELECT DISTINCT minute, writer FROM metric_minutes WHERE minute >= $1 ORDER BY minute, writer",
        )
        .bind(Column(since))
        .fetch_all(pool)
        .await
    })?;
    Ok(rows.into_iter().map(|row| (row.minute.0, row.writer)).collect())
}

/// What one writer heard in a minute.
pub(crate) async fn minute(db: &Db, minute: Time, writer: Uuid) -> Result<Vec<Row>, sqlx::Error> {
    let rows: Vec<StretchRow> = on!(db, |pool| {
        sqlx::query_as(
            "SELECT series_id, minute AS at, last, low, high, total, readings, counts FROM metric_minutes \
             WHERE minute = $1 AND writer = $2",
        )
        .bind(Column(minute))
        .bind(writer)
        .fetch_all(pool)
        .await
    })?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.series_id).collect();
    let mut known = HashMap::new();
    for part in ids.chunks(PART) {
        known.extend(described(db, part).await?.into_iter().map(|series| (series.id, series)));
    }
    let read = |row: StretchRow| {
        let series = known.get(&row.series_id)?.clone();
        let value = value(&row, &series).ok()?;
        Some(Row { series, at: minute, value })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// The series of this name.
pub(crate) async fn named(db: &Db, name: &str) -> Result<Vec<Described>, sqlx::Error> {
    let rows: Vec<SeriesRow> = on!(db, |pool| {
        sqlx::query_as("SELECT series_id, name, labels, kind, bounds FROM metric_series WHERE name = $1")
            .bind(name)
            .fetch_all(pool)
            .await
    })?;
    rows.into_iter().map(Described::try_from).collect()
}

/// The series with these ids, [`PART`] at most.
pub(crate) async fn described(db: &Db, ids: &[Uuid]) -> Result<Vec<Described>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<SeriesRow> = on!(db, |pool| {
        let mut query = QueryBuilder::new(
            "SELECT series_id, name, labels, kind, bounds FROM metric_series WHERE series_id IN (",
        );
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        query.push(")");
        query.build_query_as().persistent(false).fetch_all(pool).await
    })?;
    rows.into_iter().map(Described::try_from).collect()
}

/// The series of which something is known between two times.
pub(crate) async fn series_of(db: &Db, from: Time, until: Time) -> Result<Vec<Uuid>, sqlx::Error> {
    let rows: Vec<IdRow> = on!(db, |pool| {
        sqlx::query_as("SELECT DISTINCT series_id FROM metric_minutes WHERE minute >= $1 AND minute < $2 ORDER BY series_id")
            .bind(Column(from))
            .bind(Column(until))
            .fetch_all(pool)
            .await
    })?;
    Ok(rows.into_iter().map(|row| row.series_id).collect())
}

/// Whether an hour was made.
pub(crate) async fn has_hour(db: &Db, hour: Time) -> Result<bool, sqlx::Error> {
    let row: Option<IdRow> = on!(db, |pool| {
        sqlx::query_as("SELECT series_id FROM metric_hours WHERE hour = $1 LIMIT 1")
            .bind(Column(hour))
            .fetch_optional(pool)
            .await
    })?;
    Ok(row.is_some())
}

/// The minutes of series, [`PART`] at most, from `from` on and before `until`; each writer's is a point of its own.
pub(crate) async fn minutes(
    db: &Db,
    series: &[Described],
    from: Time,
    until: Time,
) -> Result<BTreeMap<Uuid, Vec<Point>>, sqlx::Error> {
    let select =
        "SELECT series_id, minute AS at, last, low, high, total, readings, counts FROM metric_minutes";
    stretches(db, select, "minute", series, from, until).await
}

/// The hours of series, [`PART`] at most, from `from` on and before `until`.
pub(crate) async fn hours(
    db: &Db,
    series: &[Described],
    from: Time,
    until: Time,
) -> Result<BTreeMap<Uuid, Vec<Point>>, sqlx::Error> {
    let select = "SELECT series_id, hour AS at, last, low, high, total, readings, counts FROM metric_hours";
    stretches(db, select, "hour", series, from, until).await
}

async fn stretches(
    db: &Db,
    select: &'static str,
    column: &'static str,
    series: &[Described],
    from: Time,
    until: Time,
) -> Result<BTreeMap<Uuid, Vec<Point>>, sqlx::Error> {
    let mut found: BTreeMap<Uuid, Vec<Point>> = BTreeMap::new();
    if series.is_empty() {
        return Ok(found);
    }
    let rows: Vec<StretchRow> = on!(db, |pool| {
        let mut query = QueryBuilder::new(select);
        query.push(" WHERE series_id IN (");
        let mut list = query.separated(", ");
        for series in series {
            list.push_bind(series.id);
        }
        query.push(") AND ").push(column).push(" >= ").push_bind(Column(from));
        query.push(" AND ").push(column).push(" < ").push_bind(Column(until));
        query.push(" ORDER BY series_id, ").push(column);
        query.build_query_as().persistent(false).fetch_all(pool).await
    })?;
    let known: HashMap<Uuid, &Described> = series.iter().map(|series| (series.id, series)).collect();
    for row in rows {
        if let Some(series) = known.get(&row.series_id) {
            let point = Point { at: crate::signals::at(row.at.0), value: value(&row, series)? };
            found.entry(row.series_id).or_default().push(point);
        }
    }
    Ok(found)
}

/// Forgets minutes and hours before these times, and series that were not seen since.
pub(crate) async fn forget(db: &Db, minutes: Time, hours: Time) -> Result<(), sqlx::Error> {
    let deletions = [
        ("DELETE FROM metric_minutes WHERE minute < $1", minutes),
        ("DELETE FROM metric_hours WHERE hour < $1", hours),
        ("DELETE FROM metric_series WHERE seen_time < $1", hours),
    ];
    timed(db, "forget_series", async {
        for (statement, before) in deletions {
            on!(db, |pool| sqlx::query(statement).bind(Column(before)).execute(pool).await.map(drop))?;
        }
        Ok(())
    })
    .await
}

impl TryFrom<SeriesRow> for Described {
    type Error = sqlx::Error;

    fn try_from(row: SeriesRow) -> Result<Self, sqlx::Error> {
        let labels = labels(&row.labels)?;
        let bounds: Vec<f64> = serde_json::from_str(&row.bounds).map_err(|_| unreadable("bounds"))?;
        Ok(Self {
            id: row.series_id,
            name: row.name,
            labels,
            kind: kind(row.kind).ok_or_else(|| unreadable("kind"))?,
            bounds: bounds.into(),
        })
    }
}

fn value(row: &StretchRow, series: &Described) -> Result<Value, sqlx::Error> {
    Ok(match series.kind {
        Kind::Gauge => Value::Gauge(Gauge {
            last: row.last,
            min: row.low,
            max: row.high,
            sum: row.total,
            readings: row.readings,
        }),
        Kind::Counter => Value::Counter(row.total),
        Kind::Histogram => {
            let counts = match row.counts.as_str() {
                "" => vec![0.0; series.bounds.len() + 1],
                counts => serde_json::from_str(counts).map_err(|_| unreadable("counts"))?,
            };
            let buckets = Buckets::new(Arc::clone(&series.bounds), counts, row.total);
            Value::Histogram(Arc::new(buckets.ok_or_else(|| unreadable("counts"))?))
        }
    })
}

/// Last, least, most, sum and how often.
fn numbers(value: &Value) -> [f64; 5] {
    match value {
        Value::Gauge(gauge) => [gauge.last, gauge.min, gauge.max, gauge.sum, gauge.readings],
        Value::Counter(increase) => [0.0, 0.0, 0.0, *increase, 0.0],
        Value::Histogram(buckets) => [0.0, 0.0, 0.0, buckets.sum(), buckets.count()],
    }
}

/// Observations by bucket; empty when there were none.
fn counts(value: &Value) -> String {
    match value {
        Value::Histogram(buckets) if buckets.count() > 0.0 => json(buckets.counts()),
        _ => String::new(),
    }
}

fn json(numbers: &[f64]) -> String {
    serde_json::to_string(numbers).unwrap_or_default()
}

/// Labels as an object, in the order of their names.
pub(super) fn written(labels: &Labels) -> String {
    let labels: BTreeMap<&str, &str> = labels.iter().collect();
    serde_json::to_string(&labels).unwrap_or_default()
}

/// Labels as they were written.
pub(super) fn labels(text: &str) -> Result<Labels, sqlx::Error> {
    let labels: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| unreadable("labels"))?;
    Ok(labels.into_iter().collect())
}

/// The number of a kind in the table; never given to another one.
const fn number(kind: Kind) -> i32 {
    match kind {
        Kind::Gauge => 1,
        Kind::Counter => 2,
        Kind::Histogram => 3,
    }
}

fn kind(stored: i32) -> Option<Kind> {
    [Kind::Gauge, Kind::Counter, Kind::Histogram].into_iter().find(|kind| number(*kind) == stored)
}

fn unreadable(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("metric_series: {column} holds what this version cannot read").into())
}
