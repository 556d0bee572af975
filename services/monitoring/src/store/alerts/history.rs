//! What happened to alerts, one row each.

use super::{read, unreadable, written};
use crate::alerting::kept::{Event, EventKind, severity_number};
use alerts::{Fingerprint, Severity};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO alert_history (id, at, kind, fingerprint, name, severity, labels, detail) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const SELECT: &str =
    "SELECT id, at, kind, fingerprint, name, severity, labels, detail FROM alert_history WHERE TRUE";

const PURGE: &str = "DELETE FROM alert_history WHERE id IN (SELECT id FROM alert_history WHERE at <= $1 \
     ORDER BY at LIMIT 1000)";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    at: Time,
    kind: i32,
    fingerprint: String,
    name: String,
    severity: i32,
    labels: String,
    detail: String,
}

/// Keeps what happened.
pub(crate) async fn insert(tx: &mut Tx, event: &Event) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(event.id)
            .bind(Time(event.at))
            .bind(event.kind.number())
            .bind(event.fingerprint.map(|fingerprint| fingerprint.to_string()).unwrap_or_default())
            .bind(&event.name)
            .bind(severity_number(event.severity))
            .bind(written(&event.labels))
            .bind(&event.detail)
            .execute(connection)
            .await
            .map(drop)
    })
}

/// What happened, the newest first, before `before` when there is one.
pub(crate) async fn page(
    db: &Db,
    (fingerprint, kind): (Option<Fingerprint>, Option<EventKind>),
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Event>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        if let Some(fingerprint) = fingerprint {
            select.push(" AND fingerprint = ").push_bind(fingerprint.to_string());
        }
        if let Some(kind) = kind {
            select.push(" AND kind = ").push_bind(kind.number());
        }
        if let Some(before) = before {
            select.push(" AND id < ").push_bind(before);
        }
        select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Event::try_from).collect()
}

/// Forgets some of what was before then.
pub(crate) async fn purge(db: &Db, before: policy::Time) -> Result<(), sqlx::Error> {
    on!(db, |pool| sqlx::query(PURGE).bind(Time(before)).execute(pool).await.map(drop))
}

impl TryFrom<Row> for Event {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let severity = usize::try_from(row.severity - 1).ok().and_then(|at| Severity::ALL.get(at).copied());
        Ok(Self {
            id: row.id,
            at: row.at.0,
            kind: EventKind::from_number(row.kind).ok_or_else(|| unreadable("kind"))?,
            fingerprint: row.fingerprint.parse().ok(),
            name: row.name,
            severity: severity.ok_or_else(|| unreadable("severity"))?,
            labels: read("labels", &row.labels)?,
            detail: row.detail,
        })
    }
}
