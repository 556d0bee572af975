//! Grants on their way into the table, however many by one statement, which each engine takes best in a shape of its own.

use super::{Grant, StoreError, grantee_columns, target_columns};
use policy::{GrantId, UserId};
use shared::db::{Held, Time, Tx};
use sqlx::{Postgres, QueryBuilder, Sqlite};
use std::collections::HashSet;
use uuid::Uuid;

/// A parameter for each column, not for each value: PostgreSQL would take as long to read those as to store the rows.
const POSTGRES: &str = "INSERT INTO grants (id, model_id, model_set_id, grantee_kind, grantee_id, action, effect, \
    starts_at, expires_at, granted_by, created_at) \
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], \
        $8::timestamptz[], $9::timestamptz[], $10::uuid[], $11::timestamptz[]) \
    ON CONFLICT DO NOTHING RETURNING id";
const SQLITE: &str = "INSERT INTO grants (id, model_id, model_set_id, grantee_kind, grantee_id, action, effect, \
    starts_at, expires_at, granted_by, created_at) ";

/// Inserts a grant. Returns whether none like it was there.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant) -> Result<bool, StoreError> {
    Ok(!insert_all(tx, &[grant]).await?.is_empty())
}

/// Inserts those grants that are not there already. Returns their ids.
pub(crate) async fn insert_all(tx: &mut Tx, grants: &[&Grant]) -> Result<HashSet<GrantId>, StoreError> {
    if grants.is_empty() {
        return Ok(HashSet::new());
    }
    let inserted = match tx {
        Tx::Postgres(on) => postgres(on, grants).await,
        Tx::Sqlite(on) => sqlite(on, grants).await,
    }?;
    Ok(inserted.into_iter().map(GrantId).collect())
}

async fn postgres(on: &mut Held<Postgres>, grants: &[&Grant]) -> Result<Vec<Uuid>, sqlx::Error> {
    fn all<T>(grants: &[&Grant], part: impl Fn(&Grant) -> T) -> Vec<T> {
        grants.iter().map(|grant| part(grant)).collect()
    }
    sqlx::query_scalar(POSTGRES)
        .bind(all(grants, |grant| grant.fact.id.uuid()))
        .bind(all(grants, |grant| target_columns(grant.fact.target).0))
        .bind(all(grants, |grant| target_columns(grant.fact.target).1))
        .bind(all(grants, |grant| grantee_columns(grant.fact.grantee).0))
        .bind(all(grants, |grant| grantee_columns(grant.fact.grantee).1))
        .bind(all(grants, |grant| grant.fact.action.as_str()))
        .bind(all(grants, |grant| grant.fact.effect.as_str()))
        .bind(all(grants, |grant| grant.fact.starts_at.map(Time)))
        .bind(all(grants, |grant| grant.fact.expires_at.map(Time)))
        .bind(all(grants, |grant| grant.granted_by.map(UserId::uuid)))
        .bind(all(grants, |grant| Time(grant.created_at)))
        .fetch_all(on)
        .await
}

async fn sqlite(on: &mut Held<Sqlite>, grants: &[&Grant]) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut query = QueryBuilder::new(SQLITE);
    query.push_values(grants, |mut row, grant| {
        let (kind, id) = grantee_columns(grant.fact.grantee);
        let (model, set) = target_columns(grant.fact.target);
        row.push_bind(grant.fact.id.uuid())
            .push_bind(model)
            .push_bind(set)
            .push_bind(kind)
            .push_bind(id)
            .push_bind(grant.fact.action.as_str())
            .push_bind(grant.fact.effect.as_str())
            .push_bind(grant.fact.starts_at.map(Time))
            .push_bind(grant.fact.expires_at.map(Time))
            .push_bind(grant.granted_by.map(UserId::uuid))
            .push_bind(Time(grant.created_at));
    });
    query.push(" ON CONFLICT DO NOTHING RETURNING id");
    query.build_query_scalar().fetch_all(on).await
}
