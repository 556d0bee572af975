//! The scheduler at work: a request waits here for its turn and leaves with a permit for one engine.
//!
//! The permit is a value: while it lives the engine's place is taken, and dropping it, for whatever reason, gives the
//! place to the next in line. A request that goes away while it waits leaves the queue the same way.

use crate::{
    error::Error,
    metrics,
    schedule::{Arrival, EngineId, Schedule, Start, Ticket, Verdict},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::oneshot;

/// All queues of a gateway.
#[derive(Debug, Clone)]
pub struct Queue {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    schedule: Schedule,
    waiting: HashMap<Ticket, oneshot::Sender<EngineId>>,
}

/// A place at one engine.
#[derive(Debug)]
pub struct Permit {
    queue: Queue,
    engine: EngineId,
    model: String,
    tokens: u64,
}

/// A request that waits; dropping it takes it out of the queue.
struct Waiting<'a> {
    queue: &'a Queue,
    model: &'a str,
    ticket: Ticket,
    turn: Option<oneshot::Receiver<EngineId>>,
    tokens: u64,
}

impl Queue {
    /// Queues in which `length` requests may wait per model.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let inner = Inner { schedule: Schedule::new(length), waiting: HashMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Says what an engine serves, whether it is well, and how many requests it may hold.
    pub fn engine(&self, engine: EngineId, models: Vec<String>, healthy: bool, limit: u32) {
        let mut inner = self.lock();
        inner.schedule.engine(engine, models, healthy, limit);
        inner.hand_out(Instant::now());
    }

    /// Requests and tokens that an engine holds.
    #[must_use]
    pub fn load(&self, engine: EngineId) -> (u32, u64) {
        self.lock().schedule.load(engine)
    }

    /// Requests that wait for a model.
    #[must_use]
    pub fn waiting(&self, model: &str) -> usize {
        self.lock().schedule.waiting(model)
    }

    /// Waits for a place at an engine that serves the model.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::NoEngine`], or [`Error::Deadline`] when the deadline passes first.
    pub async fn turn(&self, arrival: Arrival<'_>) -> Result<Permit, Error> {
        let model = arrival.model;
        let (ticket, turn) = {
            let mut inner = self.lock();
            match inner.schedule.arrive(arrival, Instant::now()) {
                Verdict::Run(start) => return Ok(self.permit(start.engine, model, arrival.tokens)),
                Verdict::Full(retry_after) => {
                    return Err(Error::QueueFull { model: model.to_owned(), retry_after });
                }
                Verdict::NoEngine => return Err(Error::NoEngine { model: model.to_owned() }),
                Verdict::Wait(ticket) => {
                    let (sender, turn) = oneshot::channel();
                    inner.waiting.insert(ticket, sender);
                    (ticket, turn)
                }
            }
        };
        metrics::queued(1);
        let mut waiting = Waiting { queue: self, model, ticket, turn: Some(turn), tokens: arrival.tokens };
        let turn = waiting.turn.as_mut().ok_or(Error::Stopping)?;
        match tokio::time::timeout_at(arrival.deadline.into(), turn).await {
            Ok(Ok(engine)) => {
                waiting.turn = None;
                Ok(self.permit(engine, model, arrival.tokens))
            }
            Ok(Err(_)) => Err(Error::Stopping),
            Err(_) => Err(Error::Deadline),
        }
    }

    fn permit(&self, engine: EngineId, model: &str, tokens: u64) -> Permit {
        Permit { queue: self.clone(), engine, model: model.to_owned(), tokens }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn hand_out(&mut self, now: Instant) {
        while let Some(Start { ticket, engine }) = self.schedule.start(now) {
            if let Some(turn) = self.waiting.remove(&ticket) {
                // A receiver that is gone finds the engine in its channel and gives it back; see `Waiting::drop`.
                let _ = turn.send(engine);
            }
        }
    }
}

impl Permit {
    /// The engine whose place it is.
    #[must_use]
    pub const fn engine(&self) -> EngineId {
        self.engine
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut inner = self.queue.lock();
        inner.schedule.finished(&self.model, self.engine, self.tokens, now);
        inner.hand_out(now);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        metrics::queued(-1);
        let Some(mut turn) = self.turn.take() else { return };
        let mut inner = self.queue.lock();
        inner.schedule.cancel(self.model, self.ticket);
        inner.waiting.remove(&self.ticket);
        drop(inner);
        // Its turn may have come in the meantime: then the place is given back by dropping a permit for it.
        if let Ok(engine) = turn.try_recv() {
            drop(self.queue.permit(engine, self.model, self.tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn arrival() -> Arrival<'static> {
        Arrival { model: "m", tokens: 1, deadline: Instant::now() + Duration::from_secs(60), avoid: None }
    }

    fn one_place() -> Queue {
        let queue = Queue::new(10);
        queue.engine(0, vec!["m".into()], true, 1);
        queue
    }

    #[tokio::test]
    async fn a_place_goes_to_the_next_in_line_when_its_permit_is_dropped() {
        let queue = one_place();
        let permit = queue.turn(arrival()).await.unwrap();
        let mut next = std::pin::pin!(queue.turn(arrival()));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert_eq!(queue.waiting("m"), 1);
        drop(permit);
        assert_eq!(next.await.unwrap().engine(), 0);
        assert_eq!(queue.load(0), (0, 0));
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_trace_even_when_the_turn_had_come() {
        let queue = one_place();
        let permit = queue.turn(arrival()).await.unwrap();
        {
            let mut gone = Box::pin(queue.turn(arrival()));
            assert!(futures_util::poll!(&mut gone).is_pending());
        }
        assert_eq!(queue.waiting("m"), 0);
        let mut called = Box::pin(queue.turn(arrival()));
        assert!(futures_util::poll!(&mut called).is_pending());
        drop(permit);
        assert_eq!(queue.load(0), (1, 1));
        drop(called);
        assert_eq!(queue.load(0), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline() {
        let queue = one_place();
        let _permit = queue.turn(arrival()).await.unwrap();
        assert!(matches!(queue.turn(arrival()).await, Err(Error::Deadline)));
        assert_eq!(queue.waiting("m"), 0);
    }
}
