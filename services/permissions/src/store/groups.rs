//! The table of groups.

mod inside;
mod members;

use super::{StoreError, contains};
use crate::groups::{Filter, Group};
pub(crate) use inside::{edges_above, edges_below, users_inside};
pub(super) use members::MembershipRow;
pub(crate) use members::{above, find_members, members, memberships, put_members, remove_members};
use policy::GroupId;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: Uuid,
    name: String,
    description: String,
    disabled: bool,
    created_at: Time,
    deleted_at: Option<Time>,
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        Self {
            id: GroupId(row.id),
            name: row.name,
            description: row.description,
            disabled: row.disabled,
            created_at: row.created_at.0,
            deleted_at: row.deleted_at.map(policy::Time::from),
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, description, disabled, created_at, deleted_at FROM groups ", $rest)
    };
}

const FIND: &str = select!("WHERE id = $1 AND deleted_at IS NULL");
const FIND_DELETED: &str = select!("WHERE id = $1 AND deleted_at IS NOT NULL");
const LIST: &str = select!("WHERE id > ");
const INSERT: &str = "INSERT INTO groups (id, name, name_lower, description, disabled, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";
const UPDATE: &str =
    "UPDATE groups SET name = $2, name_lower = $3, description = $4, disabled = $5 WHERE id = $1";
const NAME_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM groups WHERE name = $1 AND deleted_at IS NULL)";

pub(crate) async fn get(db: &Db, id: GroupId) -> Result<Option<Group>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, GroupRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    Ok(row.map(Group::from))
}

pub(crate) async fn find(tx: &mut Tx, id: GroupId) -> Result<Option<Group>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, GroupRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    Ok(row.map(Group::from))
}

/// A group that was deleted and can be taken back.
pub(crate) async fn find_deleted(tx: &mut Tx, id: GroupId) -> Result<Option<Group>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, GroupRow>(FIND_DELETED).bind(id.uuid());
        query.fetch_optional(on).await
    })?;
    Ok(row.map(Group::from))
}

/// The groups after the id `after` that pass the filter.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Group>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST);
        query.push_bind(after);
        if !filter.deleted {
            query.push(" AND deleted_at IS NULL");
        }
        if !filter.search.is_empty() {
            query.push(" AND name_lower LIKE ").push_bind(contains(&filter.search)).push(" ESCAPE '!'");
        }
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as::<GroupRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Group::from).collect())
}

/// The groups of these names.
pub(crate) async fn by_names(tx: &mut Tx, names: &[&str]) -> Result<HashMap<String, GroupId>, StoreError> {
    let mut found = HashMap::new();
    for names in names.chunks(super::LIST) {
        let rows: Vec<(String, Uuid)> = on_tx!(tx, |on| {
            let mut query =
                QueryBuilder::new("SELECT name, id FROM groups WHERE deleted_at IS NULL AND name IN (");
            let mut list = query.separated(", ");
            for name in names {
                list.push_bind(*name);
            }
            query.push(")");
            query.build_query_as().fetch_all(on).await
        })?;
        found.extend(rows.into_iter().map(|(name, id)| (name, GroupId(id))));
    }
    Ok(found)
}

/// Whether a group has this name.
pub(crate) async fn name_taken(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(NAME_TAKEN).bind(name).fetch_one(on).await)?)
}

pub(crate) async fn insert(tx: &mut Tx, group: &Group) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(group.id.uuid())
        .bind(&group.name)
        .bind(group.name.to_lowercase())
        .bind(&group.description)
        .bind(group.disabled)
        .bind(Time(group.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx, group: &Group) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(group.id.uuid())
        .bind(&group.name)
        .bind(group.name.to_lowercase())
        .bind(&group.description)
        .bind(group.disabled)
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}
