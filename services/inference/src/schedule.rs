//! Whose request runs next, and on which engine. Pure: told the time and the events, it answers with decisions.
//!
//! First in, first out per model, bounded, with deadlines; an engine is chosen by the fewest outstanding tokens.
//! The ledger of what was sent and has not come back is the truth about load; engines' gauges lag.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// An engine, by its place in the fleet.
pub type EngineId = usize;

/// A request that waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What the scheduler knows of an engine.
#[derive(Debug, Clone, Default)]
struct Slot {
    models: Vec<String>,
    healthy: bool,
    limit: u32,
    running: u32,
    tokens: u64,
}

#[derive(Debug)]
struct Waiting {
    tokens: u64,
    deadline: Instant,
    avoid: Option<EngineId>,
}

/// A request that may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub ticket: Ticket,
    /// Where.
    pub engine: EngineId,
}

/// The answer to an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may start now.
    Run(Start),
    /// It has to wait its turn.
    Wait(Ticket),
    /// Too many wait; asking again makes sense after this time.
    Full(Duration),
    /// No healthy engine serves the model.
    NoEngine,
}

/// A request that arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The model it names.
    pub model: &'a str,
    /// Tokens it may come to hold: its prompt and what may be made.
    pub tokens: u64,
    /// When waiting becomes pointless.
    pub deadline: Instant,
    /// An engine that failed it just now.
    pub avoid: Option<EngineId>,
}

/// The state of all queues and engines.
#[derive(Debug)]
pub struct Schedule {
    length: usize,
    slots: Vec<Slot>,
    queues: HashMap<String, BTreeMap<Ticket, Waiting>>,
    /// Seconds between two ends per model, a running mean; from it comes Retry-After.
    pace: HashMap<String, Pace>,
    next: u64,
}

#[derive(Debug)]
struct Pace {
    last: Instant,
    between: f64,
}

/// Weight of the newest interval in the running mean.
const PACE_WEIGHT: f64 = 0.1;
/// Bounds of a Retry-After, in seconds.
const RETRY_BOUNDS: (f64, f64) = (1.0, 60.0);

impl Schedule {
    /// A schedule in which `length` requests may wait per model.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { length, slots: Vec::new(), queues: HashMap::new(), pace: HashMap::new(), next: 0 }
    }

    /// Says what an engine serves, whether it is well, and how many requests it may hold.
    pub fn engine(&mut self, engine: EngineId, models: Vec<String>, healthy: bool, limit: u32) {
        if self.slots.len() <= engine {
            self.slots.resize(engine + 1, Slot::default());
        }
        let slot = &mut self.slots[engine];
        (slot.models, slot.healthy, slot.limit) = (models, healthy, limit);
    }

    /// A request arrives.
    pub fn arrive(&mut self, arrival: Arrival<'_>, now: Instant) -> Verdict {
        if !self.slots.iter().any(|slot| slot.serves(arrival.model)) {
            return Verdict::NoEngine;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        let free = self.queues.get(arrival.model).is_none_or(BTreeMap::is_empty);
        if free && let Some(engine) = self.best(arrival.model, arrival.avoid) {
            self.occupy(engine, arrival.tokens);
            return Verdict::Run(Start { ticket, engine });
        }
        let waiting = self.queues.get(arrival.model).map_or(0, BTreeMap::len);
        if waiting >= self.length {
            return Verdict::Full(self.drain(arrival.model, waiting, now));
        }
        let Arrival { tokens, deadline, avoid, .. } = arrival;
        self.queues
            .entry(arrival.model.to_owned())
            .or_default()
            .insert(ticket, Waiting { tokens, deadline, avoid });
        Verdict::Wait(ticket)
    }

    /// A request ended on an engine.
    pub fn finished(&mut self, model: &str, engine: EngineId, tokens: u64, now: Instant) {
        if let Some(slot) = self.slots.get_mut(engine) {
            slot.running = slot.running.saturating_sub(1);
            slot.tokens = slot.tokens.saturating_sub(tokens);
        }
        match self.pace.get_mut(model) {
            Some(pace) => {
                let between = now.saturating_duration_since(pace.last).as_secs_f64();
                pace.between += PACE_WEIGHT * (between - pace.between);
                pace.last = now;
            }
            None => {
                self.pace.insert(model.to_owned(), Pace { last: now, between: 1.0 });
            }
        }
    }

    /// The next request that may start now, or `None`. Call it until it says so after every change.
    pub fn start(&mut self, now: Instant) -> Option<Start> {
        let (model, ticket, engine) = self.queues.iter().find_map(|(model, queue)| {
            let (ticket, waiting) = queue.iter().find(|(_, waiting)| waiting.deadline > now)?;
            Some((model.clone(), *ticket, self.best(model, waiting.avoid)?))
        })?;
        let waiting = self.queues.get_mut(&model)?.remove(&ticket)?;
        self.occupy(engine, waiting.tokens);
        Some(Start { ticket, engine })
    }

    /// A waiting request is no longer wanted.
    pub fn cancel(&mut self, model: &str, ticket: Ticket) {
        if let Some(queue) = self.queues.get_mut(model) {
            queue.remove(&ticket);
        }
    }

    /// Requests that wait for a model.
    #[must_use]
    pub fn waiting(&self, model: &str) -> usize {
        self.queues.get(model).map_or(0, BTreeMap::len)
    }

    /// Requests and tokens that an engine holds.
    #[must_use]
    pub fn load(&self, engine: EngineId) -> (u32, u64) {
        self.slots.get(engine).map_or((0, 0), |slot| (slot.running, slot.tokens))
    }

    fn best(&self, model: &str, avoid: Option<EngineId>) -> Option<EngineId> {
        let open = |(_, slot): &(EngineId, &Slot)| slot.serves(model) && slot.running < slot.limit;
        let all = || self.slots.iter().enumerate().filter(open);
        let least = |&(_, slot): &(EngineId, &Slot)| (slot.tokens, slot.running);
        let others = all().filter(|(engine, _)| Some(*engine) != avoid).min_by_key(least);
        let only = !self.slots.iter().enumerate().any(|(id, slot)| Some(id) != avoid && slot.serves(model));
        others.or_else(|| all().filter(|_| only).min_by_key(least)).map(|(engine, _)| engine)
    }

    fn occupy(&mut self, engine: EngineId, tokens: u64) {
        let slot = &mut self.slots[engine];
        slot.running += 1;
        slot.tokens += tokens;
    }

    fn drain(&self, model: &str, waiting: usize, now: Instant) -> Duration {
        let between = self.pace.get(model).map_or(1.0, |pace| {
            pace.between.max(now.saturating_duration_since(pace.last).as_secs_f64() * PACE_WEIGHT)
        });
        let (low, high) = RETRY_BOUNDS;
        // A place is free after the next end; one that will still be free when the client is back, after half a queue.
        Duration::from_secs_f64((between * (waiting as f64 / 2.0 + 1.0)).clamp(low, high).ceil())
    }
}

impl Slot {
    fn serves(&self, model: &str) -> bool {
        self.healthy && self.models.iter().any(|name| name == model)
    }
}

#[cfg(test)]
mod tests;
