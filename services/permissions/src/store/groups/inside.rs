//! Memberships through groups between: what is below a group, what is above a member. Only what counts now.

use crate::{
    groups::Edge,
    store::{StoreError, columns},
};
use policy::{GroupId, Member};
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct EdgeRow {
    group_id: Uuid,
    member_id: Uuid,
    expires_at: Option<Time>,
}

impl From<EdgeRow> for Edge {
    fn from(row: EdgeRow) -> Self {
        let until = row.expires_at.map(policy::Time::from);
        Self { member: row.member_id, group: row.group_id, until }
    }
}

/// Groups in groups, from `$1` down, at `$2`.
const BELOW: &str = "WITH RECURSIVE inside (id) AS ( \
        SELECT id FROM groups WHERE id = $1 \
        UNION \
        SELECT m.member_id FROM memberships m JOIN inside i ON m.group_id = i.id JOIN groups g ON g.id = m.member_id \
        WHERE m.member_kind = 'group' AND m.dead_ends = 0 AND (m.expires_at IS NULL OR m.expires_at > $2) \
            AND NOT g.disabled \
    ) SELECT m.group_id, m.member_id, m.expires_at FROM memberships m \
    JOIN inside i ON m.group_id = i.id JOIN groups g ON g.id = m.member_id \
    WHERE m.member_kind = 'group' AND m.dead_ends = 0 AND (m.expires_at IS NULL OR m.expires_at > $2) \
        AND NOT g.disabled";
/// Memberships of the `$1` `$2` and of the groups above it, at `$3`.
const ABOVE: &str = "WITH RECURSIVE above (id) AS ( \
        SELECT m.group_id FROM memberships m JOIN groups g ON g.id = m.group_id \
        WHERE m.member_kind = $1 AND m.member_id = $2 AND m.dead_ends = 0 \
            AND (m.expires_at IS NULL OR m.expires_at > $3) AND NOT g.disabled \
        UNION \
        SELECT m.group_id FROM memberships m JOIN above a ON m.member_id = a.id JOIN groups g ON g.id = m.group_id \
        WHERE m.member_kind = 'group' AND m.dead_ends = 0 \
            AND (m.expires_at IS NULL OR m.expires_at > $3) AND NOT g.disabled \
    ) SELECT m.group_id, m.member_id, m.expires_at FROM memberships m JOIN groups g ON g.id = m.group_id \
    WHERE m.member_kind = $1 AND m.member_id = $2 AND m.dead_ends = 0 \
        AND (m.expires_at IS NULL OR m.expires_at > $3) AND NOT g.disabled \
    UNION ALL \
    SELECT m.group_id, m.member_id, m.expires_at FROM above a JOIN memberships m ON m.member_id = a.id \
    JOIN groups g ON g.id = m.group_id \
    WHERE m.member_kind = 'group' AND m.dead_ends = 0 \
        AND (m.expires_at IS NULL OR m.expires_at > $3) AND NOT g.disabled";
const USERS: &str = "SELECT DISTINCT member_id FROM memberships \
    WHERE dead_ends = 0 AND member_kind = 'user' AND member_id > ";
const OF_USERS: &str = "SELECT group_id, member_id, expires_at FROM memberships \
    WHERE dead_ends = 0 AND member_kind = 'user' AND member_id IN (";

/// The groups below a group, as edges.
pub(crate) async fn edges_below(db: &Db, group: GroupId, now: policy::Time) -> Result<Vec<Edge>, StoreError> {
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, EdgeRow>(BELOW).bind(group.uuid()).bind(Time(now));
        query.fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Edge::from).collect())
}

/// The groups above a user or a group, as edges.
pub(crate) async fn edges_above(db: &Db, member: Member, now: policy::Time) -> Result<Vec<Edge>, StoreError> {
    let (kind, id) = columns(member);
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, EdgeRow>(ABOVE).bind(kind).bind(id).bind(Time(now));
        query.fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Edge::from).collect())
}

/// The users after `after` that are directly in one of `groups`, each with all its memberships in them.
pub(crate) async fn users_inside(
    db: &Db,
    groups: &[Uuid],
    after: Uuid,
    limit: i64,
    now: policy::Time,
) -> Result<Vec<Edge>, StoreError> {
    let users: Vec<Uuid> = on!(db, |pool| {
        let mut query = QueryBuilder::new(USERS);
        query.push_bind(after);
        query
            .push(" AND (expires_at IS NULL OR expires_at > ")
            .push_bind(Time(now))
            .push(") AND group_id IN (");
        let mut list = query.separated(", ");
        for id in groups {
            list.push_bind(*id);
        }
        query.push(") ORDER BY member_id LIMIT ").push_bind(limit);
        query.build_query_scalar().fetch_all(pool).await
    })?;
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(OF_USERS);
        let mut list = query.separated(", ");
        for id in users {
            list.push_bind(id);
        }
        query
            .push(") AND (expires_at IS NULL OR expires_at > ")
            .push_bind(Time(now))
            .push(") AND group_id IN (");
        let mut list = query.separated(", ");
        for id in groups {
            list.push_bind(*id);
        }
        query.push(") ORDER BY member_id");
        query.build_query_as::<EdgeRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Edge::from).collect())
}
