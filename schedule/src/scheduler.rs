//! All queues and all engines: what arrives, what starts, what is refused, and what comes of it.

mod part;
mod plan;
mod start;
mod waits;

use crate::{
    class::Class,
    cost::{Cost, Speed},
    engine::{Capacity, Engine, EngineId, Spent},
    queue::{Queue, Waiting},
    request::{ByTicket, Outcome, Refusal, Request, Ticket},
    settings::Settings,
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};
pub use waits::{Line, Mark, Wait, Why};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A request may go to an engine now.
    Start {
        /// Which.
        ticket: Ticket,
        /// Where.
        engine: EngineId,
    },
    /// A request that waited is not served.
    Refuse {
        /// Which.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// A request is to be stopped, if it has no token yet, and may come again.
    Stop {
        /// Which.
        ticket: Ticket,
    },
}

/// The answer to an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It waits; its start comes as an [`Action`], maybe at once.
    Queued(Ticket),
    /// It is not served.
    Refused(Refusal),
}

/// Decides whose request runs next, where, and which one is refused.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    queues: Vec<Queue>,
    names: HashMap<String, usize>,
    engines: Vec<Engine>,
    waiting: ByTicket<Waiting>,
    running: ByTicket<EngineId>,
    expiries: BTreeSet<(Duration, Ticket)>,
    agings: BTreeSet<(Duration, Ticket)>,
    /// Queues in which something may have become possible.
    changed: BTreeSet<usize>,
    /// Queues whose first request waits for answers under way to gain time.
    held_up: BTreeSet<usize>,
    /// Requests taken out of their order for the moment, so that others can pass.
    aside: Vec<Ticket>,
    looked: f64,
    /// When what the engines made was counted.
    counted: f64,
    actions: VecDeque<Action>,
    spent: Vec<Spent>,
    next: u64,
}

/// Seconds between two looks at whether answers under way have gained time, at least.
const GLANCE: f64 = 0.001;
/// The same at most, while somebody waits for that. All tokens are counted no more often: a step takes longer.
const LOOK: Duration = Duration::from_millis(5);

