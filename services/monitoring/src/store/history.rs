//! What a subject spent hour by hour, from the hourly sums.

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
    money: i64,
    tokens: i64,
}

/// The hours in which a subject spent anything, in order. A model's are those in which it was asked for by its own name.
pub(crate) async fn hours(
    tx: &mut Tx,
    subject: &Subject,
    start: policy::Time,
    end: policy::Time,
) -> Result<Vec<(policy::Time, Amount)>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(
            "SELECT hour, CAST(SUM(cost) AS BIGINT) AS money, \
             CAST(SUM(prompt_tokens + completion_tokens) AS BIGINT) AS tokens FROM usage_hourly WHERE ",
        );
        match subject {
            Subject::User(id) => select.push("user_id = ").push_bind(id.uuid()),
            Subject::Group(id) => select.push("group_id = ").push_bind(id.uuid()),
            Subject::Key(id) => select.push("key_id = ").push_bind(id.uuid()),
            Subject::Model(name) => select.push("model = ").push_bind(name),
        };
        select.push(" AND hour >= ").push_bind(Time(start));
        select.push(" AND hour < ").push_bind(Time(end));
        select.push(" GROUP BY hour ORDER BY hour");
        select.build_query_as().fetch_all(connection).await
    })?;
    let amount = |row: Row| (row.hour.0, Amount { money: row.money, tokens: row.tokens });
    Ok(rows.into_iter().map(amount).collect())
}
