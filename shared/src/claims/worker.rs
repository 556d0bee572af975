//! Workers of one queue: they take what is due as long as they have places, keep its lease alive, and write its end.

mod held;
mod tally;

pub use held::{Held, Why};
pub use tally::{Tallied, Tally};

use super::{BackOff, Beat, Claim, End, Failure, again, back, beat, end, next_due, take};
use crate::{seal::rows::Vault, server::Tasks, time};
use held::Told;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Between two tries to write how something ended, while the database is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Between two words about how far something is.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is done with claims.
pub trait Work: Send + Sync + 'static {
    /// Does one, and says how it ended. It is dropped when it is somebody else's by now.
    fn run(&self, held: &Held) -> impl Future<Output = Ended> + Send;

    /// Gives one up that was begun as often as it may be.
    fn give_up(&self, held: &Held, failure: Failure) -> impl Future<Output = Ended> + Send {
        let _ = held;
        std::future::ready(Ended::Now(End::Failed(failure)))
    }

    /// One is over, and that is written.
    fn over(&self, claim: &Claim) -> impl Future<Output = ()> + Send {
        let _ = claim;
        std::future::ready(())
    }
}

/// How one ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// For good.
    Now(End),
    /// It failed and is tried again, unless it was begun as often as it may be.
    Again(Failed),
    /// It was not really begun.
    Back,
    /// For good, and that is written already, together with what came of it.
    Written(Tallied),
    /// Somebody else has it.
    Lost,
}

/// Why one failed, and after how long it may be tried again at the earliest.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// Not sooner than that.
    pub after: Duration,
}

/// How workers go about it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After so long without a word from its worker somebody else takes it; a third of it is between two words.
    pub lease: Duration,
    /// Between two looks at the queue when nothing is heard of it.
    pub look: Duration,
    /// How soon what failed is tried again.
    pub back_off: BackOff,
    /// How long what came of it is kept.
    pub keep: Duration,
}

/// The workers of one queue in this process.
#[derive(Debug)]
pub struct Workers<W>(Arc<Shared<W>>);

impl<W> Clone for Workers<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<W> {
    vault: Vault,
    name: String,
    queue: &'static str,
    places: usize,
    pace: Pace,
    work: W,
    news: Notify,
    running: Mutex<HashMap<Uuid, Arc<Told>>>,
    tally: Tally,
}

impl<W: Work> Workers<W> {
    /// Workers by the name of their process, for so many at once. They begin with [`Self::start`].
    pub fn new(vault: Vault, name: &str, queue: &'static str, places: usize, pace: Pace, work: W) -> Self {
        Self(Arc::new(Shared {
            vault,
            name: name.to_owned(),
            queue,
            places,
            pace,
            work,
            news: Notify::new(),
            running: Mutex::default(),
            tally: Tally::default(),
        }))
    }

    /// Works until the process ends.
    pub fn start(&self, tasks: &Tasks) {
        let (shared, stop) = (Arc::clone(&self.0), tasks.stopping());
        tasks.spawn(async move { shared.serve(stop).await });
    }

    /// Says that something was entered.
    pub fn wake(&self) {
        self.0.news.notify_one();
    }

    /// Says that something changed about one, which may be in work here.
    pub fn nudge(&self, id: Uuid) {
        if let Some(told) = self.0.lock().get(&id) {
            told.nudge();
        }
        self.wake();
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &'static str {
        self.0.queue
    }

    /// How many are worked on at once.
    #[must_use]
    pub fn places(&self) -> usize {
        self.0.places
    }

    /// How many are worked on now.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.0.lock().len()
    }

    /// What became of those that were worked on.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }
}

