//! Locks that all processes of an installation see: one key in Redis each, which ends by itself after an hour.
//!
//! Nobody waits for Redis: what it does not answer within [`LIMIT`] goes on without a lock, and is told so.

use super::{BACK_OFF, Config, LIMIT as PATIENCE, connection::Connection};
use crate::{
    health::{Kind, Reporter},
    server::Tasks,
};
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Longest time that anybody waits for a lock.
const LIMIT: Duration = Duration::from_millis(10);
/// When a lock ends that nobody gave back.
const LIFE: Duration = Duration::from_secs(3_600);
/// Gives a lock back, unless it is another's by now.
const FREE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";
/// Has a lock last longer, unless it is another's by now.
const RENEW: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0";

/// The locks of an installation.
#[derive(Debug, Clone)]
pub struct Locks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Option<Connection>,
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
        let connection = config.address().ok().flatten().map(|address| {
            let health = health().of(Kind::Redis);
            Connection::keep(address, tasks, move |took| {
                health.answers(took, "redis is away; nobody holds a lock");
            })
        });
        Self(Arc::new(Shared { connection, tasks: tasks.clone() }))
    }

    /// Asks for a lock, which is given back by `token`.
    pub async fn ask(&self, name: &str, token: &str) -> Asked {
        self.ask_for(name, token, LIFE, LIMIT).await
    }

    /// Asks for a lock that ends after `life` when it is neither renewed nor given back, and waits for so long at most.
    pub async fn ask_for(&self, name: &str, token: &str, life: Duration, within: Duration) -> Asked {
        let Some(client) = self.client() else { return Asked::Unknown };
        let set = CustomCommand::new_static("SET", ClusterHash::FirstKey, false);
        let life = life.as_millis().to_string();
        let arguments = vec![key(name), token.to_owned(), "NX".to_owned(), "PX".to_owned(), life];
        let lock = |kept| Lock { locks: self.clone(), name: name.to_owned(), token: token.to_owned(), kept };
        match tokio::time::timeout(within, client.custom::<Option<String>, _>(set, arguments)).await {
            Ok(Ok(Some(_))) => Asked::Held(lock(false)),
            Ok(Ok(None)) => Asked::Taken,
            // It may have been done all the same, so it is undone.
            Ok(Err(_)) | Err(_) => {
                drop(lock(false));
                Asked::Unknown
            }
        }
    }

    /// Gives a lock back that was kept. While Redis does not say that it is free, it is tried again, as long as locks last:
    /// a connection that breaks takes with it what it had not sent.
    pub fn free(&self, name: &str, token: &str) {
        let (locks, name, token) = (self.clone(), name.to_owned(), token.to_owned());
        self.0.tasks.spawn(async move {
            if locks.freed(&name, &token).await {
                return;
            }
            let again = async {
                let end = Instant::now() + LIFE;
                let mut wait = BACK_OFF.0;
                while Instant::now() < end {
                    tokio::time::sleep(wait).await;
                    if locks.freed(&name, &token).await {
                        break;
                    }
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            };
            // What cannot be given back ends by itself.
            let _ = locks.0.tasks.stopping().run_until_cancelled(again).await;
        });
    }

    async fn freed(&self, name: &str, token: &str) -> bool {
        let Some(client) = self.client() else { return false };
        let eval = CustomCommand::new_static("EVAL", ClusterHash::Offset(2), false);
        let arguments = vec![FREE.to_owned(), "1".to_owned(), key(name), token.to_owned()];
        let freed = tokio::time::timeout(PATIENCE, client.custom::<i64, _>(eval, arguments)).await;
        matches!(freed, Ok(Ok(_)))
    }

    fn client(&self) -> Option<Client> {
        self.0.connection.as_ref()?.client()
    }
}

impl Lock {
    /// Has it last so long from now on. Returns whether it is held, as far as anybody can say.
    pub async fn renew(&self, life: Duration) -> Option<bool> {
        let client = self.locks.client()?;
        let eval = CustomCommand::new_static("EVAL", ClusterHash::Offset(2), false);
        let life = life.as_millis().to_string();
        let arguments = vec![RENEW.to_owned(), "1".to_owned(), key(&self.name), self.token.clone(), life];
        let renewed = tokio::time::timeout(PATIENCE, client.custom::<i64, _>(eval, arguments)).await;
        Some(renewed.ok()?.ok()? == 1)
    }

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

fn key(name: &str) -> String {
    format!("tollgate:lock:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use ::tests::{redis::Redis, relay::Relay, until};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_is_given_back_though_the_connection_broke_meanwhile() {
        let redis = Redis::start();
        let relay = Relay::start(redis.address()).await;
        let (address, tasks) = (relay.address, Tasks::default());
        let config = Config { url: format!("redis://{address}").into() };
        let health = Health::default();
        let locks = Locks::open(&config, &tasks, || health.component("locks", false));
        let held = until("the lock", async || match locks.ask_for("a", "1", LIFE, PATIENCE).await {
            Asked::Held(lock) => Some(lock),
            Asked::Taken | Asked::Unknown => None,
        });
        let held = held.await;
        drop(relay);
        drop(held);
        let _relay = Relay::at(address, redis.address()).await;
        until("it to be free", async || {
            matches!(locks.ask_for("a", "2", LIFE, PATIENCE).await, Asked::Held(_)).then_some(())
        })
        .await;
        tasks.end(PATIENCE).await;
    }
}
