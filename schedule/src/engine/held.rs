//! One request at an engine.

use crate::{class::Class, cost::Prefill, fair::Leaf, made::Made, request::Ticket};

/// How often a request may be stopped to make room.
const STOPS: u8 = 2;
/// Part of its prompt's time after which it is no longer stopped.
const STOPPED_BEFORE: f64 = 0.3;

/// When the tokens of an answer are due, in seconds: the first one, and how much later each further one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Due {
    pub(crate) first: f64,
    pub(crate) per_token: f64,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) ticket: Ticket,
    pub(crate) queue: usize,
    pub(crate) leaf: Leaf,
    pub(crate) class: Class,
    pub(crate) prompt: u32,
    pub(crate) prefill: Prefill,
    /// What the prompt is believed to take.
    pub(crate) seconds: f64,
    /// `None` for what is only due as a whole.
    pub(crate) due: Option<Due>,
    pub(crate) streams: bool,
    pub(crate) made: Made,
    /// Of these, what was noted.
    pub(crate) seen: u32,
    /// Tokens that it may come to hold.
    pub(crate) reserve: u64,
    pub(crate) started: f64,
    /// When the first token is believed to come.
    pub(crate) predicted: f64,
    /// When it came; for what does not stream, when it was believed to.
    pub(crate) first: Option<f64>,
    pub(crate) preempted: u8,
    pub(crate) stopping: bool,
    /// What the engine had computed when it came.
    pub(crate) before: Prefill,
    /// Tokens that it had when the present stretch of time began.
    pub(crate) mark: Option<u32>,
}

impl Held {
    /// Seconds that it could wait for its next token; `None` when nothing is promised, or that is lost already.
    pub(super) fn slack(&self, now: f64, step: f64) -> Option<f64> {
        let (due, first) = (self.due?, self.first?);
        let made = if self.streams { f64::from(self.made.tokens()) } else { (now - first) / step.max(1e-6) };
        let slack = due.first + made * due.per_token - now;
        (slack >= 0.0).then_some(slack)
    }

    pub(super) fn is_stoppable(&self, now: f64) -> bool {
        let begun = now - self.started > STOPPED_BEFORE * (self.predicted - self.started);
        self.class == Class::Batch && self.streams && !begun && !self.stopping && self.preempted < STOPS
    }
}
