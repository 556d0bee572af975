//! Whether a database answers, asked every few seconds, and at once when somebody wants to know.

use super::Reporter;
use crate::{
    db::{Db, Figures},
    server::Tasks,
    time,
};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use vitals::Kind;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer does not count.
const PATIENCE: Duration = Duration::from_secs(2);
/// What was slow counts as long.
pub const LATELY: Duration = Duration::from_secs(300);

/// Asks a database from now on until the process ends.
pub fn watch(db: Db, reporter: Reporter, tasks: &Tasks) {
    let (reporter, stop) = (reporter.of(Kind::Database), tasks.stopping());
    tasks.spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = reporter.wanted() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = look(&db, &reporter) => {}
            }
        }
    });
}

/// Asks once, and says what came.
pub async fn look(db: &Db, reporter: &Reporter) {
    let began = Instant::now();
    let answer = match timeout(PATIENCE, db.ping()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database refused a ping");
            Err("does not answer; check that it runs and can be reached".to_owned())
        }
        Err(_) => Err(format!("did not answer within {} s", PATIENCE.as_secs())),
    };
    reporter.figures(Figures::of(db, LATELY, time::now()));
    reporter.looked(began.elapsed(), answer);
}
