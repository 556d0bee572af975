//! Gauges that turned, from one replica to another.

use super::series::{labels, written};
use series::{Gauge, Sample, Value};
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;

/// Gauges of one statement.
const PART: usize = 500;

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    labels: String,
    value: f64,
    turned_time: Time,
}

/// Notes what these gauges are now.
pub(crate) async fn put(db: &Db, now: policy::Time, gauges: &[&Sample]) -> Result<(), sqlx::Error> {
    for part in gauges.chunks(PART) {
        on!(db, |pool| {
            let mut query =
                QueryBuilder::new("INSERT INTO metric_turned (name, labels, value, turned_time) ");
            query.push_values(part, |mut row, sample| {
                let last = if let Value::Gauge(gauge) = &sample.value { gauge.last } else { 0.0 };
                row.push_bind(sample.name.to_string()).push_bind(written(&sample.labels));
                row.push_bind(last).push_bind(Time(now));
            });
            query.push(
                " ON CONFLICT (name, labels) DO UPDATE SET value = excluded.value, \
                 turned_time = excluded.turned_time",
            );
            query.build().persistent(false).execute(pool).await.map(drop)
        })?;
    }
    Ok(())
}

/// What turned since then, and when.
pub(crate) async fn since(db: &Db, start: policy::Time) -> Result<Vec<(policy::Time, Sample)>, sqlx::Error> {
    let rows: Vec<Row> = on!(db, |pool| {
        let select = "SELECT name, labels, value, turned_time FROM metric_turned WHERE turned_time > $1";
        sqlx::query_as(select).bind(Time(start)).fetch_all(pool).await
    })?;
    let sample = |row: Row| {
        let labels = labels(&row.labels)?;
        let value = Value::Gauge(Gauge::read(row.value));
        Ok((row.turned_time.0, Sample { name: row.name.into(), labels, value }))
    };
    rows.into_iter().map(sample).collect()
}

/// Forgets what turned before then.
pub(crate) async fn purge(db: &Db, before: policy::Time) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM metric_turned WHERE turned_time <= $1";
    on!(db, |pool| sqlx::query(delete).bind(Time(before)).execute(pool).await.map(drop))
}
