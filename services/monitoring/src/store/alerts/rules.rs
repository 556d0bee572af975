//! Rules as they are written.

use super::{read, written};
use crate::alerting::kept::KeptRule;
use alerts::RuleText;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO alert_rules (id, name, body, enabled, version, created, updated) ";

/// Rules of one statement, which has a value per column of each.
const AT_ONCE: usize = 500;

const UPDATE: &str = "UPDATE alert_rules SET name = $3, body = $4, enabled = $5, version = version + 1, updated = $6 \
     WHERE id = $1 AND version = $2 RETURNING id, body, enabled, version, created, updated";

const DELETE: &str =
    "DELETE FROM alert_rules WHERE id = $1 RETURNING id, body, enabled, version, created, updated";

const SELECT: &str = "SELECT id, body, enabled, version, created, updated FROM alert_rules";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    body: String,
    enabled: bool,
    version: i64,
    created: Time,
    updated: Time,
}

/// Keeps new rules.
pub(crate) async fn insert(tx: &mut Tx, rules: &[KeptRule]) -> Result<(), sqlx::Error> {
    for rules in rules.chunks(AT_ONCE) {
        on_tx!(tx, |connection| {
            let mut query = QueryBuilder::new(INSERT);
            query.push_values(rules, |mut row, rule| {
                row.push_bind(rule.id)
                    .push_bind(&rule.text.alert)
                    .push_bind(written(&rule.text))
                    .push_bind(rule.enabled)
                    .push_bind(rule.version)
                    .push_bind(Time(rule.created))
                    .push_bind(Time(rule.updated));
            });
            query.build().persistent(false).execute(connection).await.map(drop)
        })?;
    }
    Ok(())
}

/// Replaces the rule of this version; nothing when there is none.
pub(crate) async fn update(
    tx: &mut Tx,
    (id, version): (Uuid, i64),
    text: &RuleText,
    enabled: bool,
    now: policy::Time,
) -> Result<Option<KeptRule>, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        sqlx::query_as::<_, Row>(UPDATE)
            .bind(id)
            .bind(version)
            .bind(&text.alert)
            .bind(written(text))
            .bind(enabled)
            .bind(Time(now))
            .fetch_optional(connection)
            .await
    })?;
    row.map(KeptRule::try_from).transpose()
}

/// Deletes a rule, and returns it if it was there.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<Option<KeptRule>, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        sqlx::query_as::<_, Row>(DELETE).bind(id).fetch_optional(connection).await
    })?;
    row.map(KeptRule::try_from).transpose()
}

/// One rule.
pub(crate) async fn get(db: &Db, id: Uuid) -> Result<Option<KeptRule>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" WHERE id = ").push_bind(id);
        select.build_query_as::<Row>().fetch_optional(pool).await
    })?;
    row.map(KeptRule::try_from).transpose()
}

/// Rules by their names, those after `after` when there is one; all of them without a limit.
pub(crate) async fn page(
    db: &Db,
    after: Option<(&str, Uuid)>,
    limit: Option<u32>,
) -> Result<Vec<KeptRule>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        if let Some((name, id)) = after {
            select
                .push(" WHERE (name, id) > (")
                .push_bind(name.to_owned())
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        select.push(" ORDER BY name, id");
        if let Some(limit) = limit {
            select.push(" LIMIT ").push_bind(i64::from(limit));
        }
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(KeptRule::try_from).collect()
}

impl TryFrom<Row> for KeptRule {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            text: read("a rule", &row.body)?,
            enabled: row.enabled,
            version: row.version,
            created: row.created.0,
            updated: row.updated.0,
        })
    }
}
