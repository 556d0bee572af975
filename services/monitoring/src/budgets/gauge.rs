//! How full budgets are, as a metric: read every so often, and shown as it was read.

use crate::store::{budgets, windows};
use ::budgets::used_ratio;
use opentelemetry::{KeyValue, metrics::ObservableGauge};
use policy::Time;
use shared::{db::Db, server::Tasks, telemetry, time};
use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(15);
/// The longest window, with a day to spare, in microseconds.
const LONGEST: i64 = 33 * 86_400_000_000;

type Ratios = Arc<Mutex<Vec<(String, f64)>>>;

static RATIOS: LazyLock<Ratios> = LazyLock::new(Ratios::default);

static GAUGE: LazyLock<ObservableGauge<f64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let gauge = meter.f64_observable_gauge("tollgate.budget.used").with_unit("1");
    gauge
        .with_description("Part of a budget that is spent in its window; above 1 it is overspent")
        .with_callback(|observer| {
            for (name, ratio) in RATIOS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                observer.observe(*ratio, &[KeyValue::new("budget", name.clone())]);
            }
        })
        .build()
});

/// Looks from now on.
pub(crate) fn watch(db: &Db, tasks: &Tasks) {
    LazyLock::force(&GAUGE);
    let db = db.clone();
    tasks.repeat(EVERY, move || {
        let db = db.clone();
        async move {
            match read(&db, time::now()).await {
                Ok(ratios) => *RATIOS.lock().unwrap_or_else(PoisonError::into_inner) = ratios,
                Err(error) => tracing::debug!(%error, "the state of budgets was not read"),
            }
        }
    });
}

async fn read(db: &Db, now: Time) -> Result<Vec<(String, f64)>, sqlx::Error> {
    let mut tx = db.begin_read().await?;
    let all = budgets::all(&mut tx).await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let windows = windows::since(&mut tx, Time((now.0 - LONGEST).max(0))).await?;
    let ratio = |budget: crate::budgets::Budget| {
        let start = budget.calendar().ok()?.window(now.0).start;
        let standing = windows.get(&(budget.id, start)).copied().unwrap_or_default();
        Some((budget.name.clone(), used_ratio(budget.limit, standing.spent)))
    };
    Ok(all.into_iter().filter_map(ratio).collect())
}
