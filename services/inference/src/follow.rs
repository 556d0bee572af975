//! Keeps the local policy replica: a stream from permissions, a snapshot on disk for the time it is away.

mod keep;
mod message;
mod report;

use crate::{error::Error, gateways::Gateways};
use message::Parts;
use policy::{Bounds, Freshness, Heartbeat, Message, Outcome, Policy, Replica, Revision, Snapshot, Time};
use proto::permissions::v1::{
    WatchPolicyRequest, WatchPolicyResponse, policy_service_client::PolicyServiceClient,
};
use shared::{
    auth::{Credential, Known, Person, Refusal, Tokens, Verify},
    channel::Channel,
    health::{Condition, Reporter},
    server::Tasks,
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};
use tokio::sync::watch;

/// The local policy, shared by everything that decides.
#[derive(Debug, Clone)]
pub struct PolicyView {
    replica: Arc<RwLock<Replica>>,
    bounds: Bounds,
    /// Changes with every revision that is applied.
    moves: watch::Sender<(String, Revision)>,
    tokens: Tokens,
}

impl PolicyView {
    /// A view that starts from the snapshot kept in a file, when there is a usable one.
    #[must_use]
    pub fn open(kept: &Path, bounds: Bounds) -> Self {
        let replica = keep::restore(kept, shared::time::now()).unwrap_or_else(|error| {
            tracing::debug!(error, "no policy snapshot was kept");
            Replica::new()
        });
        let (tokens, moves) = (Tokens::default(), watch::Sender::default());
        Self { replica: Arc::new(RwLock::new(replica)), bounds, tokens, moves }
    }

    /// Asks the policy something.
    ///
    /// # Errors
    /// [`Error::PolicyUnavailable`] when the replica is older than may be.
    pub fn read<T>(&self, now: Time, ask: impl FnOnce(&Policy) -> T) -> Result<T, Error> {
        let replica = self.replica();
        match replica.freshness(now, &self.bounds) {
            Freshness::Expired => Err(Error::PolicyUnavailable),
            Freshness::Fresh | Freshness::Stale { .. } => Ok(ask(replica.policy())),
        }
    }

    /// How old the replica is.
    #[must_use]
    pub fn freshness(&self, now: Time) -> Freshness {
        self.replica().freshness(now, &self.bounds)
    }

    async fn receive(&self, message: Message, now: Time) -> Outcome {
        let outcome = self.apply(message, now).await;
        let place = self.position();
        self.moves.send_if_modified(|last| std::mem::replace(last, place.clone()) != place);
        outcome
    }

    async fn apply(&self, message: Message, now: Time) -> Outcome {
        // A snapshot is indexed apart and before the lock is taken: requests wait for an assignment, not for a load.
        if let Message::Snapshot(snapshot) = message {
            return match tokio::task::spawn_blocking(move || snapshot.load()).await {
                Ok(Ok(loaded)) => {
                    self.replica.write().unwrap_or_else(PoisonError::into_inner).adopt(loaded, now)
                }
                Ok(Err(error)) => Outcome::Broken(error),
                Err(_) => Outcome::NeedSnapshot,
            };
        }
        self.replica.write().unwrap_or_else(PoisonError::into_inner).receive(&message, now)
    }

