//! A connection to Redis that is kept: given up once it falls silent and made again, by our back-off and not by the
//! client's. [`Connection`] is one that anybody may use; whoever has a use of its own for one is called by [`again`].

use super::{BACK_OFF, LIMIT, client};
use crate::server::Tasks;
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{ClusterHash, ConnectHandle, CustomCommand, config::Config as Address},
};
use std::{
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// A connection, while there is one.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<RwLock<Option<Client>>>);

/// What runs a client, which ends with it.
struct Running(ConnectHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Keeps one until the process ends. `told` hears how long each sign of life took, and nothing whenever it is away.
    pub(crate) fn keep(
        address: Address,
        tasks: &Tasks,
        told: impl Fn(Option<Duration>) + Send + Sync + 'static,
    ) -> Self {
        let connection = Self(Arc::default());
        let (kept, stop) = (connection.clone(), tasks.stopping());
        tasks.spawn(async move {
            let told = &told;
            let with = |client: Client| {
                let kept = kept.clone();
                async move {
                    kept.set(Some(client.clone()));
                    let mut alive = false;
                    while let Some(took) = pinged(&client).await {
                        told(Some(took));
                        alive = true;
                        tokio::time::sleep(BEAT).await;
                    }
                    kept.set(None);
                    alive
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                never = again(&address, with, || told(None)) => match never {},
            }
        });
        connection
    }

    /// Whoever is connected.
    pub(crate) fn client(&self) -> Option<Client> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, client: Option<Client>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

/// Connects, again and again. `with` uses a connection until it is no good any more and says whether it ever was;
/// `away` is told of every connection that ended or could not be made.
pub(crate) async fn again<Fut: Future<Output = bool>>(
    address: &Address,
    with: impl Fn(Client) -> Fut,
    away: impl Fn(),
) -> Infallible {
    let mut wait = BACK_OFF.0;
    loop {
        let mut proved = false;
        if let Some((client, running)) = client(address).await {
            let _running = Running(running);
            proved = with(client).await;
        }
        away();
        wait = if proved { BACK_OFF.0 } else { (wait * 2).min(BACK_OFF.1) };
        tokio::time::sleep(wait).await;
    }
}

/// How long a sign of life took, if there was one.
async fn pinged(client: &Client) -> Option<Duration> {
    let began = Instant::now();
    let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
    let pong = client.custom::<String, _>(ping, Vec::<String>::new());
    matches!(tokio::time::timeout(LIMIT, pong).await, Ok(Ok(_))).then(|| began.elapsed())
}
