//! The table of further names of models.

use super::StoreError;
use crate::aliases::Alias;
use policy::ModelId;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct AliasRow {
    name: String,
    model_id: Uuid,
    created_at: Time,
}

impl From<AliasRow> for Alias {
    fn from(row: AliasRow) -> Self {
        let fact = policy::Alias { name: row.name, model: ModelId(row.model_id) };
        Self { fact, created_at: row.created_at.0 }
    }
}

const FIND: &str = "SELECT name, model_id, created_at FROM aliases WHERE name = $1 AND dead_ends = 0";
const LIST: &str = "SELECT name, model_id, created_at FROM aliases WHERE dead_ends = 0 AND name > ";
const INSERT: &str = "INSERT INTO aliases (name, model_id, created_at) VALUES ($1, $2, $3)";
const DELETE: &str = "DELETE FROM aliases WHERE name = $1 AND dead_ends = 0";
/// A hidden alias of the model `$1` whose name stands for another model by now.
const TAKEN: &str = "SELECT a.name FROM aliases a WHERE a.model_id = $1 AND ( \
        EXISTS (SELECT 1 FROM aliases b WHERE b.name = a.name AND b.dead_ends = 0) \
        OR EXISTS (SELECT 1 FROM models m WHERE m.name = a.name AND m.deleted_at IS NULL) \
    ) ORDER BY a.name LIMIT 1";

pub(crate) async fn find(tx: &mut Tx, name: &str) -> Result<Option<Alias>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, AliasRow>(FIND).bind(name).fetch_optional(on).await)?;
    Ok(row.map(Alias::from))
}

/// The aliases after the name `after`, of one model or of all.
pub(crate) async fn list(
    db: &Db,
    model: Option<ModelId>,
    after: &str,
    limit: i64,
) -> Result<Vec<Alias>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST);
        query.push_bind(after);
        if let Some(model) = model {
            query.push(" AND model_id = ").push_bind(model.uuid());
        }
        query.push(" ORDER BY name LIMIT ").push_bind(limit);
        query.build_query_as::<AliasRow>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Alias::from).collect())
}

pub(crate) async fn insert(tx: &mut Tx, alias: &Alias) -> Result<(), StoreError> {
    on_tx!(tx, |on| {
        let query = sqlx::query(INSERT).bind(&alias.fact.name).bind(alias.fact.model.uuid());
        query.bind(Time(alias.created_at)).execute(on).await.map(drop)
    })?;
    Ok(())
}

/// Deletes an alias.
pub(crate) async fn delete(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DELETE).bind(name).execute(on).await.map(drop))?;
    Ok(())
}

/// A name that a deleted model cannot have back as an alias.
pub(crate) async fn taken(tx: &mut Tx, model: ModelId) -> Result<Option<String>, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar(TAKEN).bind(model.uuid()).fetch_optional(on).await)?)
}
