//! The log of a service's own changes: the tables `events` and `event_head` of its database.
//!
//! [`append`] is the last thing that a transaction does before it commits: from then on until the commit it holds the
//! head's row, so that revisions have no gaps, commit in their order, and the chain has no branches.

use super::{Change, Event, Link, Origin};
use crate::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use policy::Revision;
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

/// Events inserted by one statement: SQLite takes 32,766 values, an event has 13.
const PART: usize = 1_000;

const RAISE: &str = "UPDATE event_head SET revision = revision + 1 WHERE one = 1 RETURNING revision, link";
const BIND: &str = "UPDATE event_head SET link = $1 WHERE one = 1";
const INSERT: &str = "INSERT INTO events (revision, ordinal, occurred_at, actor, key_id, request_id, reason, kind, id, \
    action, before, after, link) ";
const SELECT: &str = "SELECT revision, ordinal, occurred_at, actor, key_id, request_id, reason, kind, id, action, \
    before, after, link FROM events WHERE ";
const HEAD: &str = "SELECT revision, link FROM event_head WHERE one = 1";

/// Where an event stands in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The transaction.
    pub revision: Revision,
    /// The place in it, from 0.
    pub ordinal: u32,
}

impl Place {
    /// Before the first event of the log.
    pub const START: Self = Self::after(Revision(0));

    /// After all events of a revision.
    #[must_use]
    pub const fn after(revision: Revision) -> Self {
        Self { revision, ordinal: u32::MAX }
    }
}

/// Which events; `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before this instant.
    pub start: Option<policy::Time>,
    /// Before this instant.
    pub end: Option<policy::Time>,
    /// Made by this actor.
    pub actor: Option<String>,
    /// Of a kind of thing.
    pub kind: Option<String>,
    /// Of one thing.
    pub id: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// In this request.
    pub request: Option<String>,
    /// First revision.
    pub from: Option<Revision>,
    /// Last revision.
    pub to: Option<Revision>,
}

/// One event and its link of the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The event.
    pub event: Event,
    /// What binds it to those before it.
    pub link: Link,
}

impl Stored {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { revision: self.event.revision, ordinal: self.event.ordinal }
    }
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last revision; 0 when there is none.
    pub revision: Revision,
    /// The link of the last event.
    pub link: Link,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    revision: i64,
    link: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    revision: i64,
    ordinal: i64,
    occurred_at: Time,
    actor: String,
    key_id: Option<Uuid>,
    request_id: String,
    reason: String,
    kind: String,
    id: String,
    action: String,
    before: Option<String>,
    after: Option<String>,
    link: Vec<u8>,
}

/// Appends what one transaction did, and returns its revision. Nothing done is no revision: the last one is returned.
///
/// Call it last: whoever else appends waits until this transaction has ended.
///
/// # Errors
/// When the database is away; then the transaction is to be given up.
pub async fn append(tx: &mut Tx, origin: &Origin, changes: Vec<Change>) -> Result<Revision, sqlx::Error> {
    if changes.is_empty() {
        let row = on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(on).await)?;
        return Ok(Head::try_from(row)?.revision);
    }
    let row = on_tx!(tx, |on| sqlx::query_as::<_, HeadRow>(RAISE).fetch_one(on).await)?;
    let Head { revision, mut link } = row.try_into()?;
    let rows: Vec<(Event, Link)> = (0_u32..)
        .zip(changes)
        .map(|(ordinal, change)| {
            let event = event(revision, ordinal, origin, change);
            link = link.then(&event);
            (event, link)
        })
        .collect();
    for part in rows.chunks(PART) {
        insert(tx, origin, part).await?;
    }
    on_tx!(tx, |on| sqlx::query(BIND).bind(&link.0[..]).execute(on).await.map(drop))?;
    Ok(revision)
}

/// Appends in a transaction of its own: for what was changed where no transaction reaches, right after it was.
///
/// # Errors
/// When the database is away.
pub async fn append_alone(db: &Db, origin: &Origin, changes: Vec<Change>) -> Result<Revision, sqlx::Error> {
    let mut tx = db.begin().await?;
    let revision = append(&mut tx, origin, changes).await?;
    tx.commit().await?;
    Ok(revision)
}

/// Where the log ends.
///
/// # Errors
/// When the database is away.
pub async fn head(db: &Db) -> Result<Head, sqlx::Error> {
    on!(db, |pool| sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(pool).await)?.try_into()
}