    fn replica(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Option<Snapshot> {
        self.replica().snapshot()
    }

    /// Where the policy is, and until when that was the end.
    fn heard(&self) -> Option<Heartbeat> {
        let replica = self.replica();
        let (epoch, at) = replica.epoch().zip(replica.caught_up_at())?;
        Some(Heartbeat { epoch, head: replica.revision(), at })
    }

    fn position(&self) -> (String, Revision) {
        let replica = self.replica();
        (replica.epoch().map(|epoch| epoch.to_string()).unwrap_or_default(), replica.revision())
    }
}

impl Verify for PolicyView {
    async fn verify(&self, credential: Credential<'_>, peer: Option<IpAddr>) -> Result<Person, Refusal> {
        let now = shared::time::now();
        let replica = self.replica();
        match replica.freshness(now, &self.bounds) {
            Freshness::Expired => Err(Refusal::Unavailable),
            Freshness::Fresh | Freshness::Stale { .. } => {
                let at = replica.caught_up_at().unwrap_or(now).min(now);
                let known = Known { policy: replica.policy(), epoch: replica.epoch(), at };
                self.tokens.person(known, credential, peer, now)
            }
        }
    }
}

/// Between two tries when permissions is away.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Silence after which the stream is taken for dead; heartbeats come every 500 ms.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two looks at how old the replica is.
const LOOK: Duration = Duration::from_millis(100);
/// Between two copies of the policy to disk.
const KEEP: Duration = Duration::from_secs(5);

/// Follows permissions until the process ends.
pub fn start(
    view: &PolicyView,
    permissions: Channel,
    kept: PathBuf,
    health: Reporter,
    gateways: Option<Gateways>,
    tasks: &Tasks,
) {
    report::start(view, permissions.clone(), gateways, tasks);
    let (stop, following) = (tasks.stopping(), view.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow(following, permissions) => {}
        }
    });
    let looking = view.clone();
    tasks.repeat(LOOK, move || {
        let condition = match looking.freshness(shared::time::now()) {
            Freshness::Fresh => Condition::Up,
            Freshness::Stale { behind } => {
                Condition::Degraded(format!("policy is {} s old", behind.as_secs()))
            }
            Freshness::Expired => Condition::Down("policy is too old to decide by".into()),
        };
        health.set(condition);
        std::future::ready(())
    });
    let keeper = Arc::new(keep::Keeper::new(view.clone(), kept));
    tasks.repeat(KEEP, move || {
        let keeper = Arc::clone(&keeper);
        async move {
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || keeper.keep()).await {
                tracing::warn!(%error, "the policy snapshot was not kept");
            }
        }
    });
}

async fn follow(view: PolicyView, permissions: Channel) {
    let mut client = PolicyServiceClient::new(permissions).max_decoding_message_size(16 * 1024 * 1024);
    let mut wait = BACK_OFF.0;
    let mut resume = true;
    loop {
        match stream(&view, &mut client, resume).await {
            Ended::Lost { heard } => {
                wait = if heard { BACK_OFF.0 } else { (wait * 2).min(BACK_OFF.1) };
                resume = true;
                tokio::time::sleep(wait).await;
            }
            Ended::Behind => resume = true,
            Ended::NeedSnapshot => {
                resume = false;
                tokio::time::sleep(BACK_OFF.0).await;
            }
        }
    }
}

enum Ended {
    /// The stream ended or fell silent.
    Lost { heard: bool },
    /// Something was missed: ask again from where we are.
    Behind,
    /// What we hold cannot be continued.
    NeedSnapshot,
}

async fn stream(view: &PolicyView, client: &mut PolicyServiceClient<Channel>, resume: bool) -> Ended {
    let (epoch, after) = if resume { view.position() } else { Default::default() };
    let request = WatchPolicyRequest { epoch, after_revision: after.get() };
    let mut messages = match client.watch_policy(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            tracing::warn!(code = ?status.code(), message = status.message(), "permissions cannot be followed");
            return Ended::Lost { heard: false };
        }
    };
    let mut parts = Parts::default();
    let mut heard = false;
    loop {
        let message = match tokio::time::timeout(SILENCE, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) | Err(_) => return Ended::Lost { heard },
            Ok(Err(status)) => {
                tracing::debug!(message = status.message(), "the policy stream ended");
                return Ended::Lost { heard };
            }
        };
        heard = true;
        match take(view, &mut parts, message).await {
            Some(Outcome::Behind { .. }) => return Ended::Behind,
            Some(Outcome::NeedSnapshot) => return Ended::NeedSnapshot,
            Some(Outcome::Broken(error)) => {
                tracing::error!(%error, "permissions sent a policy that contradicts itself");
                return Ended::NeedSnapshot;
            }
            Some(Outcome::Applied | Outcome::Ignored) | None => {}
        }
    }
}

async fn take(view: &PolicyView, parts: &mut Parts, message: WatchPolicyResponse) -> Option<Outcome> {
    match parts.take(message) {
        Ok(message) => Some(view.receive(message?, shared::time::now()).await),
        Err(error) => {
            tracing::error!(%error, "permissions sent a message that cannot be read");
            Some(Outcome::NeedSnapshot)
        }
    }
}
