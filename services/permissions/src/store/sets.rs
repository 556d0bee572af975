//! The table of model sets.

mod items;

use super::{StoreError, columns, contains, models::owner};
use crate::sets::{Filter, ModelSet};
pub(super) use items::ItemRow;
pub(crate) use items::{above, add_items, find_items, items, models_inside, remove_items};
use policy::{Member, ModelSetId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct SetRow {
    id: Uuid,
    name: String,
    description: String,
    owner_kind: Option<String>,
    owner_id: Option<Uuid>,
    owner_deleted: bool,
    disabled: bool,
    created_at: Time,
    deleted_at: Option<Time>,
}

impl TryFrom<SetRow> for ModelSet {
    type Error = StoreError;

    fn try_from(row: SetRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ModelSetId(row.id),
            name: row.name,
            description: row.description,
            owner: owner(row.owner_kind, row.owner_id, row.owner_deleted)?,
            disabled: row.disabled,
            created_at: row.created_at.0,
            deleted_at: row.deleted_at.map(policy::Time::from),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, description, owner_kind, owner_id, owner_deleted, disabled, created_at, deleted_at \
            FROM model_sets ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE id = $1 AND deleted_at IS NULL");
const FIND_DELETED: &str = select!("WHERE id = $1 AND deleted_at IS NOT NULL");
const ALL_OF: &str = select!("WHERE deleted_at IS NULL AND id IN (");
const LIST: &str = select!("WHERE (name, id) > (");
const INSERT: &str = "INSERT INTO model_sets (id, name, name_lower, description, owner_kind, owner_id, disabled, \
    created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const UPDATE: &str =
    "UPDATE model_sets SET name = $2, name_lower = $3, description = $4, disabled = $5 WHERE id = $1";
const SET_OWNER: &str =
    "UPDATE model_sets SET owner_kind = $2, owner_id = $3, owner_deleted = FALSE WHERE id = $1";
const NAME_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM model_sets WHERE name = $1 AND deleted_at IS NULL)";

pub(crate) async fn get(db: &Db, id: ModelSetId) -> Result<Option<ModelSet>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, SetRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(ModelSet::try_from).transpose()
}

/// The sets of these ids. What is not there is left out.
pub(crate) async fn all_of(tx: &mut Tx, ids: &[ModelSetId]) -> Result<Vec<ModelSet>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(ALL_OF);
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        query.push(")");
        query.build_query_as::<SetRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(ModelSet::try_from).collect()
}

/// A set that was deleted and can be taken back.
pub(crate) async fn find_deleted(tx: &mut Tx, id: ModelSetId) -> Result<Option<ModelSet>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, SetRow>(FIND_DELETED).bind(id.uuid());
        query.fetch_optional(on).await
    })?;
    row.map(ModelSet::try_from).transpose()
}

/// The sets after the name and id `after` that pass the filter.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    (name, id): (&str, Uuid),
    limit: i64,
) -> Result<Vec<ModelSet>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST);
        query.push_bind(name).push(", ").push_bind(id).push(")");
        if !filter.deleted {
            query.push(" AND deleted_at IS NULL");
        }
        if !filter.search.is_empty() {
            query.push(" AND name_lower LIKE ").push_bind(contains(&filter.search)).push(" ESCAPE '!'");
        }
        query.push(" ORDER BY name, id LIMIT ").push_bind(limit);
        query.build_query_as::<SetRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(ModelSet::try_from).collect()
}

/// Whether a set has this name.
pub(crate) async fn name_taken(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(NAME_TAKEN).bind(name).fetch_one(on).await)?)
}

pub(crate) async fn insert(tx: &mut Tx, set: &ModelSet) -> Result<(), StoreError> {
    let (kind, owner) = set.owner.map(columns).unzip();
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(set.id.uuid())
        .bind(&set.name)
        .bind(set.name.to_lowercase())
        .bind(&set.description)
        .bind(kind)
        .bind(owner)
        .bind(set.disabled)
        .bind(Time(set.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Everything but the owner, who may be hidden by a deletion that is taken back later.
pub(crate) async fn update(tx: &mut Tx, set: &ModelSet) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(set.id.uuid())
        .bind(&set.name)
        .bind(set.name.to_lowercase())
        .bind(&set.description)
        .bind(set.disabled)
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn set_owner(tx: &mut Tx, id: ModelSetId, owner: Option<Member>) -> Result<(), StoreError> {
    let (kind, owner) = owner.map(columns).unzip();
    on_tx!(tx, |on| {
        let query = sqlx::query(SET_OWNER).bind(id.uuid()).bind(kind).bind(owner);
        query.execute(on).await.map(drop)
    })?;
    Ok(())
}
