//! The replica of the policy in this process, and the loop that keeps it at the end of the log.
//!
//! The loop asks for the head every so often, or at once when poked, and fetches what is missing. What it applied it
//! tells to watchers. Everybody else only reads: checks cost no query.

use crate::{
    error::Error,
    store::{StoreError, events, facts},
    token::{Token, Tokens},
};
use policy::{Bounds, Delta, Freshness, Heartbeat, Loaded, Message, Outcome, Replica, Revision, Time};
use rand::RngExt;
use shared::{
    db::Db,
    health::{Condition, Reporter},
    redis::Speaker,
    server::Tasks,
    time,
};
use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, Notify, broadcast, watch};

/// Revisions fetched by one query.
const STRIDE: u64 = 256;
/// Deltas kept for watchers that are slower than the log; who is slower still reads the table.
const BACKLOG: usize = 1_024;
/// Longest time that one look at the log may take, but for loading all of the policy.
const ROUND: Duration = Duration::from_secs(5);
/// Longest time that loading all of it may take.
const LOAD: Duration = Duration::from_secs(15 * 60);
/// Pause after a look that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Least time between two looks that failed.
const BREATH: Duration = Duration::from_millis(50);

/// The replica and its loop.
#[derive(Debug, Clone)]
pub(crate) struct Tail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    bounds: Bounds,
    tokens: Tokens,
    replica: RwLock<Replica>,
    /// Held while the replica changes. Who reads for long holds it as well, so that no change waits for the replica
    /// meanwhile: behind one that waits, every check would have to.
    still: Arc<Mutex<()>>,
    /// Tells other processes of what this one wrote, where there is something to tell it through.
    speaker: OnceLock<Speaker>,
    deltas: broadcast::Sender<Arc<Delta>>,
    poke: Notify,
    /// Looks at the log begun so far.
    begun: AtomicU64,
    /// The number of the last look that succeeded.
    done: watch::Sender<u64>,
    /// Where the replica is.
    place: watch::Sender<Option<Token>>,
    /// Whether all of the policy is being loaded.
    loading: AtomicBool,
}