impl Scheduler {
    /// A scheduler with no engines.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            queues: Vec::new(),
            names: HashMap::new(),
            engines: Vec::new(),
            waiting: ByTicket::default(),
            running: ByTicket::default(),
            expiries: BTreeSet::new(),
            agings: BTreeSet::new(),
            changed: BTreeSet::new(),
            held_up: BTreeSet::new(),
            aside: Vec::new(),
            looked: 0.0,
            counted: 0.0,
            actions: VecDeque::new(),
            spent: Vec::new(),
            next: 0,
        }
    }

    /// Says what an engine serves, whether anything new may go there, and how much it takes. `believed` is its speed
    /// until something is learned of it; it counts when the engine is named for the first time.
    pub fn engine(
        &mut self,
        engine: EngineId,
        models: &[String],
        open: bool,
        capacity: Capacity,
        believed: Speed,
    ) {
        while self.engines.len() <= engine {
            self.engines.push(Engine::new(capacity, Cost::new(believed)));
        }
        let serves: Vec<usize> = models.iter().map(|model| self.queue(model)).collect();
        for (at, queue) in self.queues.iter_mut().enumerate() {
            queue.engines.retain(|id| *id != engine);
            if serves.contains(&at) {
                queue.engines.push(engine);
            }
        }
        let state = &mut self.engines[engine];
        if !open {
            // It may be another process when it comes back.
            state.seen.clear();
        }
        (state.serves, state.open) = (serves, open);
        state.set_capacity(capacity);
        self.changed.extend(self.engines[engine].serves.iter().copied());
    }

    /// Takes over other settings; what waits keeps the deadlines it came with.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A request arrives.
    pub fn arrive(&mut self, request: &Request<'_>, now: Duration) -> Verdict {
        let queue = self.queue(request.model);
        let path = if self.settings.fair { request.path } else { &[] };
        let leaf = self.queues[queue].shares.hold(path);
        let print = request.print();
        let came_first = self.queues[queue].returns.came(print, now).unwrap_or(request.arrived);
        let waiting = match self.plan(queue, leaf, request, (print, came_first), now) {
            Ok(waiting) => waiting,
            Err((refusal, cost)) => {
                self.queues[queue].shares.release(leaf);
                self.book(queue, print, (request.class, cost, came_first), refusal, now);
                return Verdict::Refused(refusal);
            }
        };
        let ticket = Ticket(self.next);
        self.next += 1;
        let state = &mut self.queues[queue];
        state.shares.insert(leaf, waiting.level, waiting.rank, ticket);
        state.joins(leaf, waiting.class, waiting.cost);
        if waiting.came_first < waiting.arrived && waiting.class != Class::Batch {
            state.returned.insert((waiting.level, waiting.rank, ticket));
        }
        self.expiries.insert((waiting.expires, ticket));
        self.agings.extend(waiting.ages.map(|ages| (ages, ticket)));
        self.waiting.insert(ticket, waiting);
        self.changed.insert(queue);
        Verdict::Queued(ticket)
    }

    /// What is to be done next, or `None`. Ask until it says so after everything that happened, and at [`Self::wake`].
    pub fn next(&mut self, now: Duration) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        self.sweep(now);
        self.look(now);
        while self.actions.is_empty() && self.start(now) {}
        self.actions.pop_front()
    }

    /// When [`Self::next`] has to be asked again though nothing happened.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let look = (!self.held_up.is_empty()).then(|| Duration::from_secs_f64(self.looked) + LOOK);
        let expiry = self.expiries.first().map(|first| first.0);
        let aging = self.agings.first().map(|first| first.0);
        [look, expiry, aging].into_iter().flatten().min()
    }

    /// The first token of a running request has come.
    pub fn first_token(&mut self, ticket: Ticket, now: Duration) {
        if let Some(&engine) = self.running.get(&ticket) {
            self.engines[engine].first_token(ticket, now.as_secs_f64());
            self.tell_peers(engine);
            self.changed.extend(self.engines[engine].serves.iter().copied());
        }
    }

    /// A running request is no longer at its engine.
    pub fn finished(&mut self, ticket: Ticket, outcome: Outcome, now: Duration) {
        let Some(engine) = self.running.remove(&ticket) else { return };
        let state = &mut self.engines[engine];
        let Some(held) = state.drop(ticket, outcome, now.as_secs_f64(), &mut self.spent) else { return };
        match outcome {
            Outcome::Done => state.limit.answered(),
            Outcome::Busy => state.limit.turned_away(usize::try_from(state.load().requests).unwrap_or(0)),
            Outcome::Left | Outcome::Lost => {}
        }
        self.changed.extend(state.serves.iter().copied());
        self.tell_peers(engine);
        self.charge_spent(now.as_secs_f64());
        let shares = &mut self.queues[held.queue].shares;
        if matches!(outcome, Outcome::Lost | Outcome::Busy) && held.made.tokens() == 0 {
            shares.refund(held.leaf, u64::from(held.prompt));
        }
        shares.release(held.leaf);
        if outcome == Outcome::Done {
            self.queues[held.queue].outputs.add(held.made.tokens());
        }
    }

    /// A request that waits is no longer wanted.
    pub fn cancel(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.take_out(ticket) {
            self.queues[waiting.queue].shares.release(waiting.leaf);
        }
    }

    fn queue(&mut self, model: &str) -> usize {
        if let Some(&queue) = self.names.get(model) {
            return queue;
        }
        let queue = self.queues.len();
        self.queues.push(Queue::new(&self.settings));
        self.names.insert(model.to_owned(), queue);
        queue
    }

    /// Engines that are well and serve the model of a queue.
    fn well(&self, queue: usize) -> impl Iterator<Item = EngineId> {
        self.queues[queue].engines.iter().copied().filter(|&engine| self.engines[engine].open)
    }

    /// Takes a request out of its queue and leaves its leaf held.
    fn take_out(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.forget(ticket)?;
        let shares = &mut self.queues[waiting.queue].shares;
        shares.remove(waiting.leaf, waiting.level, waiting.rank, ticket);
        Some(waiting)
    }

    /// Forgets that a request waits, but for its place among the shares.
    fn forget(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        let queue = &mut self.queues[waiting.queue];
        queue.returned.remove(&(waiting.level, waiting.rank, ticket));
        queue.leaves(waiting.leaf, waiting.class, waiting.cost);
        self.expiries.remove(&(waiting.expires, ticket));
        if let Some(ages) = waiting.ages {
            self.agings.remove(&(ages, ticket));
        }
        Some(waiting)
    }

    /// What an engine does is a better guess of peers that nothing is known of than what was believed of all. Otherwise
    /// one that was measured to be quick would get everything, and the others would never be measured.
    fn tell_peers(&mut self, engine: EngineId) {
        let known = &self.engines[engine];
        if !known.cost.is_known() {
            return;
        }
        let peers = known.serves.iter().flat_map(|&queue| self.queues[queue].engines.iter().copied());
        let unknown: Vec<EngineId> = peers.filter(|&peer| !self.engines[peer].cost.is_known()).collect();
        if !unknown.is_empty() {
            let cost = known.cost.clone();
            for peer in unknown {
                self.engines[peer].cost.guess(&cost);
            }
        }
    }

    /// Refuses what waited too long, and moves up what waited long.
    fn sweep(&mut self, now: Duration) {
        while let Some(&(_, ticket)) = self.expiries.first().filter(|first| first.0 <= now) {
            self.refuse(ticket, now);
        }
        while let Some((_, ticket)) = self.agings.first().copied().filter(|first| first.0 <= now) {
            self.agings.pop_first();
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            let from = waiting.level;
            (waiting.level, waiting.ages) = (from.min(Class::Interactive), None);
            if waiting.level != from {
                // First there, then no longer here: who has something waiting all the time was never away.
                let shares = &mut self.queues[waiting.queue].shares;
                shares.insert(waiting.leaf, waiting.level, waiting.rank, ticket);
                shares.remove(waiting.leaf, from, waiting.rank, ticket);
                self.changed.insert(waiting.queue);
            }
        }
    }

    /// Notes what the engines made since the last look.
    fn look(&mut self, now: Duration) {
        let at = now.as_secs_f64();
        if self.waiting.is_empty() {
            self.held_up.clear();
            return;
        }
        if at < self.looked + GLANCE {
            return;
        }
        self.looked = at;
        self.changed.append(&mut self.held_up);
        if at >= self.counted + LOOK.as_secs_f64() {
            self.counted = at;
            for engine in &mut self.engines {
                engine.look(at, &mut self.spent);
            }
            self.charge_spent(at);
        }
    }

    fn charge_spent(&mut self, now: f64) {
        for (queue, leaf, tokens) in self.spent.drain(..) {
            let tokens = u64::from(tokens) * u64::from(self.settings.output_weight);
            self.queues[queue].charged.add(tokens as f64, now);
            self.queues[queue].shares.charge(leaf, tokens);
        }
    }
}

#[cfg(test)]
mod tests;
