//! What an operator may set, with the reason for each default.

use crate::class::{Class, Objective};
use std::time::Duration;

/// How requests are ordered and refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What each class is promised, in the order of [`Class::ALL`].
    ///
    /// Interactive: one second is what people wait without leaving, 50 ms a token is faster than they read. Default:
    /// five seconds and 100 ms. Batch: ten minutes for all of it.
    pub objectives: [Objective; 4],
    /// The part of the work that is kept for each class while it has requests waiting, 0 to 1. None by default: what a
    /// reserve idles away is more than it saves.
    pub shares: [f64; 4],
    /// Whether users take turns by the tokens that they had. Without it the cheapest goodput wins.
    pub fair: bool,
    /// Weighted tokens that one may be ahead of whoever had the least before having to wait.
    ///
    /// Long enough to hold several long prompts, so that an order by deadline has something to choose from; short
    /// enough that a minute evens it out: 32,000 is half a second of the work of four engines.
    pub band: u64,
    /// How many tokens of a prompt one token of an answer counts for. It costs an engine about twice as much.
    pub output_weight: u32,
    /// How much later than its deadline a request is ordered, in times its own work.
    ///
    /// More work for the same deadline means more others that are late because of it. What is refused for that is long
    /// and, with fair shares, somebody's only request; so little of it there, and as much as helps without them.
    pub cost_weight: f64,
    /// Requests that may wait per model.
    pub length: usize,
    /// Whether a prompt waits until the answers under way can spare the time that it takes.
    pub pacing: bool,
    /// Time that the answers under way have to have left, beside what a prompt takes, for [spare] work to be let in.
    ///
    /// It is there for whoever comes next: more of it moves the first tokens of others less, and does less spare work.
    /// With this much the 99th percentile of interactive first tokens stays within 5 % of what it is without any spare
    /// work, on both recordings that were tried, and engines do 82 to 100 % of what they can.
    ///
    /// [spare]: crate::Request::spare
    pub spare: Duration,
    /// Whether what cannot be in time is refused.
    pub refusing: bool,
    /// Whether work of class batch is stopped before its first token for somebody who would be late otherwise. What was
    /// computed of it is lost, so it costs goodput and buys promptness and fairness.
    pub preempting: bool,
}

impl Settings {
    /// Turns by the tokens that everybody had.
    #[must_use]
    pub const fn fair() -> Self {
        Self {
            objectives: [
                Objective::Stream {
                    first_token: Duration::from_secs(1),
                    per_token: Duration::from_millis(50),
                },
                Objective::Stream {
                    first_token: Duration::from_secs(1),
                    per_token: Duration::from_millis(50),
                },
                Objective::Stream {
                    first_token: Duration::from_secs(5),
                    per_token: Duration::from_millis(100),
                },
                Objective::Whole(Duration::from_secs(600)),
            ],
            shares: [0.0; 4],
            fair: true,
            band: 32_000,
            output_weight: 2,
            cost_weight: 3.0,
            length: 100_000,
            pacing: true,
            spare: Duration::from_millis(1_500),
            refusing: true,
            preempting: true,
        }
    }

    /// The most requests in time, whoever sent them.
    #[must_use]
    pub const fn unfair() -> Self {
        Self { fair: false, cost_weight: 30.0, preempting: false, ..Self::fair() }
    }

    /// What a class is promised.
    #[must_use]
    pub const fn objective(&self, class: Class) -> Objective {
        self.objectives[class.index()]
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::fair()
    }
}
