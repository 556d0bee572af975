//! The log of what is changed through this service: engines, the cache, limits, the queue. What is changed in a transaction
//! appends to it there, with [`shared::event::log::append`]; what has none is noted right after, with [`Events::note`].

use crate::{error::Error, store::Store};
use shared::{
    db::Db,
    event::{Change, Origin, log, serve::Logged},
};

/// The log, in the service's database once it is open.
#[derive(Debug, Clone)]
pub struct Events(pub(crate) Store);

impl Logged for Events {
    type Error = Error;

    const SERVICE: &'static str = "inference";

    fn db(&self) -> Result<&Db, Error> {
        self.0.db()
    }
}

impl Events {
    /// Notes what was changed already: it stays so when the database is away, and the log of the process has it then.
    pub(crate) async fn note(&self, origin: &Origin, change: Change) {
        let (kind, id, action) = (change.kind, change.id.clone(), change.action);
        let Origin { actor, reason, .. } = origin;
        tracing::info!(actor, reason, kind, id, action, "changed");
        let noted = async { Ok::<_, Error>(log::append_alone(self.db()?, origin, vec![change]).await?) };
        if let Err(error) = noted.await {
            tracing::error!(%error, actor, reason, kind, id, action, "a change is not in the log of events");
        }
    }
}
