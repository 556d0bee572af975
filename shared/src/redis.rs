//! A word passed between processes through Redis: at once, perhaps never, and never twice in vain.
//!
//! What is said here is a hint. Whoever hears it looks for the truth elsewhere, and would find it without the hint a
//! little later; so nobody waits for Redis, and what is lost is repeated with the next beat. A connection is proved
//! by hearing one's own words: the client's own idea of being connected was wrong at times. Once it falls silent both
//! connections are given up and new ones are made, by our back-off and not by the client's.

pub(crate) mod connection;
pub mod locks;
pub mod shelf;

use crate::{
    health::{Condition, Kind, Reporter},
    report,
    server::Tasks,
    telemetry::meter,
};
use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Builder, ConnectHandle, Value, config::Config as Address},
};
use opentelemetry::{KeyValue, metrics::Counter};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, watch};

/// Settings under `redis`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `redis://…`, `redis-sentinel://…` or `redis-cluster://…`, each with a second `s` for TLS. Empty: no Redis.
    #[serde(deserialize_with = "crate::config::secret")]
    pub url: SecretString,
}

impl crate::config::Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if self.address().is_err() {
            faults.push(
                "redis.url: must be redis://HOST:PORT, redis-sentinel://HOST:PORT?sentinelServiceName=NAME or \
                 redis-cluster://HOST:PORT, with rediss for TLS"
                    .to_owned(),
            );
        }
    }
}

impl Config {
    /// Where Redis is, when there is one.
    pub(crate) fn address(&self) -> Result<Option<Address>, fred::error::Error> {
        let url = self.url.expose_secret();
        let known =
            SCHEMES.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !url.is_empty() && !known {
            return Err(fred::error::Error::new(fred::error::ErrorKind::Url, "unknown scheme or no host"));
        }
        (!url.is_empty()).then(|| Address::from_url(url)).transpose()
    }
}

/// Single servers, Sentinel and Cluster, each with and without TLS.
const SCHEMES: [&str; 6] = [
    "redis://",
    "rediss://",
    "redis-sentinel://",
    "rediss-sentinel://",
    "redis-cluster://",
    "rediss-cluster://",
];

/// Between two words when there is nothing new: lost ones are repeated, and the connection is proved.
const BEAT: Duration = Duration::from_secs(1);
/// Silence after which the connection is given up.
const SILENCE: Duration = Duration::from_secs(3);
/// Longest time that connecting or one command may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// Between two tries while Redis is away.
pub(crate) const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Passes the latest word of this process on. Never waits.
#[derive(Debug, Clone)]
pub struct Speaker(Arc<watch::Sender<Bytes>>);

impl Speaker {
    /// Says this now. Of several words in a hurry only the last one may be heard.
    pub fn say(&self, word: impl Into<Bytes>) {
        self.0.send_replace(word.into());
    }

    /// Says this with the next beat.
    pub fn keep(&self, word: impl Into<Bytes>) {
        self.0.send_if_modified(|last| {
            *last = word.into();
            false
        });
    }
}

/// Talks on one channel until the process ends; `heard` is told every word on it, those of this process as well.
/// Returns nothing when no Redis is configured, or its address is not understood.
pub fn talk(
    config: &Config,
    channel: String,
    tasks: &Tasks,
    health: impl FnOnce() -> Reporter,
    heard: impl Fn(&[u8]) + Send + Sync + 'static,
) -> Option<Speaker> {
    let address = config.address().ok().flatten()?;
    let words = Arc::new(watch::Sender::new(Bytes::new()));
    let talk = Talk {
        address,
        channel,
        words: words.subscribe(),
        heard: Box::new(heard),
        health: health().of(Kind::Redis),
        counted: meter().u64_counter("tollgate.redis.words").build(),
    };
    let stop = tasks.stopping();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = talk.on() => {}
        }
    });
    Some(Speaker(words))
}

/// How often a command is tried. Of a cluster the first try may only find out which node it is for; elsewhere one that
/// failed is the business of whoever gave it.
pub(crate) fn attempts(address: &Address) -> u32 {
    if address.server.is_clustered() { 3 } else { 1 }
}

/// A client that is connected, and what keeps it so. It does not connect again by itself.
pub(crate) async fn client(address: &Address) -> Option<(Client, ConnectHandle)> {
    let mut builder = Builder::from_config(address.clone());
    builder.with_connection_config(|connection| {
        connection.connection_timeout = LIMIT;
        connection.internal_command_timeout = LIMIT;
        connection.max_command_attempts = attempts(address);
    });
    let client = builder.build().ok()?;
    let running = tokio::time::timeout(LIMIT, client.init()).await.ok()?.ok()?;
    Some((client, running))
}

