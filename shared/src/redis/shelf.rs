//! Values that all processes of an installation see for a while: written behind, and looked up for a bounded time.
//!
//! Nobody waits for Redis. What is to be written waits in a short queue and is let go when that is full. Whoever looks
//! something up says how long that may take; after a few look-ups in a row that took longer, Redis is not asked for a
//! second.

use super::{Config, LIMIT, connection::Connection};
use crate::{
    health::{Kind, Reporter},
    server::Tasks,
    telemetry::meter,
};
use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value},
};
use opentelemetry::{KeyValue, metrics::Counter};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Values that wait to be written.
const BEHIND: usize = 1_024;
/// Look-ups that fail in a row before nobody looks any more, and for how long nobody does.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What came of looking something up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is there.
    Found(Bytes),
    /// It is not.
    Nothing,
    /// Nobody can say: Redis is away, or did not answer in time.
    Unknown,
}

struct Put {
    key: String,
    value: Bytes,
    life: Duration,
}

/// Values in Redis, under a prefix.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    prefix: &'static str,
    connection: Connection,
    behind: mpsc::Sender<Put>,
    failures: AtomicU32,
    rests_until: Mutex<Option<Instant>>,
    counted: Counter<u64>,
}

impl Shelf {
    /// Keeps a connection to Redis, where one is configured.
    pub fn open(
        config: &Config,
        prefix: &'static str,
        tasks: &Tasks,
        health: impl FnOnce() -> Reporter,
    ) -> Option<Self> {
        let address = config.address().ok().flatten()?;
        let (health, up) = (health().of(Kind::Redis), meter().i64_gauge("tollgate.redis.values.up").build());
        let connection = Connection::keep(address, tasks, move |took| {
            up.record(i64::from(took.is_some()), &[]);
            health.answers(took, "redis is away; each process keeps its own answers");
        });
        let (behind, mut waiting) = mpsc::channel(BEHIND);
        let meter = meter();
        let counted = meter.u64_counter("tollgate.redis.values");
        let shelf = Self(Arc::new(Inner {
            prefix,
            connection,
            behind,
            failures: AtomicU32::new(0),
            rests_until: Mutex::default(),
            counted: counted.with_description("Values looked up and written, by what came of it").build(),
        }));
        let (writing, stop) = (shelf.clone(), tasks.stopping());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async { while let Some(put) = waiting.recv().await { writing.write(put).await; } } => {}
            }
        });
        Some(shelf)
    }

    /// Looks something up, for so long at most.
    pub async fn get(&self, key: &str, within: Duration) -> Looked {
        let Some(client) = self.client().filter(|_| !self.rests()) else {
            self.count("get", "unknown");
            return Looked::Unknown;
        };
        let get = CustomCommand::new_static("GET", ClusterHash::FirstKey, false);
        let found = client.custom::<Option<Bytes>, _>(get, vec![format!("{}{key}", self.0.prefix)]);
        let looked = match tokio::time::timeout(within, found).await {
            Ok(Ok(Some(value))) => Looked::Found(value),
            Ok(Ok(None)) => Looked::Nothing,
            Ok(Err(_)) | Err(_) => Looked::Unknown,
        };
        self.judge(looked != Looked::Unknown);
        let what = match looked {
            Looked::Found(_) => "found",
            Looked::Nothing => "nothing",
            Looked::Unknown => "unknown",
        };
        self.count("get", what);
        looked
    }

    /// Has something written, soon or never.
    pub fn put(&self, key: String, value: Bytes, life: Duration) {
        if self.0.behind.try_send(Put { key, value, life }).is_err() {
            self.count("put", "let_go");
        }
    }

    /// Writes something now. Returns whether Redis has it.
    pub async fn store(&self, key: String, value: Bytes, life: Duration) -> bool {
        self.write(Put { key, value, life }).await
    }

    async fn write(&self, Put { key, value, life }: Put) -> bool {
        let written = match self.client().filter(|_| life.as_millis() > 0) {
            Some(client) => {
                let set = CustomCommand::new_static("SET", ClusterHash::FirstKey, false);
                let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
                let key = format!("{}{key}", self.0.prefix);
                let words: Vec<Value> = vec![key.into(), Value::Bytes(value), "PX".into(), life.into()];
                let set = tokio::time::timeout(LIMIT, client.custom::<Value, _>(set, words)).await;
                matches!(set, Ok(Ok(_)))
            }
            None => false,
        };
        self.count("put", if written { "written" } else { "let_go" });
        written
    }

    fn count(&self, operation: &'static str, outcome: &'static str) {
        let labels = [KeyValue::new("operation", operation), KeyValue::new("outcome", outcome)];
        self.0.counted.add(1, &labels);
    }

    /// Whether Redis is left alone for a moment.
    fn rests(&self) -> bool {
        let until = self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn judge(&self, good: bool) {
        if good {
            self.0.failures.store(0, Ordering::Relaxed);
        } else if self.0.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            let mut until = self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = Some(Instant::now() + PAUSE);
        }
    }

    fn client(&self) -> Option<Client> {
        self.0.connection.client()
    }
}
