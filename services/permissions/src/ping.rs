//! Whether the database answers, asked at intervals and told to the probes.

use shared::{
    db::Db,
    health::{Condition, Reporter},
    server::Tasks,
};
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two pings.
const EVERY: Duration = Duration::from_secs(2);
/// Longest time that an answer may take.
const LIMIT: Duration = Duration::from_secs(4);
/// From here on an answer is late.
const LATE: Duration = Duration::from_secs(1);

pub(crate) fn start(db: &Db, tasks: &Tasks, health: Reporter) {
    let db = db.clone();
    tasks.repeat(EVERY, move || {
        let (db, health) = (db.clone(), health.clone());
        async move { health.set(ping(&db).await) }
    });
}

async fn ping(db: &Db) -> Condition {
    let begun = Instant::now();
    match tokio::time::timeout(LIMIT, db.ping()).await {
        Ok(Ok(())) if begun.elapsed() < LATE => Condition::Up,
        Ok(Ok(())) => Condition::Degraded("answers slowly".into()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not answer");
            Condition::Down("does not answer; check that it runs and can be reached".into())
        }
        Err(_) => Condition::Down("did not answer in time".into()),
    }
}
