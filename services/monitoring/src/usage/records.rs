//! Single records, newest first. New ones arrive before the first page, so pages that were read stay as they were.

use crate::{
    error::Error,
    place::{self, Place, is_time},
    store::{self, records},
    usage::{Kept, Outcome, Record},
};
use policy::{KeyId, Time, UserId};
use serde::{Deserialize, Serialize};
use shared::db::Db;
use uuid::Uuid;

/// Which records to list; `None` is no restriction. Times are half-open: `start` belongs, `end` does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Query {
    pub(crate) request_id: Option<String>,
    pub(crate) usage_id: Option<Uuid>,
    pub(crate) user: Option<UserId>,
    pub(crate) api_key: Option<KeyId>,
    pub(crate) model: Option<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) start: Option<Time>,
    pub(crate) end: Option<Time>,
}

/// A record's place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) start: Time,
    pub(crate) usage_id: Uuid,
    pub(crate) attempt: u32,
}

impl Position {
    /// Where a record is.
    pub(crate) const fn of(record: &Record) -> Self {
        Self { start: record.start, usage_id: record.key.usage_id, attempt: record.key.attempt }
    }
}

/// Which records come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        is_time(self.start)
    }
}

/// A page and the token of the next one, empty at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) records: Vec<Kept>,
    pub(crate) next: String,
}

/// Reads one page of `size` records.
///
/// # Errors
/// When the token belongs to another list, or the store is away.
pub(crate) async fn list(db: &Db, query: &Query, size: u32, token: &str) -> Result<Page, Error> {
    let filter = serde_json::to_string(&("usage_records", query)).unwrap_or_default();
    let after: Option<Position> = place::read(&filter, token)?;
    let read = records::page(db, query, Order::NewestFirst, after.as_ref(), size + 1);
    let mut records = store::timed(db, "list_usage_records", read).await?;
    let more = records.len() > size as usize;
    records.truncate(size as usize);
    let next = match records.last() {
        Some(last) if more => place::token(&filter, &Position::of(&last.record)),
        _ => String::new(),
    };
    Ok(Page { records, next })
}
