//! What is past its time is deleted and what has become due is told, at intervals and away from every request.

use crate::{
    config::Retention,
    deletion,
    error::Error,
    keys,
    store::{answers, erasure, incidents, sessions},
    write::Writer,
};
use policy::Time;
use shared::{db::Db, server::Tasks, time};
use std::time::Duration;

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Pause between two looks for keys that have become due.
const DUE: Duration = Duration::from_secs(60);

/// How long one kind of data is kept, and how much of it is past that.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) kind: &'static str,
    pub(crate) kept: Duration,
    pub(crate) due: i64,
}

pub(crate) fn start(writer: &Writer, retention: &Retention, tasks: &Tasks) {
    let (sweeper, retention) = (writer.clone(), *retention);
    tasks.repeat(EVERY, move || {
        let writer = sweeper.clone();
        async move {
            if let Err(error) = sweep(&writer, &retention, time::now()).await {
                tracing::warn!(%error, "what is past its time could not be deleted; it is tried again");
            }
        }
    });
    let writer = writer.clone();
    tasks.repeat(DUE, move || {
        let writer = writer.clone();
        async move {
            if let Err(error) = keys::announce(&writer, time::now()).await {
                tracing::warn!(%error, "keys that are due to be rotated could not be announced; it is tried again");
            }
        }
    });
}

async fn sweep(writer: &Writer, retention: &Retention, now: Time) -> Result<(), Error> {
    forget(writer.db(), retention, now).await?;
    deletion::purge(writer, now.minus(retention.deleted), now).await
}

async fn forget(db: &Db, retention: &Retention, now: Time) -> Result<(), Error> {
    answers::forget(db, now.minus(retention.answers)).await?;
    // In steps, so that no statement holds the table for long.
    while incidents::forget(db, now.minus(retention.incidents)).await? > 0 {}
    sessions::forget(db, now.minus(retention.ended_sessions)).await?;
    erasure::forget_uses(db).await?;
    Ok(())
}

/// What is kept for how long, and what of it the next sweep will delete.
pub(crate) async fn kept(db: &Db, retention: &Retention, now: Time) -> Result<Vec<Kept>, Error> {
    let due = |kept| now.minus(kept);
    Ok(vec![
        Kept {
            kind: "incidents",
            kept: retention.incidents,
            due: incidents::due(db, due(retention.incidents)).await?,
        },
        Kept {
            kind: "answers",
            kept: retention.answers,
            due: erasure::answers_due(db, due(retention.answers)).await?,
        },
        Kept {
            kind: "ended_sessions",
            kept: retention.ended_sessions,
            due: erasure::sessions_due(db, due(retention.ended_sessions)).await?,
        },
        Kept {
            kind: "deleted",
            kept: retention.deleted,
            due: erasure::deleted_due(db, due(retention.deleted)).await?,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{
        seal::Sealer,
        security::{Incident, Kind, Seen},
    };

    #[tokio::test]
    async fn what_is_due_is_what_the_sweep_deletes() {
        let db = Db::memory(&crate::MIGRATIONS).await.unwrap();
        let (sealer, retention) = (Sealer::new(&[Sealer::generate()]).unwrap(), Retention::default());
        let now = Time(0).plus(retention.incidents * 2);
        let seen = |at: Time| Seen {
            incident: Incident {
                kind: Kind::Other,
                actor: String::new(),
                key: None,
                address: None,
                method: String::new(),
                detail: String::new(),
            },
            count: 1,
            first: at,
            last: at,
        };
        let edge = now.minus(retention.incidents);
        let incidents = [seen(Time(edge.micros() - 1)), seen(edge), seen(Time(edge.micros() + 1))];
        incidents::insert(&db, &sealer, &incidents).await.unwrap();
        let due = async || kept(&db, &retention, now).await.unwrap().iter().map(|kept| kept.due).sum::<i64>();
        assert_eq!(due().await, 2);
        forget(&db, &retention, now).await.unwrap();
        assert_eq!((due().await, incidents::due(&db, now).await.unwrap()), (0, 1));
    }
}
