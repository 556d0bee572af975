//! Continuous batching as a pure state machine: it is told the time and never asks for it.
//!
//! Sequences wait, ordered by arrival or by priority. A step takes every running sequence, then as many waiting ones as
//! fit, computes prompts in chunks and makes one token for each sequence whose prompt is done. [`Batch::begin`] decides
//! what is in the step and how long it takes, [`Batch::end`] says what came out of it; between the two, sequences may
//! join or leave. The rules are those of vLLM's scheduler:
//!
//! - Keys and values lie in blocks of the cache, taken as tokens are computed. A waiting sequence starts only when all
//!   tokens it has now would fit. When a running one needs a block and none is free, the last to have started is
//!   preempted, or by priority the one of the lowest rank: its blocks are freed, it goes back to its place in the queue
//!   and later computes everything anew, the tokens it had made included. In that step nobody else starts.
//! - Full blocks whose content is known stay in the cache until they are needed, the longest unused first. A sequence
//!   that begins with the same ones shares them and need not compute them; its last token is always computed.
//!
//! ```
//! use std::time::Duration;
//! use simulator::{Profile, batching::{Batch, Sequence}};
//!
//! let Profile { limits, speed, .. } = Profile::reference();
//! let (mut batch, mut now, mut made) = (Batch::new(limits, speed, 42), Duration::ZERO, Vec::new());
//! batch.add(now, Sequence { id: 1, priority: 0, prompt_tokens: 500, output_tokens: 20, prefix: [].into() })?;
//! while let Some(length) = batch.begin(now) {
//!     now += length;
//!     batch.end(now, &mut made);
//! }
//! assert_eq!(made.len(), 20);
//! # Ok::<(), simulator::batching::TooLong>(())
//! ```

mod blocks;
mod running;
mod sequence;
mod speed;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;

use self::blocks::Blocks;
use self::running::{Rank, Running};
pub use self::sequence::{Aborted, Moment, Progress, Sequence, Timeline, TooLong};
pub use self::speed::{Speed, Work};

/// How much fits. The names are vLLM's; where the figures come from stands beside them in `engines.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Sequences that run at the same time; the rest waits.
    pub max_num_seqs: usize,
    /// Prompt and answer tokens computed in one step; longer prompts are computed in chunks.
    pub max_num_batched_tokens: u32,
    /// Tokens a block of the cache holds.
    pub block_size: u32,
    /// Blocks of the cache.
    pub num_gpu_blocks: u32,
    /// Share of the blocks that must stay free when a sequence starts beside others.
    pub watermark: f64,
    /// Whether blocks with the same content are shared.
    pub enable_prefix_caching: bool,
    /// Whether waiting sequences go by their priority, and not by their arrival alone.
    #[serde(skip)]
    pub by_priority: bool,
}

/// The sequences of one engine.
#[derive(Debug)]
pub struct Batch {
    limits: Limits,
    watermark_blocks: u32,
    speed: Speed,
    seed: u64,
    steps: u64,
    arrivals: u64,
    waiting: BTreeMap<Rank, Running>,
    /// Where a waiting sequence stands in `waiting`.
    ranks: HashMap<u64, Rank>,
    running: Vec<Running>,
    blocks: Blocks,
    /// What is in the current step.
    work: Work,
    counts: Counts,
}

/// Where the blocks of the cache are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// All of them.
    pub total: u32,
    /// Held by sequences.
    pub held: u32,
    /// Held by nobody, but with content that a sequence may still want.
    pub idle: u32,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences that lost their blocks.
    pub preemptions: u64,
    /// Tokens that were looked up in the cache by sequences that started for the first time.
    pub prefix_queries: u64,
    /// Those of them that were there.
    pub prefix_hits: u64,
}

impl Batch {
    /// An empty batch. The seed is that of the noise; without noise it changes nothing.
    #[must_use]
    pub fn new(limits: Limits, speed: Speed, seed: u64) -> Self {
        let limits = Limits {
            max_num_seqs: limits.max_num_seqs.max(1),
            max_num_batched_tokens: limits.max_num_batched_tokens.max(1),
            block_size: limits.block_size.max(1),
            ..limits
        };
        Self {
            limits,
            watermark_blocks: (limits.watermark * f64::from(limits.num_gpu_blocks)) as u32,
            speed,
            seed,
            steps: 0,
            arrivals: 0,
            waiting: BTreeMap::new(),
            ranks: HashMap::new(),
            running: Vec::new(),
            blocks: Blocks::new(limits.num_gpu_blocks),
            work: Work::default(),
            counts: Counts::default(),
        }
    }

