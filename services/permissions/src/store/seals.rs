//! The value by which a store knows its encryption keys.

use super::StoreError;
use shared::{db::Db, on};

const PROOF: &str = "UPDATE head SET seal = coalesce(seal, $1) WHERE id = 1 RETURNING seal";

/// The proof that is there, or this one from now on.
pub(crate) async fn proof(db: &Db, new: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar::<_, Vec<u8>>(PROOF).bind(new).fetch_one(pool).await)?)
}
