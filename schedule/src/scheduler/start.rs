//! The next start: who is first, and the engine where the first token comes soonest.

use super::{Action, Scheduler, Why};
use crate::{
    class::Class,
    cost::Prefill,
    engine::{EngineId, Held},
    fair::Rank,
    queue::Waiting,
    request::Ticket,
};
use std::time::Duration;

/// Why the first in line does not start.
enum Blocked {
    /// Until an engine gives something back.
    Full,
    /// Until a prompt under way is computed.
    Gated,
    /// Until answers under way have gained time, or a prompt is believed to be computed.
    Spare,
    /// Only for this one: it is not to go where there is room.
    Elsewhere,
}

/// Where a request may go, and what that takes, in seconds.
struct Place {
    engine: EngineId,
    cached: u32,
    prefill: Prefill,
    own: f64,
    first_token: f64,
    /// Tokens that the engine holds.
    held: u64,
}

/// Predictions that differ by less than this part say nothing.
const ALIKE: f64 = 0.2;

impl From<&Blocked> for Why {
    fn from(blocked: &Blocked) -> Self {
        match blocked {
            Blocked::Full => Self::Full,
            Blocked::Gated | Blocked::Spare => Self::Paced,
            Blocked::Elsewhere => Self::Elsewhere,
        }
    }
}

impl Place {
    fn is_better_than(&self, other: &Self) -> bool {
        if (self.first_token - other.first_token).abs() > ALIKE * self.first_token.max(other.first_token) {
            return self.first_token < other.first_token;
        }
        (self.held, self.engine) < (other.held, other.engine)
    }
}

impl Scheduler {
    /// Starts or refuses one request, or finds out that nothing can start in one queue. Returns whether there is more
    /// to try.
    pub(super) fn start(&mut self, now: Duration) -> bool {
        let Some((queue, ticket)) = self.first(now) else {
            self.bring_back();
            return false;
        };
        let Some(waiting) = self.waiting.get(&ticket) else { return false };
        let (due, streaming) = (waiting.due, waiting.tokens_due.is_some());
        match self.place(ticket, now) {
            Ok(place) => {
                let margin = 1.0 + self.engines[place.engine].cost.margin();
                let late = now.as_secs_f64() + place.first_token * margin > due;
                if late && streaming && self.settings.refusing {
                    self.refuse(ticket, now);
                } else {
                    self.send(ticket, place, now);
                }
            }
            Err(Blocked::Gated | Blocked::Spare) if self.pass(ticket) => {}
            Err(blocked) => {
                self.queues[queue].held_up = Some(Why::from(&blocked));
                if matches!(blocked, Blocked::Elsewhere | Blocked::Spare) {
                    self.held_up.insert(queue);
                }
                match blocked {
                    Blocked::Elsewhere => self.set_aside(ticket),
                    Blocked::Full | Blocked::Gated | Blocked::Spare => self.block(queue, ticket, now),
                }
            }
        }
        true
    }

    /// The first in line of all queues in which something may have become possible.
    fn first(&mut self, now: Duration) -> Option<(usize, Ticket)> {
        let mut first: Option<((usize, Rank), usize, Ticket)> = None;
        let mut empty = Vec::new();
        for &at in &self.changed {
            let queue = &self.queues[at];
            let order = queue.order(&self.settings.shares, now.as_secs_f64());
            let Some((class, ticket)) = queue.first(&order) else {
                empty.push(at);
                continue;
            };
            let place = order.iter().position(|other| *other == class).unwrap_or(0);
            let rank = self.waiting.get(&ticket).map_or(0, |waiting| waiting.rank);
            if first.is_none_or(|(best, ..)| (place, rank) < best) {
                first = Some(((place, rank), at, ticket));
            }
        }
        for queue in empty {
            self.changed.remove(&queue);
        }
        first.map(|(_, queue, ticket)| (queue, ticket))
    }

    /// Where the first token of a request would come soonest, among the engines that may take it now.
    fn place(&mut self, ticket: Ticket, now: Duration) -> Result<Place, Blocked> {
        let Some(waiting) = self.waiting.get(&ticket) else { return Err(Blocked::Full) };
        let queue = &self.queues[waiting.queue];
        let reserve = reserve(waiting, queue.expected(waiting.most));
        let others = queue.engines.iter().any(|&id| Some(id) != waiting.avoid && self.engines[id].open);
        let (mut best, mut blocked): (Option<Place>, Blocked) = (None, Blocked::Full);
        for &id in &queue.engines {
            let engine = &mut self.engines[id];
            if !engine.has_room(reserve) {
                continue;
            }
            let elsewhere = waiting.only.is_some_and(|only| only != id);
            if elsewhere || (others && waiting.only.is_none() && waiting.avoid == Some(id)) {
                blocked = Blocked::Elsewhere;
                continue;
            }
            let cached = cached(waiting, engine.seen.matched(&waiting.prefix));
            let prefill = Prefill::of(waiting.prompt, cached);
            let correction = engine.cost.correction(prefill.tokens, now.as_secs_f64());
            let own = engine.cost.prefill(prefill) * correction;
            let gated = !engine.gate_is_open(own);
            if gated || (self.settings.pacing && !engine.can_spare(own + waiting.headroom, now.as_secs_f64()))
            {
                // Nobody tells when the prompt of an answer that does not stream is done.
                let waits = !gated || engine.is_silent();
                blocked = match blocked {
                    Blocked::Full | Blocked::Gated if waits => Blocked::Spare,
                    Blocked::Full => Blocked::Gated,
                    other => other,
                };
                continue;
            }
            let first_token = engine.first_token_in(own, prefill.tokens);
            let held = engine.load().tokens;
            let place = Place { engine: id, cached, prefill, own, first_token, held };
            if best.as_ref().is_none_or(|best| place.is_better_than(best)) {
                best = Some(place);
            }
        }
        best.ok_or(blocked)
    }

