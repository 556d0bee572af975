//! The table of what is in which set.

use crate::store::{LIST, StoreError};
use policy::{ModelId, ModelSetId, Target};
use shared::{
    db::{Db, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
pub(crate) struct ItemRow {
    set_id: Uuid,
    item_kind: String,
    item_id: Uuid,
}

impl TryFrom<ItemRow> for (ModelSetId, Target) {
    type Error = StoreError;

    fn try_from(row: ItemRow) -> Result<Self, StoreError> {
        let item = match row.item_kind.as_str() {
            "model" => Target::Model(ModelId(row.item_id)),
            "set" => Target::Set(ModelSetId(row.item_id)),
            _ => return Err(StoreError::Corrupt("set_items")),
        };
        Ok((ModelSetId(row.set_id), item))
    }
}

fn columns(item: Target) -> (&'static str, Uuid) {
    match item {
        Target::Model(id) => ("model", id.uuid()),
        Target::Set(id) => ("set", id.uuid()),
    }
}

const ITEMS: &str = "SELECT set_id, item_kind, item_id FROM set_items \
    WHERE dead_ends = 0 AND set_id = $1 AND (item_kind, item_id) > ($2, $3) ORDER BY item_kind, item_id LIMIT $4";
const FIND: &str = "SELECT set_id, item_kind, item_id FROM set_items WHERE dead_ends = 0 AND set_id = ";
const ADD: &str = "INSERT INTO set_items (set_id, item_kind, item_id) ";
const REMOVE: &str = "DELETE FROM set_items WHERE dead_ends = 0 AND set_id = ";
/// Every set above `$1`, at any height.
const ABOVE: &str = "WITH RECURSIVE above (id) AS ( \
        SELECT set_id FROM set_items WHERE dead_ends = 0 AND item_kind = 'set' AND item_id = $1 \
        UNION \
        SELECT s.set_id FROM set_items s JOIN above a ON s.item_id = a.id WHERE s.dead_ends = 0 AND s.item_kind = 'set' \
    ) SELECT id FROM above";
/// Every model in each of some sets, at any depth.
const INSIDE: &str = "WITH RECURSIVE inside (root, id) AS (SELECT id, id FROM model_sets WHERE id IN (";
const INSIDE_THEM: &str = ") UNION \
        SELECT i.root, s.item_id FROM set_items s JOIN inside i ON s.set_id = i.id \
        WHERE s.dead_ends = 0 AND s.item_kind = 'set' \
    ) SELECT DISTINCT i.root, s.item_id FROM set_items s JOIN inside i ON s.set_id = i.id \
    WHERE s.dead_ends = 0 AND s.item_kind = 'model'";

/// The sets that a set is in, directly or through sets between.
pub(crate) async fn above(tx: &mut Tx, set: ModelSetId) -> Result<Vec<ModelSetId>, StoreError> {
    let ids: Vec<Uuid> = on_tx!(tx, |on| sqlx::query_scalar(ABOVE).bind(set.uuid()).fetch_all(on).await)?;
    Ok(ids.into_iter().map(ModelSetId).collect())
}

/// The models in each of these sets, directly or through sets between.
pub(crate) async fn models_inside(
    tx: &mut Tx,
    sets: &[ModelSetId],
) -> Result<Vec<(ModelSetId, ModelId)>, StoreError> {
    let rows: Vec<(Uuid, Uuid)> = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(INSIDE);
        let mut list = query.separated(", ");
        for id in sets {
            list.push_bind(id.uuid());
        }
        query.push(INSIDE_THEM);
        query.build_query_as().fetch_all(on).await
    })?;
    Ok(rows.into_iter().map(|(set, model)| (ModelSetId(set), ModelId(model))).collect())
}

/// The items after `after`; models come before sets.
pub(crate) async fn items(
    db: &Db,
    set: ModelSetId,
    after: Option<Target>,
    limit: i64,
) -> Result<Vec<Target>, StoreError> {
    let (kind, id) = after.map_or(("", Uuid::nil()), columns);
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, ItemRow>(ITEMS).bind(set.uuid()).bind(kind).bind(id).bind(limit);
        query.fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| Ok(<(ModelSetId, Target)>::try_from(row)?.1)).collect()
}

/// Those of `items` that are in a set directly.
pub(crate) async fn find_items(
    tx: &mut Tx,
    set: ModelSetId,
    items: &[Target],
) -> Result<Vec<Target>, StoreError> {
    let mut found = Vec::new();
    for items in items.chunks(LIST) {
        let rows = on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(FIND);
            query.push_bind(set.uuid());
            let mut list = query.push(" AND item_id IN (").separated(", ");
            for item in items {
                list.push_bind(columns(*item).1);
            }
            query.push(")");
            query.build_query_as::<ItemRow>().fetch_all(on).await
        })?;
        found.extend(rows);
    }
    found.into_iter().map(|row| Ok(<(ModelSetId, Target)>::try_from(row)?.1)).collect()
}

/// Puts items in that are not there yet.
pub(crate) async fn add_items(tx: &mut Tx, set: ModelSetId, items: &[Target]) -> Result<(), StoreError> {
    for items in items.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(ADD);
            query.push_values(items, |mut row, item| {
                let (kind, id) = columns(*item);
                row.push_bind(set.uuid()).push_bind(kind).push_bind(id);
            });
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

/// Takes items out.
pub(crate) async fn remove_items(tx: &mut Tx, set: ModelSetId, items: &[Target]) -> Result<(), StoreError> {
    for items in items.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(REMOVE);
            query.push_bind(set.uuid());
            let mut list = query.push(" AND item_id IN (").separated(", ");
            for item in items {
                list.push_bind(columns(*item).1);
            }
            query.push(")");
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}