impl Tail {
    /// Loads the whole state, then follows the log in a task of its own.
    pub(crate) async fn start(
        db: Db,
        tokens: Tokens,
        bounds: Bounds,
        interval: Duration,
        tasks: &Tasks,
        health: Reporter,
    ) -> Result<Self, Error> {
        let tail = Self(Arc::new(Inner {
            db,
            bounds,
            tokens,
            replica: RwLock::default(),
            still: Arc::default(),
            speaker: OnceLock::new(),
            deltas: broadcast::Sender::new(BACKLOG),
            poke: Notify::new(),
            begun: AtomicU64::new(0),
            done: watch::Sender::new(0),
            place: watch::Sender::new(None),
            loading: AtomicBool::new(false),
        }));
        tail.look().await?;
        tail.report(&health);
        let (follower, stop) = (tail.clone(), tasks.stopping());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follower.follow(interval, &health) => {}
            }
        });
        Ok(tail)
    }

    async fn follow(&self, interval: Duration, health: &Reporter) {
        let mut failing = false;
        loop {
            let pause = if failing { PAUSE } else { interval }.mul_f64(rand::rng().random_range(0.8..1.2));
            if failing {
                // However many are asking: a database that is away is not asked all the time.
                tokio::time::sleep(BREATH).await;
            }
            tokio::select! {
                () = self.0.poke.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let loading = || {
                // Nothing is refreshed meanwhile, which whoever looks after this process should see.
                self.report(health);
                self.0.loading.load(Ordering::SeqCst)
            };
            let result = patiently(self.look(), loading).await;
            let fault = match &result {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(
                    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
                ),
                Err(_) => Some("the database did not answer in time".to_owned()),
            };
            if let Some(fault) = fault.as_ref().filter(|_| !failing) {
                tracing::warn!(%fault, "the policy cannot be refreshed");
            } else if failing && fault.is_none() {
                tracing::info!("the policy is refreshed again");
            }
            failing = fault.is_some();
            self.report(health);
        }
    }

    /// Brings the replica to the end of the log.
    async fn look(&self) -> Result<(), Error> {
        let number = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // As it may still be of a look that was given up.
        self.0.loading.store(false, Ordering::SeqCst);
        loop {
            let at = time::now();
            let head = events::head(&self.0.db).await?;
            if self.is_ahead_of(&head) {
                tracing::warn!(
                    "the store is older than what is known of it, so it was restored; starting a new epoch"
                );
                events::leave_epoch(&self.0.db, head.epoch).await?;
                continue;
            }
            let heartbeat = Heartbeat { epoch: head.epoch, head: head.revision, at };
            match self.receive(&Message::Heartbeat(heartbeat)).await {
                Outcome::Applied | Outcome::Ignored => break,
                Outcome::Behind { after } => self.fetch(&head, after).await?,
                Outcome::NeedSnapshot | Outcome::Broken(_) => self.reload(at).await?,
            }
        }
        self.moved();
        self.0.done.send_replace(number);
        Ok(())
    }

    /// Tells where the replica is now to whoever waits for it to move.
    fn moved(&self) {
        let now = self.place();
        let moved = self.0.place.send_if_modified(|place| std::mem::replace(place, now) != now);
        if let (true, Some(token), Some(speaker)) = (moved, now, self.0.speaker.get()) {
            speaker.keep(self.0.tokens.encode(token).into_bytes());
        }
    }

    fn is_ahead_of(&self, head: &events::Head) -> bool {
        let replica = self.replica();
        replica.epoch() == Some(head.epoch) && replica.revision() > head.revision
    }

    async fn fetch(&self, head: &events::Head, after: Revision) -> Result<(), Error> {
        let until = Revision(head.revision.get().min(after.get().saturating_add(STRIDE)));
        let deltas = events::between(&self.0.db, head.epoch, after, until).await?;
        for delta in deltas {
            let delta = Arc::new(delta);
            match self.receive(&Message::Delta(Delta::clone(&delta))).await {
                // Applied first and told second: who subscribes in between finds it in the replica.
                Outcome::Applied => drop(self.0.deltas.send(delta)),
                Outcome::Ignored => {}
                Outcome::Behind { .. } => break,
                Outcome::NeedSnapshot | Outcome::Broken(_) => {
                    tracing::error!(revision = %delta.revision, "an event does not fit the policy; loading all of it");
                    return self.reload(time::now()).await;
                }
            }
        }
        if self.replica().revision() <= after {
            if events::oldest(&self.0.db).await?.is_none_or(|oldest| oldest > after.next()) {
                // This process slept for longer than events are kept.
                return self.reload(time::now()).await;
            }
            return Err(StoreError::Corrupt("events").into());
        }
        Ok(())
    }

    async fn reload(&self, at: Time) -> Result<(), Error> {
        self.0.loading.store(true, Ordering::SeqCst);
        let loaded = facts::load(&self.0.db, at).await;
        self.0.loading.store(false, Ordering::SeqCst);
        let loaded = loaded?;
        let _still = self.0.still.lock().await;
        self.0.replica.write().unwrap_or_else(PoisonError::into_inner).adopt(loaded, time::now());
        Ok(())
    }

    async fn receive(&self, message: &Message) -> Outcome {
        let _still = self.0.still.lock().await;
        self.0.replica.write().unwrap_or_else(PoisonError::into_inner).receive(message, time::now())
    }

    /// Reads what takes a while. Checks go on meanwhile, only changes wait.
    pub(crate) async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, Error> {
        // Held by the reading itself: it goes on when nobody waits for it any more.
        let (tail, still) = (self.clone(), Arc::clone(&self.0.still).lock_owned().await);
        let read = move || {
            let _still = still;
            read(&tail.replica())
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Stopping)
    }

    /// All of the replica, for who looks at it for longer than anything should wait.
    pub(crate) async fn copy(&self) -> Result<Loaded, Error> {
        self.read_long(Replica::copy).await?.ok_or(Error::Stale)
    }

    fn report(&self, health: &Reporter) {
        health.set(match self.freshness() {
            Freshness::Fresh => Condition::Up,
            Freshness::Stale { .. } => {
                Condition::Degraded("not refreshed lately; answers are marked stale".into())
            }
            Freshness::Expired => Condition::Down("not refreshed for too long; nothing is answered".into()),
        });
    }

    /// The replica, to read from. Not to be held over an await.
    pub(crate) fn replica(&self) -> RwLockReadGuard<'_, Replica> {
        self.0.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How old the replica is now.
    pub(crate) fn freshness(&self) -> Freshness {
        self.replica().freshness(time::now(), &self.0.bounds)
    }

    /// The limits of how old the replica may be.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.0.bounds
    }

    /// Makes and reads revision tokens.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Where the replica is.
    pub(crate) fn place(&self) -> Option<Token> {
        let replica = self.replica();
        replica.epoch().map(|epoch| Token { epoch, revision: replica.revision() })
    }

    /// Where the replica is, whenever it moves.
    pub(crate) fn moves(&self) -> watch::Receiver<Option<Token>> {
        self.0.place.subscribe()
    }

    /// Has other processes told of what this one writes.
    pub(crate) fn speak_through(&self, speaker: Speaker) {
        if self.0.speaker.set(speaker).is_err() {
            tracing::error!("the policy is told of through one channel only");
        }
    }

    /// Looks at the log at once if it is said to be further than the replica.
    pub(crate) fn hear(&self, token: Token) {
        if !self.has(token) {
            self.0.poke.notify_one();
        }
    }

    /// Tells other processes of a write of this one, and waits until the replica has it.
    pub(crate) async fn wrote(&self, token: Token, limit: Duration) {
        if let Some(speaker) = self.0.speaker.get() {
            speaker.say(self.0.tokens.encode(token).into_bytes());
        }
        self.reached(token, limit).await;
    }

    /// Everything that is applied from now on, in order; a receiver that is too slow is told that it missed some.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Delta>> {
        self.0.deltas.subscribe()
    }

    /// Waits until the replica has reached the token's revision. Returns whether it has.
    pub(crate) async fn reached(&self, token: Token, limit: Duration) -> bool {
        let mut done = self.0.done.subscribe();
        let arrival = async {
            while !self.has(token) {
                self.0.poke.notify_one();
                if done.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, arrival).await.is_ok()
    }

    /// Whether the replica has this revision.
    pub(crate) fn has(&self, token: Token) -> bool {
        let replica = self.replica();
        replica.epoch() == Some(token.epoch) && replica.revision() >= token.revision
    }

    /// Waits for a look at the log that begins after this call: the replica then has everything committed before.
    pub(crate) async fn current(&self, limit: Duration) -> Result<(), Error> {
        let number = self.0.begun.load(Ordering::SeqCst);
        let mut done = self.0.done.subscribe();
        self.0.poke.notify_one();
        let look = done.wait_for(|done| *done > number);
        match tokio::time::timeout(limit, look).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Stale),
        }
    }
}

/// Waits for a look as long as one may take; asks after each such time whether it is loading, and waits on then.
async fn patiently<T>(
    look: impl Future<Output = T>,
    mut loading: impl FnMut() -> bool,
) -> Result<T, tokio::time::error::Elapsed> {
    let (mut look, until) = (std::pin::pin!(look), tokio::time::Instant::now() + LOAD);
    loop {
        match tokio::time::timeout(ROUND, &mut look).await {
            Err(_) if loading() && tokio::time::Instant::now() < until => {}
            settled => return settled,
        }
    }
}

#[cfg(test)]
mod tests;
