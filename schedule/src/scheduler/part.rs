//! One scheduler of several over the same engines: what part of each is its own, and what it says of itself to the others.

use super::Scheduler;
use crate::engine::EngineId;
use std::time::Duration;

impl Scheduler {
    /// Allows so many requests at an engine, whatever it takes; `None` leaves it to the engine. What runs there goes on.
    pub fn limit_to(&mut self, engine: EngineId, most: Option<u32>) {
        if let Some(state) = self.engines.get_mut(engine) {
            state.allowed = most;
            self.changed.extend(state.serves.iter().copied());
        }
    }

    /// How long one more request for a model would wait, as predicted; nothing when no engine is open for it.
    #[must_use]
    pub fn backlog(&self, model: &str, now: Duration) -> Option<Duration> {
        let &queue = self.names.get(model)?;
        let engines = self.well(queue).count();
        let wait = self.queues[queue].drain(self.queues[queue].work(), engines, now.as_secs_f64());
        (engines > 0).then(|| Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}