/// What is done with a word.
type Heard = Box<dyn Fn(&[u8]) + Send + Sync>;

struct Talk {
    address: Address,
    channel: String,
    words: watch::Receiver<Bytes>,
    heard: Heard,
    health: Reporter,
    counted: Counter<u64>,
}

/// Why a connection was given up. The client's own words may hold the address, so they are not passed on.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("could not be reached")]
    Away,
    #[error("fell silent")]
    Silent,
}

/// Two connections: one that listens can do nothing else.
struct Connections {
    speaking: Client,
    listening: Client,
    running: Vec<ConnectHandle>,
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.running.iter().for_each(ConnectHandle::abort);
    }
}

impl Talk {
    async fn on(&self) {
        let up = meter().i64_gauge("tollgate.redis.up").build();
        let mut wait = BACK_OFF.0;
        loop {
            let mut proved = false;
            let lost = self.once(&mut proved, &up).await;
            up.record(0, &[]);
            if proved {
                report::turned();
            }
            tracing::warn!(fault = %lost, "redis is away; changes are found by looking for them");
            self.health.set(Condition::Degraded(format!(
                "{lost}; what other processes change is found by looking for it"
            )));
            wait = if proved { BACK_OFF.0 } else { (wait * 2).min(BACK_OFF.1) };
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, proved: &mut bool, up: &opentelemetry::metrics::Gauge<i64>) -> Lost {
        let Ok(Some(connections)) = tokio::time::timeout(LIMIT, self.connect()).await else {
            return Lost::Away;
        };
        let messages = connections.listening.message_rx();
        let subscribed = connections.listening.subscribe(self.channel.as_str());
        if !matches!(tokio::time::timeout(LIMIT, subscribed).await, Ok(Ok(()))) {
            return Lost::Away;
        }
        tokio::select! {
            lost = self.speak(&connections.speaking) => lost,
            lost = self.listen(messages, || {
                if !std::mem::replace(proved, true) {
                    tracing::info!("redis passes changes on");
                    self.health.set(Condition::Up);
                    up.record(1, &[]);
                    report::turned();
                }
            }) => lost,
        }
    }

    async fn connect(&self) -> Option<Connections> {
        let (speaking, spoken) = client(&self.address).await?;
        let (listening, heard) = client(&self.address).await?;
        Some(Connections { speaking, listening, running: vec![spoken, heard] })
    }

    async fn speak(&self, client: &Client) -> Lost {
        let mut words = self.words.clone();
        loop {
            let word = words.borrow_and_update().clone();
            let began = Instant::now();
            let sent = client.publish::<i64, _, _>(self.channel.as_str(), Value::Bytes(word));
            if !matches!(tokio::time::timeout(LIMIT, sent).await, Ok(Ok(_))) {
                return Lost::Away;
            }
            self.health.took(began.elapsed());
            self.counted.add(1, &[KeyValue::new("direction", "said")]);
            // An error means that nobody will say anything any more; then only the beat is left.
            let _ = tokio::time::timeout(BEAT, words.changed()).await;
        }
    }

    async fn listen(
        &self,
        mut messages: broadcast::Receiver<fred::types::Message>,
        mut proof: impl FnMut(),
    ) -> Lost {
        loop {
            match tokio::time::timeout(SILENCE, messages.recv()).await {
                Ok(Ok(message)) => {
                    proof();
                    self.counted.add(1, &[KeyValue::new("direction", "heard")]);
                    if let Some(word) = message.value.as_bytes() {
                        (self.heard)(word);
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => return Lost::Silent,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Validate;

    #[test]
    fn addresses_of_every_kind_are_taken_and_others_refused() {
        let faults = |url: &str| {
            let mut faults = Vec::new();
            Config { url: url.into() }.validate(&mut faults);
            faults.len()
        };
        for good in [
            "",
            "redis://localhost",
            "redis://user:secret@127.0.0.1:6379/1",
            "rediss://cache.example.org:6380",
            "redis-cluster://a:7000?node=b:7000",
            "redis-sentinel://a:26379?sentinelServiceName=main&node=b:26379",
        ] {
            assert_eq!(faults(good), 0, "{good}");
        }
        for bad in ["localhost", "http://localhost", "redis-sentinel://a:26379", "redis://"] {
            assert_eq!(faults(bad), 1, "{bad}");
        }
    }
}
