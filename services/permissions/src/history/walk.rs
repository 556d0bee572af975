//! The log of events from one revision up to another, in pieces, with every gap noticed.

use crate::{
    error::Error,
    store::{
        StoreError,
        events::{self, Place, Step},
    },
};
use policy::Revision;
use shared::db::Db;

/// Events read at once.
const BATCH: i64 = 2_000;

/// Reads the log on and on.
#[derive(Debug)]
pub(crate) struct Walk {
    db: Db,
    /// What was read last.
    place: Place,
    until: Revision,
}

impl Walk {
    /// From the first event after a revision up to the last one of another.
    pub(crate) const fn new(db: Db, after: Revision, until: Revision) -> Self {
        Self { db, place: Place::after(after), until }
    }

    /// The next events; nothing at the end.
    ///
    /// # Errors
    /// When a revision is missing: whatever is folded from the rest would be wrong.
    pub(crate) async fn batch(&mut self) -> Result<Vec<Step>, Error> {
        let steps = events::steps(&self.db, self.place, self.until, BATCH).await?;
        for step in &steps {
            let (last, next) = (self.place.revision, step.place.revision);
            if next != last && next != last.next() {
                return Err(gap(next));
            }
            self.place = step.place;
        }
        if steps.is_empty() && self.place.revision < self.until {
            return Err(gap(self.until));
        }
        Ok(steps)
    }
}

fn gap(before: Revision) -> Error {
    tracing::error!(%before, "the log of events has a gap");
    StoreError::Corrupt("events").into()
}
