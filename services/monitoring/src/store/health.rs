//! The last word of each process, so that all replicas know it.

use crate::health::Told;
use policy::Time as Moment;
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::types::Json;

const KEEP: &str = "INSERT INTO process_health (instance, report_time, told) VALUES ($1, $2, $3) \
     ON CONFLICT (instance) DO UPDATE SET report_time = excluded.report_time, told = excluded.told \
     WHERE process_health.report_time <= excluded.report_time";

const SINCE: &str = "SELECT told FROM process_health WHERE report_time >= $1 ORDER BY report_time";

const FORGET: &str = "DELETE FROM process_health WHERE report_time < $1";

/// Keeps what a process said, unless something newer is kept.
pub(crate) async fn keep(db: &Db, told: &Told) -> Result<(), sqlx::Error> {
    on!(db, |pool| {
        sqlx::query(KEEP)
            .bind(&told.instance)
            .bind(Time(told.at))
            .bind(Json(told))
            .execute(pool)
            .await
            .map(drop)
    })
}

/// What processes said since then.
pub(crate) async fn since(db: &Db, since: Moment) -> Result<Vec<Told>, sqlx::Error> {
    let rows: Vec<(Json<Told>,)> =
        on!(db, |pool| sqlx::query_as(SINCE).bind(Time(since)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(|(Json(told),)| told).collect())
}

/// Forgets what was said before.
pub(crate) async fn forget(db: &Db, before: Moment) -> Result<(), sqlx::Error> {
    on!(db, |pool| sqlx::query(FORGET).bind(Time(before)).execute(pool).await.map(drop))
}
