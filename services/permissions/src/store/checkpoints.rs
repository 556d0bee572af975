//! The tables of checkpoints: the whole policy at some revisions, in parts of lines of JSON.

use super::{
    StoreError,
    events::{self, number, revision},
};
use policy::{Change, Epoch, Revision};
use shared::{
    db::{Db, Time},
    event::Link,
    on, on_tx,
};
use uuid::Uuid;

/// A checkpoint without its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) revision: Revision,
    /// The checkpoint before it; 0 when there is none.
    pub(crate) follows: Revision,
    pub(crate) epoch: Epoch,
    /// When the revision was made.
    pub(crate) at: policy::Time,
    pub(crate) link: Link,
    pub(crate) parts: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    revision: i64,
    follows: i64,
    epoch: Uuid,
    at: Time,
    link: Vec<u8>,
    parts: i64,
}

const NEAREST: &str = "SELECT revision, follows, epoch, at, link, parts FROM checkpoints \
    WHERE revision <= $1 ORDER BY revision DESC LIMIT 1";
const FIRST_FROM: &str = "SELECT revision, follows, epoch, at, link, parts FROM checkpoints \
    WHERE revision >= $1 ORDER BY revision LIMIT 1";
const LAST_BEFORE: &str = "SELECT revision, follows, epoch, at, link, parts FROM checkpoints \
    WHERE at <= $1 ORDER BY revision DESC LIMIT 1";
const PART: &str = "SELECT facts FROM checkpoint_parts WHERE revision = $1 AND part = $2";
const CLAIM: &str = "INSERT INTO checkpoints (revision, follows, epoch, at, link, parts, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
const INSERT_PART: &str = "INSERT INTO checkpoint_parts (revision, part, facts) VALUES ($1, $2, $3)";
const DELETE: &str = "DELETE FROM checkpoints WHERE revision < $1";

/// The last checkpoint at or before a revision.
pub(crate) async fn nearest(db: &Db, until: Revision) -> Result<Option<Checkpoint>, StoreError> {
    let row =
        on!(db, |pool| sqlx::query_as::<_, Row>(NEAREST).bind(number(until)).fetch_optional(pool).await)?;
    row.map(Checkpoint::try_from).transpose()
}

/// The first checkpoint at or after a revision.
pub(crate) async fn first_from(db: &Db, from: Revision) -> Result<Option<Checkpoint>, StoreError> {
    let row =
        on!(db, |pool| sqlx::query_as::<_, Row>(FIRST_FROM).bind(number(from)).fetch_optional(pool).await)?;
    row.map(Checkpoint::try_from).transpose()
}

/// The last checkpoint of a revision that was made by then.
pub(crate) async fn last_before(db: &Db, time: policy::Time) -> Result<Option<Checkpoint>, StoreError> {
    let row =
        on!(db, |pool| sqlx::query_as::<_, Row>(LAST_BEFORE).bind(Time(time)).fetch_optional(pool).await)?;
    row.map(Checkpoint::try_from).transpose()
}

/// One part of the facts.
pub(crate) async fn part(db: &Db, of: Revision, part: i64) -> Result<Vec<Change>, StoreError> {
    let lines: String =
        on!(db, |pool| sqlx::query_scalar(PART).bind(number(of)).bind(part).fetch_one(pool).await)?;
    let facts = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    facts.map_err(|_| StoreError::Corrupt("checkpoint_parts"))
}

/// Adds a checkpoint, unless somebody else added one after the same one. Returns whether it was added.
pub(crate) async fn add(
    db: &Db,
    checkpoint: &Checkpoint,
    parts: &[String],
    now: policy::Time,
) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let added = on_tx!(&mut tx, |on| sqlx::query(CLAIM)
        .bind(number(checkpoint.revision))
        .bind(number(checkpoint.follows))
        .bind(checkpoint.epoch.uuid())
        .bind(Time(checkpoint.at))
        .bind(&checkpoint.link.0[..])
        .bind(checkpoint.parts)
        .bind(Time(now))
        .execute(on)
        .await
        .map(|done| done.rows_affected()))?;
    if added == 0 {
        return Ok(false);
    }
    for (part, lines) in (0_i64..).zip(parts) {
        on_tx!(&mut tx, |on| sqlx::query(INSERT_PART)
            .bind(number(checkpoint.revision))
            .bind(part)
            .bind(lines)
            .execute(on)
            .await
            .map(drop))?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Deletes the checkpoints before a revision.
pub(crate) async fn forget(db: &Db, before: Revision) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(DELETE).bind(number(before)).execute(pool).await.map(drop))?;
    Ok(())
}

impl TryFrom<Row> for Checkpoint {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let link = events::link(Some(row.link))?.ok_or(StoreError::Corrupt("checkpoints"))?;
        Ok(Self {
            revision: revision(row.revision)?,
            follows: revision(row.follows)?,
            epoch: Epoch(row.epoch),
            at: row.at.0,
            link,
            parts: row.parts,
        })
    }
}
