//! The queue for people to look at, and their word on a request in it.
//!
//! A look takes the lock for a few requests at a time and lets others have it in between, so what it shows was so at
//! nearly the same moment for all.

use super::{Queue, Unserved, Who};
use crate::error::Error;
use schedule::{Line, Mark, Ticket, Wait};
use std::collections::HashMap;
use tokio::time::Instant;
use uuid::Uuid;

/// Requests that are looked at while nobody else may touch the queue: some tens of microseconds.
const AT_ONCE: usize = 128;

/// Who waits for a model.
#[derive(Debug)]
pub struct Waits {
    /// The model as engines name it.
    pub model: String,
    /// All of it in numbers.
    pub line: Line,
    /// When it was looked at.
    pub now: Instant,
    /// Everyone, in the order in which they are believed to start.
    pub waits: Vec<(Wait, Who)>,
}

impl Queue {
    /// The models that somebody asked for or some engine serves, in order.
    #[must_use]
    pub fn models(&self) -> Vec<String> {
        let mut models: Vec<String> = self.lock().scheduler.models().map(str::to_owned).collect();
        models.sort_unstable();
        models
    }

    /// How many wait for each model, by class.
    #[must_use]
    pub fn lengths(&self) -> Vec<(String, [usize; 4])> {
        let inner = self.lock();
        let models = inner.scheduler.models();
        let now = self.now();
        models
            .filter_map(|model| Some((model.to_owned(), inner.scheduler.line(model, now)?.waiting)))
            .collect()
    }

    /// Who waits for a model.
    pub async fn look(&self, model: &str) -> Option<Waits> {
        let (mut waits, mut whose) = (Vec::new(), HashMap::new());
        let mut from = None;
        loop {
            from = self.piece(model, from, &mut waits, &mut whose);
            if from.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let now = self.now();
        let line = self.lock().scheduler.line(model, now)?;
        line.predict(&mut waits, now);
        let waits = waits.into_iter().filter_map(|wait| Some((wait, whose.remove(&wait.ticket)?))).collect();
        Some(Waits { model: model.to_owned(), line, now: self.shared.origin + now, waits })
    }

    fn piece(
        &self,
        model: &str,
        from: Option<Mark>,
        waits: &mut Vec<Wait>,
        whose: &mut HashMap<Ticket, Who>,
    ) -> Option<Mark> {
        let inner = self.lock();
        let (some, next) = inner.scheduler.waits(model, from, AT_ONCE, self.now());
        for wait in &some {
            if let Some(waiter) = inner.waiting.get(&wait.ticket) {
                whose.insert(wait.ticket, waiter.who.clone());
            }
        }
        drop(inner);
        waits.extend(some);
        next
    }

    /// Takes a request out that waits; its caller is told why.
    ///
    /// # Errors
    /// [`Error::NotQueued`] when none of that id waits.
    pub async fn withdraw(&self, usage_id: Uuid, reason: &str) -> Result<(), Error> {
        for model in self.models() {
            let Some(Waits { waits, .. }) = self.look(&model).await else { continue };
            let Some((wait, _)) = waits.iter().find(|(_, who)| who.usage_id == usage_id) else { continue };
            let mut inner = self.lock();
            // It may have had its turn since.
            if let Some(waiter) = inner.waiting.remove(&wait.ticket) {
                inner.scheduler.cancel(wait.ticket);
                let _ = waiter.turn.send(Err(Unserved::Withdrawn { reason: reason.to_owned() }));
                self.hand_out(&mut inner);
                return Ok(());
            }
        }
        Err(Error::NotQueued { usage_id })
    }
}