impl Filter {
    /// Goes on with a query that ends in `WHERE`: what the filter lets through of a log, from one place on in one direction.
    pub fn page<D>(&self, query: &mut QueryBuilder<D>, beyond: Option<Place>, newest_first: bool, limit: i64)
    where
        D: Database,
        String: for<'q> Encode<'q, D> + Type<D>,
        i64: for<'q> Encode<'q, D> + Type<D>,
        Time: for<'q> Encode<'q, D> + Type<D>,
    {
        let Place { revision, ordinal } =
            beyond.unwrap_or(if newest_first { Place::after(Revision(u64::MAX)) } else { Place::START });
        query.push(if newest_first { "(revision, ordinal) < (" } else { "(revision, ordinal) > (" });
        query.push_bind(number(revision)).push(", ").push_bind(i64::from(ordinal)).push(")");
        let texts = [
            (" AND actor = ", &self.actor),
            (" AND kind = ", &self.kind),
            (" AND id = ", &self.id),
            (" AND action = ", &self.action),
            (" AND request_id = ", &self.request),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                query.push(condition).push_bind(text.clone());
            }
        }
        if let Some(start) = self.start {
            query.push(" AND occurred_at >= ").push_bind(Time(start));
        }
        if let Some(end) = self.end {
            query.push(" AND occurred_at < ").push_bind(Time(end));
        }
        if let Some(from) = self.from {
            query.push(" AND revision >= ").push_bind(number(from));
        }
        if let Some(to) = self.to {
            query.push(" AND revision <= ").push_bind(number(to));
        }
        let order = if newest_first { "revision DESC, ordinal DESC" } else { "revision, ordinal" };
        query.push(" ORDER BY ").push(order).push(" LIMIT ").push_bind(limit);
    }
}

/// The events that a filter lets through, from one place on in one direction.
///
/// # Errors
/// When the database is away, or holds what this version cannot read.
pub async fn list(
    db: &Db,
    filter: &Filter,
    beyond: Option<Place>,
    newest_first: bool,
    limit: u32,
) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        filter.page(&mut query, beyond, newest_first, limit.into());
        query.build_query_as::<EventRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Stored::try_from).collect()
}

async fn insert(tx: &mut Tx, origin: &Origin, rows: &[(Event, Link)]) -> Result<(), sqlx::Error> {
    on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(rows, |mut row, (event, link)| {
            row.push_bind(number(event.revision))
                .push_bind(i64::from(event.ordinal))
                .push_bind(Time(event.at))
                .push_bind(&event.actor)
                .push_bind(origin.key.map(policy::KeyId::uuid))
                .push_bind(&event.request_id)
                .push_bind(&event.reason)
                .push_bind(&event.kind)
                .push_bind(&event.id)
                .push_bind(&event.action)
                .push_bind(event.before.as_ref().map(ToString::to_string))
                .push_bind(event.after.as_ref().map(ToString::to_string))
                .push_bind(&link.0[..]);
        });
        query.build().execute(on).await.map(drop)
    })
}

fn event(revision: Revision, ordinal: u32, origin: &Origin, change: Change) -> Event {
    Event {
        revision,
        ordinal,
        at: origin.at,
        actor: origin.actor.clone(),
        key: origin.key.map(|key| key.to_string()),
        request_id: origin.request_id.clone(),
        reason: origin.reason.clone(),
        kind: change.kind.to_owned(),
        id: change.id,
        action: change.action.to_owned(),
        before: change.before,
        after: change.after,
        change: None,
    }
}

/// A revision as a column; what is beyond every revision stays so.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

fn revision(number: i64) -> Result<Revision, sqlx::Error> {
    u64::try_from(number).map(Revision).map_err(|_| unreadable("revision"))
}

fn link(bytes: Vec<u8>) -> Result<Link, sqlx::Error> {
    bytes.try_into().map(Link).map_err(|_| unreadable("link"))
}

fn unreadable(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("events: {column} holds what this version cannot read").into())
}

impl TryFrom<HeadRow> for Head {
    type Error = sqlx::Error;

    fn try_from(row: HeadRow) -> Result<Self, sqlx::Error> {
        Ok(Self { revision: revision(row.revision)?, link: link(row.link)? })
    }
}

impl TryFrom<EventRow> for Stored {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let json = |text: Option<String>, column| {
            text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| unreadable(column))
        };
        let event = Event {
            revision: revision(row.revision)?,
            ordinal: u32::try_from(row.ordinal).map_err(|_| unreadable("ordinal"))?,
            at: row.occurred_at.0,
            actor: row.actor,
            key: row.key_id.map(|id| id.to_string()),
            request_id: row.request_id,
            reason: row.reason,
            kind: row.kind,
            id: row.id,
            action: row.action,
            before: json(row.before, "before")?,
            after: json(row.after, "after")?,
            change: None,
        };
        Ok(Self { event, link: link(row.link)? })
    }
}
