//! The tables of groups and of who is in them.

use super::{StoreError, columns, member};
use crate::groups::Group;
use policy::{GroupId, Member, Membership};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: Uuid,
    name: String,
    description: String,
    created_at: Time,
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        Self {
            id: GroupId(row.id),
            name: row.name,
            description: row.description,
            created_at: row.created_at.0,
        }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct MembershipRow {
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

const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM groups WHERE id = $1)";
const FIND: &str = "SELECT id, name, description, created_at FROM groups WHERE id = $1";
const LIST: &str = "SELECT id, name, description, created_at FROM groups WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO groups (id, name, description, created_at) VALUES ($1, $2, $3, $4)";
const DELETE: &str = "DELETE FROM groups WHERE id = $1";
const DELETE_MEMBERSHIPS: &str =
    "DELETE FROM memberships WHERE group_id = $1 OR (member_kind = 'group' AND member_id = $1)";
const DELETE_GRANTS: &str = "DELETE FROM grants WHERE grantee_kind = 'group' AND grantee_id = $1";
const DISOWN: &str =
    "UPDATE models SET owner_kind = NULL, owner_id = NULL WHERE owner_kind = 'group' AND owner_id = $1";
const PUT_MEMBER: &str = "INSERT INTO memberships (group_id, member_kind, member_id, expires_at) \
    VALUES ($1, $2, $3, $4) \
    ON CONFLICT (group_id, member_kind, member_id) DO UPDATE SET expires_at = excluded.expires_at";
const REMOVE_MEMBER: &str =
    "DELETE FROM memberships WHERE group_id = $1 AND member_kind = $2 AND member_id = $3";
const FIND_MEMBER: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    WHERE group_id = $1 AND member_kind = $2 AND member_id = $3";
const MEMBERS: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    WHERE group_id = $1 AND (member_kind, member_id) > ($2, $3) ORDER BY member_kind, member_id LIMIT $4";
/// Whether `$2` is above `$1`, at any height.
const IS_ABOVE: &str = "WITH RECURSIVE above (id) AS ( \
        SELECT group_id FROM memberships WHERE member_kind = 'group' AND member_id = $1 \
        UNION \
        SELECT m.group_id FROM memberships m JOIN above a ON m.member_kind = 'group' AND m.member_id = a.id \
    ) SELECT EXISTS (SELECT 1 FROM above WHERE id = $2)";

pub(crate) async fn exists(tx: &mut Tx, id: GroupId) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(EXISTS).bind(id.uuid()).fetch_one(on).await)?)
}

pub(crate) async fn is_there(db: &Db, id: GroupId) -> Result<bool, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar::<_, bool>(EXISTS).bind(id.uuid()).fetch_one(pool).await)?)
}

pub(crate) async fn find(tx: &mut Tx, id: GroupId) -> Result<Option<Group>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, GroupRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    Ok(row.map(Group::from))
}

pub(crate) async fn list(db: &Db, after: Uuid, limit: i64) -> Result<Vec<Group>, StoreError> {
    let rows =
        on!(db, |pool| sqlx::query_as::<_, GroupRow>(LIST).bind(after).bind(limit).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(Group::from).collect())
}

pub(crate) async fn insert(tx: &mut Tx, group: &Group) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(group.id.uuid())
        .bind(&group.name)
        .bind(&group.description)
        .bind(Time(group.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Deletes a group with everything that refers to it.
pub(crate) async fn delete(tx: &mut Tx, id: GroupId) -> Result<(), StoreError> {
    for query in [DELETE_MEMBERSHIPS, DELETE_GRANTS, DISOWN, DELETE] {
        on_tx!(tx, |on| sqlx::query(query).bind(id.uuid()).execute(on).await.map(drop))?;
    }
    Ok(())
}

pub(crate) async fn find_member(
    tx: &mut Tx,
    group: GroupId,
    member: Member,
) -> Result<Option<Membership>, StoreError> {
    let (kind, id) = columns(member);
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, MembershipRow>(FIND_MEMBER).bind(group.uuid()).bind(kind).bind(id);
        query.fetch_optional(on).await
    })?;
    row.map(Membership::try_from).transpose()
}

pub(crate) async fn put_member(tx: &mut Tx, membership: &Membership) -> Result<(), StoreError> {
    let (kind, id) = columns(membership.member);
    on_tx!(tx, |on| sqlx::query(PUT_MEMBER)
        .bind(membership.group.uuid())
        .bind(kind)
        .bind(id)
        .bind(membership.expires_at.map(Time))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Takes a member out.
pub(crate) async fn remove_member(tx: &mut Tx, group: GroupId, member: Member) -> Result<(), StoreError> {
    let (kind, id) = columns(member);
    on_tx!(tx, |on| {
        let query = sqlx::query(REMOVE_MEMBER).bind(group.uuid()).bind(kind).bind(id);
        query.execute(on).await.map(drop)
    })?;
    Ok(())
}

/// Whether `group` is in `other`, directly or through groups between.
pub(crate) async fn is_in(tx: &mut Tx, group: GroupId, other: GroupId) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| {
        sqlx::query_scalar::<_, bool>(IS_ABOVE).bind(group.uuid()).bind(other.uuid()).fetch_one(on).await
    })?)
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
