//! The table of who is in which group.

use crate::store::{LIST, StoreError, columns, member};
use policy::{GroupId, Member, Membership};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
pub(crate) struct MembershipRow {
    group_id: Uuid,
    member_kind: String,
    member_id: Uuid,
    expires_at: Option<Time>,
}

impl TryFrom<MembershipRow> for Membership {
    type Error = StoreError;

    fn try_from(row: MembershipRow) -> Result<Self, StoreError> {
        Ok(Self {
            group: GroupId(row.group_id),
            member: member(&row.member_kind, row.member_id)?,
            expires_at: row.expires_at.map(policy::Time::from),
        })
    }
}

const MEMBERS: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    WHERE dead_ends = 0 AND group_id = $1 AND (member_kind, member_id) > ($2, $3) \
    ORDER BY member_kind, member_id LIMIT $4";
const MEMBERSHIPS: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    WHERE dead_ends = 0 AND member_kind = $1 AND member_id = $2 AND group_id > $3 ORDER BY group_id LIMIT $4";
const FIND: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    WHERE dead_ends = 0 AND group_id = ";
const PUT: &str = "INSERT INTO memberships (group_id, member_kind, member_id, expires_at) ";
const OVER: &str =
    " ON CONFLICT (group_id, member_kind, member_id) DO UPDATE SET expires_at = excluded.expires_at";
const REMOVE: &str = "DELETE FROM memberships WHERE dead_ends = 0 AND group_id = ";
/// Every group above `$1`, at any height.
const ABOVE: &str = "WITH RECURSIVE above (id) AS ( \
        SELECT group_id FROM memberships WHERE dead_ends = 0 AND member_kind = 'group' AND member_id = $1 \
        UNION \
        SELECT m.group_id FROM memberships m JOIN above a ON m.member_id = a.id \
        WHERE m.dead_ends = 0 AND m.member_kind = 'group' \
    ) SELECT id FROM above";

/// The groups that a group is in, directly or through groups between.
pub(crate) async fn above(tx: &mut Tx, group: GroupId) -> Result<Vec<GroupId>, StoreError> {
    let ids: Vec<Uuid> = on_tx!(tx, |on| sqlx::query_scalar(ABOVE).bind(group.uuid()).fetch_all(on).await)?;
    Ok(ids.into_iter().map(GroupId).collect())
}

/// Those of `members` that are in a group directly.
pub(crate) async fn find_members(
    tx: &mut Tx,
    group: GroupId,
    members: &[Member],
) -> Result<Vec<Membership>, StoreError> {
    let mut found = Vec::new();
    for members in members.chunks(LIST) {
        let rows = on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(FIND);
            query.push_bind(group.uuid());
            push_members(&mut query, members);
            query.build_query_as::<MembershipRow>().fetch_all(on).await
        })?;
        found.extend(rows);
    }
    found.into_iter().map(Membership::try_from).collect()
}

pub(crate) async fn put_members(tx: &mut Tx, memberships: &[Membership]) -> Result<(), StoreError> {
    for memberships in memberships.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(PUT);
            query.push_values(memberships, |mut row, membership| {
                let (kind, id) = columns(membership.member);
                row.push_bind(membership.group.uuid()).push_bind(kind).push_bind(id);
                row.push_bind(membership.expires_at.map(Time));
            });
            query.push(OVER);
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

/// Takes members out.
pub(crate) async fn remove_members(
    tx: &mut Tx,
    group: GroupId,
    members: &[Member],
) -> Result<(), StoreError> {
    for members in members.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(REMOVE);
            query.push_bind(group.uuid());
            push_members(&mut query, members);
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

/// ` AND (member_kind, member_id) IN (…)`, a list per kind. Ids are unique over both kinds.
fn push_members<D: sqlx::Database>(query: &mut QueryBuilder<D>, members: &[Member])
where
    Uuid: for<'q> sqlx::Encode<'q, D> + sqlx::Type<D>,
{
    let mut list = query.push(" AND member_id IN (").separated(", ");
    for member in members {
        list.push_bind(columns(*member).1);
    }
    query.push(")");
}

/// The direct members after `after`; groups come before users.
pub(crate) async fn members(
    db: &Db,
    group: GroupId,
    after: Option<Member>,
    limit: i64,
) -> Result<Vec<Membership>, StoreError> {
    let (kind, id) = after.map_or(("", Uuid::nil()), columns);
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, MembershipRow>(MEMBERS).bind(group.uuid()).bind(kind).bind(id);
        query.bind(limit).fetch_all(pool).await
    })?;
    rows.into_iter().map(Membership::try_from).collect()
}

/// The groups after `after` that a user or a group is in directly.
pub(crate) async fn memberships(
    db: &Db,
    member: Member,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Membership>, StoreError> {
    let (kind, id) = columns(member);
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, MembershipRow>(MEMBERSHIPS).bind(kind).bind(id).bind(after);
        query.bind(limit).fetch_all(pool).await
    })?;
    rows.into_iter().map(Membership::try_from).collect()
}
