//! Events as they were recorded, for those who ask what happened.

use super::{StoreError, number, revision};
use policy::{Change, Revision};
use serde_json::Value;
pub(crate) use shared::event::log::{Filter, Place};
use shared::{
    db::{Db, Time},
    event::{Event, Link},
    on,
};
use sqlx::{QueryBuilder, types::Json};
use uuid::Uuid;

/// Writers' clocks may differ by this much, so times in the log may go back by as much.
const SKEW: std::time::Duration = std::time::Duration::from_secs(60);

/// One event and its link of the chain; those of before the chain began have none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) event: Event,
    pub(crate) link: Option<Link>,
}

impl Stored {
    pub(crate) const fn place(&self) -> Place {
        Place { revision: self.event.revision, ordinal: self.event.ordinal }
    }

    /// What it means to the policy.
    pub(crate) fn change(&self) -> Result<Option<Change>, StoreError> {
        let change = self.event.change.clone().map(serde_json::from_value);
        change.transpose().map_err(|_| StoreError::Corrupt("events"))
    }
}

/// One event as far as the policy is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) place: Place,
    pub(crate) at: policy::Time,
    pub(crate) change: Option<Change>,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    revision: i64,
    ordinal: i64,
    kind: String,
    id: String,
    action: String,
    before: Option<Json<Value>>,
    after: Option<Json<Value>>,
    change: Option<Json<Value>>,
    actor: String,
    key_id: Option<Uuid>,
    request_id: String,
    reason: String,
    occurred_at: Time,
    link: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct StepRow {
    revision: i64,
    ordinal: i64,
    change: Option<Json<Change>>,
    occurred_at: Time,
}

#[derive(sqlx::FromRow)]
struct LinkRow {
    occurred_at: Time,
    link: Option<Vec<u8>>,
}

const SELECT: &str = "SELECT revision, ordinal, kind, id, action, before, after, change, actor, key_id, request_id, \
    reason, occurred_at, link FROM events WHERE ";
const FIND: &str = "SELECT revision, ordinal, kind, id, action, before, after, change, actor, key_id, request_id, \
    reason, occurred_at, link FROM events WHERE revision = $1 AND ordinal = $2";
const STEPS: &str = "SELECT revision, ordinal, change, occurred_at FROM events \
    WHERE (revision, ordinal) > ($1, $2) AND revision <= $3 ORDER BY revision, ordinal LIMIT $4";
const OLDEST: &str = "SELECT revision FROM events ORDER BY revision, ordinal LIMIT 1";
const LAST_OF: &str =
    "SELECT occurred_at, link FROM events WHERE revision = $1 ORDER BY ordinal DESC LIMIT 1";
const NEXT_TIME: &str =
    "SELECT occurred_at FROM events WHERE occurred_at > $1 ORDER BY occurred_at, revision, ordinal LIMIT 1";
const FIRST_AFTER: &str = "SELECT min(revision) FROM events WHERE occurred_at > $1 AND occurred_at <= $2";
const NTH_AFTER: &str =
    "SELECT revision FROM events WHERE revision > $1 ORDER BY revision, ordinal LIMIT 1 OFFSET $2";
const DELETE: &str = "DELETE FROM events WHERE revision <= $1";

/// One event.
pub(crate) async fn find(db: &Db, place: Place) -> Result<Option<Stored>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, EventRow>(FIND)
        .bind(number(place.revision))
        .bind(i64::from(place.ordinal))
        .fetch_optional(pool)
        .await)?;
    row.map(Stored::try_from).transpose()
}

/// The events that a filter lets through, from one place on in one direction.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    beyond: Option<Place>,
    newest_first: bool,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        filter.page(&mut query, beyond, newest_first, limit);
        query.build_query_as::<EventRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Stored::try_from).collect()
}

/// Events after a revision up to another, at most so many, and of no transaction only a part; nothing when already the
/// first one has more events.
pub(crate) async fn whole(
    db: &Db,
    after: Revision,
    until: Revision,
    limit: usize,
) -> Result<Vec<Stored>, StoreError> {
    let filter = Filter { to: Some(until), ..Filter::default() };
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = list(db, &filter, Some(Place::after(after)), false, most).await?;
    if let Some(cut) = rows.last().map(|last| last.event.revision).filter(|_| rows.len() == limit) {
        rows.retain(|stored| stored.event.revision != cut);
    }
    Ok(rows)
}