    /// Sequences in the batch.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Where the blocks of the cache are.
    #[must_use]
    pub fn cache(&self) -> Cache {
        let total = self.blocks.total();
        Cache { total, held: total - self.blocks.free(), idle: self.blocks.idle() }
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What is in the step that has begun.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// Puts a sequence into the queue.
    ///
    /// # Errors
    /// When it would not fit into the cache even alone; it is not in the queue then.
    pub fn add(&mut self, now: Duration, mut sequence: Sequence) -> Result<(), TooLong> {
        let tokens = u64::from(sequence.prompt_tokens.max(1)) + u64::from(sequence.output_tokens);
        let room = u64::from(self.limits.num_gpu_blocks) * u64::from(self.limits.block_size);
        // The last token made is never computed, so it needs no room.
        if tokens.saturating_sub(u64::from(sequence.output_tokens > 0)) > room {
            return Err(TooLong { tokens, room });
        }
        if !self.limits.enable_prefix_caching {
            sequence.prefix = [].into();
        }
        let priority = if self.limits.by_priority { sequence.priority } else { 0 };
        let rank = (priority, self.arrivals);
        self.arrivals += 1;
        self.ranks.insert(sequence.id, rank);
        self.waiting.insert(rank, Running::new(sequence, rank, now));
        Ok(())
    }

    /// Takes a sequence out, wherever it is; `None` when it is finished or unknown.
    pub fn abort(&mut self, id: u64) -> Option<Aborted> {
        if let Some(rank) = self.ranks.remove(&id) {
            return Some(self.waiting.remove(&rank)?.aborted());
        }
        let place = self.running.iter().position(|running| running.id == id)?;
        let mut running = self.running.remove(place);
        running.release(&mut self.blocks);
        Some(running.aborted())
    }

    /// Starts a step and says how long it takes; `None` when there is nothing to do. Each step that was begun must be
    /// ended before the next one begins.
    pub fn begin(&mut self, now: Duration) -> Option<Duration> {
        loop {
            self.work = Work::default();
            let mut budget = self.limits.max_num_batched_tokens;
            let preempted = self.go_on(&mut budget);
            if !preempted {
                self.start(now, &mut budget);
            }
            if self.work.sequences > 0 {
                self.steps += 1;
                return Some(self.speed.noisy(&self.work, self.seed, self.steps));
            }
            // By priority, a sequence can lose its place before one that could go on was looked at.
            if !preempted {
                return None;
            }
        }
    }

    /// Ends the step and appends what it made, in the order in which the sequences were started.
    pub fn end(&mut self, now: Duration, made: &mut Vec<Progress>) {
        let mut place = 0;
        while let Some(running) = self.running.get_mut(place) {
            place += 1;
            if running.planned == 0 {
                continue;
            }
            let Some(progress) = running.advance(now) else { continue };
            if progress.finished.is_some() {
                running.release(&mut self.blocks);
                // Few end in one step, and moving the others up in one go is quicker than one by one.
                place -= 1;
                self.running.remove(place);
            }
            made.push(progress);
        }
    }

    /// Plans the running sequences, preempting where blocks are missing; `true` when it had to.
    fn go_on(&mut self, budget: &mut u32) -> bool {
        let before = self.counts.preemptions;
        let mut place = 0;
        while *budget > 0
            && let Some(running) = self.running.get_mut(place)
        {
            let tokens = running.wanted().min(*budget);
            if !running.stays_within(tokens) {
                let missing = running.missing(tokens, self.limits.block_size);
                if missing > self.blocks.free() {
                    match self.preempt(place, budget) {
                        Some(still_here) => place = still_here,
                        None => break,
                    }
                    continue;
                }
                running.settle(tokens, self.limits.block_size, &mut self.blocks);
            }
            *budget -= tokens;
            self.work.add(running.plan(tokens));
            place += 1;
        }
        self.counts.preemptions > before
    }

    /// Frees the blocks of the sequence that has to give way, for the one at a place; says where that one is then, or
    /// `None` when it had to give way itself.
    fn preempt(&mut self, place: usize, budget: &mut u32) -> Option<usize> {
        let lowest = || self.running.iter().enumerate().max_by_key(|(_, running)| running.rank());
        let victim = if self.limits.by_priority { lowest()?.0 } else { self.running.len() - 1 };
        let mut running = self.running.remove(victim);
        if victim < place {
            *budget += running.planned;
            self.work.remove(running.work());
        }
        running.preempt(&mut self.blocks);
        self.counts.preemptions += 1;
        self.ranks.insert(running.id, running.rank());
        self.waiting.insert(running.rank(), running);
        (victim != place).then(|| place - usize::from(victim < place))
    }

    /// Starts waiting sequences while there is room.
    fn start(&mut self, now: Duration, budget: &mut u32) {
        let block_size = self.limits.block_size;
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(first) = self.waiting.first_entry() else { return };
            let found = self.blocks.find(first.get().reusable(block_size));
            let reserve = if self.running.is_empty() { 0 } else { self.watermark_blocks };
            let needed = first.get().known().div_ceil(block_size) - found.blocks + found.idle;
            if needed.saturating_add(reserve) > self.blocks.free() {
                return;
            }
            let mut running = first.remove();
            self.ranks.remove(&running.id);
            if !running.was_preempted() && self.limits.enable_prefix_caching {
                self.counts.prefix_queries += u64::from(running.known());
                self.counts.prefix_hits += u64::from(found.blocks * block_size);
            }
            running.start(now, found.blocks, block_size, &mut self.blocks);
            let tokens = running.wanted().min(*budget);
            running.settle(tokens, block_size, &mut self.blocks);
            *budget -= tokens;
            self.work.add(running.plan(tokens));
            self.running.push(running);
        }
    }
}

#[cfg(test)]
mod tests;
