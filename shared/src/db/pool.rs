//! How full a pool is and how long its connections are waited for, under the names of OpenTelemetry's conventions for
//! databases; and how long statements take.

use crate::telemetry;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};
use sqlx::{Database, Pool, pool::PoolConnection};
use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Seconds; those that the conventions give for operations of databases.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The label by which a pool is known: its service.
const NAME: &str = "db.client.connection.pool.name";

static WAIT: LazyLock<Histogram<f64>> =
    LazyLock::new(|| seconds("db.client.connection.wait_time", "How long a connection was waited for"));
static TIMEOUTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let timeouts = meter.u64_counter("db.client.connection.timeouts").with_unit("{timeout}");
    timeouts.with_description("Connections that were waited for in vain").build()
});
static STATEMENT: LazyLock<Histogram<f64>> =
    LazyLock::new(|| seconds("tollgate.db.statement.duration", "How long statements ran"));

fn seconds(name: &'static str, description: &'static str) -> Histogram<f64> {
    let meter = telemetry::meter();
    let histogram = meter.f64_histogram(name).with_unit("s");
    histogram.with_description(description).with_boundaries(BUCKETS.to_vec()).build()
}

/// Every pool of this process. The instruments are made with the first one: each shows all of them.
static POOLS: LazyLock<Mutex<Vec<Weak<Gauge>>>> = LazyLock::new(|| {
    show("db.client.connection.count", "Connections, by what they do", |gauge, stand| {
        let state =
            |state: &'static str| [gauge.name.clone(), KeyValue::new("db.client.connection.state", state)];
        vec![
            (stand.idle, state("idle").to_vec()),
            (stand.open.saturating_sub(stand.idle), state("used").to_vec()),
        ]
    });
    show("db.client.connection.max", "The most connections there may be", |gauge, stand| {
        vec![(stand.max, vec![gauge.name.clone()])]
    });
    show("db.client.connection.pending_requests", "Who waits for a connection", |gauge, _| {
        vec![(gauge.waiting.load(Relaxed), vec![gauge.name.clone()])]
    });
    Mutex::default()
});

type Rows = Vec<(u64, Vec<KeyValue>)>;

fn show(name: &'static str, description: &'static str, rows: fn(&Gauge, &Stand) -> Rows) {
    let meter = telemetry::meter();
    let gauge = meter.u64_observable_gauge(name).with_description(description);
    let _ = gauge
        .with_callback(move |observer| {
            for gauge in pools().iter().filter_map(Weak::upgrade) {
                for (value, labels) in rows(&gauge, &(gauge.look)()) {
                    observer.observe(value, &labels);
                }
            }
        })
        .build();
}

fn pools() -> std::sync::MutexGuard<'static, Vec<Weak<Gauge>>> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections of a pool.
struct Stand {
    open: u64,
    idle: u64,
    max: u64,
}

/// What is measured of one pool.
pub(super) struct Gauge {
    name: KeyValue,
    look: Box<dyn Fn() -> Stand + Send + Sync>,
    waiting: AtomicU64,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gauge").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Gauge {
    /// Measures this pool of a service from now on, until nobody has it.
    pub(super) fn new<D: Database>(service: &'static str, pool: &Pool<D>) -> Arc<Self> {
        let pool = pool.clone();
        let look = move || Stand {
            open: u64::from(pool.size()),
            idle: u64::try_from(pool.num_idle()).unwrap_or(u64::MAX),
            max: u64::from(pool.options().get_max_connections()),
        };
        let gauge = Arc::new(Self {
            name: KeyValue::new(NAME, service),
            look: Box::new(look),
            waiting: AtomicU64::new(0),
        });
        let mut pools = pools();
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(&gauge));
        gauge
    }

    /// A connection of the pool, however long that takes.
    pub(super) async fn acquire<D: Database>(
        &self,
        pool: &Pool<D>,
    ) -> Result<PoolConnection<D>, sqlx::Error> {
        let _waiting = Waiting::new(&self.waiting);
        let since = Instant::now();
        let connection = pool.acquire().await;
        let name = std::slice::from_ref(&self.name);
        WAIT.record(since.elapsed().as_secs_f64(), name);
        if matches!(connection, Err(sqlx::Error::PoolTimedOut)) {
            TIMEOUTS.add(1, name);
        }
        connection
    }

    /// A statement ran so long.
    pub(super) fn ran(&self, took: Duration) {
        STATEMENT.record(took.as_secs_f64(), std::slice::from_ref(&self.name));
    }
}

/// Somebody who waits, until they give up or get what they wait for.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
