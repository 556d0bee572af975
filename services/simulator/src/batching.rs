//! Continuous batching as a pure state machine: it is told the time and never asks for it.
//!
//! Sequences wait, ordered by arrival or by priority. A step takes every running sequence, then as many waiting ones as
//! fit, computes prompts in chunks and makes one token for each sequence whose prompt is done. `begin` decides what is
//! in the step and how long it takes, `end` says what came out of it; between the two, sequences may join or leave.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How much fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_num_seqs: usize,
    pub(crate) max_batched_tokens: u32,
    pub(crate) by_priority: bool,
}

/// How long a step takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    pub(crate) per_prefill_token: Duration,
    pub(crate) step: Duration,
    pub(crate) per_sequence: Duration,
}

/// One answer to be made; an embedding is a sequence without output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence {
    pub(crate) id: u64,
    /// Lower is sooner.
    pub(crate) priority: i64,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
}

/// What a step made for one sequence: its prompt was completed, or it got a further token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) id: u64,
    pub(crate) moment: Moment,
    pub(crate) finished: Option<Timeline>,
}

/// Which token it was, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The prompt is computed, and the first token made unless the sequence has no output.
    Prefilled {
        prompt_tokens: u32,
        since_arrival: Duration,
        token: bool,
    },
    Decoded {
        since_last: Duration,
    },
}

/// When the stations of a finished sequence were passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(crate) arrived: Duration,
    pub(crate) started: Duration,
    pub(crate) first_token: Duration,
    pub(crate) last_token: Duration,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
}

/// What a sequence that was taken out still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    /// Its prompt was not yet computed.
    pub(crate) prefilling: bool,
    pub(crate) prompt_tokens: u32,
}

/// The sequences of one engine.
#[derive(Debug)]
pub(crate) struct Batch {
    limits: Limits,
    speed: Speed,
    arrivals: u64,
    waiting: BTreeMap<Rank, Waiting>,
    /// Where a waiting sequence stands in `waiting`.
    ranks: HashMap<u64, Rank>,
    running: Vec<Running>,
}

type Rank = (i64, u64);

#[derive(Debug)]
struct Waiting {
    sequence: Sequence,
    arrived: Duration,
}

#[derive(Debug)]
struct Running {
    sequence: Sequence,
    arrived: Duration,
    started: Duration,
    first_token: Duration,
    last_token: Duration,
    prefilled: u32,
    made: u32,
    /// Tokens of this sequence in the current step.
    planned: u32,
}

impl Batch {
    pub(crate) fn new(limits: Limits, speed: Speed) -> Self {
        let (waiting, ranks) = (BTreeMap::new(), HashMap::new());
        Self { limits, speed, arrivals: 0, waiting, ranks, running: Vec::new() }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a sequence into the queue.
    pub(crate) fn add(&mut self, now: Duration, sequence: Sequence) {
        let priority = if self.limits.by_priority { sequence.priority } else { 0 };
        let rank = (priority, self.arrivals);
        self.arrivals += 1;
        self.ranks.insert(sequence.id, rank);
        self.waiting.insert(rank, Waiting { sequence, arrived: now });
    }

    /// Takes a sequence out, wherever it is; `None` when it is finished or unknown.
    pub(crate) fn abort(&mut self, id: u64) -> Option<Aborted> {
        if let Some(rank) = self.ranks.remove(&id) {
            let prompt_tokens = self.waiting.remove(&rank)?.sequence.prompt_tokens;
            return Some(Aborted { prefilling: true, prompt_tokens });
        }
        let place = self.running.iter().position(|running| running.sequence.id == id)?;
        let running = self.running.remove(place);
        Some(Aborted { prefilling: running.is_prefilling(), prompt_tokens: running.sequence.prompt_tokens })
    }

    /// Starts a step and says how long it takes; `None` when there is nothing to do.
    pub(crate) fn begin(&mut self, now: Duration) -> Option<Duration> {
        let mut budget = self.limits.max_batched_tokens;
        let mut prefill = 0;
        for running in &mut self.running {
            prefill += running.plan(&mut budget);
        }
        while self.running.len() < self.limits.max_num_seqs && budget > 0 {
            let Some((_, waiting)) = self.waiting.pop_first() else { break };
            self.ranks.remove(&waiting.sequence.id);
            let mut running = Running::start(waiting, now);
            prefill += running.plan(&mut budget);
            self.running.push(running);
        }
        let scheduled = self.running.iter().filter(|running| running.planned > 0).count();
        (scheduled > 0).then(|| self.duration(prefill, scheduled))
    }

    /// Ends the step and says what it made, in the order in which the sequences were started.
    pub(crate) fn end(&mut self, now: Duration) -> Vec<Progress> {
        let mut made = Vec::with_capacity(self.running.len());
        self.running.retain_mut(|running| {
            let Some(progress) = running.advance(now) else { return true };
            made.push(progress);
            progress.finished.is_none()
        });
        made
    }

    fn duration(&self, prefill: u32, scheduled: usize) -> Duration {
        let scheduled = u32::try_from(scheduled).unwrap_or(u32::MAX);
        self.speed.per_prefill_token * prefill + self.speed.step + self.speed.per_sequence * scheduled
    }
}

impl Running {
    fn start(Waiting { sequence, arrived }: Waiting, now: Duration) -> Self {
        let (first_token, last_token) = (now, now);
        Self { sequence, arrived, started: now, first_token, last_token, prefilled: 0, made: 0, planned: 0 }
    }

    fn is_prefilling(&self) -> bool {
        self.prefilled < self.sequence.prompt_tokens
    }

    /// Takes its share of the step and returns how much of that is prompt.
    fn plan(&mut self, budget: &mut u32) -> u32 {
        let wanted = if self.is_prefilling() { self.sequence.prompt_tokens - self.prefilled } else { 1 };
        self.planned = wanted.min(*budget);
        *budget -= self.planned;
        if self.is_prefilling() { self.planned } else { 0 }
    }

    fn advance(&mut self, now: Duration) -> Option<Progress> {
        let planned = std::mem::take(&mut self.planned);
        if planned == 0 {
            return None;
        }
        let moment = if self.is_prefilling() {
            self.prefilled += planned;
            if self.is_prefilling() {
                return None;
            }
            self.first_token = now;
            let (prompt_tokens, token) = (self.sequence.prompt_tokens, self.sequence.output_tokens > 0);
            Moment::Prefilled { prompt_tokens, since_arrival: now.saturating_sub(self.arrived), token }
        } else {
            Moment::Decoded { since_last: now.saturating_sub(self.last_token) }
        };
        self.last_token = now;
        self.made += u32::from(self.sequence.output_tokens > 0);
        let finished = (self.made >= self.sequence.output_tokens).then(|| self.timeline());
        Some(Progress { id: self.sequence.id, moment, finished })
    }

    fn timeline(&self) -> Timeline {
        Timeline {
            arrived: self.arrived,
            started: self.started,
            first_token: self.first_token,
            last_token: self.last_token,
            prompt_tokens: self.sequence.prompt_tokens,
            output_tokens: self.made,
        }
    }
}

#[cfg(test)]
mod tests;
