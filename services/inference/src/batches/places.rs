//! How many lines are under way at once: so many that wait, beside all that the engines have.
//!
//! Engines are kept busy as long as somebody waits for them. How many requests they hold depends on what these are, so
//! it is not the lines under way that are counted but those beyond what is at engines now: a gateway before forty engines
//! has as many waiting as one before a single engine.

use crate::queue::Queue;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// Between two looks at how much is at engines while nothing ends.
const LOOK: Duration = Duration::from_millis(50);

/// The lines of all batches of a gateway.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue,
    /// Lines beyond what is at engines.
    beyond: usize,
    taken: AtomicUsize,
    freed: Notify,
}

/// A line under way.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Places {
    pub(super) fn new(queue: &Queue, beyond: usize) -> Self {
        let inner = Inner { queue: queue.clone(), beyond, taken: AtomicUsize::new(0), freed: Notify::new() };
        Self(Arc::new(inner))
    }

    /// Waits until one more line may begin.
    pub(super) async fn take(&self) -> Place {
        loop {
            let freed = self.0.freed.notified();
            let most = self.0.beyond.saturating_add(self.0.queue.running());
            let more = |taken: usize| (taken < most).then_some(taken + 1);
            if self.0.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok() {
                return Place(self.clone());
            }
            // Whether there is room is looked at in any case.
            let _ = timeout(LOOK, freed).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schedule::Settings;

    #[tokio::test(start_paused = true)]
    async fn so_many_beyond_what_is_at_engines() {
        let queue = Queue::new(Settings::default());
        let places = Places::new(&queue, 3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take().await);
        }
        assert!(timeout(Duration::from_secs(1), places.take()).await.is_err());
        held.pop();
        assert!(timeout(Duration::from_secs(1), places.take()).await.is_ok());
    }
}