/// What the events after a place up to a revision mean to the policy, at most so many.
pub(crate) async fn steps(
    db: &Db,
    after: Place,
    until: Revision,
    limit: i64,
) -> Result<Vec<Step>, StoreError> {
    let rows = on!(db, |pool| sqlx::query_as::<_, StepRow>(STEPS)
        .bind(number(after.revision))
        .bind(i64::from(after.ordinal))
        .bind(number(until))
        .bind(limit)
        .fetch_all(pool)
        .await)?;
    rows.into_iter().map(Step::try_from).collect()
}

/// The first revision of which there are events.
pub(crate) async fn oldest(db: &Db) -> Result<Option<Revision>, StoreError> {
    let number: Option<i64> = on!(db, |pool| sqlx::query_scalar(OLDEST).fetch_optional(pool).await)?;
    number.map(revision).transpose()
}

/// When a revision was made, and the link of its last event.
pub(crate) async fn last_of(
    db: &Db,
    revision: Revision,
) -> Result<Option<(policy::Time, Option<Link>)>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, LinkRow>(LAST_OF)
        .bind(number(revision))
        .fetch_optional(pool)
        .await)?;
    row.map(|row| Ok((row.occurred_at.0, link(row.link)?))).transpose()
}

/// The first revision made after an instant, if there is one.
pub(crate) async fn first_after(db: &Db, time: policy::Time) -> Result<Option<Revision>, StoreError> {
    let next: Option<Time> =
        on!(db, |pool| sqlx::query_scalar(NEXT_TIME).bind(Time(time)).fetch_optional(pool).await)?;
    let Some(next) = next else { return Ok(None) };
    let until = Time(next.0.plus(SKEW));
    let number: Option<i64> =
        on!(db, |pool| sqlx::query_scalar(FIRST_AFTER).bind(Time(time)).bind(until).fetch_one(pool).await)?;
    number.map(revision).transpose()
}

/// Whether so many events or more come after a revision.
pub(crate) async fn more_than(db: &Db, after: Revision, number_of: u32) -> Result<bool, StoreError> {
    let before = i64::from(number_of) - 1;
    let found: Option<i64> = on!(db, |pool| sqlx::query_scalar(NTH_AFTER)
        .bind(number(after))
        .bind(before)
        .fetch_optional(pool)
        .await)?;
    Ok(found.is_some())
}

/// Deletes the events of a revision and all before it.
pub(crate) async fn forget(db: &Db, until: Revision) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(DELETE).bind(number(until)).execute(pool).await.map(drop))?;
    Ok(())
}

pub(crate) fn link(bytes: Option<Vec<u8>>) -> Result<Option<Link>, StoreError> {
    let link = bytes.map(|bytes| bytes.try_into().map(Link));
    link.transpose().map_err(|_| StoreError::Corrupt("events"))
}

fn place(number: i64, ordinal: i64) -> Result<Place, StoreError> {
    let ordinal = u32::try_from(ordinal).map_err(|_| StoreError::Corrupt("events"))?;
    Ok(Place { revision: revision(number)?, ordinal })
}

impl TryFrom<EventRow> for Stored {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let Place { revision, ordinal } = place(row.revision, row.ordinal)?;
        let event = Event {
            revision,
            ordinal,
            at: row.occurred_at.0,
            actor: row.actor,
            key: row.key_id.map(|id| id.to_string()),
            request_id: row.request_id,
            reason: row.reason,
            kind: row.kind,
            id: row.id,
            action: row.action,
            before: row.before.map(|json| json.0),
            after: row.after.map(|json| json.0),
            change: row.change.map(|json| json.0),
        };
        Ok(Self { event, link: link(row.link)? })
    }
}

impl TryFrom<StepRow> for Step {
    type Error = StoreError;

    fn try_from(row: StepRow) -> Result<Self, StoreError> {
        let change = row.change.map(|json| json.0);
        Ok(Self { place: place(row.revision, row.ordinal)?, at: row.occurred_at.0, change })
    }
}
