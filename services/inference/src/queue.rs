//! The scheduler at work: a request waits here for its turn and leaves with a permit for one engine.
//!
//! Who runs next, where, and who is refused is decided by [`schedule`]; this file gives it the time and carries its
//! decisions to those who wait. The permit is a value: while it lives the engine's place is taken, and dropping it, for
//! whatever reason, gives the place to the next. A request that goes away while it waits leaves the queue the same way.
//! [`look`] shows who waits to people, and takes out whom they name.

mod look;
mod permit;

use crate::error::Error;
pub use look::Waits;
pub use permit::Permit;
use policy::{GroupId, KeyId, UserId};
use schedule::{
    Action, Capacity, Made, Objective, Refusal, Request, Scheduler, Settings, Speed, Ticket, Verdict,
};
pub use schedule::{Class, EngineId};
use shared::server::Tasks;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

/// Whose request it is, for people who look at the queue.
#[derive(Debug, Clone)]
pub struct Who {
    /// The request's id in the ledger.
    pub usage_id: Uuid,
    /// What its caller calls it.
    pub request_id: Arc<str>,
    /// Who asks.
    pub user: UserId,
    /// Through whose grant.
    pub group: Option<GroupId>,
    /// With which key.
    pub key: Option<KeyId>,
}

/// All queues of a gateway.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

/// All queues of a gateway that may be gone.
#[derive(Debug)]
pub struct Weakly(Weak<Shared>);

impl Weakly {
    /// The queues, while they are there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Queue> {
        self.0.upgrade().map(|shared| Queue { shared })
    }
}

#[derive(Debug)]
struct Shared {
    /// The scheduler's time counts from here.
    origin: Instant,
    inner: Mutex<Inner>,
    /// The scheduler wants to be asked earlier than was planned.
    sooner: Notify,
}

#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    waiting: HashMap<Ticket, Waiter>,
    running: HashMap<Ticket, Arc<Notify>>,
    planned: Option<Duration>,
}

#[derive(Debug)]
struct Waiter {
    who: Who,
    turn: oneshot::Sender<Turn>,
}

/// Where a request may go, and what tells it to make room.
type Place = (EngineId, Arc<Notify>);
type Turn = Result<Place, Unserved>;

/// Why a request that waited is not served.
#[derive(Debug)]
enum Unserved {
    Refused(Refusal),
    Withdrawn { reason: String },
}

/// A request that waits; dropping it takes it out of the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    model: &'a str,
    deadline: Option<Duration>,
    promise: Option<Objective>,
    /// Requests that waited for the model before it.
    before: u32,
    ticket: Ticket,
    made: Made,
    turn: Option<oneshot::Receiver<Turn>>,
}

