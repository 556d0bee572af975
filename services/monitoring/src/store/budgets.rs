//! Budgets themselves.

use crate::budgets::{Budget, Subject, change::Position};
use ::budgets::{Limit, window::Period};
use policy::{GroupId, KeyId, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const SELECT: &str = "SELECT budget_id, name, subject, subject_id, model, period, time_zone, limit_money, limit_tokens, \
     hard, created_time, updated_time, updated_by, revision FROM budgets";

const INSERT: &str = "INSERT INTO budgets (budget_id, name, subject, subject_id, model, period, time_zone, limit_money, \
     limit_tokens, hard, created_time, updated_time, updated_by, revision) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

const REPLACE: &str = "UPDATE budgets SET name = $2, limit_money = $3, limit_tokens = $4, hard = $5, updated_time = $6, \
     updated_by = $7, revision = revision + 1 WHERE budget_id = $1 AND revision = $8";

#[derive(sqlx::FromRow)]
struct Row {
    budget_id: Uuid,
    name: String,
    subject: i32,
    subject_id: Uuid,
    model: String,
    period: i32,
    time_zone: String,
    limit_money: Option<i64>,
    limit_tokens: Option<i64>,
    hard: bool,
    created_time: Time,
    updated_time: Time,
    updated_by: Uuid,
    revision: i64,
}

/// All budgets, in the order of their ids.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Budget>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" ORDER BY budget_id");
        select.build_query_as().fetch_all(connection).await
    })?;
    rows.into_iter().map(Budget::try_from).collect()
}

/// One budget.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<Budget>, sqlx::Error> {
    let row: Option<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" WHERE budget_id = ").push_bind(id);
        select.build_query_as().fetch_optional(connection).await
    })?;
    row.map(Budget::try_from).transpose()
}

/// The first budgets, those after `after` when there is one.
pub(crate) async fn page(db: &Db, after: Option<&Position>, limit: u32) -> Result<Vec<Budget>, sqlx::Error> {
    let rows: Vec<Row> = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        if let Some(after) = after {
            select.push(" WHERE (created_time, budget_id) > (").push_bind(Time(after.created));
            select.push(", ").push_bind(after.id).push(")");
        }
        select.push(" ORDER BY created_time, budget_id LIMIT ").push_bind(i64::from(limit));
        select.build_query_as().fetch_all(pool).await
    })?;
    rows.into_iter().map(Budget::try_from).collect()
}

/// Adds a budget.
pub(crate) async fn insert(tx: &mut Tx, budget: &Budget) -> Result<(), sqlx::Error> {
    let (number, id, model) = match &budget.subject {
        Subject::User(id) => (1, id.uuid(), ""),
        Subject::Group(id) => (2, id.uuid(), ""),
        Subject::Key(id) => (3, id.uuid(), ""),
        Subject::Model(name) => (4, Uuid::nil(), name.as_str()),
    };
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(budget.id)
            .bind(budget.name.as_str())
            .bind(number)
            .bind(id)
            .bind(model)
            .bind(period_number(budget.period))
            .bind(budget.zone.as_str())
            .bind(budget.limit.money)
            .bind(budget.limit.tokens)
            .bind(budget.hard)
            .bind(Time(budget.created))
            .bind(Time(budget.updated))
            .bind(budget.by.uuid())
            .bind(budget.revision)
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Writes what of a budget can change, if it is still of the revision before.
pub(crate) async fn replace(tx: &mut Tx, budget: &Budget) -> Result<bool, sqlx::Error> {
    let rows = on_tx!(tx, |connection| {
        sqlx::query(REPLACE)
            .bind(budget.id)
            .bind(budget.name.as_str())
            .bind(budget.limit.money)
            .bind(budget.limit.tokens)
            .bind(budget.hard)
            .bind(Time(budget.updated))
            .bind(budget.by.uuid())
            .bind(budget.revision - 1)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(rows > 0)
}

/// Deletes a budget and all that hangs on it. Returns whether there was one.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<bool, sqlx::Error> {
    let rows = on_tx!(tx, |connection| {
        let query = sqlx::query("DELETE FROM budgets WHERE budget_id = $1").bind(id);
        query.execute(connection).await.map(|done| done.rows_affected())
    })?;
    Ok(rows > 0)
}

/// The number of a period in the table; never given to another one.
fn period_number(period: Period) -> i32 {
    match period {
        Period::Day => 1,
        Period::Month => 2,
    }
}

impl TryFrom<Row> for Budget {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let unreadable = |column: &str| {
            sqlx::Error::Decode(format!("budgets: {column} holds what this version cannot read").into())
        };
        let subject = match row.subject {
            1 => Subject::User(UserId(row.subject_id)),
            2 => Subject::Group(GroupId(row.subject_id)),
            3 => Subject::Key(KeyId(row.subject_id)),
            4 => Subject::Model(row.model),
            _ => return Err(unreadable("subject")),
        };
        let period =
            [Period::Day, Period::Month].into_iter().find(|period| period_number(*period) == row.period);
        Ok(Self {
            id: row.budget_id,
            name: row.name,
            subject,
            period: period.ok_or_else(|| unreadable("period"))?,
            zone: row.time_zone,
            limit: Limit { money: row.limit_money, tokens: row.limit_tokens },
            hard: row.hard,
            created: row.created_time.0,
            updated: row.updated_time.0,
            by: UserId(row.updated_by),
            revision: row.revision,
        })
    }
}
