//! Tags that depend on others.

use crate::error::Error;
use shared::{
    db::{Db, Tx},
    on, on_tx,
};

const ALL: &str = "SELECT tag, depends_on FROM cache_dependencies ORDER BY tag, depends_on";

const OF: &str = "SELECT tag, depends_on FROM cache_dependencies WHERE tag = $1 ORDER BY depends_on";

const COUNT: &str = "SELECT COUNT(*) AS number FROM cache_dependencies";

const CLEAR: &str = "DELETE FROM cache_dependencies WHERE tag = $1";

const INSERT: &str =
    "INSERT INTO cache_dependencies (tag, depends_on) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// A tag, and one on which it depends.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Edge {
    pub(crate) tag: String,
    pub(crate) depends_on: String,
}

#[derive(sqlx::FromRow)]
struct NumberRow {
    number: i64,
}

/// All of them, or those of one tag, in order.
pub(crate) async fn list(db: &Db, tag: &str) -> Result<Vec<Edge>, Error> {
    Ok(on!(db, |pool| {
        let query = sqlx::query_as::<_, Edge>(if tag.is_empty() { ALL } else { OF });
        let query = if tag.is_empty() { query } else { query.bind(tag) };
        query.fetch_all(pool).await
    })?)
}

/// What one tag depends on, as the transaction sees it.
pub(crate) async fn of(tx: &mut Tx, tag: &str) -> Result<Vec<String>, Error> {
    let edges = on_tx!(tx, |connection| sqlx::query_as::<_, Edge>(OF).bind(tag).fetch_all(connection).await)?;
    Ok(edges.into_iter().map(|edge| edge.depends_on).collect())
}

/// All of them, as the transaction sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Edge>, Error> {
    Ok(on_tx!(tx, |connection| sqlx::query_as::<_, Edge>(ALL).fetch_all(connection).await)?)
}

/// Lets a tag depend on these alone. Returns how many there are in all.
pub(crate) async fn set(tx: &mut Tx, tag: &str, depends_on: &[String]) -> Result<i64, Error> {
    on_tx!(tx, |connection| sqlx::query(CLEAR).bind(tag).execute(connection).await.map(drop))?;
    for other in depends_on {
        on_tx!(tx, |connection| {
            sqlx::query(INSERT).bind(tag).bind(other.as_str()).execute(connection).await.map(drop)
        })?;
    }
    let count = on_tx!(tx, |connection| sqlx::query_as::<_, NumberRow>(COUNT).fetch_one(connection).await)?;
    Ok(count.number)
}
