//! The log of what is changed through this service: budgets, prices, rules, silences. Whoever changes something appends to
//! it in the same transaction, with [`shared::event::log::append`].

use crate::error::Error;
use shared::{
    db::Db,
    event::{Change, Origin, log, serve::Logged},
};

/// The log, in the service's database.
#[derive(Debug, Clone)]
pub(crate) struct Events(pub(crate) Db);

/// Notes what one statement has changed already: it stays so when the log cannot be written, and the process's own log has
/// it then.
pub(crate) async fn note(db: &Db, origin: &Origin, change: Change) {
    let (kind, id, action) = (change.kind, change.id.clone(), change.action);
    if let Err(error) = log::append_alone(db, origin, vec![change]).await {
        let Origin { actor, reason, .. } = origin;
        tracing::error!(%error, actor, reason, kind, id, action, "a change is not in the log of events");
    }
}

impl Logged for Events {
    type Error = Error;

    const SERVICE: &'static str = "monitoring";

    fn db(&self) -> Result<&Db, Error> {
        Ok(&self.0)
    }
}
