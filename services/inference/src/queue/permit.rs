//! A place at an engine.

use super::{EngineId, Place, Queue};
use schedule::{Made, Outcome, Ticket};
use std::sync::Arc;
use tokio::sync::Notify;

/// A place at one engine. Dropped without a word, its caller went away.
#[derive(Debug)]
pub struct Permit {
    queue: Queue,
    ticket: Ticket,
    engine: EngineId,
    made: Made,
    stop: Arc<Notify>,
    outcome: Outcome,
}

impl Permit {
    pub(super) fn new(queue: &Queue, ticket: Ticket, (engine, stop): Place, made: Made) -> Self {
        Self { queue: queue.clone(), ticket, engine, made, stop, outcome: Outcome::Left }
    }

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

    /// The answer came whole.
    pub const fn done(&mut self) {
        self.outcome = Outcome::Done;
    }

    /// The request left the engine without an answer, or with a part of one.
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
