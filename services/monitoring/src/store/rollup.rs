//! The sums by the hour, and reports from them.

use super::{group_or_nil, id_or_nil};
use crate::{
    usage::report::{Bucket, Group, Query, Row},
    usage::{HourKey, Sums},
};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO usage_hourly (hour, user_id, key_id, group_id, model, endpoint, finished, cancelled, failed, \
     crashed, prompt_tokens, cached_prompt_tokens, completion_tokens, estimated_tokens, cached, \
     saved_prompt_tokens, saved_completion_tokens, cost, unpriced) ";

const ADD: &str = " ON CONFLICT (hour, user_id, key_id, group_id, model, endpoint) DO UPDATE SET \
     finished = usage_hourly.finished + excluded.finished, \
     cancelled = usage_hourly.cancelled + excluded.cancelled, \
     failed = usage_hourly.failed + excluded.failed, \
     crashed = usage_hourly.crashed + excluded.crashed, \
     prompt_tokens = usage_hourly.prompt_tokens + excluded.prompt_tokens, \
     cached_prompt_tokens = usage_hourly.cached_prompt_tokens + excluded.cached_prompt_tokens, \
     completion_tokens = usage_hourly.completion_tokens + excluded.completion_tokens, \
     estimated_tokens = usage_hourly.estimated_tokens + excluded.estimated_tokens, \
     cached = usage_hourly.cached + excluded.cached, \
     saved_prompt_tokens = usage_hourly.saved_prompt_tokens + excluded.saved_prompt_tokens, \
     saved_completion_tokens = usage_hourly.saved_completion_tokens + excluded.saved_completion_tokens, \
     cost = usage_hourly.cost + excluded.cost, unpriced = usage_hourly.unpriced + excluded.unpriced";

/// PostgreSQL makes a NUMERIC of a sum of BIGINTs, and SQLite's sum ends where 64 bits do: costs are summed as millionths of
/// a dollar and what is left over.
const SELECT: &str = "SELECT bucket, user_id, key_id, group_id, model, endpoint, \
     CAST(SUM(finished) AS BIGINT) AS finished, CAST(SUM(cancelled) AS BIGINT) AS cancelled, \
     CAST(SUM(failed) AS BIGINT) AS failed, CAST(SUM(crashed) AS BIGINT) AS crashed, \
     CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens, \
     CAST(SUM(cached_prompt_tokens) AS BIGINT) AS cached_prompt_tokens, \
     CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, \
     CAST(SUM(estimated_tokens) AS BIGINT) AS estimated_tokens, CAST(SUM(cached) AS BIGINT) AS cached, \
     CAST(SUM(saved_prompt_tokens) AS BIGINT) AS saved_prompt_tokens, \
     CAST(SUM(saved_completion_tokens) AS BIGINT) AS saved_completion_tokens, \
     CAST(SUM(cost / 1000000) AS BIGINT) AS cost_micros, CAST(SUM(cost % 1000000) AS BIGINT) AS cost_rest, \
     CAST(SUM(unpriced) AS BIGINT) AS unpriced FROM (SELECT ";

#[derive(sqlx::FromRow)]
struct SumRow {
    bucket: Time,
    user_id: Uuid,
    key_id: Uuid,
    group_id: Uuid,
    model: String,
    endpoint: String,
    finished: i64,
    cancelled: i64,
    failed: i64,
    crashed: i64,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    estimated_tokens: i64,
    cached: i64,
    saved_prompt_tokens: i64,
    saved_completion_tokens: i64,
    cost_micros: i64,
    cost_rest: i64,
    unpriced: i64,
}

/// Adds sums to hours whose keys differ from each other and come in order.
pub(crate) async fn add(tx: &mut Tx, hours: &[(HourKey, Sums)]) -> Result<(), sqlx::Error> {
    if hours.is_empty() {
        return Ok(());
    }
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(hours, |mut row, (key, sums)| {
            row.push_bind(Time(key.hour))
                .push_bind(key.user.uuid())
                .push_bind(id_or_nil(key.api_key))
                .push_bind(group_or_nil(key.group))
                .push_bind(key.model.as_str())
                .push_bind(key.endpoint.as_str())
                .push_bind(sums.finished)
                .push_bind(sums.cancelled)
                .push_bind(sums.failed)
                .push_bind(sums.crashed)
                .push_bind(sums.prompt_tokens)
                .push_bind(sums.cached_prompt_tokens)
                .push_bind(sums.completion_tokens)
                .push_bind(sums.estimated_tokens)
                .push_bind(sums.cached)
                .push_bind(sums.saved_prompt_tokens)
                .push_bind(sums.saved_completion_tokens)
                .push_bind(i64::try_from(sums.cost).unwrap_or(i64::MAX))
                .push_bind(sums.unpriced);
        });
        query.push(ADD);
        query.build().persistent(false).execute(connection).await.map(drop)
    })
}

