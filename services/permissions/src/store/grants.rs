//! The table of grants.

mod insert;

pub(crate) use insert::{insert, insert_all};

use super::{LIST, StoreError, columns, member};
use crate::grants::{Filter, Grant};
use policy::{Action, Effect, GrantId, Grantee, Member, ModelId, ModelSetId, Target, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::{Database, Encode, QueryBuilder, Type};
use std::collections::HashSet;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: Uuid,
    model_id: Option<Uuid>,
    model_set_id: Option<Uuid>,
    grantee_kind: String,
    grantee_id: Option<Uuid>,
    action: String,
    effect: String,
    starts_at: Option<Time>,
    expires_at: Option<Time>,
    granted_by: Option<Uuid>,
    created_at: Time,
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        let fact = policy::Grant {
            id: GrantId(row.id),
            grantee: grantee(&row.grantee_kind, row.grantee_id)?,
            target: target(row.model_id, row.model_set_id)?,
            action: row.action.parse::<Action>()?,
            effect: row.effect.parse::<Effect>()?,
            starts_at: row.starts_at.map(policy::Time::from),
            expires_at: row.expires_at.map(policy::Time::from),
        };
        Ok(Self { fact, granted_by: row.granted_by.map(UserId), created_at: row.created_at.0 })
    }
}

pub(super) fn target(model: Option<Uuid>, set: Option<Uuid>) -> Result<Target, StoreError> {
    match (model, set) {
        (Some(model), None) => Ok(Target::Model(ModelId(model))),
        (None, Some(set)) => Ok(Target::Set(ModelSetId(set))),
        _ => Err(StoreError::Corrupt("grants")),
    }
}

/// What a grant is on as two columns: a model, a set.
fn target_columns(target: Target) -> (Option<Uuid>, Option<Uuid>) {
    match target {
        Target::Model(id) => (Some(id.uuid()), None),
        Target::Set(id) => (None, Some(id.uuid())),
    }
}

pub(super) fn grantee(kind: &str, id: Option<Uuid>) -> Result<Grantee, StoreError> {
    Ok(match id.map(|id| member(kind, id)).transpose()? {
        Some(Member::User(id)) => Grantee::User(id),
        Some(Member::Group(id)) => Grantee::Group(id),
        None => Grantee::Everyone,
    })
}

fn grantee_columns(grantee: Grantee) -> (&'static str, Option<Uuid>) {
    let member = match grantee {
        Grantee::User(id) => Member::User(id),
        Grantee::Group(id) => Member::Group(id),
        Grantee::Everyone => return ("everyone", None),
    };
    let (kind, id) = columns(member);
    (kind, Some(id))
}

const COLUMNS: &str = "SELECT id, model_id, model_set_id, grantee_kind, grantee_id, action, effect, starts_at, \
    expires_at, granted_by, created_at FROM grants WHERE dead_ends = 0 AND id ";
const DELETE: &str = "DELETE FROM grants WHERE id = $1";

/// The grant of the same grantee, target, action and effect.
pub(crate) async fn same(tx: &mut Tx, grant: &policy::Grant) -> Result<Option<Grant>, StoreError> {
    let (kind, id) = grantee_columns(grant.grantee);
    let row = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("IS NOT NULL AND ");
        match grant.target {
            Target::Model(model) => query.push("model_id = ").push_bind(model.uuid()),
            Target::Set(set) => query.push("model_set_id = ").push_bind(set.uuid()),
        };
        query.push(" AND grantee_kind = ").push_bind(kind);
        match id {
            Some(id) => query.push(" AND grantee_id = ").push_bind(id),
            None => query.push(" AND grantee_id IS NULL"),
        };
        query.push(" AND action = ").push_bind(grant.action.as_str());
        query.push(" AND effect = ").push_bind(grant.effect.as_str());
        query.build_query_as::<GrantRow>().fetch_optional(on).await
    })?;
    row.map(Grant::try_from).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: GrantId) -> Result<Option<Grant>, StoreError> {
    let row = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("= ").push_bind(id.uuid());
        query.build_query_as::<GrantRow>().fetch_optional(on).await
    })?;
    row.map(Grant::try_from).transpose()
}

/// The grants after the id `after` that pass the filter.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Grant>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(COLUMNS);
        page(&mut query, filter, after, limit);
        query.build_query_as::<GrantRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// The same, as one transaction sees it.
pub(crate) async fn list_in(
    tx: &mut Tx,
    filter: &Filter,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Grant>, StoreError> {
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(COLUMNS);
        page(&mut query, filter, after, limit);
        query.build_query_as::<GrantRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(Grant::try_from).collect()
}

fn page<D>(query: &mut QueryBuilder<D>, filter: &Filter, after: Uuid, limit: i64)
where
    D: Database,
    Uuid: for<'q> Encode<'q, D> + Type<D>,
    i64: for<'q> Encode<'q, D> + Type<D>,
    &'static str: for<'q> Encode<'q, D> + Type<D>,
{
    query.push("> ").push_bind(after);
    if let Some(model) = filter.model {
        query.push(" AND model_id = ").push_bind(model.uuid());
    }
    if let Some(set) = filter.set {
        query.push(" AND model_set_id = ").push_bind(set.uuid());
    }
    for member in filter.grantees() {
        let (kind, id) = columns(member);
        query.push(" AND grantee_kind = ").push_bind(kind).push(" AND grantee_id = ").push_bind(id);
    }
    query.push(" ORDER BY id LIMIT ").push_bind(limit);
}

/// The grants of these ids that are there.
pub(crate) async fn find_all(tx: &mut Tx, ids: &HashSet<GrantId>) -> Result<Vec<Grant>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        query.push(")");
        query.build_query_as::<GrantRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// Deletes grants.
pub(crate) async fn delete_all(tx: &mut Tx, ids: &HashSet<GrantId>) -> Result<(), StoreError> {
    for ids in ids.iter().collect::<Vec<_>>().chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new("DELETE FROM grants WHERE id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(id.uuid());
            }
            query.push(")");
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

/// Deletes a grant.
pub(crate) async fn delete(tx: &mut Tx, id: GrantId) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DELETE).bind(id.uuid()).execute(on).await.map(drop))?;
    Ok(())
}
