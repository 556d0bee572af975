//! Locks that all processes of an installation see: one key in Redis each, which ends by itself after an hour.
//!
//! Nobody waits for Redis: what it does not answer within [`LIMIT`] goes on without a lock, and is told so.

use super::{BACK_OFF, Config};
use crate::{
    health::{Condition, Reporter},
    server::Tasks,
};
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{Builder, ClusterHash, CustomCommand, config::Config as Address},
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Longest time that anybody waits for a lock.
const LIMIT: Duration = Duration::from_millis(10);
/// Longest time for a connection, or for a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// When a lock ends that nobody gave back, in seconds.
const LIFE: &str = "3600";
/// Gives a lock back, unless it is another's by now.
const FREE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// The locks of an installation.
#[derive(Debug, Clone)]
pub struct Locks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: RwLock<Option<Client>>,
    tasks: Tasks,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Asked {
    /// It is held, until this is dropped.
    Held(Lock),
    /// Somebody else holds it.
    Taken,
    /// Nobody can say: there is no Redis, or it did not answer in time.
    Unknown,
}

/// A lock that is held. Dropping it gives it back.
#[derive(Debug)]
pub struct Lock {
    locks: Locks,
    name: String,
    token: String,
    kept: bool,
}

impl Locks {
    /// Keeps a connection to Redis, where one is configured.
    pub fn open(config: &Config, tasks: &Tasks, health: impl FnOnce() -> Reporter) -> Self {
        let locks = Self(Arc::new(Shared { client: RwLock::default(), tasks: tasks.clone() }));
        if let Some(address) = config.address().ok().flatten() {
            let (connected, stop, health) = (locks.clone(), tasks.stopping(), health());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connected.stay(address, &health) => {}
                }
            });
        }
        locks
    }

    /// Asks for a lock, which is given back by `token`.
    pub async fn ask(&self, name: &str, token: &str) -> Asked {
        let Some(client) = self.client() else { return Asked::Unknown };
        let set = CustomCommand::new_static("SET", ClusterHash::FirstKey, false);
        let arguments = vec![key(name), token.to_owned(), "NX".to_owned(), "EX".to_owned(), LIFE.to_owned()];
        let lock = |kept| Lock { locks: self.clone(), name: name.to_owned(), token: token.to_owned(), kept };
        match tokio::time::timeout(LIMIT, client.custom::<Option<String>, _>(set, arguments)).await {
            Ok(Ok(Some(_))) => Asked::Held(lock(false)),
            Ok(Ok(None)) => Asked::Taken,
            // It may have been done all the same, so it is undone.
            Ok(Err(_)) | Err(_) => {
                drop(lock(false));
                Asked::Unknown
            }
        }
    }

    /// Gives a lock back that was kept.
    pub fn free(&self, name: &str, token: &str) {
        let Some(client) = self.client() else { return };
        let eval = CustomCommand::new_static("EVAL", ClusterHash::Offset(2), false);
        let arguments = vec![FREE.to_owned(), "1".to_owned(), key(name), token.to_owned()];
        self.0.tasks.spawn(async move {
            // What cannot be given back ends by itself.
            let _ = tokio::time::timeout(PATIENCE, client.custom::<i64, _>(eval, arguments)).await;
        });
    }

    fn client(&self) -> Option<Client> {
        self.0.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, client: Option<Client>) {
        *self.0.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Connects, again and again.
    async fn stay(&self, address: Address, health: &Reporter) {
        let mut wait = BACK_OFF.0;
        loop {
            if let Some(client) = connect(&address).await {
                self.set(Some(client.clone()));
                health.set(Condition::Up);
                while is_alive(&client).await {
                    wait = BACK_OFF.0;
                    tokio::time::sleep(BEAT).await;
                }
                self.set(None);
                // What it still had to do has failed by now.
                let _ = tokio::time::timeout(PATIENCE, client.quit()).await;
            }
            health.set(Condition::Degraded("redis is away; nobody holds a lock".to_owned()));
            wait = (wait * 2).min(BACK_OFF.1);
            tokio::time::sleep(wait).await;
        }
    }
}

impl Lock {
    /// Leaves it held, for somebody else to give back.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.kept {
            self.locks.free(&self.name, &self.token);
        }
    }
}

async fn connect(address: &Address) -> Option<Client> {
    let mut builder = Builder::from_config(address.clone());
    builder.with_connection_config(|connection| {
        connection.connection_timeout = PATIENCE;
        connection.internal_command_timeout = PATIENCE;
        connection.max_command_attempts = super::attempts(address);
    });
    let client = builder.build().ok()?;
    let connecting = tokio::time::timeout(PATIENCE, client.init()).await;
    matches!(connecting, Ok(Ok(_))).then_some(client)
}

async fn is_alive(client: &Client) -> bool {
    let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
    let pong = client.custom::<String, _>(ping, Vec::<String>::new());
    matches!(tokio::time::timeout(PATIENCE, pong).await, Ok(Ok(_)))
}

fn key(name: &str) -> String {
    format!("tollgate:lock:{name}")
}
