//! Reports: sums over whole hours, by user, key, group, model, endpoint and time bucket, in pages.
//!
//! Rows come in the order of their groups, so a page starts after the last group of the one before it.

use crate::{
    error::Error,
    place::{self, Place, is_time},
    store::{self, rollup},
    usage::{Sums, zone::Zone},
};
use policy::{GroupId, KeyId, Time, UserId};
use serde::{Deserialize, Serialize};
use shared::db::Db;
use uuid::Uuid;

/// Length of a time bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Bucket {
    /// One bucket for the whole time.
    Whole,
    Hour,
    Day,
    Month,
}

/// What rows are separated by, besides time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Dimensions {
    pub(crate) user: bool,
    pub(crate) key: bool,
    pub(crate) group: bool,
    pub(crate) model: bool,
    pub(crate) endpoint: bool,
    pub(crate) served_model: bool,
    pub(crate) engine: bool,
}

/// What a report is about. `start` and `end` are full hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Query {
    pub(crate) start: Time,
    pub(crate) end: Time,
    pub(crate) group_by: Dimensions,
    pub(crate) bucket: Bucket,
    /// Whose days and months buckets are.
    pub(crate) zone: Zone,
    pub(crate) user: Option<UserId>,
    pub(crate) api_key: Option<KeyId>,
    pub(crate) group: Option<GroupId>,
    pub(crate) model: Option<String>,
}

/// What a row stands for; nil and empty where the report is not grouped by it, or the caller had no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) bucket: Time,
    pub(crate) user: Uuid,
    pub(crate) key: Uuid,
    pub(crate) group: Uuid,
    pub(crate) model: String,
    pub(crate) endpoint: String,
    pub(crate) served_model: String,
    pub(crate) engine: String,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) group: Group,
    pub(crate) sums: Sums,
}

/// A report's page and the token of the next one, empty at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) next: String,
}

/// Where a page starts. It carries the report's end, so that an end of "now" is the same on every page.
#[derive(Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) end: Time,
    pub(crate) after: Group,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        let Group { bucket, model, endpoint, served_model, engine, .. } = &self.after;
        let texts =
            [model, endpoint, served_model, engine].iter().all(|text| !text.chars().any(char::is_control));
        is_time(self.end) && is_time(*bucket) && texts
    }
}

/// Reads one page of `size` rows. `open_ended` says that the caller named no end, and `query.end` is now.
///
/// # Errors
/// When the token belongs to another report, or the store is away.
pub(crate) async fn report(
    db: &Db,
    mut query: Query,
    open_ended: bool,
    size: u32,
    token: &str,
) -> Result<Report, Error> {
    let filter = filter(&query, open_ended);
    let position: Option<Position> = place::read(&filter, token)?;
    if let Some(position) = &position {
        query.end = position.end;
    }
    let after = position.as_ref().map(|position| &position.after);
    let read = rollup::sums(db, &query, after, size + 1);
    let mut rows = store::timed(db, "get_usage", read).await?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next = match rows.last() {
        Some(last) if more => {
            let position = Position { end: query.end, after: last.group.clone() };
            place::token(&filter, &position)
        }
        _ => String::new(),
    };
    Ok(Report { rows, next })
}

/// What a token is bound to: everything about the report but an end that moves with the clock.
fn filter(query: &Query, open_ended: bool) -> String {
    let end = if open_ended { Time(0) } else { query.end };
    let fixed = Query { end, ..query.clone() };
    serde_json::to_string(&("usage", fixed, open_ended)).unwrap_or_default()
}
