//! What rules look at that is older than what is remembered, read anew each minute.

use crate::signals::{self, HOUR, Signals};
use ::alerts::{Past, Window};
use policy::Time;
use shared::{server::Tasks, time};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// The longest window that is remembered, in seconds.
pub(super) const LONGEST: i64 = 2 * HOUR;
/// Between two looks whether a minute has begun.
const EVERY: Duration = Duration::from_secs(10);

/// What was read, and what is wanted.
#[derive(Debug)]
pub(super) struct Reading {
    wanted: watch::Sender<BTreeSet<Window>>,
    read: watch::Receiver<Arc<Past>>,
}

impl Reading {
    /// Reads what is wanted until the process ends.
    pub(super) fn start(signals: Signals, tasks: &Tasks) -> Self {
        let (wanted, mut wants) = watch::channel(BTreeSet::new());
        let (reads, read) = watch::channel(Arc::default());
        let stop = tasks.stopping();
        tasks.spawn(async move {
            let rounds = async {
                loop {
                    let windows = wants.borrow_and_update().clone();
                    let known = Arc::clone(&reads.borrow());
                    match self::read(&signals, &known, windows, time::now()).await {
                        Ok(Some(past)) => drop(reads.send_replace(Arc::new(past))),
                        Ok(None) => {}
                        Err(error) => tracing::debug!(%error, "what was measured long ago was not read"),
                    }
                    tokio::select! {
                        () = sleep(EVERY) => {}
                        // Whoever wants ends with the process.
                        _ = wants.changed() => {}
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rounds => {}
            }
        });
        Self { wanted, read }
    }

    /// Has these read from now on.
    pub(super) fn want(&self, windows: BTreeSet<Window>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != windows;
            *wanted = windows;
            differs
        });
    }

    /// What was read last.
    pub(super) fn past(&self) -> Arc<Past> {
        Arc::clone(&self.read.borrow())
    }
}

/// What is to be known now; nothing when it is.
async fn read(
    signals: &Signals,
    known: &Past,
    windows: BTreeSet<Window>,
    now: Time,
) -> Result<Option<Past>, sqlx::Error> {
    let until = signals.remembered(now);
    let same =
        known.series.len() == windows.len() && windows.iter().all(|window| known.series.contains_key(window));
    if same && (known.until == until || windows.is_empty()) {
        return Ok(None);
    }
    let mut past = Past { until, ..Past::default() };
    for (name, window) in windows {
        let from = signals::at(now).plus(-window);
        let series = signals.before(&name, from, until, now).await?;
        past.series.insert((name, window), series);
    }
    Ok(Some(past))
}
