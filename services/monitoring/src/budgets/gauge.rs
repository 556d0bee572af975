//! How full budgets are, as a metric: read every so often and when a threshold was reached, and shown as it was read.

use crate::store::{budgets, windows};
use ::budgets::{crossed, used_ratio};
use opentelemetry::{KeyValue, metrics::ObservableGauge};
use policy::Time;
use shared::{db::Db, report, server::Tasks, telemetry, time};
use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// Between two looks when nothing happens.
const EVERY: Duration = Duration::from_secs(15);
/// The longest window, with a day to spare, in microseconds.
const LONGEST: i64 = 33 * 86_400_000_000;

/// Name, used part, and how many thresholds are reached.
type Ratio = (String, f64, usize);
type Ratios = Arc<Mutex<Vec<Ratio>>>;

/// Like the gauge, one for the process.
static LOOK: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

static RATIOS: LazyLock<Ratios> = LazyLock::new(Ratios::default);

static GAUGE: LazyLock<ObservableGauge<f64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let gauge = meter.f64_observable_gauge("tollgate.budget.used").with_unit("1");
    gauge
        .with_description("Part of a budget that is spent in its window; above 1 it is overspent")
        .with_callback(|observer| {
            for (name, ratio, _) in RATIOS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                observer.observe(*ratio, &[KeyValue::new("budget", name.clone())]);
            }
        })
        .build()
});

/// Has it read at once: a threshold was reached, or a budget changed. Called after the commit.
pub(crate) fn look() {
    LOOK.send_replace(());
}

/// Looks from now on.
pub(crate) fn watch(db: &Db, tasks: &Tasks) {
    LazyLock::force(&GAUGE);
    let (db, stop, mut asked) = (db.clone(), tasks.stopping(), LOOK.subscribe());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                read = read(&db, time::now()) => match read {
                    Ok(ratios) => note(ratios),
                    Err(error) => tracing::debug!(%error, "the state of budgets was not read"),
                },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
                // Its sender is never dropped.
                _ = asked.changed() => {}
            }
        }
    });
}

fn note(ratios: Vec<Ratio>) {
    let reached = |ratios: &[Ratio]| -> Vec<(String, usize)> {
        ratios.iter().map(|(name, _, reached)| (name.clone(), *reached)).collect()
    };
    let mut known = RATIOS.lock().unwrap_or_else(PoisonError::into_inner);
    let has_turned = reached(&known) != reached(&ratios);
    *known = ratios;
    drop(known);
    if has_turned {
        report::turned();
    }
}

async fn read(db: &Db, now: Time) -> Result<Vec<Ratio>, sqlx::Error> {
    let mut tx = db.begin_read().await?;
    let all = budgets::all(&mut tx).await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let windows = windows::since(&mut tx, Time((now.0 - LONGEST).max(0))).await?;
    let ratio = |budget: crate::budgets::Budget| {
        let start = budget.calendar().ok()?.window(now.0).start;
        let standing = windows.get(&(budget.id, start)).copied().unwrap_or_default();
        let reached = crossed(budget.limit, standing.spent).count();
        Some((budget.name.clone(), used_ratio(budget.limit, standing.spent), reached))
    };
    Ok(all.into_iter().filter_map(ratio).collect())
}
