//! Silences.

use super::{read, written};
use crate::alerting::kept::KeptSilence;
use alerts::{SilenceState, Time as At};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO alert_silences (id, matchers, begins, ends, comment, creator, created) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

const EXPIRE: &str = "UPDATE alert_silences SET ends = $2 WHERE id = $1 AND ends > $2";

const PURGE: &str = "DELETE FROM alert_silences WHERE ends <= $1";

const SELECT: &str =
    "SELECT id, matchers, begins, ends, comment, creator, created FROM alert_silences WHERE ends > ";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    matchers: String,
    begins: Time,
    ends: Time,
    comment: String,
    creator: String,
    created: Time,
}

/// Keeps a silence.
pub(crate) async fn insert(tx: &mut Tx, silence: &KeptSilence) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query(INSERT)
            .bind(silence.id)
            .bind(written(&silence.silence.matchers))
            .bind(Time(policy::Time(silence.silence.start.0)))
            .bind(Time(policy::Time(silence.silence.end.0)))
            .bind(&silence.comment)
            .bind(&silence.creator)
            .bind(Time(silence.created))
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Ends a silence. Returns whether it was not over.
pub(crate) async fn expire(tx: &mut Tx, id: Uuid, now: policy::Time) -> Result<bool, sqlx::Error> {
    let count = on_tx!(tx, |connection| {
        let query = sqlx::query(EXPIRE).bind(id).bind(Time(now));
        query.execute(connection).await.map(|done| done.rows_affected())
    })?;
    Ok(count > 0)
}

/// Forgets silences that were over by then.
pub(crate) async fn purge(db: &Db, before: policy::Time) -> Result<(), sqlx::Error> {
    on!(db, |pool| sqlx::query(PURGE).bind(Time(before)).execute(pool).await.map(drop))
}

/// One silence.
pub(crate) async fn get(db: &Db, id: Uuid) -> Result<Option<KeptSilence>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push_bind(Time(policy::Time(0))).push(" AND id = ").push_bind(id);
        select.build_query_as::<Row>().fetch_optional(pool).await
    })?;
    row.map(KeptSilence::try_from).transpose()
}

/// Silences, the newest first, those before `before` when there is one; all that are not over without a limit.
pub(crate) async fn page(
    db: &Db,
    (state, now): (Option<SilenceState>, policy::Time),
    before: Option<Uuid>,
    limit: Option<u32>,
) -> Result<Vec<KeptSilence>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        let over = matches!(state, Some(SilenceState::Expired)) || (state.is_none() && limit.is_some());
        select.push_bind(Time(if over { policy::Time(0) } else { now }));
        match state {
            Some(SilenceState::Pending) => select.push(" AND begins > ").push_bind(Time(now)),
            Some(SilenceState::Active) => select.push(" AND begins <= ").push_bind(Time(now)),
            Some(SilenceState::Expired) => select.push(" AND ends <= ").push_bind(Time(now)),
            None => &mut select,
        };
        if let Some(before) = before {
            select.push(" AND id < ").push_bind(before);
        }
        select.push(" ORDER BY id DESC");
        if let Some(limit) = limit {
            select.push(" LIMIT ").push_bind(i64::from(limit));
        }
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    rows.into_iter().map(KeptSilence::try_from).collect()
}

impl TryFrom<Row> for KeptSilence {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let silence = alerts::Silence {
            id: row.id.to_string(),
            matchers: read("matchers", &row.matchers)?,
            start: At(row.begins.0.0),
            end: At(row.ends.0.0),
        };
        Ok(Self { id: row.id, silence, comment: row.comment, creator: row.creator, created: row.created.0 })
    }
}
