//! The head and the log of events: what changed, in which revision, by whom and why.
//!
//! A revision is one committed transaction. A write takes it by raising the head's row before anything else; the row
//! stays locked until the commit, so revisions have no gaps, commit in order, and no two writes interleave.

use super::StoreError;
use crate::write::Origin;
use policy::{Change, Delta, Epoch, Revision};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::types::Json;
use uuid::Uuid;

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    epoch: Uuid,
    revision: i64,
}

impl TryFrom<HeadRow> for Head {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        Ok(Self { epoch: Epoch(row.epoch), revision: revision(row.revision)? })
    }
}

#[derive(sqlx::FromRow)]
struct EventRow {
    revision: i64,
    payload: Json<Change>,
    occurred_at: Time,
}

const HEAD: &str = "SELECT epoch, revision FROM head WHERE id = 1";
const RAISE: &str = "UPDATE head SET revision = revision + 1 WHERE id = 1 RETURNING epoch, revision";
const NEW_EPOCH: &str = "UPDATE head SET epoch = $2 WHERE id = 1 AND epoch = $1";
const INSERT: &str = "INSERT INTO events (revision, ordinal, kind, payload, actor, request_id, reason, occurred_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const BETWEEN: &str = "SELECT revision, payload, occurred_at FROM events \
    WHERE revision > $1 AND revision <= $2 ORDER BY revision, ordinal";

pub(crate) async fn head(db: &Db) -> Result<Head, StoreError> {
    on!(db, |pool| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(pool).await)?.try_into()
}

pub(crate) async fn head_in(tx: &mut Tx) -> Result<Head, StoreError> {
    on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(on).await)?.try_into()
}

/// Takes the next revision and locks the head until the transaction ends.
pub(crate) async fn raise(tx: &mut Tx) -> Result<Head, StoreError> {
    on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(RAISE).fetch_one(on).await)?.try_into()
}

/// Declares what anybody knows of `old` void. Only the first of several callers does.
pub(crate) async fn leave_epoch(db: &Db, old: Epoch) -> Result<(), StoreError> {
    let new = Uuid::new_v4();
    on!(db, |pool| sqlx::query(NEW_EPOCH).bind(old.uuid()).bind(new).execute(pool).await.map(drop))?;
    Ok(())
}

/// Appends the changes of one transaction to the log.
pub(crate) async fn append(
    tx: &mut Tx,
    revision: Revision,
    changes: &[Change],
    origin: &Origin,
) -> Result<(), StoreError> {
    for (ordinal, change) in (0_i64..).zip(changes) {
        on_tx!(tx, |on| sqlx::query(INSERT)
            .bind(number(revision))
            .bind(ordinal)
            .bind(kind(change))
            .bind(Json(change))
            .bind(origin.actor())
            .bind(&origin.request_id)
            .bind(&origin.reason)
            .bind(Time(origin.now))
            .execute(on)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// The transactions after one revision up to another, each with all of its changes.
pub(crate) async fn between(
    db: &Db,
    epoch: Epoch,
    after: Revision,
    until: Revision,
) -> Result<Vec<Delta>, StoreError> {
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, EventRow>(BETWEEN).bind(number(after)).bind(number(until));
        query.fetch_all(pool).await
    })?;
    let mut deltas: Vec<Delta> = Vec::new();
    for row in rows {
        let revision = revision(row.revision)?;
        match deltas.last_mut().filter(|last| last.revision == revision) {
            Some(last) => last.changes.push(row.payload.0),
            None => {
                let changes = vec![row.payload.0];
                deltas.push(Delta { epoch, revision, at: row.occurred_at.0, changes });
            }
        }
    }
    Ok(deltas)
}

fn revision(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number).map(Revision).map_err(|_| StoreError::Corrupt("head"))
}

/// A revision as a column; what is beyond every revision stays so.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::PutUser(_) => "put_user",
        Change::RemoveUser(_) => "remove_user",
        Change::PutGroup(_) => "put_group",
        Change::RemoveGroup(_) => "remove_group",
        Change::PutMembership(_) => "put_membership",
        Change::RemoveMembership { .. } => "remove_membership",
        Change::PutModel(_) => "put_model",
        Change::RemoveModel(_) => "remove_model",
        Change::PutGrant(_) => "put_grant",
        Change::RemoveGrant(_) => "remove_grant",
        Change::PutKey(_) => "put_key",
        Change::RemoveKey(_) => "remove_key",
        Change::PutModelSet(_) => "put_model_set",
        Change::RemoveModelSet(_) => "remove_model_set",
        Change::PutSetItem { .. } => "put_set_item",
        Change::RemoveSetItem { .. } => "remove_set_item",
        Change::PutAlias(_) => "put_alias",
        Change::RemoveAlias(_) => "remove_alias",
        Change::PutSigningKey(_) => "put_signing_key",
        Change::RemoveSigningKey(_) => "remove_signing_key",
        Change::EndSession { .. } => "end_session",
    }
}
