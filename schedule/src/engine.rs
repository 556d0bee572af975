//! The ledger of one engine: what was sent to it and has not come back, and what of that says whether more may go.
//!
//! An engine computes prompts between the steps of the answers under way, so each prompt makes all of those wait. It is
//! let in when the answer with the least time to spare can spare that much. What is computed is seen only when its
//! first token comes; until then it counts as ahead of whatever else is sent.

mod held;
mod window;

use crate::{
    cost::{Cost, Prefill, Stretch},
    fair::Leaf,
    limit::Limit,
    prefix::Seen,
    request::{ByTicket, Outcome, Ticket},
};
pub(crate) use held::{Due, Held};
use window::Window;

/// An engine, by its place in the fleet.
pub type EngineId = usize;

/// How much an engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Requests at once.
    pub requests: u32,
    /// Tokens that its cache of keys and values holds, where it said so.
    pub kv_tokens: Option<u64>,
    /// Tokens that one step computes.
    pub step_tokens: u32,
}

impl Default for Capacity {
    /// vLLM's own limits on a data-centre GPU.
    fn default() -> Self {
        Self { requests: 256, kv_tokens: None, step_tokens: 8_192 }
    }
}

/// What an engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests.
    pub requests: u32,
    /// Tokens that these may come to hold: their prompts and what is expected to be made.
    pub tokens: u64,
    /// Requests whose prompt is not yet computed, as far as is known.
    pub prefilling: u32,
}

/// Seconds of prompts that may be under way at once: one step takes several short ones, and a long one goes alone.
/// What is not sent yet can still be ordered, so it is no more than a step or two.
const GATE: f64 = 0.025;
/// Part of the key-value cache that is left free, for answers that turn out longer than expected.
const KV_RESERVE: f64 = 0.05;
/// Seconds for which a look at all answers under way is good enough.
const GLANCE: f64 = 0.001;

/// One engine.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The queues of the models that it serves.
    pub(crate) serves: Vec<usize>,
    /// Whether anything new may go there.
    pub(crate) open: bool,
    pub(crate) limit: Limit,
    /// Most requests that may be held whatever the engine takes, because others use it too.
    pub(crate) allowed: Option<u32>,
    pub(crate) cost: Cost,
    pub(crate) seen: Seen,
    capacity: Capacity,
    held: Vec<Held>,
    places: ByTicket<usize>,
    /// Prompts under way: how many, their tokens and their seconds.
    prefilling: u32,
    ahead_tokens: f64,
    ahead: f64,
    /// Those of them whose first token will not be seen.
    silent: u32,
    /// Tokens that the answers under way hold.
    context: f64,
    reserved: u64,
    slack: Option<(f64, f64)>,
    window: Window,
    /// All prompts that were ever computed.
    computed: Prefill,
}

/// Tokens that were made for a leaf since the last look.
pub(crate) type Spent = (usize, Leaf, u32);

impl Engine {
    pub(crate) fn new(capacity: Capacity, cost: Cost) -> Self {
        Self {
            serves: Vec::new(),
            open: false,
            limit: Limit::new(capacity.requests),
            allowed: None,
            cost,
            seen: Seen::default(),
            capacity,
            held: Vec::new(),
            places: ByTicket::default(),
            prefilling: 0,
            ahead_tokens: 0.0,
            ahead: 0.0,
            silent: 0,
            context: 0.0,
            reserved: 0,
            slack: None,
            window: Window::default(),
            computed: Prefill::default(),
        }
    }