impl<W: Work> Shared<W> {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Told>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, stop: CancellationToken) {
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            while running.try_join_next().is_some() {}
            let free = self.places.saturating_sub(running.len());
            // Its absence is said where it is watched.
            let (taken, wait) = match free {
                0 => Default::default(),
                _ => self.take(free).await.unwrap_or_else(|_| (Vec::new(), self.pace.look)),
            };
            let all = taken.len() == free && free > 0;
            for claim in taken {
                running.spawn(Arc::clone(&self).one(claim, stop.clone()));
            }
            if all {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = running.join_next() => {}
                () = self.news.notified(), if free > 0 => {}
                () = tokio::time::sleep(wait), if free > 0 => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Takes what is due, and says how long nothing more will be, as far as is known.
    async fn take(&self, free: usize) -> Result<(Vec<Claim>, Duration), sqlx::Error> {
        let now = time::now();
        let Some(due) = next_due(&self.vault.db, self.queue).await? else {
            return Ok((Vec::new(), self.pace.look));
        };
        if due > now {
            let micros = u64::try_from(due.0.saturating_sub(now.0)).unwrap_or(0);
            return Ok((Vec::new(), Duration::from_micros(micros.max(1_000)).min(self.pace.look)));
        }
        let most = u32::try_from(free).unwrap_or(u32::MAX);
        let taken = take(&self.vault, self.queue, &self.name, most, (now, now.plus(self.pace.lease))).await?;
        Ok((taken, self.pace.look))
    }

    async fn one(self: Arc<Self>, claim: Claim, stop: CancellationToken) {
        let (id, begun) = (claim.ticket.id, Instant::now());
        let held = Held::new(claim);
        self.lock().insert(id, Arc::clone(held.told()));
        let ended = tokio::select! {
            biased;
            ended = self.work(&held) => ended,
            () = self.keep(&held, stop.clone()) => Ended::Lost,
        };
        let tallied = self.write(&held, ended, &stop).await;
        self.lock().remove(&id);
        self.tally.add(self.queue, &held.claim.kind, tallied, begun.elapsed());
        if tallied.is_over() {
            self.work.over(&held.claim).await;
        }
    }

    async fn work(&self, held: &Held) -> Ended {
        let claim = &held.claim;
        if claim.attempt > claim.attempts {
            let message = "every worker that began it was lost".to_owned();
            return self.work.give_up(held, Failure { reason: "WORKER_LOST".to_owned(), message }).await;
        }
        match self.work.run(held).await {
            Ended::Again(failed) if claim.attempt >= claim.attempts => {
                self.work.give_up(held, failed.failure).await
            }
            ended => ended,
        }
    }

    /// Puts the end of the lease off until that fails. How far it is, is written sooner.
    async fn keep(&self, held: &Held, stop: CancellationToken) {
        let (ticket, told, third) = (held.claim.ticket, held.told(), self.pace.lease / 3);
        let mut sure = Instant::now() + self.pace.lease;
        let (mut said, mut written) = (Instant::now(), held.claim.percent);
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROGRESS.min(third)) => {
                    if said.elapsed() < third && written == held.percent() {
                        continue;
                    }
                }
                () = told.nudged() => {}
                () = stop.cancelled(), if !told.is_stopping() => told.stop(),
            }
            let begun = Instant::now();
            (said, written) = (begun, held.percent());
            match beat(&self.vault.db, ticket, held.percent(), time::now().plus(self.pace.lease)).await {
                Ok(Beat::Held) => sure = begun + self.pace.lease,
                Ok(Beat::Cancelled) => {
                    sure = begun + self.pace.lease;
                    told.cancel();
                }
                Ok(Beat::Lost) => return,
                // Somebody else may have it from here on.
                Err(_) if Instant::now() > sure => return,
                Err(_) => {}
            }
        }
    }

    /// Writes how it ended, as long as that takes: it was paid for.
    async fn write(&self, held: &Held, ended: Ended, stop: &CancellationToken) -> Tallied {
        loop {
            match self.try_write(held, &ended).await {
                Ok(tallied) => return tallied,
                Err(_) if stop.is_cancelled() => return Tallied::Lost,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn try_write(&self, held: &Held, ended: &Ended) -> Result<Tallied, sqlx::Error> {
        let (claim, now) = (&held.claim, time::now());
        let (written, tallied) = match ended {
            Ended::Now(how) => {
                let written = end(&self.vault, claim.ticket, how, (now, now.plus(self.pace.keep))).await?;
                (written, Tallied::from(how))
            }
            Ended::Again(failed) => {
                let wait = self.pace.back_off.after(claim.attempt, rand::random());
                let due = now.plus(wait.max(failed.after));
                (again(&self.vault, claim.ticket, &failed.failure, due).await?, Tallied::Again)
            }
            Ended::Back => (back(&self.vault.db, claim.ticket, now).await?, Tallied::Back),
            Ended::Written(tallied) => (true, *tallied),
            Ended::Lost => (false, Tallied::Lost),
        };
        Ok(if written { tallied } else { Tallied::Lost })
    }
}
