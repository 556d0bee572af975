//! How many replicas a pool should have.
//!
//! More at once when a limit was exceeded for a while, sized by how far and by what is ready, so that what still warms
//! up is not asked for twice; fewer, step by step, when every signal stayed low. After each change the signals have to
//! prove themselves anew, and some time must pass: that is what keeps the number from swinging.

use crate::{Inputs, Policy, State, Thresholds};
use std::{fmt, time::Duration};

/// How many instances a pool has, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Not ready yet.
    pub warming: u32,
    /// Ready.
    pub ready: u32,
    /// On their way out.
    pub draining: u32,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Requests that wait.
    Queue,
    /// Time to the first token.
    FirstToken,
    /// Use of the GPUs.
    Gpu,
}

/// Why a number is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was raised: this limit was exceeded for long enough.
    TooFew(Signal),
    /// It was lowered: every signal was low for long enough.
    TooMany,
    /// The signals lie between their limits.
    Enough,
    /// A limit is exceeded, not yet for long enough.
    Rising(Signal),
    /// Every signal is low, not yet for long enough.
    Falling,
    /// The last change was a moment ago.
    Settling,
    /// A limit is exceeded, and what is still warming up should do.
    WarmingUp(Signal),
    /// The last recommendation has not been followed yet.
    Following,
    /// There may not be more.
    AtMost(Signal),
    /// There may not be fewer.
    AtLeast,
    /// Fewer would exceed a limit again.
    WouldNotDo,
    /// Whether fewer would do is not known: nobody says this.
    Missing(Signal),
    /// The policy's limits changed.
    Limits,
}

/// What is recommended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recommendation {
    /// So many replicas.
    pub replicas: u32,
    /// So many before.
    pub before: u32,
    /// Why.
    pub reason: Reason,
    /// From what.
    pub inputs: Inputs,
    /// With what there is.
    pub fleet: Fleet,
}

/// What is remembered of a pool between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaler {
    /// What was recommended last.
    pub replicas: u32,
    /// When that last changed.
    pub changed: Option<Duration>,
    /// Since when a limit has been exceeded without a break.
    pub high_since: Option<Duration>,
    /// Since when every signal has been low without a break.
    pub low_since: Option<Duration>,
}

impl Fleet {
    /// Counts instances by their state.
    #[must_use]
    pub fn count(states: impl IntoIterator<Item = State>) -> Self {
        let mut fleet = Self::default();
        for state in states {
            match state {
                State::Init | State::Warming => fleet.warming += 1,
                State::Ready => fleet.ready += 1,
                State::Draining => fleet.draining += 1,
                State::Terminated => {}
            }
        }
        fleet
    }

    /// Those that serve or soon will.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.warming + self.ready
    }
}

impl Scaler {
    /// A pool that is seen for the first time: what there is is right until something speaks against it.
    #[must_use]
    pub fn new(policy: &Policy, fleet: Fleet) -> Self {
        let replicas = policy.clamp(fleet.capacity());
        Self { replicas, changed: None, high_since: None, low_since: None }
    }

    /// Nothing is known: what was seen before has not lasted.
    pub const fn blind(&mut self) {
        (self.high_since, self.low_since) = (None, None);
    }

    /// Looks at a pool and says how many replicas it should have.
    pub fn look(&mut self, policy: &Policy, inputs: Inputs, fleet: Fleet, now: Duration) -> Recommendation {
        let before = self.replicas;
        let high = exceeded(&policy.out, &inputs);
        let low = fallen_below(&policy.into, &inputs);
        let since = |crossed: bool, since: Option<Duration>| crossed.then_some(since.unwrap_or(now));
        self.high_since = since(high.is_some(), self.high_since);
        self.low_since = since(low == Ok(true), self.low_since);
        let (replicas, reason) = if policy.clamp(before) == before {
            match (high, low) {
                (Some((signal, ratio)), _) => self.more(policy, signal, ratio, fleet, now),
                (None, Ok(true)) => self.fewer(policy, &inputs, fleet, now),
                (None, Ok(false)) => (before, Reason::Enough),
                (None, Err(signal)) => (before, Reason::Missing(signal)),
            }
        } else {
            (policy.clamp(before), Reason::Limits)
        };
        if replicas != before {
            (self.replicas, self.changed) = (replicas, Some(now));
            self.blind();
        }
        Recommendation { replicas, before, reason, inputs, fleet }
    }

    fn more(
        &self,
        policy: &Policy,
        signal: Signal,
        ratio: f64,
        fleet: Fleet,
        now: Duration,
    ) -> (u32, Reason) {
        let (before, pace) = (self.replicas, &policy.out_pace);
        if self.lasted(self.high_since, now) < pace.sustained {
            return (before, Reason::Rising(signal));
        }
        if self.lasted(self.changed, now) < pace.stabilisation {
            return (before, Reason::Settling);
        }
        // Those that are ready make what is seen; those that warm up are part of what is wanted.
        let bearing = if fleet.ready > 0 { fleet.ready } else { fleet.capacity().max(1) };
        let wanted = ((f64::from(bearing) * ratio).ceil() as u32).max(bearing + 1);
        let next = policy.clamp(wanted.min(before.saturating_add(pace.most(before))));
        if next > before {
            return (next, Reason::TooFew(signal));
        }
        let reason = if before >= policy.max { Reason::AtMost(signal) } else { Reason::WarmingUp(signal) };
        (before, reason)
    }