    pub(crate) fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
        self.limit.set_most(capacity.requests);
    }

    pub(crate) fn load(&self) -> Load {
        let requests = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        Load { requests, tokens: self.reserved, prefilling: self.prefilling }
    }

    /// Seconds that a step takes now.
    pub(crate) fn step(&self) -> f64 {
        self.cost.step(f64::from(self.load().requests), self.context)
    }

    /// Seconds until the first token of a prompt that takes `own` seconds and is sent now.
    pub(crate) fn first_token_in(&self, own: f64, tokens: f64) -> f64 {
        let steps = 1.0 + (self.ahead_tokens + tokens) / f64::from(self.capacity.step_tokens.max(1));
        self.ahead + own + self.step() * steps
    }

    /// Whether one more request may be held, by number and by tokens.
    pub(crate) fn has_room(&self, tokens: u64) -> bool {
        let kv = self.capacity.kv_tokens.map_or(u64::MAX, |all| (all as f64 * (1.0 - KV_RESERVE)) as u64);
        let fits = self.held.is_empty() || self.reserved.saturating_add(tokens) <= kv;
        self.open && fits && self.is_allowed_more() && self.limit.has_room(self.held.len())
    }

    fn is_allowed_more(&self) -> bool {
        self.allowed.is_none_or(|most| self.load().requests < most)
    }

    /// Whether a prompt of so many seconds may join those under way.
    pub(crate) fn gate_is_open(&self, own: f64) -> bool {
        self.prefilling == 0 || self.ahead + own <= GATE
    }

    /// Whether a prompt is under way of which only the time says when it is computed.
    pub(crate) const fn is_silent(&self) -> bool {
        self.silent > 0
    }

    /// Whether all answers under way can wait for a prompt of so many seconds.
    pub(crate) fn can_spare(&mut self, own: f64, now: f64) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let needed = own + self.ahead + self.step();
        if let Some((at, slack)) = self.slack
            && (slack - (now - at) >= needed || now - at < GLANCE)
        {
            // Answers only gain time while tokens come.
            return slack - (now - at) >= needed;
        }
        let step = self.step();
        let slack = self.held.iter().filter_map(|held| held.slack(now, step)).fold(f64::INFINITY, f64::min);
        self.slack = Some((now, slack));
        slack >= needed
    }

    /// Notes what came since the last look.
    pub(crate) fn look(&mut self, now: f64, spent: &mut Vec<Spent>) {
        for at in 0..self.held.len() {
            let held = &mut self.held[at];
            if !held.streams && held.first.is_none() && now >= held.predicted {
                self.computed(at, now);
                self.window.spoil();
            }
            self.note(at, spent);
        }
    }

    fn note(&mut self, at: usize, spent: &mut Vec<Spent>) {
        let held = &mut self.held[at];
        let new = held.made.tokens().saturating_sub(held.seen);
        if new > 0 {
            held.seen += new;
            self.context += f64::from(new);
            spent.push((held.queue, held.leaf, new));
        }
    }

    /// A request is sent there.
    pub(crate) fn take(&mut self, mut held: Held, now: f64) {
        held.before = self.computed;
        if self.held.is_empty() {
            self.window.restart(now);
        }
        self.prefilling += 1;
        self.silent += u32::from(!held.streams);
        self.ahead += held.seconds;
        self.ahead_tokens += held.prefill.tokens;
        self.reserved = self.reserved.saturating_add(held.reserve);
        self.places.insert(held.ticket, self.held.len());
        self.held.push(held);
    }

    /// The first token of an answer has come.
    pub(crate) fn first_token(&mut self, ticket: Ticket, now: f64) {
        let Some(&at) = self.places.get(&ticket).filter(|&&at| self.held[at].first.is_none()) else { return };
        let held = &self.held[at];
        let (predicted, took) = (held.predicted - held.started, now - held.started);
        self.cost.judge(predicted, took, held.prefill.tokens, now);
        self.computed(at, now);
        self.learn(now);
    }

    fn computed(&mut self, at: usize, now: f64) {
        let held = &mut self.held[at];
        held.first = Some(now);
        self.window.prefilled(held.prefill);
        self.computed.add(held.prefill);
        self.context += f64::from(held.prompt);
        if let (Some((at, slack)), Some(own)) = (self.slack, held.slack(now, 0.0)) {
            self.slack = Some((at, slack.min(own + (now - at))));
        }
        let (seconds, tokens, streams) = (held.seconds, held.prefill.tokens, held.streams);
        self.no_longer_ahead(seconds, tokens, streams);
    }

    fn no_longer_ahead(&mut self, seconds: f64, tokens: f64, streams: bool) {
        self.prefilling = self.prefilling.saturating_sub(1);
        self.silent = self.silent.saturating_sub(u32::from(!streams));
        self.ahead -= seconds;
        self.ahead_tokens -= tokens;
        if self.prefilling == 0 {
            (self.ahead, self.ahead_tokens) = (0.0, 0.0);
        }
    }

    /// A request is no longer there.
    pub(crate) fn drop(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: f64,
        spent: &mut Vec<Spent>,
    ) -> Option<Held> {
        let at = self.places.get(&ticket).copied()?;
        let step = self.step();
        match (self.held[at].streams, outcome) {
            (true, _) => self.learn(now),
            (false, Outcome::Done) => self.learn_whole(at, now),
            (false, _) => {}
        }
        self.places.remove(&ticket);
        self.note(at, spent);
        let held = self.held.swap_remove(at);
        if let Some(moved) = self.held.get(at) {
            self.places.insert(moved.ticket, at);
        }
        self.reserved = self.reserved.saturating_sub(held.reserve);
        match held.first {
            Some(_) => self.context -= f64::from(held.prompt) + f64::from(held.seen),
            None => {
                self.context -= f64::from(held.seen);
                self.no_longer_ahead(held.seconds, held.prefill.tokens, held.streams);
                self.window.spoil();
            }
        }
        if self.held.is_empty() {
            self.context = 0.0;
        }
        let tightest =
            |(at, slack): &(f64, f64)| held.slack(now, step).is_some_and(|own| own <= slack - (now - at));
        self.slack = self.slack.filter(|slack| !self.held.is_empty() && !tightest(slack));
        Some(held)
    }

    /// A prompt of class batch that could be stopped before its first token, if it is all that is ahead and most of it
    /// is still to be computed: what was computed of it is lost.
    pub(crate) fn stoppable(&self, now: f64) -> Option<Ticket> {
        if self.prefilling != 1 {
            return None;
        }
        let ahead = self.held.iter().rfind(|held| held.first.is_none())?;
        ahead.is_stoppable(now).then_some(ahead.ticket)
    }

    /// It was told to be stopped.
    pub(crate) fn stopping(&mut self, ticket: Ticket) {
        if let Some(&at) = self.places.get(&ticket) {
            self.held[at].stopping = true;
        }
    }

    /// Learns from an answer that came as a whole.
    fn learn_whole(&mut self, at: usize, now: f64) {
        if self.held[at].first.is_none() {
            self.computed(at, now);
            self.window.spoil();
        }
        let held = &self.held[at];
        let prefilled = self.computed.since(held.before);
        let steps = f64::from(held.made.tokens()).max(self.steps(held.prefill.tokens));
        let (running, context) = (f64::from(self.load().requests), self.context);
        self.cost.learn(Stretch { seconds: now - held.started, prefilled, steps, running, context });
    }

    /// Steps that so many tokens take.
    fn steps(&self, tokens: f64) -> f64 {
        (tokens / f64::from(self.capacity.step_tokens.max(1))).ceil().max(1.0)
    }

    /// Learns from the time since all that was ahead had come the last time, when that is so again.
    fn learn(&mut self, now: f64) {
        if self.prefilling > 0 {
            return;
        }
        let (running, context) = (f64::from(self.load().requests), self.context);
        let alone = self.steps(self.window.tokens());
        if let Some(stretch) = self.window.end(&mut self.held, (running, context), alone, now) {
            self.cost.learn(stretch);
        }
    }
}
