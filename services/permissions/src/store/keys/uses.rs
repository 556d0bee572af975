//! How often keys were used: added up in batches, apart from the keys and off the head.

use crate::store::StoreError;
use policy::KeyId;
use shared::{
    db::{Db, Time},
    on,
    security::KeyUse,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// Rows in one statement; SQLite takes 32,766 parameters.
const ROWS: usize = 1_000;

const ADD: &str = "INSERT INTO key_uses (key_id, uses, last_used_at) ";
const SUM: &str = " ON CONFLICT (key_id) DO UPDATE SET uses = key_uses.uses + excluded.uses, last_used_at = \
    CASE WHEN excluded.last_used_at > key_uses.last_used_at THEN excluded.last_used_at \
    ELSE key_uses.last_used_at END";

/// Adds uses up. A key may be in it once only.
pub(crate) async fn add_uses(db: &Db, uses: &[KeyUse]) -> Result<(), StoreError> {
    let mut uses = uses.to_vec();
    // In one order everywhere, so that processes that write the same rows wait for each other and never in a circle.
    uses.sort_unstable_by_key(|one| one.key);
    for uses in uses.chunks(ROWS) {
        on!(db, |pool| {
            let mut query = QueryBuilder::new(ADD);
            query.push_values(uses, |mut row, KeyUse { key, count, last }| {
                row.push_bind(key.uuid())
                    .push_bind(i64::try_from(*count).unwrap_or(i64::MAX))
                    .push_bind(Time(*last));
            });
            query.push(SUM);
            query.build().execute(pool).await.map(drop)
        })?;
    }
    Ok(())
}

/// What is known of the uses of these keys.
pub(crate) async fn uses(db: &Db, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, i64, Time)> = on!(db, |pool| {
        let mut query =
            QueryBuilder::new("SELECT key_id, uses, last_used_at FROM key_uses WHERE key_id IN (");
        let mut list = query.separated(", ");
        for key in keys {
            list.push_bind(key.uuid());
        }
        query.push(")");
        query.build_query_as().fetch_all(pool).await
    })?;
    let used = |(key, count, last): (Uuid, i64, Time)| KeyUse {
        key: KeyId(key),
        count: u64::try_from(count).unwrap_or_default(),
        last: last.0,
    };
    Ok(rows.into_iter().map(used).collect())
}
