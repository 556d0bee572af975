//! What an arriving request is promised, where it stands in its queue, and whether it can be served at all.

use super::Scheduler;
use crate::{
    class::{Class, Objective},
    cost::Prefill,
    engine::{Due, EngineId},
    fair::Leaf,
    queue::Waiting,
    request::{Refusal, Request},
    returns::Print,
};
use std::time::Duration;

/// Part of its time after which a request that is only due as a whole moves up, and by which it is ordered before.
const AGED: f64 = 0.8;
/// A wait that is predicted to be this many times too long is not begun. It is only a prediction, and what turns out
/// too late is still refused later.
const HOPELESS: f64 = 4.0;
/// Seconds by which spare work is ordered behind all else of its class: longer than anything waits.
const BEHIND: f64 = 1e9;
/// Bounds of what is told as the time after which asking again is worth it.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

impl Scheduler {
    pub(super) fn plan(
        &self,
        queue: usize,
        leaf: Leaf,
        request: &Request<'_>,
        (print, came_first): (Print, Duration),
        now: Duration,
    ) -> Result<Waiting, (Refusal, f64)> {
        let state = &self.queues[queue];
        let prefill = Prefill::of(request.prompt, 0);
        let prompt = f64::from(request.prompt);
        let may = |engine: &EngineId| request.only.is_none_or(|only| only == *engine);
        let alone = self.well(queue).filter(may).map(|engine| {
            let cost = &self.engines[engine].cost;
            (cost.prefill(prefill) + cost.step(1.0, 0.0), cost.step(1.0, prompt) - cost.step(0.0, 0.0))
        });
        let fastest = alone.min_by(|left, right| left.0.total_cmp(&right.0));
        let (alone, per_token) = fastest.ok_or((Refusal::NoEngine, 0.0))?;
        let cost = alone + state.expected(request.most) * per_token;
        if state.shares.waiting() >= self.settings.length {
            let retry_after = self.retry_after(queue, leaf, print.path, request.class, now);
            return Err((Refusal::Full { retry_after }, cost));
        }
        let promise =
            Promise::of(self.settings.objective(request.class), request.arrived.as_secs_f64(), alone);
        let latest = request.deadline.map_or(f64::INFINITY, |deadline| deadline.as_secs_f64() - alone);
        if latest < now.as_secs_f64() {
            return Err((Refusal::Deadline, cost));
        }
        let by_caller = latest;
        // What is due as a whole has to start while there is time for its tokens beside those of others.
        let tokens =
            if promise.tokens.is_some() { 0.0 } else { state.longest(request.most) * self.step(queue) };
        let latest = if self.settings.refusing { latest.min(promise.due - alone - tokens) } else { latest };
        let expires = seconds(latest).min(request.arrived.saturating_add(request.patience));
        let own_deadline = seconds(by_caller) <= expires;
        let level = if self.settings.fair { request.class } else { Class::Default };
        let wait = self.wait(queue, leaf, request.class, now);
        let hopeless = self.settings.refusing && seconds(wait / HOPELESS) > expires.saturating_sub(now);
        if expires <= now || hopeless {
            let refusal = self.late(queue, leaf, print.path, request.class, own_deadline, now);
            return Err((refusal, cost));
        }
        // Who comes back when told goes before those who come for the first time.
        let waited = request.arrived.saturating_sub(came_first).as_secs_f64();
        let rank = promise.order - waited + self.settings.cost_weight * cost;
        // Spare work may be held back where other work of its class is not, so it must not be in its way.
        let rank = if request.spare { rank + BEHIND } else { rank };
        Ok(Waiting {
            queue,
            leaf,
            class: request.class,
            headroom: if request.spare { self.settings.spare.as_secs_f64() } else { 0.0 },
            level,
            rank: (rank * 1e6) as i64,
            print,
            came_first,
            prompt: request.prompt,
            most: request.most,
            prefix: request.prefix.clone(),
            arrived: request.arrived,
            due: promise.due,
            tokens_due: promise.tokens,
            expires,
            own_deadline,
            ages: promise.ages.map(seconds).filter(|_| self.settings.fair && !request.spare),
            cost,
            avoid: request.avoid,
            only: request.only,
            streams: request.streams,
            preempted: request.preempted,
            made: request.made.clone(),
        })
    }

    /// Seconds that a step takes at an engine of this queue now, on the mean.
    pub(super) fn step(&self, queue: usize) -> f64 {
        let (count, sum) = self
            .well(queue)
            .fold((0.0, 0.0), |(count, sum), engine| (count + 1.0, sum + self.engines[engine].step()));
        if count > 0.0 { sum / count } else { 0.0 }
    }

    /// Why a request is refused that could not be in time.
    pub(super) fn late(
        &self,
        queue: usize,
        leaf: Leaf,
        path: u64,
        class: Class,
        own_deadline: bool,
        now: Duration,
    ) -> Refusal {
        if own_deadline {
            return Refusal::Deadline;
        }
        Refusal::Late { retry_after: self.retry_after(queue, leaf, path, class, now) }
    }

    /// Seconds until one more request of a leaf would be served, as predicted.
    fn wait(&self, queue: usize, leaf: Leaf, class: Class, now: Duration) -> f64 {
        let state = &self.queues[queue];
        state.drain(state.before(leaf, class), self.well(queue).count(), now.as_secs_f64())
    }

    /// When one more request of a leaf would be served soon.
    fn retry_after(&self, queue: usize, leaf: Leaf, path: u64, class: Class, now: Duration) -> Duration {
        let (state, engines) = (&self.queues[queue], self.well(queue).count());
        let at = now.as_secs_f64();
        let after = if state.shares.is_within(leaf) {
            let booked = state.returns.before(path, class);
            self.wait(queue, leaf, class, now) + state.drain_of(class, booked, engines, at)
        } else {
            // Whoever had too much waits for the others, and then for what they wait for themselves.
            let behind = state.shares.behind(leaf, state.charged.per_second(at));
            behind + state.drain(state.turns(leaf, class, state.returns.of(path)), engines, at)
        };
        seconds(after).clamp(RETRY.0, RETRY.1)
    }

    /// Keeps a place for somebody who was told to come back.
    pub(super) fn book(
        &mut self,
        queue: usize,
        print: Print,
        (class, cost, came_first): (Class, f64, Duration),
        refusal: Refusal,
        now: Duration,
    ) {
        if let Refusal::Full { retry_after } | Refusal::Late { retry_after } = refusal {
            self.queues[queue].returns.book(print, class, cost, came_first, now + retry_after);
        }
    }
}

/// What a request is promised, in seconds.
struct Promise {
    due: f64,
    tokens: Option<Due>,
    /// What it is ordered by.
    order: f64,
    ages: Option<f64>,
}

impl Promise {
    fn of(objective: Objective, arrived: f64, alone: f64) -> Self {
        match objective {
            Objective::Stream { first_token, per_token } => {
                // Nobody is promised a prompt in less than three times what an idle engine takes for it.
                let due = arrived + first_token.as_secs_f64().max(3.0 * alone);
                let tokens = Some(Due { first: due, per_token: per_token.as_secs_f64() });
                Self { due, tokens, order: due, ages: None }
            }
            Objective::Whole(whole) => {
                let aged = AGED.mul_add(whole.as_secs_f64(), arrived);
                Self { due: arrived + whole.as_secs_f64(), tokens: None, order: aged, ages: Some(aged) }
            }
        }
    }
}

/// A time that may be endless.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
