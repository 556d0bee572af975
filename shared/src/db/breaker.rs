//! Spares a database that is away: after some failures in a row nothing is asked of it for a while, then one query
//! at a time probes whether it is back.
//!
//! A state machine that is told the time and what became of each query; [`super::watch`] asks it before every one.

use std::time::{Duration, Instant};

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Failures in a row that open it.
    pub(super) failures: u32,
    /// From opening to the first probe.
    pub(super) pause: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(30) }
    }
}

/// How it stands; the numbers are those of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every query is let through.
    Closed = 0,
    /// One query is let through, to see.
    HalfOpen = 1,
    /// None is.
    Open = 2,
}

/// What became of a query that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The database answered, if only to refuse the query.
    Answered,
    /// It could not be reached, or did not answer in time.
    Failed,
    /// Nobody waited for it.
    Abandoned,
}

/// The leave to send one query, to be handed back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// Queries let through before a change say nothing about the time after it.
    period: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// The breaker of one database.
#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    state: State,
    period: u64,
    last_answer: Option<Instant>,
    /// Queries not let through since it was closed last.
    refused: u64,
}

impl Breaker {
    pub(super) const fn new(rules: Rules) -> Self {
        Self { rules, state: State::Closed { failures: 0 }, period: 0, last_answer: None, refused: 0 }
    }

    /// Lets a query through, or says how long until the next probe; zero while one is under way.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < until => {
                self.refused += 1;
                return Err(until - now);
            }
            State::HalfOpen { probing: true } => {
                self.refused += 1;
                return Err(Duration::ZERO);
            }
            State::Open { .. } | State::HalfOpen { probing: false } => {
                self.turn(State::HalfOpen { probing: true });
            }
        }
        Ok(self.pass())
    }

    /// How many queries were not let through since this was asked last.
    pub(super) const fn take_refused(&mut self) -> u64 {
        std::mem::replace(&mut self.refused, 0)
    }

    /// A pass for what is sent whatever the state, such as a commit.
    pub(super) const fn pass(&self) -> Pass {
        Pass { period: self.period }
    }

    /// Learns that the database is there.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.last_answer = Some(now);
    }

    /// Whether the database has answered anything from then on, so that what is late is held up there.
    pub(super) fn answered_since(&self, then: Instant) -> bool {
        self.last_answer.is_some_and(|last| last >= then)
    }

    /// Learns what became of a query.
    pub(super) fn settle(&mut self, pass: Pass, outcome: Outcome, now: Instant) {
        if outcome == Outcome::Answered {
            self.heard(now);
        }
        if pass.period != self.period {
            return;
        }
        match (&mut self.state, outcome) {
            (State::Closed { failures }, Outcome::Answered) => *failures = 0,
            (State::Closed { failures }, Outcome::Failed) => {
                *failures += 1;
                if *failures >= self.rules.failures {
                    self.open(now);
                }
            }
            (State::HalfOpen { .. }, Outcome::Answered) => self.turn(State::Closed { failures: 0 }),
            (State::HalfOpen { .. }, Outcome::Failed) => self.open(now),
            (State::HalfOpen { probing }, Outcome::Abandoned) => *probing = false,
            (State::Closed { .. }, Outcome::Abandoned) | (State::Open { .. }, _) => {}
        }
    }

    pub(super) const fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }

    fn open(&mut self, now: Instant) {
        self.turn(State::Open { until: now + self.rules.pause });
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests;
