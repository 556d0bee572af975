//! The names of a caller's groups.

use super::StoreError;
use policy::{GroupId, UserId};
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;
use std::collections::BTreeSet;
use uuid::Uuid;

const DIRECT: &str = "SELECT group_id FROM memberships \
    WHERE dead_ends = 0 AND member_kind = 'user' AND member_id = $1 AND (expires_at IS NULL OR expires_at > $2)";

/// These groups by name; one that is gone is left out.
pub(crate) async fn names(db: &Db, ids: &[GroupId]) -> Result<Vec<(GroupId, String)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, String)> = on!(db, |pool| {
        let mut query = QueryBuilder::new("SELECT id, name FROM groups WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        query.push(") ORDER BY name");
        query.build_query_as().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(|(id, name)| (GroupId(id), name)).collect())
}

/// The groups that a user is a member of itself.
pub(crate) async fn direct(
    db: &Db,
    user: UserId,
    now: policy::Time,
) -> Result<BTreeSet<GroupId>, StoreError> {
    let rows: Vec<Uuid> =
        on!(db, |pool| sqlx::query_scalar(DIRECT).bind(user.uuid()).bind(Time(now)).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(GroupId).collect())
}
