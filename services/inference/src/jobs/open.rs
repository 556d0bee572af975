//! How many jobs wait or run, for the meter. Every gateway counts the jobs of all: they are in one database.

use super::kind::Queue;
use opentelemetry::{KeyValue, metrics::Gauge};
use shared::{
    claims::{self, State},
    db::Db,
    server::Tasks,
    telemetry::meter,
};
use std::{sync::LazyLock, time::Duration};

/// Between two counts.
const EVERY: Duration = Duration::from_secs(10);

static OPEN: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = meter();
    let open = meter.u64_gauge("tollgate.jobs.open").with_unit("{job}");
    open.with_description("Jobs that wait or run, of all gateways").build()
});

/// Counts from now on, until the process ends.
pub(super) fn start(db: &Db, tasks: &Tasks) {
    let db = db.clone();
    tasks.repeat(EVERY, move || {
        let db = db.clone();
        async move {
            // What cannot be counted now is as it was.
            let Ok(counts) = claims::count(&db, &Queue::ALL.map(Queue::name)).await else { return };
            for (state, name) in [(State::Pending, "pending"), (State::Running, "running")] {
                let open = counts.iter().filter(|count| count.state == state).map(|count| count.number).sum();
                OPEN.record(open, &[KeyValue::new("state", name)]);
            }
        }
    });
}
