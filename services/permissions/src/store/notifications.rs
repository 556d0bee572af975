//! The table of what people are told.

use super::StoreError;
use crate::notifications::{Kind, Notification};
use policy::UserId;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct NotificationRow {
    id: Uuid,
    kind: String,
    request_id: Uuid,
    created_at: Time,
    read_at: Option<Time>,
}

const INSERT: &str = "INSERT INTO notifications (id, user_id, kind, request_id, created_at) ";
const SELECT: &str = "SELECT id, kind, request_id, created_at, read_at FROM notifications WHERE user_id = ";
const READ: &str =
    "UPDATE notifications SET read_at = $3 WHERE user_id = $1 AND id <= $2 AND read_at IS NULL";

/// Tells several people the same.
pub(crate) async fn insert(
    tx: &mut Tx,
    users: &[UserId],
    kind: Kind,
    request: Uuid,
    now: policy::Time,
) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(users, |mut row, user| {
            row.push_bind(Uuid::now_v7())
                .push_bind(user.uuid())
                .push_bind(kind.as_str())
                .push_bind(request)
                .push_bind(Time(now));
        });
        query.build().execute(on).await.map(drop)
    })?;
    Ok(())
}

/// What a user was told before the id `before`, newest first.
pub(crate) async fn list(
    db: &Db,
    user: UserId,
    unread: bool,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Notification>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        query.push_bind(user.uuid());
        if unread {
            query.push(" AND read_at IS NULL");
        }
        if let Some(before) = before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
        query.build_query_as::<NotificationRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Notification::try_from).collect()
}

/// Marks what a user was told up to `until` as read. Returns how many were not.
pub(crate) async fn read(db: &Db, user: UserId, until: Uuid, now: policy::Time) -> Result<u64, StoreError> {
    Ok(on!(db, |pool| {
        let query = sqlx::query(READ).bind(user.uuid()).bind(until).bind(Time(now));
        query.execute(pool).await.map(|done| done.rows_affected())
    })?)
}

impl TryFrom<NotificationRow> for Notification {
    type Error = StoreError;

    fn try_from(row: NotificationRow) -> Result<Self, StoreError> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
        Ok(Self {
            id: row.id,
            kind: kind.ok_or(StoreError::Corrupt("notifications"))?,
            request: row.request_id,
            created_at: row.created_at.0,
            read_at: row.read_at.map(policy::Time::from),
        })
    }
}