impl Queue {
    /// Queues without engines.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let inner = Inner {
            scheduler: Scheduler::new(settings),
            waiting: HashMap::new(),
            running: HashMap::new(),
            planned: None,
        };
        let shared = Shared { origin: Instant::now(), inner: Mutex::new(inner), sooner: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Asks the scheduler whenever it wants to be asked though nothing happened, until the process is to end.
    pub fn keep_time(&self, tasks: &Tasks) {
        let (queue, stop) = (self.clone(), tasks.stopping());
        tasks.spawn(async move {
            let rounds = async {
                loop {
                    let planned = queue.lock().planned;
                    match planned {
                        Some(at) => {
                            let at = queue.shared.origin + at;
                            let _ = timeout_at(at, queue.shared.sooner.notified()).await;
                        }
                        None => queue.shared.sooner.notified().await,
                    }
                    queue.hand_out(&mut queue.lock());
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rounds => {}
            }
        });
    }

    /// Takes over other settings.
    pub fn set(&self, settings: Settings) {
        self.lock().scheduler.set(settings);
    }

    /// Says what an engine serves, whether anything new may go there, and how many requests it may hold.
    pub fn engine(&self, engine: EngineId, models: &[String], open: bool, limit: u32) {
        let capacity = Capacity { requests: limit, ..Capacity::default() };
        let mut inner = self.lock();
        inner.scheduler.engine(engine, models, open, capacity, Speed::default());
        self.hand_out(&mut inner);
    }

    /// Allows so many requests at an engine, because other gateways use it too.
    pub fn limit_to(&self, engine: EngineId, most: u32) {
        let mut inner = self.lock();
        inner.scheduler.limit_to(engine, Some(most));
        self.hand_out(&mut inner);
    }

    /// How long one more request for a model would wait; nothing when no engine is open for it.
    #[must_use]
    pub fn backlog(&self, model: &str) -> Option<Duration> {
        self.lock().scheduler.backlog(model, self.now())
    }

    /// Requests and tokens that an engine holds.
    #[must_use]
    pub fn load(&self, engine: EngineId) -> (u32, u64) {
        let load = self.lock().scheduler.load(engine);
        (load.requests, load.tokens)
    }

    /// Requests that have a place at an engine.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lock().running.len()
    }

    /// Requests that wait for a model.
    #[must_use]
    pub fn waiting(&self, model: &str) -> usize {
        self.lock().scheduler.waiting(model)
    }

    /// Requests that an engine holds and may hold by now, and the tokens of those that it holds.
    #[must_use]
    pub fn held(&self, engine: EngineId) -> (u32, u32, u64) {
        let inner = self.lock();
        let load = inner.scheduler.load(engine);
        (load.requests, inner.scheduler.limit(engine), load.tokens)
    }

    /// The same without keeping it.
    #[must_use]
    pub fn downgrade(&self) -> Weakly {
        Weakly(Arc::downgrade(&self.shared))
    }

    /// A time as a request says it.
    #[must_use]
    pub fn at(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.shared.origin)
    }

    /// Takes a request in, or refuses it at once.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Late`], [`Error::NoEngine`], or [`Error::Deadline`] when the caller's own time is
    /// too short for any engine.
    pub fn enter<'a>(&'a self, request: &Request<'a>, who: Who) -> Result<Waiting<'a>, Error> {
        let mut inner = self.lock();
        let before = inner.scheduler.waiting(request.model);
        match inner.scheduler.arrive(request, self.now()) {
            Verdict::Refused(refusal) => Err(refused(refusal, request.model)),
            Verdict::Queued(ticket) => {
                let promise = inner.scheduler.promised(ticket);
                let (sender, turn) = oneshot::channel();
                inner.waiting.insert(ticket, Waiter { who, turn: sender });
                self.hand_out(&mut inner);
                Ok(Waiting {
                    promise,
                    before: u32::try_from(before).unwrap_or(u32::MAX),
                    queue: self,
                    model: request.model,
                    deadline: request.deadline,
                    ticket,
                    made: request.made.clone(),
                    turn: Some(turn),
                })
            }
        }
    }

    /// Carries out what the scheduler decides.
    fn hand_out(&self, inner: &mut Inner) {
        let now = self.now();
        while let Some(action) = inner.scheduler.next(now) {
            // A receiver that is gone finds its turn in its channel and gives it back; see `Waiting::drop`.
            match action {
                Action::Start { ticket, engine } => {
                    let stop = Arc::<Notify>::default();
                    inner.running.insert(ticket, Arc::clone(&stop));
                    if let Some(waiter) = inner.waiting.remove(&ticket) {
                        let _ = waiter.turn.send(Ok((engine, stop)));
                    }
                }
                Action::Refuse { ticket, refusal } => {
                    if let Some(waiter) = inner.waiting.remove(&ticket) {
                        let _ = waiter.turn.send(Err(Unserved::Refused(refusal)));
                    }
                }
                Action::Stop { ticket } => {
                    if let Some(stop) = inner.running.get(&ticket) {
                        stop.notify_one();
                    }
                }
            }
        }
        let wake = inner.scheduler.wake();
        let sooner = wake.is_some_and(|wake| inner.planned.is_none_or(|planned| wake < planned));
        inner.planned = wake;
        if sooner {
            self.shared.sooner.notify_one();
        }
    }

    fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(refusal: Refusal, model: &str) -> Error {
    let model = model.to_owned();
    match refusal {
        Refusal::NoEngine => Error::NoEngine { model },
        Refusal::Full { retry_after } => Error::QueueFull { model, retry_after },
        Refusal::Late { retry_after } => Error::Late { model, retry_after },
        Refusal::Deadline => Error::Deadline,
    }
}

impl Waiting<'_> {
    /// What it is promised.
    #[must_use]
    pub const fn promise(&self) -> Option<Objective> {
        self.promise
    }

    /// How many waited for the model when it came.
    #[must_use]
    pub const fn before(&self) -> u32 {
        self.before
    }

    /// Waits for a place at an engine that serves the model.
    ///
    /// # Errors
    /// [`Error::Late`], [`Error::Withdrawn`], or [`Error::Deadline`] when the caller's own time is over first.
    pub async fn turn(mut self) -> Result<Permit, Error> {
        let (queue, model) = (self.queue, self.model);
        let turn = self.turn.as_mut().ok_or(Error::Stopping)?;
        let came = match self.deadline {
            Some(deadline) => {
                timeout_at(queue.shared.origin + deadline, turn).await.map_err(|_| Error::Deadline)?
            }
            None => turn.await,
        };
        let came = came.map_err(|_| Error::Stopping)?;
        self.turn = None;
        match came {
            Ok(place) => Ok(Permit::new(queue, self.ticket, place, self.made.clone())),
            Err(Unserved::Refused(refusal)) => Err(refused(refusal, model)),
            Err(Unserved::Withdrawn { reason }) => Err(Error::Withdrawn { reason }),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(mut turn) = self.turn.take() else { return };
        let mut inner = self.queue.lock();
        inner.scheduler.cancel(self.ticket);
        inner.waiting.remove(&self.ticket);
        drop(inner);
        // Its turn may have come in the meantime: then the place is given back by dropping a permit for it.
        if let Ok(Ok(place)) = turn.try_recv() {
            let mut permit = Permit::new(self.queue, self.ticket, place, self.made.clone());
            permit.lost();
        }
    }
}

#[cfg(test)]
mod tests;
