//! Requests that were refused. Rows are added, read and forgotten, never changed.

use super::{id_or_nil, nil_to_none};
use crate::why::refusals::Refusal;
use policy::UserId;
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;
use std::time::Duration;
use uuid::Uuid;

const COLUMNS: &str = "refusal_id, request_id, user_id, key_id, route, model, priority, waiting, reason, message, \
     start_time, duration_micros, trace_id";

#[derive(sqlx::FromRow)]
struct Row {
    refusal_id: Uuid,
    request_id: String,
    user_id: Uuid,
    key_id: Uuid,
    route: String,
    model: String,
    priority: String,
    waiting: i64,
    reason: String,
    message: String,
    start_time: Time,
    duration_micros: i64,
    trace_id: String,
}

/// Adds those whose ids are new, and says how many were: 1,000 of them are 13,000 values, and SQLite takes 32,766.
pub(crate) async fn insert(db: &Db, refusals: &[Refusal]) -> Result<usize, sqlx::Error> {
    let new: Vec<Uuid> = on!(db, |pool| {
        let mut query = QueryBuilder::new("INSERT INTO refusals (");
        query.push(COLUMNS).push(") ");
        query.push_values(refusals, |mut row, refusal| {
            row.push_bind(refusal.id)
                .push_bind(refusal.request_id.as_str())
                .push_bind(refusal.user.uuid())
                .push_bind(id_or_nil(refusal.api_key))
                .push_bind(refusal.route.as_str())
                .push_bind(refusal.model.as_str())
                .push_bind(refusal.priority.as_str())
                .push_bind(i64::from(refusal.waiting))
                .push_bind(refusal.reason.as_str())
                .push_bind(refusal.message.as_str())
                .push_bind(Time(refusal.start))
                .push_bind(i64::try_from(refusal.duration.as_micros()).unwrap_or(i64::MAX))
                .push_bind(refusal.trace.as_str());
        });
        query.push(" ON CONFLICT (refusal_id) DO NOTHING RETURNING refusal_id");
        query.build_query_scalar().persistent(false).fetch_all(pool).await
    })?;
    Ok(new.len())
}

/// The newest of a request id, of one user when there is one.
pub(crate) async fn of(
    db: &Db,
    request_id: &str,
    user: Option<UserId>,
    limit: u32,
) -> Result<Vec<Refusal>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new("SELECT ");
        select.push(COLUMNS).push(" FROM refusals WHERE request_id = ").push_bind(request_id);
        if let Some(user) = user {
            select.push(" AND user_id = ").push_bind(user.uuid());
        }
        select.push(" ORDER BY start_time DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Refusal::from).collect())
}

/// Deletes those from before `old`, and all but the newest `most`.
pub(crate) async fn forget(db: &Db, old: policy::Time, most: i64) -> Result<(), sqlx::Error> {
    let beyond = on!(db, |pool| {
        let mut select =
            QueryBuilder::new("SELECT start_time FROM refusals ORDER BY start_time DESC LIMIT 1 OFFSET ");
        select.push_bind(most);
        select.build_query_scalar::<Time>().fetch_optional(pool).await
    })?;
    let old = beyond.map_or(old, |beyond| old.max(beyond.0));
    on!(db, |pool| {
        let mut delete = QueryBuilder::new("DELETE FROM refusals WHERE start_time < ");
        delete.push_bind(Time(old));
        delete.build().execute(pool).await.map(drop)
    })
}

impl From<Row> for Refusal {
    fn from(row: Row) -> Self {
        Self {
            id: row.refusal_id,
            request_id: row.request_id,
            user: UserId(row.user_id),
            api_key: nil_to_none(row.key_id),
            route: row.route,
            model: row.model,
            priority: row.priority,
            waiting: u32::try_from(row.waiting).unwrap_or(u32::MAX),
            reason: row.reason,
            message: row.message,
            start: row.start_time.0,
            duration: Duration::from_micros(row.duration_micros.unsigned_abs()),
            trace: row.trace_id,
        }
    }
}
