//! Totals of a time, from the records and from the sums.

use super::join;
use crate::usage::reconcile::Totals;
use shared::{
    db::{Time, Tx},
    on_tx,
};
use std::collections::BTreeMap;

const OF_RECORDS: &str = "SELECT engine, COUNT(*) AS requests, CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens, \
     CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, \
     CAST(SUM(cost / 1000000) AS BIGINT) AS cost_micros, CAST(SUM(cost % 1000000) AS BIGINT) AS cost_rest, \
     COUNT(*) - COUNT(cost) AS unpriced FROM (SELECT r.engine AS engine, \
     COALESCE(c.prompt_tokens, r.prompt_tokens) AS prompt_tokens, \
     COALESCE(c.completion_tokens, r.completion_tokens) AS completion_tokens, \
     CASE WHEN c.revision IS NULL THEN r.cost ELSE c.cost END AS cost \
     FROM usage_records AS r LEFT JOIN usage_corrections AS c \
     ON c.usage_id = r.usage_id AND c.attempt = r.attempt AND c.revision = (SELECT MAX(l.revision) \
     FROM usage_corrections AS l WHERE l.usage_id = r.usage_id AND l.attempt = r.attempt) \
     WHERE r.start_time >= $1 AND r.start_time < $2) AS counted GROUP BY engine";

const OF_HOURS: &str = "SELECT '' AS engine, \
     CAST(COALESCE(SUM(finished + cancelled + failed + crashed), 0) AS BIGINT) AS requests, \
     CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens, \
     CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, \
     CAST(SUM(input_micros + cache_read_micros + output_micros) AS BIGINT) AS cost_micros, \
     CAST(SUM(input_rest + cache_read_rest + output_rest) AS BIGINT) AS cost_rest, \
     CAST(COALESCE(SUM(unpriced), 0) AS BIGINT) AS unpriced FROM usage_hourly WHERE hour >= $1 AND hour < $2";

/// Sums of nothing are NULL.
#[derive(sqlx::FromRow)]
struct Row {
    engine: String,
    requests: i64,
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    cost_micros: Option<i64>,
    cost_rest: Option<i64>,
    unpriced: i64,
}

/// The records of a time by engine, superseded where they are.
pub(crate) async fn of_records(
    tx: &mut Tx,
    start: policy::Time,
    end: policy::Time,
) -> Result<BTreeMap<String, Totals>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        sqlx::query_as(OF_RECORDS).bind(Time(start)).bind(Time(end)).fetch_all(connection).await
    })?;
    Ok(rows.into_iter().map(|row| (row.engine.clone(), Totals::from(row))).collect())
}

/// The sums of whole hours.
pub(crate) async fn of_hours(
    tx: &mut Tx,
    start: policy::Time,
    end: policy::Time,
) -> Result<Totals, sqlx::Error> {
    let row: Row = on_tx!(tx, |connection| {
        sqlx::query_as(OF_HOURS).bind(Time(start)).bind(Time(end)).fetch_one(connection).await
    })?;
    Ok(row.into())
}

impl From<Row> for Totals {
    fn from(row: Row) -> Self {
        Self {
            requests: row.requests,
            prompt_tokens: row.prompt_tokens.unwrap_or(0),
            completion_tokens: row.completion_tokens.unwrap_or(0),
            cost: join(row.cost_micros.unwrap_or(0), row.cost_rest.unwrap_or(0)),
            unpriced: row.unpriced,
        }
    }
}
