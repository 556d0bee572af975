//! What is past its time is deleted, at intervals and away from every request.

use crate::{
    store::{StoreError, answers, sessions},
    write,
};
use policy::Time;
use shared::{db::Db, server::Tasks, time};
use std::time::Duration;

/// How long a session is kept after its end: longer than its end is told to services.
const SESSIONS: Duration = Duration::from_secs(24 * 60 * 60);
const EVERY: Duration = Duration::from_secs(10 * 60);

pub(crate) fn start(db: &Db, tasks: &Tasks) {
    let db = db.clone();
    tasks.repeat(EVERY, move || {
        let db = db.clone();
        async move {
            if let Err(error) = sweep(&db, time::now()).await {
                tracing::warn!(%error, "what is past its time could not be deleted; it is tried again");
            }
        }
    });
}

async fn sweep(db: &Db, now: Time) -> Result<(), StoreError> {
    answers::forget(db, now.minus(write::KEPT)).await?;
    sessions::forget(db, now.minus(SESSIONS)).await
}
