//! The table of models.

use super::{StoreError, columns, contains, member};
use crate::models::{Filter, Model};
use policy::{Member, ModelId, ModelState};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct ModelRow {
    id: Uuid,
    name: String,
    description: String,
    owner_kind: Option<String>,
    owner_id: Option<Uuid>,
    owner_deleted: bool,
    state: String,
    replacement_id: Option<Uuid>,
    sunset_at: Option<Time>,
    created_at: Time,
    deleted_at: Option<Time>,
}

impl TryFrom<ModelRow> for Model {
    type Error = StoreError;

    fn try_from(row: ModelRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ModelId(row.id),
            name: row.name,
            description: row.description,
            owner: owner(row.owner_kind, row.owner_id, row.owner_deleted)?,
            state: row.state.parse::<ModelState>()?,
            replacement: row.replacement_id.map(ModelId),
            sunset_at: row.sunset_at.map(policy::Time::from),
            created_at: row.created_at.0,
            deleted_at: row.deleted_at.map(policy::Time::from),
        })
    }
}

/// An owner from its columns; one that is deleted is none.
pub(super) fn owner(
    kind: Option<String>,
    id: Option<Uuid>,
    deleted: bool,
) -> Result<Option<Member>, StoreError> {
    kind.zip(id).filter(|_| !deleted).map(|(kind, id)| member(&kind, id)).transpose()
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, description, owner_kind, owner_id, owner_deleted, state, replacement_id, sunset_at, \
            created_at, deleted_at FROM models ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE id = $1 AND deleted_at IS NULL");
const FIND_DELETED: &str = select!("WHERE id = $1 AND deleted_at IS NOT NULL");
const LIST: &str = select!("WHERE (name, id) > (");
const ALL_OF: &str = select!("WHERE deleted_at IS NULL AND id IN (");
const INSERT: &str = "INSERT INTO models (id, name, description, owner_kind, owner_id, state, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const UPDATE: &str = "UPDATE models SET description = $2, state = $3, replacement_id = $4, sunset_at = $5 \
    WHERE id = $1";
const SET_OWNER: &str =
    "UPDATE models SET owner_kind = $2, owner_id = $3, owner_deleted = FALSE WHERE id = $1";
const NAME_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM models WHERE name = $1 AND deleted_at IS NULL)";

pub(crate) async fn get(db: &Db, id: ModelId) -> Result<Option<Model>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, ModelRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(Model::try_from).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: ModelId) -> Result<Option<Model>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, ModelRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(Model::try_from).transpose()
}

/// A model that was deleted and can be taken back.
pub(crate) async fn find_deleted(tx: &mut Tx, id: ModelId) -> Result<Option<Model>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, ModelRow>(FIND_DELETED).bind(id.uuid());
        query.fetch_optional(on).await
    })?;
    row.map(Model::try_from).transpose()
}

/// The models after the name and id `after` that pass the filter.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    (name, id): (&str, Uuid),
    limit: i64,
) -> Result<Vec<Model>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST);
        query.push_bind(name).push(", ").push_bind(id).push(")");
        if !filter.deleted {
            query.push(" AND deleted_at IS NULL");
        }
        if !filter.search.is_empty() {
            query.push(" AND lower(name) LIKE ").push_bind(contains(&filter.search)).push(" ESCAPE '!'");
        }
        if !filter.states.is_empty() {
            let mut list = query.push(" AND state IN (").separated(", ");
            for state in &filter.states {
                list.push_bind(state.as_str());
            }
            query.push(")");
        }
        if let Some((kind, id)) = filter.owner.map(columns) {
            query.push(" AND NOT owner_deleted AND owner_kind = ").push_bind(kind);
            query.push(" AND owner_id = ").push_bind(id);
        }
        query.push(" ORDER BY name, id LIMIT ").push_bind(limit);
        query.build_query_as::<ModelRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Model::try_from).collect()
}

/// The models of these ids, by name. What is not there is left out.
pub(crate) async fn all_of(db: &Db, ids: &[ModelId]) -> Result<Vec<Model>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(ALL_OF);
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        query.push(") ORDER BY name");
        query.build_query_as::<ModelRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Model::try_from).collect()
}

/// Whether every one of these models exists; else one that does not.
pub(crate) async fn missing(tx: &mut Tx, ids: &[ModelId]) -> Result<Option<ModelId>, StoreError> {
    let all: Vec<Uuid> = ids.iter().copied().map(ModelId::uuid).collect();
    let found = super::known("models", tx, &all).await?;
    Ok(ids.iter().copied().find(|id| !found.contains(&id.uuid())))
}

/// Whether a model has this name as its own.
pub(crate) async fn name_taken(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(NAME_TAKEN).bind(name).fetch_one(on).await)?)
}

pub(crate) async fn insert(tx: &mut Tx, model: &Model) -> Result<(), StoreError> {
    let (kind, id) = model.owner.map(columns).unzip();
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(model.id.uuid())
        .bind(&model.name)
        .bind(&model.description)
        .bind(kind)
        .bind(id)
        .bind(model.state.as_str())
        .bind(Time(model.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Everything but the owner, who may be hidden by a deletion that is taken back later.
pub(crate) async fn update(tx: &mut Tx, model: &Model) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(model.id.uuid())
        .bind(&model.description)
        .bind(model.state.as_str())
        .bind(model.replacement.map(ModelId::uuid))
        .bind(model.sunset_at.map(Time))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn set_owner(tx: &mut Tx, id: ModelId, owner: Option<Member>) -> Result<(), StoreError> {
    let (kind, owner) = owner.map(columns).unzip();
    on_tx!(tx, |on| {
        let query = sqlx::query(SET_OWNER).bind(id.uuid()).bind(kind).bind(owner);
        query.execute(on).await.map(drop)
    })?;
    Ok(())
}
