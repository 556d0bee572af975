//! The timeline of this process at the end of the log, shared by all watchers. It is kept only while somebody watches.

use super::{
    schedule::Schedule,
    timeline::{Position, Timeline, Told},
};
use crate::{
    error::Error,
    history::{History, beside},
    store::{
        StoreError,
        events::{self, Stored},
    },
    tail::Tail,
};
use policy::{Change, Epoch, Freshness, Replica, Revision, Time};
use shared::{server::Tasks, time};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{Mutex, broadcast};

/// Pieces kept for watchers that read slower than things happen; who is further behind is cut.
const BACKLOG: usize = 64;
/// Events read at once, and told in one piece.
const BATCH: usize = 100;
/// Longest pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Shortest pause: instants that lie closer together are told together.
const TICK: Duration = Duration::from_millis(1);

/// A transaction's events, and what they mean to the policy.
pub(super) type Transaction = Vec<(Arc<Stored>, Option<Change>)>;

/// What happened since the piece before.
#[derive(Debug)]
pub(super) enum Piece {
    /// Told in this order; nothing else happened up to the position.
    Told(Vec<Told>, Position),
    /// The store is another one: what is known of the old one is void.
    Replaced,
}

/// Tells all watchers of this process what happens.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    history: History,
    pieces: broadcast::Sender<Arc<Piece>>,
    line: Mutex<Option<Line>>,
}

#[derive(Debug)]
struct Line {
    epoch: Epoch,
    timeline: Timeline,
    /// What the last piece led up to.
    told: Position,
}

/// A watcher's way in.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) epoch: Epoch,
    /// Everything after this comes from the receiver.
    pub(super) position: Position,
    pub(super) pieces: broadcast::Receiver<Arc<Piece>>,
    /// What happened by time between the asked position and this one, when both are of the same revision.
    pub(super) missed: Option<Vec<Told>>,
}

impl Hub {
    /// Starts the loop that tells.
    pub(crate) fn start(history: History, tasks: &Tasks) -> Self {
        let pieces = broadcast::Sender::new(BACKLOG);
        let hub = Self(Arc::new(Inner { history, pieces, line: Mutex::default() }));
        let (stop, inner) = (tasks.stopping(), Arc::downgrade(&hub.0));
        let deltas = hub.tail().subscribe();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = turn(inner, deltas) => {}
            }
        });
        hub
    }

    /// What it reads the past from.
    pub(crate) fn history(&self) -> &History {
        &self.0.history
    }

    pub(super) fn tail(&self) -> &Tail {
        self.0.history.tail()
    }

    /// Joins at the present moment.
    pub(super) async fn subscribe(&self, from: Option<Position>) -> Result<Subscription, Error> {
        let mut line = self.0.line.lock().await;
        self.0.advance(&mut line, time::now()).await?;
        if line.is_none() {
            *line = Some(self.0.begin().await?);
        }
        let line = line.as_ref().ok_or(Error::Stale)?;
        let position = line.timeline.position();
        let from = from.filter(|from| from.revision == position.revision && from.told == 0);
        let missed = from.map(|from| line.timeline.missed(from, position.instant));
        Ok(Subscription { epoch: line.epoch, position, pieces: self.0.pieces.subscribe(), missed })
    }
}

/// Looks whenever the policy changed, and at every instant at which something begins or ends.
async fn turn(hub: Weak<Inner>, mut deltas: broadcast::Receiver<Arc<policy::Delta>>) {
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            delta = deltas.recv() => if matches!(delta, Err(broadcast::error::RecvError::Closed)) { return },
            () = tokio::time::sleep(pause) => {}
        }
        let Some(hub) = hub.upgrade() else { return };
        let mut line = hub.line.lock().await;
        if hub.pieces.receiver_count() == 0 {
            (*line, pause) = (None, PAUSE);
            continue;
        }
        let now = time::now();
        if let Err(error) = hub.advance(&mut line, now).await {
            tracing::debug!(%error, "what changed cannot be told yet");
        }
        let next = line.as_ref().and_then(|line| line.timeline.next());
        pause = next.map_or(PAUSE, |next| next.since(time::now()).clamp(TICK, PAUSE));
    }
}

impl Inner {
    /// A timeline that begins now. Only what begins or ends is read from the replica, and put in order apart from it.
    async fn begin(&self) -> Result<Line, Error> {
        let read = |replica: &Replica| {
            let facts: Vec<Change> = replica.policy().timed().collect();
            Some((replica.epoch()?, Position::at(replica.revision(), time::now()), facts))
        };
        let (epoch, position, facts) = self.history.tail().read_long(read).await?.ok_or(Error::Stale)?;
        let schedule = beside(move || Schedule::new(facts)).await?;
        Ok(Line { epoch, timeline: Timeline::new(schedule, position), told: position })
    }

    /// Tells what has happened by now.
    async fn advance(&self, slot: &mut Option<Line>, now: Time) -> Result<(), Error> {
        let Some(line) = slot else { return Ok(()) };
        let (epoch, until) = {
            let replica = self.history.tail().replica();
            (replica.epoch(), replica.revision())
        };
        if epoch != Some(line.epoch) {
            *slot = None;
            self.send(Piece::Replaced);
            return Ok(());
        }
        while line.timeline.position().revision < until {
            let after = line.timeline.position().revision;
            let mut told = Vec::new();
            for transaction in transactions(&self.history, after, until).await? {
                line.timeline.step(&transaction, &mut told);
            }
            self.tell(line, told);
        }
        let mut told = Vec::new();
        line.timeline.pass(now, &mut told);
        let quiet = Duration::from_secs(1);
        if !told.is_empty() || line.timeline.position().instant.since(line.told.instant) >= quiet {
            self.tell(line, told);
        }
        Ok(())
    }

    fn tell(&self, line: &mut Line, told: Vec<Told>) {
        line.told = line.timeline.position();
        self.send(Piece::Told(told, line.told));
    }

    /// Nobody listening is fine.
    fn send(&self, piece: Piece) {
        drop(self.pieces.send(Arc::new(piece)));
    }
}

/// The next transactions after a revision, each whole.
pub(super) async fn transactions(
    history: &History,
    after: Revision,
    until: Revision,
) -> Result<Vec<Transaction>, Error> {
    let mut limit = BATCH;
    loop {
        let rows = events::whole(history.db(), after, until, limit).await?;
        if rows.is_empty() {
            limit = limit.saturating_mul(16);
            if limit > 100_000_000 {
                return Err(StoreError::Corrupt("events").into());
            }
            continue;
        }
        let mut transactions: Vec<Transaction> = Vec::new();
        let mut last = after;
        for stored in rows {
            let revision = stored.event.revision;
            if revision != last && revision != last.next() {
                return Err(StoreError::Corrupt("events").into());
            }
            if revision != last {
                transactions.push(Vec::new());
                last = revision;
            }
            let change = stored.change()?;
            if let Some(transaction) = transactions.last_mut() {
                transaction.push((Arc::new(stored), change));
            }
        }
        return Ok(transactions);
    }
}

/// Whether a watcher can be told that nothing was missed.
pub(super) fn is_fresh(tail: &Tail) -> bool {
    tail.freshness() == Freshness::Fresh
}