    fn fewer(&self, policy: &Policy, inputs: &Inputs, fleet: Fleet, now: Duration) -> (u32, Reason) {
        let (before, pace) = (self.replicas, &policy.in_pace);
        if before <= policy.min {
            return (before, Reason::AtLeast);
        }
        if self.lasted(self.low_since, now) < pace.sustained {
            return (before, Reason::Falling);
        }
        if self.lasted(self.changed, now) < pace.stabilisation {
            return (before, Reason::Settling);
        }
        if fleet.warming > 0 || fleet.capacity() > before {
            return (before, Reason::Following);
        }
        let next = policy.clamp(before.saturating_sub(pace.most(before)));
        // What one GPU does less, the others do more.
        let busy = inputs.gpu.zip(policy.out.gpu);
        let fits = |next: u32| {
            busy.is_none_or(|(gpu, limit)| gpu * f64::from(fleet.ready) / f64::from(next.max(1)) < limit)
        };
        match (next..before).find(|next| fits(*next)) {
            Some(next) => (next, Reason::TooMany),
            None => (before, Reason::WouldNotDo),
        }
    }

    /// How long something has lasted; what never began lasts for ever.
    fn lasted(&self, since: Option<Duration>, now: Duration) -> Duration {
        since.map_or(Duration::MAX, |since| now.saturating_sub(since))
    }
}

/// The signal that exceeds its limit most, and how far: 1 at the limit. Times and use do not grow in step with what is
/// asked, so they never say more than half as many again.
fn exceeded(limits: &Thresholds, inputs: &Inputs) -> Option<(Signal, f64)> {
    const MOST: f64 = 1.5;
    let ratio = |value: f64, limit: f64| if limit > 0.0 { value / limit } else { MOST };
    let queue = limits.queue.filter(|limit| inputs.queue > *limit);
    let queue = queue.map(|limit| (Signal::Queue, ratio(inputs.queue.into(), limit.into())));
    let late = limits.first_token.zip(inputs.first_token).filter(|(limit, seen)| seen > limit);
    let late = late
        .map(|(limit, seen)| (Signal::FirstToken, ratio(seen.as_secs_f64(), limit.as_secs_f64()).min(MOST)));
    let busy = limits.gpu.zip(inputs.gpu).filter(|(limit, seen)| seen > limit);
    let busy = busy.map(|(limit, seen)| (Signal::Gpu, ratio(seen, limit).min(MOST)));
    [queue, late, busy].into_iter().flatten().max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// Whether every signal lies below its limit, or which one nobody tells. That nobody was answered is no missing time:
/// nobody waited long.
fn fallen_below(limits: &Thresholds, inputs: &Inputs) -> Result<bool, Signal> {
    let queue = limits.queue.is_none_or(|limit| inputs.queue < limit);
    let late = limits.first_token.zip(inputs.first_token).is_none_or(|(limit, seen)| seen < limit);
    let gpu = match (limits.gpu, inputs.gpu) {
        (None, _) => true,
        (Some(limit), Some(seen)) => seen < limit,
        // Only where it is the last word.
        (Some(_), None) if queue && late => return Err(Signal::Gpu),
        (Some(_), None) => false,
    };
    Ok(queue && late && gpu)
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Queue => "the queue",
            Self::FirstToken => "the 95th percentile of the time to the first token",
            Self::Gpu => "the use of the GPUs",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew(signal) => write!(formatter, "{signal} was above its limit for long enough"),
            Self::TooMany => formatter.write_str("every signal was low for long enough"),
            Self::Enough => formatter.write_str("the signals lie between their limits"),
            Self::Rising(signal) => write!(formatter, "{signal} is above its limit, not yet for long enough"),
            Self::Falling => formatter.write_str("every signal is low, not yet for long enough"),
            Self::Settling => formatter.write_str("the last change was a moment ago"),
            Self::WarmingUp(signal) => {
                write!(formatter, "{signal} is above its limit; what was asked for already should do")
            }
            Self::Following => formatter.write_str("the last recommendation has not been followed yet"),
            Self::AtMost(signal) => {
                write!(formatter, "{signal} is above its limit, and the policy allows no more replicas")
            }
            Self::AtLeast => {
                formatter.write_str("every signal is low, and the policy wants no fewer replicas")
            }
            Self::WouldNotDo => {
                formatter.write_str("with fewer, the use of the GPUs would be above its limit")
            }
            Self::Missing(signal) => write!(formatter, "nobody tells {signal}, so fewer cannot be advised"),
            Self::Limits => formatter.write_str("the policy's limits say so"),
        }
    }
}
