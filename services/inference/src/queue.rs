//! The scheduler at work: a request waits here for its turn and leaves with a permit for one engine.
//!
//! Who runs next, where, and who is refused is decided by [`schedule`]; this file gives it the time and carries its
//! decisions to those who wait. The permit is a value: while it lives the engine's place is taken, and dropping it, for
//! whatever reason, gives the place to the next. A request that goes away while it waits leaves the queue the same way.

use crate::{error::Error, metrics};
use schedule::{
    Action, Capacity, Made, Outcome, Refusal, Request, Scheduler, Settings, Share, Speed, Ticket, Verdict,
};
pub use schedule::{Class, EngineId};
use shared::server::Tasks;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

/// A request that arrives.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// The model as engines name it.
    pub model: &'a str,
    /// Whose share it takes from, the outermost first.
    pub path: &'a [Share],
    /// How urgent it is.
    pub class: Class,
    /// Tokens of its prompt, as far as can be said.
    pub prompt: u32,
    /// Most tokens that may be made; 0 for an embedding.
    pub most: Option<u32>,
    /// Hashes of the beginnings of its prompt.
    pub prefix: Arc<[u64]>,
    /// When it came to the gateway.
    pub arrived: Instant,
    /// When its caller's time is over.
    pub deadline: Instant,
    /// Longest time that it may wait.
    pub patience: Duration,
    /// An engine that failed it just now.
    pub avoid: Option<EngineId>,
    /// Whether its tokens are seen as they are made.
    pub streams: bool,
    /// How often it had to make room.
    pub preempted: u8,
}

/// All queues of a gateway.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
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
    waiting: HashMap<Ticket, oneshot::Sender<Turn>>,
    running: HashMap<Ticket, Arc<Notify>>,
    planned: Option<Duration>,
}

/// Where a request may go and what tells it to make room, or why it is not served.
type Turn = Result<(EngineId, Arc<Notify>), Refusal>;

/// A place at one engine.
#[derive(Debug)]
pub struct Permit {
    queue: Queue,
    ticket: Ticket,
    engine: EngineId,
    made: Made,
    stop: Arc<Notify>,
    outcome: Outcome,
}

/// A request that waits; dropping it takes it out of the queue.
struct Waiting<'a> {
    queue: &'a Queue,
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

    /// Requests and tokens that an engine holds.
    #[must_use]
    pub fn load(&self, engine: EngineId) -> (u32, u64) {
        let load = self.lock().scheduler.load(engine);
        (load.requests, load.tokens)
    }

    /// Requests that wait for a model.
    #[must_use]
    pub fn waiting(&self, model: &str) -> usize {
        self.lock().scheduler.waiting(model)
    }

    /// Waits for a place at an engine that serves the model.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Late`], [`Error::NoEngine`], or [`Error::Deadline`] when the caller's own time is
    /// over first, or is too short for any engine.
    pub async fn turn(&self, arrival: Arrival<'_>) -> Result<Permit, Error> {
        let model = arrival.model;
        let made = Made::default();
        let (ticket, turn) = {
            let mut inner = self.lock();
            let now = self.now();
            let request = Request {
                model,
                path: arrival.path,
                class: arrival.class,
                prompt: arrival.prompt,
                most: arrival.most,
                prefix: arrival.prefix.clone(),
                arrived: arrival.arrived.saturating_duration_since(self.shared.origin),
                deadline: Some(arrival.deadline.saturating_duration_since(self.shared.origin)),
                patience: arrival.patience,
                avoid: arrival.avoid,
                streams: arrival.streams,
                preempted: arrival.preempted,
                made: made.clone(),
            };
            match inner.scheduler.arrive(&request, now) {
                Verdict::Refused(refusal) => return Err(refused(refusal, model)),
                Verdict::Queued(ticket) => {
                    let (sender, turn) = oneshot::channel();
                    inner.waiting.insert(ticket, sender);
                    self.hand_out(&mut inner);
                    (ticket, turn)
                }
            }
        };
        metrics::queued(1);
        let mut waiting = Waiting { queue: self, ticket, made, turn: Some(turn) };
        let turn = waiting.turn.as_mut().ok_or(Error::Stopping)?;
        match timeout_at(arrival.deadline, turn).await {
            Ok(Ok(Ok(place))) => {
                waiting.turn = None;
                Ok(self.permit(ticket, place, waiting.made.clone()))
            }
            Ok(Ok(Err(refusal))) => {
                waiting.turn = None;
                Err(refused(refusal, model))
            }
            Ok(Err(_)) => Err(Error::Stopping),
            Err(_) => Err(Error::Deadline),
        }
    }

    fn permit(&self, ticket: Ticket, (engine, stop): (EngineId, Arc<Notify>), made: Made) -> Permit {
        Permit { queue: self.clone(), ticket, engine, made, stop, outcome: Outcome::Done }
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
                    if let Some(turn) = inner.waiting.remove(&ticket) {
                        let _ = turn.send(Ok((engine, stop)));
                    }
                }
                Action::Refuse { ticket, refusal } => {
                    if let Some(turn) = inner.waiting.remove(&ticket) {
                        let _ = turn.send(Err(refusal));
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

impl Permit {
    /// The engine whose place it is.
    #[must_use]
    pub const fn engine(&self) -> EngineId {
        self.engine
    }

    /// Resolves when the request is to make room, which it can until its first token has come.
    pub async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// The first token has come.
    pub fn first_token(&self) {
        let mut inner = self.queue.lock();
        let now = self.queue.now();
        inner.scheduler.first_token(self.ticket, now);
        self.queue.hand_out(&mut inner);
    }

    /// Tokens have come.
    pub fn made(&self, tokens: u32) {
        self.made.add(tokens);
    }

    /// The request left the engine without an answer and may come again.
    pub const fn lost(&mut self) {
        self.outcome = Outcome::Lost;
    }

    /// The engine was full and did nothing for it.
    pub const fn busy(&mut self) {
        self.outcome = Outcome::Busy;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        inner.running.remove(&self.ticket);
        let now = self.queue.now();
        inner.scheduler.finished(self.ticket, self.outcome, now);
        self.queue.hand_out(&mut inner);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        metrics::queued(-1);
        let Some(mut turn) = self.turn.take() else { return };
        let mut inner = self.queue.lock();
        inner.scheduler.cancel(self.ticket);
        inner.waiting.remove(&self.ticket);
        drop(inner);
        // Its turn may have come in the meantime: then the place is given back by dropping a permit for it.
        if let Ok(Ok(place)) = turn.try_recv() {
            let mut permit = self.queue.permit(self.ticket, place, self.made.clone());
            permit.lost();
        }
    }
}

#[cfg(test)]
mod tests;
