//! What was spent of budgets, window by window.

use super::{join, split};
use crate::budgets::{
    Subject,
    spend::{Spent, WindowKey},
};
use ::budgets::{Amount, window::Window};
use shared::{
    db::{Time, Tx},
    on_tx,
};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use uuid::Uuid;

const ADD: &str = " ON CONFLICT (budget_id, window_start) DO UPDATE SET \
     spent_micros = budget_windows.spent_micros + excluded.spent_micros, \
     spent_rest = budget_windows.spent_rest + excluded.spent_rest, \
     spent_tokens = budget_windows.spent_tokens + excluded.spent_tokens, \
     unpriced = budget_windows.unpriced + excluded.unpriced \
     RETURNING budget_id, window_start, spent_micros, spent_rest, spent_tokens";

const IN_LEDGER: &str = "SELECT \
     CAST(SUM(CASE WHEN c.revision IS NULL THEN r.cost ELSE c.cost END / 1000000) AS BIGINT) AS micros, \
     CAST(SUM(CASE WHEN c.revision IS NULL THEN r.cost ELSE c.cost END % 1000000) AS BIGINT) AS rest, \
     CAST(SUM(COALESCE(c.prompt_tokens, r.prompt_tokens) + COALESCE(c.completion_tokens, r.completion_tokens)) AS BIGINT) \
     AS tokens, \
     COUNT(*) - COUNT(CASE WHEN c.revision IS NULL THEN r.cost ELSE c.cost END) AS unpriced \
     FROM usage_records AS r LEFT JOIN usage_corrections AS c \
     ON c.usage_id = r.usage_id AND c.attempt = r.attempt AND c.revision = (SELECT MAX(l.revision) \
     FROM usage_corrections AS l WHERE l.usage_id = r.usage_id AND l.attempt = r.attempt) WHERE ";

#[derive(sqlx::FromRow)]
struct Row {
    budget_id: Uuid,
    window_start: Time,
    spent_micros: i64,
    spent_rest: i64,
    spent_tokens: i64,
}

#[derive(sqlx::FromRow)]
struct SumRow {
    micros: Option<i64>,
    rest: Option<i64>,
    tokens: Option<i64>,
    unpriced: i64,
}

/// A threshold that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Reached {
    pub(crate) percent: i32,
    pub(crate) reached_time: Time,
}

/// How a window stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) spent: Amount,
    pub(crate) unpriced: i64,
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    budget_id: Uuid,
    window_start: Time,
    spent_micros: i64,
    spent_rest: i64,
    spent_tokens: i64,
    unpriced: i64,
}

/// Keeps records out until the end of the transaction, and waits for those that are on their way in.
pub(crate) async fn hold_records(tx: &mut Tx) -> Result<(), sqlx::Error> {
    match tx {
        Tx::Postgres(connection) => {
            let lock = sqlx::query("LOCK TABLE usage_records IN SHARE ROW EXCLUSIVE MODE");
            lock.execute(connection).await.map(drop)
        }
        // There is one writer.
        Tx::Sqlite(_) => Ok(()),
    }
}

/// What the ledger has of a subject in a window.
pub(crate) async fn in_ledger(tx: &mut Tx, subject: &Subject, window: Window) -> Result<Spent, sqlx::Error> {
    let row: SumRow = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(IN_LEDGER);
        match subject {
            Subject::User(id) => select.push("r.user_id = ").push_bind(id.uuid()),
            Subject::Group(id) => select.push("r.group_id = ").push_bind(id.uuid()),
            Subject::Key(id) => select.push("r.key_id = ").push_bind(id.uuid()),
            Subject::Model(name) => select
                .push("CASE WHEN r.served_model = '' THEN r.model ELSE r.served_model END = ")
                .push_bind(name),
        };
        select.push(" AND r.start_time >= ").push_bind(Time(policy::Time(window.start)));
        select.push(" AND r.start_time < ").push_bind(Time(policy::Time(window.end)));
        select.build_query_as().fetch_one(connection).await
    })?;
    let amount = Amount {
        money: join(row.micros.unwrap_or(0), row.rest.unwrap_or(0)),
        tokens: row.tokens.unwrap_or(0),
    };
    Ok(Spent { amount, unpriced: row.unpriced })
}

