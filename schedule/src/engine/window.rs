//! A stretch of an engine's time of which it is known what was done in it: from one moment at which no prompt was
//! under way to the next one. How many steps it had shows in the answer that was there all the time.

use super::Held;
use crate::cost::{Prefill, Stretch};

/// A shorter stretch, in seconds, has no step: what is told at once belongs together.
const SHORTEST: f64 = 0.001;
/// A stretch with fewer steps and no prompt tells too little.
const STEPS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Window {
    since: f64,
    prefilled: Prefill,
    /// Answers under way and their tokens when it began.
    running: f64,
    context: f64,
    /// Nothing was under way when it began.
    from_idle: bool,
    /// Something was done that is not known.
    spoiled: bool,
}

impl Window {
    /// Begins at an idle engine.
    pub(super) fn restart(&mut self, now: f64) {
        *self = Self { since: now, from_idle: true, ..Self::default() };
    }

    pub(super) fn prefilled(&mut self, prefill: Prefill) {
        self.prefilled.add(prefill);
    }

    /// A prompt went away, computed or not.
    pub(super) const fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Prompt tokens computed in it so far.
    pub(super) const fn tokens(&self) -> f64 {
        self.prefilled.tokens
    }

    /// Ends here and begins anew; what was seen, when it tells something. `running` answers with `context` tokens are
    /// under way now; at an engine that was idle before, the prompts alone took `alone` steps.
    pub(super) fn end(
        &mut self,
        held: &mut [Held],
        (running, context): (f64, f64),
        alone: f64,
        now: f64,
    ) -> Option<Stretch> {
        if now - self.since < SHORTEST {
            return None;
        }
        let steps = |held: &Held| Some(held.made.tokens().saturating_sub(held.mark?));
        let seen = held.iter().filter_map(steps).max().unwrap_or(0);
        if seen < STEPS && self.prefilled == Prefill::default() {
            return None;
        }
        let begun = std::mem::replace(self, Self { since: now, running, context, ..Self::default() });
        for held in held {
            held.mark = held.streams.then(|| held.made.tokens()).filter(|_| held.first.is_some());
        }
        let steps = match (seen, begun.from_idle) {
            (0, true) => alone,
            (0, false) => return None,
            (seen, _) => f64::from(seen),
        };
        (!begun.spoiled).then(|| Stretch {
            seconds: now - begun.since,
            prefilled: begun.prefilled,
            steps,
            running: f64::midpoint(begun.running, running),
            context: f64::midpoint(begun.context, context),
        })
    }
}
