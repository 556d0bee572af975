//! Who waits, why, and when their turn is believed to come: for people to look at.
//!
//! A look copies a few requests at a time, so that nobody who decides waits for somebody who looks.

use super::Scheduler;
use crate::{
    class::{Class, Objective},
    engine::{Engine, EngineId, Load},
    fair::Rank,
    queue::Waiting,
    request::Ticket,
};
use std::{ops::Bound, time::Duration};

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wait {
    /// Which.
    pub ticket: Ticket,
    /// How urgent.
    pub class: Class,
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Since when.
    pub arrived: Duration,
    /// When it is refused if it has not started.
    pub expires: Duration,
    /// How often it was stopped to make room.
    pub preempted: u8,
    /// Why it waits.
    pub why: Why,
    /// When it is believed to start, once [`Line::predict`] has said so.
    pub starts: Duration,
    /// And to be answered.
    pub finishes: Duration,
    order: (bool, Class, Rank, Ticket),
    /// Seconds of an engine that it takes, and seconds until it is answered from its start.
    cost: f64,
    answer: f64,
}

impl Wait {
    /// Where it stands in the order of [`Line::predict`]: the smaller, the sooner.
    #[must_use]
    pub const fn place(&self) -> (bool, u8, i64, u64) {
        let (far, level, rank, ticket) = self.order;
        (far, level as u8, rank, ticket.0)
    }
}

/// Why a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No engine that is well serves the model.
    NoEngine,
    /// It is next, and the engines hold as much as they may.
    Full,
    /// It is next, and its prompt would make answers under way late.
    Paced,
    /// It is next, and only an engine that failed it just now has room.
    Elsewhere,
    /// Those above it had more tokens than others who wait.
    Share,
    /// More urgent classes go first.
    Class,
    /// Others of its class are due sooner.
    Turn,
}

/// Where a look at those who wait goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(Duration, Ticket);

/// All that wait for a model, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Requests, by class in the order of [`Class::ALL`].
    pub waiting: [usize; 4],
    /// How long they take, as predicted.
    pub drains: Duration,
    /// Why the first of them waits.
    pub why: Option<Why>,
    /// Requests of the model that were stopped to make room, ever.
    pub stopped: u64,
    /// Engines that serve the model and may take more.
    pub engines: Vec<EngineId>,
    /// Seconds of engine time that are served in a second.
    pace: f64,
}

impl Scheduler {
    /// The models that somebody asked for or some engine serves.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Requests that wait for a model.
    #[must_use]
    pub fn waiting(&self, model: &str) -> usize {
        self.names.get(model).map_or(0, |&queue| self.queues[queue].shares.waiting())
    }

    /// What an engine holds.
    #[must_use]
    pub fn load(&self, engine: EngineId) -> Load {
        self.engines.get(engine).map(Engine::load).unwrap_or_default()
    }

    /// Requests that an engine may hold at once by now.
    #[must_use]
    pub fn limit(&self, engine: EngineId) -> u32 {
        let may = |engine: &Engine| engine.limit.requests().min(engine.allowed.unwrap_or(u32::MAX));
        self.engines.get(engine).map_or(0, may)
    }

    /// What a request that waits is promised, which may be more than its class is: nobody is promised a prompt in less
    /// than three times what an idle engine takes for it.
    #[must_use]
    pub fn promised(&self, ticket: Ticket) -> Option<Objective> {
        let waiting = self.waiting.get(&ticket)?;
        let first = (waiting.due - waiting.arrived.as_secs_f64()).max(0.0);
        let first = Duration::try_from_secs_f64(first).unwrap_or(Duration::MAX);
        Some(match self.settings.objective(waiting.class) {
            Objective::Stream { per_token, .. } => Objective::Stream { first_token: first, per_token },
            Objective::Whole(_) => Objective::Whole(first),
        })
    }

    /// The line before a model.
    #[must_use]
    pub fn line(&self, model: &str, now: Duration) -> Option<Line> {
        let &at = self.names.get(model)?;
        let queue = &self.queues[at];
        let engines: Vec<EngineId> = self.well(at).collect();
        let pace = 1.0 / queue.drain(1.0, engines.len(), now.as_secs_f64());
        let drains = Duration::try_from_secs_f64(queue.work().max(0.0) / pace).unwrap_or(Duration::MAX);
        let why = (queue.shares.waiting() > 0).then(|| self.why_first(at));
        Some(Line { waiting: queue.waiting, drains, why, stopped: queue.stopped, engines, pace })
    }

    /// Requests that wait for a model, those that are given up soonest first. At most so many are looked at, whatever
    /// they wait for; the mark says where to go on when that was not all.
    #[must_use]
    pub fn waits(
        &self,
        model: &str,
        from: Option<Mark>,
        most: usize,
        now: Duration,
    ) -> (Vec<Wait>, Option<Mark>) {
        let Some(&queue) = self.names.get(model) else { return (Vec::new(), None) };
        let head = self.head(queue, now);
        let step = self.step(queue);
        let from = from.map_or(Bound::Unbounded, |Mark(at, ticket)| Bound::Excluded((at, ticket)));
        let (mut waits, mut last) = (Vec::new(), None);
        for (looked, &(at, ticket)) in self.expiries.range((from, Bound::Unbounded)).enumerate() {
            if looked == most {
                return (waits, last);
            }
            last = Some(Mark(at, ticket));
            if let Some(waiting) = self.waiting.get(&ticket).filter(|waiting| waiting.queue == queue) {
                waits.push(self.wait_of(ticket, waiting, head, step));
            }
        }
        (waits, None)
    }

    /// The first in line, and its class.
    fn head(&self, queue: usize, now: Duration) -> Option<(Class, Ticket)> {
        let state = &self.queues[queue];
        state.first(&state.order(&self.settings.shares, now.as_secs_f64()))
    }

    fn wait_of(&self, ticket: Ticket, waiting: &Waiting, head: Option<(Class, Ticket)>, step: f64) -> Wait {
        let queue = &self.queues[waiting.queue];
        let near = queue.shares.is_near(waiting.leaf);
        let why = match head {
            Some((_, first)) if first == ticket => self.why_first(waiting.queue),
            _ if !near => Why::Share,
            Some((level, _)) if level < waiting.level => Why::Class,
            _ => Why::Turn,
        };
        Wait {
            ticket,
            class: waiting.class,
            prompt: waiting.prompt,
            arrived: waiting.arrived,
            expires: waiting.expires,
            preempted: waiting.preempted,
            why,
            starts: Duration::ZERO,
            finishes: Duration::ZERO,
            order: (!near, waiting.level, waiting.rank, ticket),
            cost: waiting.cost,
            answer: waiting.cost.max(queue.expected(waiting.most) * step),
        }
    }

    fn why_first(&self, queue: usize) -> Why {
        if self.well(queue).next().is_none() {
            return Why::NoEngine;
        }
        self.queues[queue].held_up.unwrap_or(Why::Turn)
    }
}

impl Line {
    /// Says of everyone who waits when their turn is believed to come, and puts them into that order.
    pub fn predict(&self, waits: &mut [Wait], now: Duration) {
        waits.sort_unstable_by_key(|wait| wait.order);
        let mut work = 0.0;
        for wait in waits {
            let starts = work / self.pace;
            wait.starts = now.saturating_add(seconds(starts));
            wait.finishes = now.saturating_add(seconds(starts + wait.answer));
            work += wait.cost;
        }
    }
}

/// A time that may be endless.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