/// Adds to windows whose keys differ and come in order. Returns what was spent of each by then.
pub(crate) async fn add(
    tx: &mut Tx,
    windows: &[(WindowKey, Spent)],
) -> Result<Vec<(WindowKey, Amount)>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "INSERT INTO budget_windows (budget_id, window_start, spent_micros, spent_rest, spent_tokens, unpriced) ",
        );
        query.push_values(windows, |mut row, ((budget, start), spent)| {
            let (micros, rest) = split(spent.amount.money);
            row.push_bind(*budget)
                .push_bind(Time(policy::Time(*start)))
                .push_bind(micros)
                .push_bind(rest)
                .push_bind(spent.amount.tokens)
                .push_bind(spent.unpriced);
        });
        query.push(ADD);
        query.build_query_as().persistent(false).fetch_all(connection).await
    })?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What was spent in these windows; nobody changes that until the end of the transaction.
pub(crate) async fn locked(
    tx: &mut Tx,
    keys: &[WindowKey],
) -> Result<HashMap<WindowKey, Amount>, sqlx::Error> {
    let nothing: Vec<(WindowKey, Spent)> = keys.iter().map(|key| (*key, Spent::default())).collect();
    // Adding nothing locks the row, and makes it where there is none.
    Ok(add(tx, &nothing).await?.into_iter().collect())
}

/// Notes that budgets reached thresholds, once in each window. Whether one of them had not been reached before.
pub(crate) async fn reach(
    tx: &mut Tx,
    reached: &[(WindowKey, u8)],
    now: policy::Time,
) -> Result<bool, sqlx::Error> {
    if reached.is_empty() {
        return Ok(false);
    }
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "INSERT INTO budget_thresholds (budget_id, window_start, percent, reached_time) ",
        );
        query.push_values(reached, |mut row, ((budget, start), percent)| {
            row.push_bind(*budget)
                .push_bind(Time(policy::Time(*start)))
                .push_bind(i32::from(*percent))
                .push_bind(Time(now));
        });
        query.push(" ON CONFLICT (budget_id, window_start, percent) DO NOTHING");
        let done = query.build().persistent(false).execute(connection).await;
        done.map(|done| done.rows_affected() > 0)
    })
}

/// The thresholds that were reached in a window.
pub(crate) async fn reached(tx: &mut Tx, (budget, start): WindowKey) -> Result<Vec<Reached>, sqlx::Error> {
    on_tx!(tx, |connection| {
        let select = "SELECT percent, reached_time FROM budget_thresholds \
                      WHERE budget_id = $1 AND window_start = $2 ORDER BY percent";
        let query = sqlx::query_as(select).bind(budget).bind(Time(policy::Time(start)));
        query.fetch_all(connection).await
    })
}

/// How windows stand that have begun since a time.
pub(crate) async fn since(
    tx: &mut Tx,
    start: policy::Time,
) -> Result<HashMap<WindowKey, Standing>, sqlx::Error> {
    let rows: Vec<StandingRow> = on_tx!(tx, |connection| {
        let select = "SELECT budget_id, window_start, spent_micros, spent_rest, spent_tokens, unpriced \
                      FROM budget_windows \
                      WHERE window_start >= $1";
        sqlx::query_as(select).bind(Time(start)).fetch_all(connection).await
    })?;
    let standing = |row: StandingRow| {
        let spent = Amount { money: join(row.spent_micros, row.spent_rest), tokens: row.spent_tokens };
        ((row.budget_id, row.window_start.0.0), Standing { spent, unpriced: row.unpriced })
    };
    Ok(rows.into_iter().map(standing).collect())
}

impl From<Row> for (WindowKey, Amount) {
    fn from(row: Row) -> Self {
        let spent = Amount { money: join(row.spent_micros, row.spent_rest), tokens: row.spent_tokens };
        ((row.budget_id, row.window_start.0.0), spent)
    }
}
