//! The policy as a stream: a snapshot in parts unless the watcher can go on from where it was, then every change in
//! order, and a heartbeat while nothing happens.
//!
//! Changes come from the loop in [`crate::tail`] as they are applied; what a slow or returning watcher missed is
//! read from the log, so it may be late but never has a gap.

use crate::{
    error::Error,
    history::beside,
    pump::apart,
    store::{StoreError, events},
    tail::Tail,
    token::Token,
};
use futures_util::Stream;
use policy::{Change, Delta, Epoch, Freshness, Revision, Time};
use shared::db::Db;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// Facts in one part of a snapshot.
const PART: usize = 1_000;
/// Revisions read from the log at once.
const STRIDE: u64 = 256;
/// Time between heartbeats.
const BEAT: Duration = Duration::from_millis(500);

/// One message of the stream.
#[derive(Debug)]
pub(crate) enum News {
    /// A part of the whole state.
    Snapshot { revision: Revision, facts: Vec<Change>, last: bool, at: Time },
    /// One transaction.
    Delta { revision: Revision, changes: Vec<Change>, at: Time },
    /// Nothing happened up to this revision that was not sent.
    Heartbeat { revision: Revision, at: Time },
}

/// One watcher: what it was sent, and what it is to be sent next.
struct Watch {
    db: Db,
    tail: Tail,
    stop: CancellationToken,
    applied: broadcast::Receiver<Arc<Delta>>,
    beat: Interval,
    /// What was sent last, once everything queued is.
    sent: Token,
    queue: VecDeque<News>,
}

/// Streams the policy to one watcher, who holds the state at `held` or nothing. The first item comes at once.
pub(crate) async fn watch(
    db: &Db,
    tail: &Tail,
    stop: CancellationToken,
    held: Option<Token>,
) -> Result<impl Stream<Item = Result<(Epoch, News), Error>> + Send + use<>, Error> {
    // What another process wrote before this call is then in the snapshot, and a stale start is refused.
    tail.current(Duration::from_secs(2)).await?;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (applied, nothing) =
        (tail.subscribe(), Token { epoch: Epoch(uuid::Uuid::nil()), revision: Revision(0) });
    let sent = held.unwrap_or(nothing);
    let mut watch =
        Watch { db: db.clone(), tail: tail.clone(), stop, applied, beat, sent, queue: VecDeque::new() };
    watch.catch_up().await?;
    Ok(futures_util::stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(news) => Some((Ok((watch.sent.epoch, news)), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Watch {
    async fn next(&mut self) -> Result<News, Error> {
        loop {
            if let Some(news) = self.queue.pop_front() {
                return Ok(news);
            }
            let stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Error::Stopping),
                applied = self.applied.recv() => match applied {
                    Ok(delta) if self.follows(&delta) => self.send(Delta::clone(&delta)),
                    Ok(delta) if self.knows(&delta) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Err(Error::Stopping),
                },
                _ = self.beat.tick() => self.beat().await?,
            }
        }
    }

    fn follows(&self, delta: &Delta) -> bool {
        delta.epoch == self.sent.epoch && delta.revision == self.sent.revision.next()
    }

    fn knows(&self, delta: &Delta) -> bool {
        delta.epoch == self.sent.epoch && delta.revision <= self.sent.revision
    }

    fn send(&mut self, delta: Delta) {
        self.sent.revision = delta.revision;
        self.queue.push_back(News::Delta { revision: delta.revision, changes: delta.changes, at: delta.at });
    }

    /// A heartbeat says how fresh the watcher is. When that is no longer fresh, it better asks another replica.
    async fn beat(&mut self) -> Result<(), Error> {
        let (place, at) = self.place()?;
        if self.tail.freshness() != Freshness::Fresh {
            return Err(Error::Stale);
        }
        if place != self.sent {
            return self.catch_up().await;
        }
        self.queue.push_back(News::Heartbeat { revision: self.sent.revision, at });
        Ok(())
    }

    /// Where the replica is, and since when it is known to be complete.
    fn place(&self) -> Result<(Token, Time), Error> {
        let replica = self.tail.replica();
        let place = replica.epoch().map(|epoch| Token { epoch, revision: replica.revision() });
        place.zip(replica.caught_up_at()).ok_or(Error::Stale)
    }

    /// Queues what lies between what was sent and the replica: a piece of the log, or everything anew when the log
    /// does not lead from one to the other.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let (place, _) = self.place()?;
        if place.epoch != self.sent.epoch || self.sent.revision > place.revision {
            return self.start_anew().await;
        }
        if self.sent == place {
            return Ok(());
        }
        let after = self.sent.revision;
        let until = Revision(place.revision.get().min(after.get().saturating_add(STRIDE)));
        let db = self.db.clone();
        let deltas = async move { Ok(events::between(&db, place.epoch, after, until).await?) };
        let deltas = apart(deltas).await?;
        if deltas.first().is_none_or(|delta| !self.follows(delta)) && self.is_forgotten(after.next()).await? {
            return self.start_anew().await;
        }
        for delta in deltas {
            if !self.follows(&delta) {
                return Err(StoreError::Corrupt("events").into());
            }
            self.send(delta);
        }
        if self.sent.revision < until { Err(StoreError::Corrupt("events").into()) } else { Ok(()) }
    }

    /// Whether the events of a revision are not kept any more.
    async fn is_forgotten(&self, revision: Revision) -> Result<bool, Error> {
        let db = self.db.clone();
        let oldest = apart(async move { Ok(events::oldest(&db).await?) }).await?;
        Ok(oldest.is_none_or(|oldest| oldest > revision))
    }

    /// Putting the facts in order takes long, so that is done with a copy.
    async fn start_anew(&mut self) -> Result<(), Error> {
        let tail = self.tail.clone();
        let copy = apart(async move { tail.copy().await }).await?;
        let (epoch, revision, at) = (copy.epoch, copy.revision, copy.at);
        let facts = beside(move || copy.policy.facts().collect::<Vec<_>>());
        let mut facts = apart(facts).await?.into_iter();
        self.sent = Token { epoch, revision };
        loop {
            let part: Vec<Change> = facts.by_ref().take(PART).collect();
            let last = facts.len() == 0;
            self.queue.push_back(News::Snapshot { revision, facts: part, last, at });
            if last {
                return Ok(());
            }
        }
    }
}
