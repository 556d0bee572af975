//! The tables of [`alerts`], and those of the ledger: [`records`], one row per request and attempt, [`corrections`] that supersede some of them, [`refusals`],
//! [`rollup`], the sums by the hour, [`prices`], and [`budgets`] with their [`windows`] and [`leases`];
//! [`instances`] with what happened to them, [`replicas`], how many
//! there should be, [`gpus`], what those cost, [`series`], what was measured, and [`health`], what processes said last.
//!
//! One text per query for both engines. Only what calls do as a whole is measured here, by the name of the call.

pub(crate) mod alerts;
pub(crate) mod budgets;
pub(crate) mod corrections;
pub(crate) mod gpus;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod instances;
pub(crate) mod leases;
pub(crate) mod prices;
pub(crate) mod records;
pub(crate) mod refusals;
pub(crate) mod replicas;
pub(crate) mod rollup;
pub(crate) mod series;
pub(crate) mod totals;
pub(crate) mod turned;
pub(crate) mod windows;

use opentelemetry::{KeyValue, metrics::Histogram};
use shared::{db::Db, telemetry};
use std::{sync::LazyLock, time::Instant};
use uuid::Uuid;

/// Boundaries that the semantic conventions give for this metric.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Pico-dollars of a millionth of a dollar.
const MICRO: i128 = 1_000_000;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    telemetry::meter()
        .f64_histogram("db.client.operation.duration")
        .with_description("Duration of database operations")
        .with_unit("s")
        .with_boundaries(BUCKETS.to_vec())
        .build()
});

/// Runs `work` and measures it as one operation.
pub(crate) async fn timed<T>(
    db: &Db,
    operation: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let started = Instant::now();
    let result = work.await;
    let system = match db {
        Db::Postgres(_) => "postgresql",
        Db::Sqlite(_) => "sqlite",
    };
    let mut labels =
        vec![KeyValue::new("db.system.name", system), KeyValue::new("db.operation.name", operation)];
    if let Err(error) = &result {
        labels.push(KeyValue::new("error.type", kind(error)));
    }
    DURATION.record(started.elapsed().as_secs_f64(), &labels);
    result
}

/// A few words for the many errors there are: labels must stay few.
fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(_) => "refused",
        sqlx::Error::Io(_) => "connection",
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => "pool",
        _ => "_OTHER",
    }
}

/// A sum of pico-dollars as the tables hold it: millionths of a dollar, and the pico-dollars left over. Both can be added
/// up apart from each other, trillions of dollars of them.
fn split(pico: i128) -> (i64, i64) {
    let part = |pico: i128| i64::try_from(pico).unwrap_or(i64::MAX);
    (part(pico / MICRO), part(pico % MICRO))
}

/// The same, back.
fn join(micros: i64, rest: i64) -> i128 {
    i128::from(micros) * MICRO + i128::from(rest)
}

/// An id that may be missing, as the tables hold it: primary keys have no NULL.
fn id_or_nil(id: Option<policy::KeyId>) -> Uuid {
    id.map_or(Uuid::nil(), policy::KeyId::uuid)
}

/// The same of a group.
fn group_or_nil(group: Option<policy::GroupId>) -> Uuid {
    group.map_or(Uuid::nil(), policy::GroupId::uuid)
}

/// The same, back.
fn nil_to_none(id: Uuid) -> Option<policy::KeyId> {
    (!id.is_nil()).then_some(policy::KeyId(id))
}
