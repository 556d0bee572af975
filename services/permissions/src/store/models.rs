//! The table of models.

use super::{StoreError, columns, member};
use crate::models::Model;
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
    state: String,
    created_at: Time,
}

impl TryFrom<ModelRow> for Model {
    type Error = StoreError;

    fn try_from(row: ModelRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ModelId(row.id),
            name: row.name,
            description: row.description,
            owner: owner(row.owner_kind, row.owner_id)?,
            state: row.state.parse::<ModelState>()?,
            created_at: row.created_at.0,
        })
    }
}

pub(super) fn owner(kind: Option<String>, id: Option<Uuid>) -> Result<Option<Member>, StoreError> {
    kind.zip(id).map(|(kind, id)| member(&kind, id)).transpose()
}

const COLUMNS: &str = "SELECT id, name, description, owner_kind, owner_id, state, created_at FROM models ";
const FIND: &str =
    "SELECT id, name, description, owner_kind, owner_id, state, created_at FROM models WHERE id = $1";
/// `$2` is a pattern of lower-case letters with `!` before what is meant literally.
const LIST: &str = "SELECT id, name, description, owner_kind, owner_id, state, created_at FROM models \
    WHERE name > $1 AND lower(name) LIKE $2 ESCAPE '!' ORDER BY name LIMIT $3";
const INSERT: &str = "INSERT INTO models (id, name, description, owner_kind, owner_id, state, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const UPDATE: &str =
    "UPDATE models SET description = $2, owner_kind = $3, owner_id = $4, state = $5 WHERE id = $1";

pub(crate) async fn get(db: &Db, id: ModelId) -> Result<Option<Model>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, ModelRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(Model::try_from).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: ModelId) -> Result<Option<Model>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, ModelRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(Model::try_from).transpose()
}

/// The models after the name `after` whose name contains `search` in any case.
pub(crate) async fn list(db: &Db, after: &str, search: &str, limit: i64) -> Result<Vec<Model>, StoreError> {
    let pattern = pattern(search);
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, ModelRow>(LIST).bind(after).bind(&pattern).bind(limit);
        query.fetch_all(pool).await
    })?;
    rows.into_iter().map(Model::try_from).collect()
}

/// The models of these ids, by name. What is not there is left out.
pub(crate) async fn all_of(db: &Db, ids: &[ModelId]) -> Result<Vec<Model>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("WHERE id IN (");
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
    if ids.is_empty() {
        return Ok(None);
    }
    let found: Vec<Uuid> = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new("SELECT id FROM models WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        query.push(")");
        query.build_query_scalar::<Uuid>().fetch_all(on).await
    })?;
    Ok(ids.iter().copied().find(|id| !found.contains(&id.uuid())))
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

pub(crate) async fn update(tx: &mut Tx, model: &Model) -> Result<(), StoreError> {
    let (kind, id) = model.owner.map(columns).unzip();
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(model.id.uuid())
        .bind(&model.description)
        .bind(kind)
        .bind(id)
        .bind(model.state.as_str())
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

fn pattern(search: &str) -> String {
    let mut pattern = String::from("%");
    for letter in search.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
