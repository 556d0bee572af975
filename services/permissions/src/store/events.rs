//! The head and the log of events: what changed, in which revision, by whom and why.
//!
//! A revision is one committed transaction. A write takes it by raising the head's row before anything else; the row
//! stays locked until the commit, so revisions have no gaps, commit in order, and no two writes interleave.

mod insert;
mod read;

pub(crate) use read::{
    Filter, Place, Step, Stored, find, first_after, forget, last_of, link, list, more_than, oldest, steps,
    whole,
};

use super::StoreError;
use crate::write::{Origin, Record};
use policy::{Change, Delta, Epoch, Revision};
use serde_json::Value;
use shared::{
    db::{Db, Time, Tx},
    event::{Event, Link},
    on, on_tx,
};
use sqlx::types::Json;
use uuid::Uuid;

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    /// Digest of the last event.
    pub(crate) link: Link,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    epoch: Uuid,
    revision: i64,
    link: Vec<u8>,
}

impl TryFrom<HeadRow> for Head {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        let link = row.link.try_into().map_err(|_| StoreError::Corrupt("head"))?;
        Ok(Self { epoch: Epoch(row.epoch), revision: revision(row.revision)?, link: Link(link) })
    }
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    revision: i64,
    change: Option<Json<Change>>,
    occurred_at: Time,
}

/// Events inserted by one statement.
const PART: usize = 250;

const HEAD: &str = "SELECT epoch, revision, link FROM head WHERE id = 1";
const LOCK: &str = "SELECT epoch, revision, link FROM head WHERE id = 1 FOR UPDATE";
const RAISE: &str = "UPDATE head SET revision = $1, link = $2 WHERE id = 1";
const NEW_EPOCH: &str = "UPDATE head SET epoch = $2 WHERE id = 1 AND epoch = $1";
const BETWEEN: &str = "SELECT revision, change, occurred_at FROM events \
    WHERE revision > $1 AND revision <= $2 ORDER BY revision, ordinal";

pub(crate) async fn head(db: &Db) -> Result<Head, StoreError> {
    on!(db, |pool| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(pool).await)?.try_into()
}

pub(crate) async fn head_in(tx: &mut Tx) -> Result<Head, StoreError> {
    on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(on).await)?.try_into()
}

/// Locks the head until the transaction ends. On SQLite the transaction itself is the lock.
pub(crate) async fn lock(tx: &mut Tx) -> Result<Head, StoreError> {
    let query = if matches!(tx, Tx::Postgres(_)) { LOCK } else { HEAD };
    on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(query).fetch_one(on).await)?.try_into()
}

/// Declares what anybody knows of `old` void. Only the first of several callers does.
pub(crate) async fn leave_epoch(db: &Db, old: Epoch) -> Result<(), StoreError> {
    let new = Uuid::new_v4();
    on!(db, |pool| sqlx::query(NEW_EPOCH).bind(old.uuid()).bind(new).execute(pool).await.map(drop))?;
    Ok(())
}

/// Appends what one transaction did to the log, and raises the head to it.
pub(crate) async fn append(
    tx: &mut Tx,
    revision: Revision,
    mut link: Link,
    records: Vec<Record>,
    origin: &Origin,
) -> Result<(), StoreError> {
    let mut events = (0_u32..).zip(records).map(|(ordinal, record)| {
        let event = event(revision, ordinal, record, origin)?;
        link = link.then(&event);
        Ok((event, link))
    });
    let mut part = || events.by_ref().take(PART).collect::<Result<Vec<_>, StoreError>>();
    let mut rows = part()?;
    while !rows.is_empty() {
        // While the database stores some, the next are made.
        let (inserted, next) =
            futures_util::join!(insert::insert(tx, revision, origin, &rows), async { part() });
        inserted?;
        rows = next?;
    }
    on_tx!(tx, |on| sqlx::query(RAISE).bind(number(revision)).bind(&link.0[..]).execute(on).await.map(drop))?;
    Ok(())
}

fn event(revision: Revision, ordinal: u32, record: Record, origin: &Origin) -> Result<Event, StoreError> {
    let change: Option<Value> = record.change.as_ref().map(serde_json::to_value).transpose()?;
    Ok(Event {
        revision,
        ordinal,
        at: origin.now,
        actor: origin.name(),
        key: origin.key().map(|key| key.to_string()),
        request_id: origin.request_id.clone(),
        reason: origin.reason.clone(),
        kind: record.thing.kind.to_owned(),
        id: record.thing.id,
        action: record.action.to_owned(),
        before: record.before,
        after: record.after,
        change,
    })
}

/// The transactions after one revision up to another, each with all of its changes.
pub(crate) async fn between(
    db: &Db,
    epoch: Epoch,
    after: Revision,
    until: Revision,
) -> Result<Vec<Delta>, StoreError> {
    let rows = on!(db, |pool| {
        let query = sqlx::query_as::<_, ChangeRow>(BETWEEN).bind(number(after)).bind(number(until));
        query.fetch_all(pool).await
    })?;
    let mut deltas: Vec<Delta> = Vec::new();
    for row in rows {
        let revision = revision(row.revision)?;
        if deltas.last().is_none_or(|last| last.revision != revision) {
            deltas.push(Delta { epoch, revision, at: row.occurred_at.0, changes: Vec::new() });
        }
        if let Some(last) = deltas.last_mut() {
            last.changes.extend(row.change.map(|change| change.0));
        }
    }
    Ok(deltas)
}

pub(super) fn revision(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number).map(Revision).map_err(|_| StoreError::Corrupt("head"))
}

/// A revision as a column; what is beyond every revision stays so.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}
