//! Values that all processes of an installation see for a while: written behind, and looked up for a bounded time.
//!
//! Nobody waits for Redis. What is to be written waits in a short queue and is let go when that is full. Whoever looks
//! something up says how long that may take; after a few look-ups in a row that took longer, Redis is not asked for a
//! second.

use super::{BACK_OFF, Config, LIMIT};
use crate::{
    health::{Condition, Reporter},
    server::Tasks,
    telemetry::meter,
};
use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{Builder, ClusterHash, CustomCommand, Value, config::Config as Address},
};
use opentelemetry::{KeyValue, metrics::Counter};
use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
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
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

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
    client: RwLock<Option<Client>>,
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
        let (behind, mut waiting) = mpsc::channel(BEHIND);
        let meter = meter();
        let counted = meter.u64_counter("tollgate.redis.values");
        let shelf = Self(Arc::new(Inner {
            prefix,
            client: RwLock::default(),
            behind,
            failures: AtomicU32::new(0),
            rests_until: Mutex::default(),
            counted: counted.with_description("Values looked up and written, by what came of it").build(),
        }));
        let (connected, stop, health) = (shelf.clone(), tasks.stopping(), health());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connected.stay(address, &health) => {}
            }
        });
        let (writing, stop) = (shelf.clone(), tasks.stopping());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async { while let Some(put) = waiting.recv().await { writing.write(put).await } } => {}
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

    async fn write(&self, Put { key, value, life }: Put) {
        let Some(client) = self.client().filter(|_| life.as_millis() > 0) else {
            return self.count("put", "let_go");
        };
        let set = CustomCommand::new_static("SET", ClusterHash::FirstKey, false);
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let key = format!("{}{key}", self.0.prefix);
        let words: Vec<Value> = vec![key.into(), Value::Bytes(value), "PX".into(), life.into()];
        let written = tokio::time::timeout(LIMIT, client.custom::<Value, _>(set, words)).await;
        self.count("put", if matches!(written, Ok(Ok(_))) { "written" } else { "let_go" });
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
        self.0.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, client: Option<Client>) {
        *self.0.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Connects, again and again.
    async fn stay(&self, address: Address, health: &Reporter) {
        let up = meter().i64_gauge("tollgate.redis.values.up").build();
        let mut wait = BACK_OFF.0;
        loop {
            if let Some(client) = connect(&address).await {
                self.set(Some(client.clone()));
                self.0.failures.store(0, Ordering::Relaxed);
                health.set(Condition::Up);
                up.record(1, &[]);
                while is_alive(&client).await {
                    wait = BACK_OFF.0;
                    tokio::time::sleep(BEAT).await;
                }
                self.set(None);
                // What it still had to do has failed by now.
                let _ = tokio::time::timeout(LIMIT, client.quit()).await;
            }
            up.record(0, &[]);
            health.set(Condition::Degraded("redis is away; each process keeps its own answers".to_owned()));
            wait = (wait * 2).min(BACK_OFF.1);
            tokio::time::sleep(wait).await;
        }
    }
}

async fn connect(address: &Address) -> Option<Client> {
    let mut builder = Builder::from_config(address.clone());
    builder.with_connection_config(|connection| {
        connection.connection_timeout = LIMIT;
        connection.internal_command_timeout = LIMIT;
        connection.max_command_attempts = super::attempts(address);
    });
    let client = builder.build().ok()?;
    let connecting = tokio::time::timeout(LIMIT, client.init()).await;
    matches!(connecting, Ok(Ok(_))).then_some(client)
}

async fn is_alive(client: &Client) -> bool {
    let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
    let pong = client.custom::<String, _>(ping, Vec::<String>::new());
    matches!(tokio::time::timeout(LIMIT, pong).await, Ok(Ok(_)))
}
