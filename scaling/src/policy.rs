//! What an operator allows: how many replicas, when there are too few or too many, and how fast that may change.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When and how far a pool is scaled. The defaults are those of S4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// More are needed when any of these is exceeded.
    pub out: Thresholds,
    /// How fast there may be more.
    pub out_pace: Pace,
    /// Fewer will do when all of these are fallen below.
    pub into: Thresholds,
    /// How fast there may be fewer.
    pub in_pace: Pace,
    /// What was seen longer ago than this says nothing.
    pub fresh_within: Duration,
}

/// Limits on what is seen. A signal without a limit is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Requests that wait, in all gateways.
    pub queue: Option<u32>,
    /// Time to the first token that 95 of 100 requests do not exceed.
    pub first_token: Option<Duration>,
    /// Part of the time in which GPUs work, 0 to 1, on the mean of the pool.
    pub gpu: Option<f64>,
}

/// How fast the number of replicas may change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// How long the thresholds must be crossed without a break.
    pub sustained: Duration,
    /// How long after the last change nothing changes.
    pub stabilisation: Duration,
    /// Most replicas by which it changes at once.
    pub step: u32,
    /// Or this part of those there are, where that is more.
    pub step_part: f64,
}

impl Default for Policy {
    fn default() -> Self {
        let out = Thresholds { queue: Some(100), first_token: Some(Duration::from_secs(2)), gpu: Some(0.8) };
        let into = Thresholds { queue: Some(10), first_token: Some(Duration::from_secs(1)), gpu: Some(0.3) };
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            min: 1,
            max: 20,
            out,
            out_pace: Pace { sustained: minutes(1), stabilisation: minutes(1), step: 2, step_part: 0.5 },
            into,
            in_pace: Pace { sustained: minutes(5), stabilisation: minutes(5), step: 1, step_part: 0.1 },
            fresh_within: minutes(1),
        }
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The field, as the contract names it.
    pub field: &'static str,
    /// What it must be.
    pub problem: &'static str,
}

/// Most replicas that a policy may name.
const MOST: u32 = 1_000;
/// Longest time that a policy may name.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Policy {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        let fault = |field, problem| Err(Fault { field, problem });
        if self.min == 0 {
            return fault("min_replicas", "must be at least 1");
        }
        if self.max < self.min || self.max > MOST {
            return fault("max_replicas", "must be from min_replicas to 1000");
        }
        let share = |gpu: Option<f64>| gpu.is_none_or(|gpu| (0.0..=1.0).contains(&gpu));
        if !share(self.out.gpu) || !share(self.into.gpu) {
            return fault("gpu_usage", "must be from 0 to 1");
        }
        if !self.into.below(&self.out) {
            return fault("scale_in", "must be below scale_out in every signal, and name no other signals");
        }
        if self.out == Thresholds::NONE {
            return fault("scale_out", "must name at least one signal");
        }
        for (pace, field) in [(&self.out_pace, "scale_out_pace"), (&self.in_pace, "scale_in_pace")] {
            if pace.step == 0 || pace.step > MOST || !(0.0..=1.0).contains(&pace.step_part) {
                return fault(field, "must have a step of 1 to 1000 and a step_part of 0 to 1");
            }
            if pace.sustained > LONGEST || pace.stabilisation > LONGEST {
                return fault(field, "must have times of at most 24 hours");
            }
        }
        if !(Duration::from_secs(20)..=LONGEST).contains(&self.fresh_within) {
            return fault("fresh_within", "must be from 20 s to 24 hours");
        }
        Ok(())
    }

    /// A number of replicas within the limits.
    #[must_use]
    pub fn clamp(&self, replicas: u32) -> u32 {
        replicas.clamp(self.min, self.max.max(self.min))
    }
}

impl Thresholds {
    const NONE: Self = Self { queue: None, first_token: None, gpu: None };

    /// Whether each limit here is below the other one's.
    fn below(&self, other: &Self) -> bool {
        fn low<T: PartialOrd>(low: Option<T>, high: Option<T>) -> bool {
            match (low, high) {
                (Some(low), Some(high)) => low < high,
                (None, None) => true,
                _ => false,
            }
        }
        low(self.queue, other.queue) && low(self.first_token, other.first_token) && low(self.gpu, other.gpu)
    }
}

impl Pace {
    /// Most replicas by which `replicas` may change at once.
    pub(crate) fn most(&self, replicas: u32) -> u32 {
        self.step.max((f64::from(replicas) * self.step_part) as u32)
    }
}
