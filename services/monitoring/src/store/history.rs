//! What a subject spent hour by hour, from the hourly sums.

use super::join;
use crate::budgets::Subject;
use ::budgets::Amount;
use shared::{
    db::{Time, Tx},
    on_tx,
};
use sqlx::QueryBuilder;

#[derive(sqlx::FromRow)]
struct Row {
    hour: Time,
    micros: i64,
    rest: i64,
    tokens: i64,
}

/// The hours in which a subject spent anything, in order.
pub(crate) async fn hours(
    tx: &mut Tx,
    subject: &Subject,
    start: policy::Time,
    end: policy::Time,
) -> Result<Vec<(policy::Time, Amount)>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(
            "SELECT hour, CAST(SUM(input_micros + cache_read_micros + output_micros) AS BIGINT) AS micros, \
             CAST(SUM(input_rest + cache_read_rest + output_rest) AS BIGINT) AS rest, \
             CAST(SUM(prompt_tokens + completion_tokens) AS BIGINT) AS tokens FROM usage_hourly WHERE ",
        );
        match subject {
            Subject::User(id) => select.push("user_id = ").push_bind(id.uuid()),
            Subject::Group(id) => select.push("group_id = ").push_bind(id.uuid()),
            Subject::Key(id) => select.push("key_id = ").push_bind(id.uuid()),
            Subject::Model(name) => select.push("served_model = ").push_bind(name),
        };
        select.push(" AND hour >= ").push_bind(Time(start));
        select.push(" AND hour < ").push_bind(Time(end));
        select.push(" GROUP BY hour ORDER BY hour");
        select.build_query_as().fetch_all(connection).await
    })?;
    let amount = |row: Row| (row.hour.0, Amount { money: join(row.micros, row.rest), tokens: row.tokens });
    Ok(rows.into_iter().map(amount).collect())
}
