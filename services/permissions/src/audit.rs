//! The log of events, for those who ask what was changed: listed, exported and verified.

mod chain;
mod verify;

pub(crate) use chain::Problem;
pub(crate) use verify::{Progress, verify};

use crate::{
    error::Error,
    list::{Listed, Page},
    store::events::{self, Filter, Place, Stored},
};
use futures_util::{Stream, TryStreamExt, stream};
use policy::Revision;
use shared::{db::Db, page::PageError};

/// Events read at once by an export.
const BATCH: i64 = 500;

/// One page of the events that a filter lets through.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    newest_first: bool,
    page: &Page,
) -> Result<Listed<Stored>, Error> {
    let beyond = Some(page.after()).filter(|after| !after.is_empty()).map(place).transpose()?;
    let rows = events::list(db, filter, beyond, newest_first, page.limit()).await?;
    Ok(page.cut(rows, |stored| format!("{}.{}", stored.event.revision, stored.event.ordinal)))
}

/// Where a page starts.
pub(crate) fn place(text: &str) -> Result<Place, Error> {
    let parts = text.split_once('.');
    let place = parts.and_then(|(revision, ordinal)| {
        Some(Place { revision: Revision(revision.parse().ok()?), ordinal: ordinal.parse().ok()? })
    });
    place.ok_or_else(|| Error::page(PageError::Token))
}

/// One event.
pub(crate) async fn get(db: &Db, place: Place) -> Result<Stored, Error> {
    let id = || format!("{}/{}", place.revision, place.ordinal);
    events::find(db, place).await?.ok_or_else(|| Error::not_found("event", id()))
}

/// Every event that a filter lets through, after a place and up to what has happened by now.
pub(crate) async fn export(
    db: Db,
    filter: Filter,
    after: Place,
) -> Result<impl Stream<Item = Result<Stored, Error>> + Send + use<>, Error> {
    let head = events::head(&db).await?.revision;
    let filter = Filter { to: Some(filter.to.map_or(head, |to| to.min(head))), ..filter };
    let batches = stream::try_unfold((db, filter, after), |(db, filter, after)| async move {
        let rows = events::list(&db, &filter, Some(after), false, BATCH).await?;
        let Some(last) = rows.last().map(Stored::place) else { return Ok(None) };
        Ok::<_, Error>(Some((stream::iter(rows.into_iter().map(Ok)), (db, filter, last))))
    });
    Ok(batches.try_flatten())
}
