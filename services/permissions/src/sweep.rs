//! What is past its time is deleted, at intervals and away from every request.

use crate::{
    deletion,
    error::Error,
    store::{answers, sessions},
    write::{self, Writer},
};
use policy::Time;
use shared::{server::Tasks, time};
use std::time::Duration;

/// How long a session is kept after its end: longer than its end is told to services.
const SESSIONS: Duration = Duration::from_secs(24 * 60 * 60);
const EVERY: Duration = Duration::from_secs(10 * 60);

pub(crate) fn start(writer: &Writer, tasks: &Tasks) {
    let writer = writer.clone();
    tasks.repeat(EVERY, move || {
        let writer = writer.clone();
        async move {
            if let Err(error) = sweep(&writer, time::now()).await {
                tracing::warn!(%error, "what is past its time could not be deleted; it is tried again");
            }
        }
    });
}

async fn sweep(writer: &Writer, now: Time) -> Result<(), Error> {
    answers::forget(writer.db(), now.minus(write::KEPT)).await?;
    sessions::forget(writer.db(), now.minus(SESSIONS)).await?;
    deletion::purge(writer, now).await
}
