//! What is answered to a call: how it stands, or why it is refused.

use crate::{action::Measure, counter::Place, subject::Layer};
use std::{sync::Arc, time::Duration};

/// How one limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// Whose it is.
    pub layer: Layer,
    /// What it comes to here and now.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// Until all of it is there again, when nothing more is used.
    pub reset: Duration,
}

/// How a call stands with its limits: of each measure the one with the least left. Nothing: it is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Calls in a window.
    pub requests: Option<Gauge>,
    /// Tokens in a window.
    pub tokens: Option<Gauge>,
    /// Calls at once.
    pub concurrent: Option<Gauge>,
}

impl Standing {
    pub(crate) fn note(&mut self, measure: Measure, gauge: Gauge) {
        let place = match measure {
            Measure::Requests => &mut self.requests,
            Measure::Tokens => &mut self.tokens,
            Measure::Concurrent => &mut self.concurrent,
        };
        if place.is_none_or(|known| gauge.remaining < known.remaining) {
            *place = Some(gauge);
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let gauges = [
            (Measure::Requests, other.requests),
            (Measure::Tokens, other.tokens),
            (Measure::Concurrent, other.concurrent),
        ];
        for (measure, gauge) in gauges {
            if let Some(gauge) = gauge {
                self.note(measure, gauge);
            }
        }
        self
    }
}

/// A call that may go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// How it stands, itself counted.
    pub standing: Standing,
    /// Where it was counted, and how.
    pub(crate) counted: Vec<Counted>,
}

/// A call that may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The action.
    pub action: Arc<str>,
    /// What is counted.
    pub measure: Measure,
    /// The limit that refuses it.
    pub gauge: Gauge,
    /// After this time it would be let in, if nobody else uses what becomes free.
    pub retry_after: Duration,
    /// How it stands with all limits that were asked.
    pub standing: Standing,
}

/// One place where a call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) place: Place,
    pub(crate) measure: Measure,
    pub(crate) many: u64,
}

impl Admission {
    /// Whether it is counted nowhere.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.counted.is_empty()
    }
}