    fn send(&mut self, ticket: Ticket, place: Place, now: Duration) {
        let Some(waiting) = self.forget(ticket) else { return };
        let at = now.as_secs_f64();
        let queue = &mut self.queues[waiting.queue];
        queue.shares.serve(waiting.leaf, waiting.level, waiting.rank, ticket, u64::from(waiting.prompt));
        queue.started(waiting.class, waiting.cost, at);
        queue.charged.add(f64::from(waiting.prompt), at);
        let reserve = reserve(&waiting, queue.expected(waiting.most));
        let engine = &mut self.engines[place.engine];
        engine.seen.insert(&waiting.prefix);
        let held = Held {
            ticket,
            queue: waiting.queue,
            leaf: waiting.leaf,
            class: waiting.class,
            prompt: waiting.prompt.max(place.cached),
            prefill: place.prefill,
            seconds: place.own,
            due: waiting.tokens_due,
            streams: waiting.streams,
            made: waiting.made,
            seen: 0,
            reserve,
            started: at,
            predicted: at + place.first_token,
            first: None,
            preempted: waiting.preempted,
            stopping: false,
            before: Prefill::default(),
            mark: None,
        };
        engine.take(held, at);
        self.running.insert(ticket, place.engine);
        self.actions.push_back(Action::Start { ticket, engine: place.engine });
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, now: Duration) {
        let Some(waiting) = self.take_out(ticket) else { return };
        let (class, path) = (waiting.class, waiting.print.path);
        let refusal = self.late(waiting.queue, waiting.leaf, path, class, waiting.own_deadline, now);
        self.book(waiting.queue, waiting.print, (class, waiting.cost, waiting.came_first), refusal, now);
        self.queues[waiting.queue].shares.release(waiting.leaf);
        self.actions.push_back(Action::Refuse { ticket, refusal });
    }

    /// Nothing of this queue can start now. Somebody's batch work may have to make room for its first.
    fn block(&mut self, queue: usize, ticket: Ticket, now: Duration) {
        self.changed.remove(&queue);
        let Some(waiting) = self.waiting.get(&ticket) else { return };
        if !self.settings.preempting || waiting.class == Class::Batch || waiting.tokens_due.is_none() {
            return;
        }
        let (due, prefill) = (waiting.due, Prefill::of(waiting.prompt, 0));
        let victim = self.queues[queue].engines.iter().find_map(|&id| {
            let engine = &self.engines[id];
            let own = engine.cost.prefill(prefill);
            let late = now.as_secs_f64() + engine.first_token_in(own, prefill.tokens) > due;
            engine.stoppable(now.as_secs_f64()).filter(|_| late && engine.open).map(|victim| (id, victim))
        });
        if let Some((engine, ticket)) = victim {
            self.engines[engine].stopping(ticket);
            self.queues[queue].stopped += 1;
            self.actions.push_back(Action::Stop { ticket });
        }
    }

    /// Lets those pass who had more than whoever sent this spare work. Whether there were any.
    fn pass(&mut self, ticket: Ticket) -> bool {
        let spare = self.waiting.get(&ticket).filter(|waiting| waiting.headroom > 0.0);
        spare.is_some_and(|waiting| self.queues[waiting.queue].shares.pass(waiting.leaf))
    }

    /// Lets those behind a request pass which only may not go where there is room.
    fn set_aside(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.waiting.get(&ticket) {
            let queue = &mut self.queues[waiting.queue];
            queue.returned.remove(&(waiting.level, waiting.rank, ticket));
            queue.shares.remove(waiting.leaf, waiting.level, waiting.rank, ticket);
            self.aside.push(ticket);
        }
    }

    fn bring_back(&mut self) {
        for ticket in self.aside.drain(..) {
            if let Some(waiting) = self.waiting.get(&ticket) {
                let shares = &mut self.queues[waiting.queue].shares;
                shares.insert(waiting.leaf, waiting.level, waiting.rank, ticket);
            }
        }
    }
}

/// Tokens that a request may come to hold.
fn reserve(waiting: &Waiting, expected: f64) -> u64 {
    u64::from(waiting.prompt) + expected.ceil() as u64
}

/// Tokens of a prompt that an engine has cached when it knows so many of its blocks. The last token is always computed.
fn cached(waiting: &Waiting, blocks: usize) -> u32 {
    if waiting.prefix.is_empty() {
        return 0;
    }
    let part = blocks as f64 / waiting.prefix.len() as f64;
    ((f64::from(waiting.prompt) * part) as u32).min(waiting.prompt.saturating_sub(1))
}
