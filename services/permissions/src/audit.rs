//! The log of events, for those who ask what was changed: listed, exported and verified.

mod chain;
mod verify;

pub(crate) use chain::Problem;
pub(crate) use verify::{Progress, verify};

use crate::{
    error::Error,
    store::events::{self, Filter, Place, Stored},
};
use futures_util::{Stream, TryStreamExt, stream};
use shared::db::Db;

/// Events read at once by an export.
const BATCH: i64 = 500;

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