/// The first rows of a report, those after `after` when there is one.
///
/// A dimension that is not asked for is the same for all rows, so one text serves every grouping.
pub(crate) async fn sums(
    db: &Db,
    query: &Query,
    after: Option<&Group>,
    limit: u32,
) -> Result<Vec<Row>, sqlx::Error> {
    let bucket = bucket(db, query.bucket);
    let by = query.group_by;
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        match bucket {
            Some(expression) => select.push(expression),
            None => select.push_bind(Time(query.start)),
        };
        select.push(" AS bucket, ");
        for (asked, column) in [(by.user, "user_id"), (by.key, "key_id"), (by.group, "group_id")] {
            if asked {
                select.push(column)
            } else {
                select.push_bind(Uuid::nil())
            };
            select.push(" AS ").push(column).push(", ");
        }
        for (asked, column) in [(by.model, "model"), (by.endpoint, "endpoint")] {
            if asked {
                select.push(column)
            } else {
                select.push_bind("")
            };
            select.push(" AS ").push(column).push(", ");
        }
        select.push(
            "finished, cancelled, failed, crashed, prompt_tokens, cached_prompt_tokens, completion_tokens, \
             estimated_tokens, cached, saved_prompt_tokens, saved_completion_tokens, cost, unpriced \
             FROM usage_hourly WHERE hour >= ",
        );
        select.push_bind(Time(query.start)).push(" AND hour < ").push_bind(Time(query.end));
        if let Some(user) = query.user {
            select.push(" AND user_id = ").push_bind(user.uuid());
        }
        if let Some(key) = query.api_key {
            select.push(" AND key_id = ").push_bind(key.uuid());
        }
        if let Some(group) = query.group {
            select.push(" AND group_id = ").push_bind(group.uuid());
        }
        if let Some(model) = &query.model {
            select.push(" AND model = ").push_bind(model);
        }
        select.push(") AS hours");
        if let Some(after) = after {
            select
                .push(" WHERE (bucket, user_id, key_id, group_id, model, endpoint) > (")
                .push_bind(Time(after.bucket));
            select.push(", ").push_bind(after.user);
            select.push(", ").push_bind(after.key);
            select.push(", ").push_bind(after.group);
            select.push(", ").push_bind(&after.model);
            select.push(", ").push_bind(&after.endpoint).push(")");
        }
        select.push(" GROUP BY bucket, user_id, key_id, group_id, model, endpoint");
        select
            .push(" ORDER BY bucket, user_id, key_id, group_id, model, endpoint LIMIT ")
            .push_bind(i64::from(limit));
        select.build_query_as::<SumRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// The start of an hour's bucket as SQL, or `None` when all hours share one. Arithmetic on times is where the
/// engines differ: SQLite has microseconds since 1970, and no time of this ledger is before that.
fn bucket(db: &Db, bucket: Bucket) -> Option<&'static str> {
    match (bucket, db) {
        (Bucket::Whole, _) => None,
        (Bucket::Hour, _) => Some("hour"),
        (Bucket::Day, Db::Postgres(_)) => Some("date_trunc('day', hour, 'UTC')"),
        (Bucket::Day, Db::Sqlite(_)) => Some("hour - hour % 86400000000"),
        (Bucket::Month, Db::Postgres(_)) => Some("date_trunc('month', hour, 'UTC')"),
        (Bucket::Month, Db::Sqlite(_)) => {
            Some("CAST(strftime('%s', hour / 1000000, 'unixepoch', 'start of month') AS INTEGER) * 1000000")
        }
    }
}

impl From<SumRow> for Row {
    fn from(row: SumRow) -> Self {
        Self {
            group: Group {
                bucket: row.bucket.0,
                user: row.user_id,
                key: row.key_id,
                group: row.group_id,
                model: row.model,
                endpoint: row.endpoint,
            },
            sums: Sums {
                finished: row.finished,
                cancelled: row.cancelled,
                failed: row.failed,
                crashed: row.crashed,
                prompt_tokens: row.prompt_tokens,
                cached_prompt_tokens: row.cached_prompt_tokens,
                completion_tokens: row.completion_tokens,
                estimated_tokens: row.estimated_tokens,
                cached: row.cached,
                saved_prompt_tokens: row.saved_prompt_tokens,
                saved_completion_tokens: row.saved_completion_tokens,
                cost: i128::from(row.cost_micros) * 1_000_000 + i128::from(row.cost_rest),
                unpriced: row.unpriced,
            },
        }
    }
}
