//! One sequence under way: how far it is, what it does in the current step, and which blocks it holds.

use std::time::Duration;

use super::blocks::{Blocks, Held};
use super::sequence::{Aborted, Moment, Progress, Sequence, Timeline};
use super::speed::Work;

/// By priority, then by arrival. A sequence that is preempted keeps its rank, and so goes back in front of everything
/// that came after it.
pub(super) type Rank = (i64, u64);

/// What every step looks at; the rest is one pointer away, so that a step over hundreds of sequences stays in the
/// nearest cache.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: u64,
    /// Tokens whose keys and values are in the cache.
    computed: u32,
    /// Tokens there are: the prompt, and what was made so far.
    known: u32,
    prompt: u32,
    output: u32,
    /// Tokens of this sequence in the current step.
    pub(super) planned: u32,
    /// Tokens that the blocks it holds have room for.
    room: u32,
    last_token: Duration,
    rest: Box<Rest>,
}

#[derive(Debug)]
struct Rest {
    sequence: Sequence,
    rank: Rank,
    arrived: Duration,
    started: Option<Duration>,
    first_token: Duration,
    cached_tokens: u32,
    preemptions: u32,
    held: Held,
    /// Full blocks whose content was made known.
    learned: u32,
}

impl Running {
    pub(super) fn new(sequence: Sequence, rank: Rank, now: Duration) -> Self {
        let prompt = sequence.prompt_tokens.max(1);
        Self {
            id: sequence.id,
            computed: 0,
            known: prompt,
            prompt,
            output: sequence.output_tokens,
            planned: 0,
            room: 0,
            last_token: now,
            rest: Box::new(Rest {
                sequence,
                rank,
                arrived: now,
                started: None,
                first_token: now,
                cached_tokens: 0,
                preemptions: 0,
                held: Held::default(),
                learned: 0,
            }),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        self.rest.rank
    }

    pub(super) fn was_preempted(&self) -> bool {
        self.rest.preemptions > 0
    }

    /// Tokens to be computed before the next one is made.
    #[inline]
    pub(super) fn wanted(&self) -> u32 {
        self.known - self.computed
    }

    /// The tokens it must compute when it begins, whatever is cached.
    pub(super) fn known(&self) -> u32 {
        self.known
    }

    /// The part of its prefix that may be taken from the cache: the last token is always computed, since the next one
    /// comes from it.
    pub(super) fn reusable(&self, block_size: u32) -> &[u64] {
        let blocks = (self.known - 1) / block_size;
        let prefix = &self.rest.sequence.prefix;
        prefix.get(..blocks as usize).unwrap_or(prefix)
    }

    /// Leaves the queue with the first blocks of its prefix taken from the cache.
    pub(super) fn start(&mut self, now: Duration, found: u32, block_size: u32, blocks: &mut Blocks) {
        let Rest { sequence, held, .. } = &mut *self.rest;
        blocks.share(held, sequence.prefix.get(..found as usize).unwrap_or_default());
        self.computed = found * block_size;
        self.room = self.computed;
        self.rest.learned = found;
        if self.rest.started.is_none() {
            self.rest.started = Some(now);
            self.rest.cached_tokens = self.computed;
        }
    }

    /// Blocks that so many further tokens need beyond those it holds.
    pub(super) fn missing(&self, tokens: u32, block_size: u32) -> u32 {
        (self.computed + tokens).saturating_sub(self.room).div_ceil(block_size)
    }

    /// Whether the tokens of the step end inside the last block, so that nothing is to be done about blocks.
    #[inline]
    pub(super) fn stays_within(&self, tokens: u32) -> bool {
        self.computed + tokens < self.room
    }

    /// Takes its share of the step.
    #[inline]
    pub(super) fn plan(&mut self, tokens: u32) -> Work {
        self.planned = tokens;
        self.work()
    }

    /// Takes the blocks for its share, and makes known what those will hold that the step fills.
    pub(super) fn settle(&mut self, tokens: u32, block_size: u32, blocks: &mut Blocks) {
        let missing = self.missing(tokens, block_size);
        let Rest { sequence, held, learned, .. } = &mut *self.rest;
        blocks.take(held, missing);
        self.room += missing * block_size;
        let full = ((self.computed + tokens) / block_size).min(sequence.prefix.len() as u32);
        if full > *learned {
            let filled = sequence.prefix.get(*learned as usize..full as usize).unwrap_or_default();
            blocks.learn(held, filled);
            *learned = full;
        }
    }

    /// What its share of the current step is.
    #[inline]
    pub(super) fn work(&self) -> Work {
        match self.planned {
            0 => Work::default(),
            1 if self.known > self.prompt && self.wanted() == 1 => Work::decode(self.computed),
            tokens => Work::prefill(tokens, self.computed),
        }
    }

    /// Ends its share of the step.
    #[inline]
    pub(super) fn advance(&mut self, now: Duration) -> Option<Progress> {
        self.computed += std::mem::take(&mut self.planned);
        if self.computed < self.known {
            return None;
        }
        let moment = if self.known > self.prompt {
            Moment::Decoded { since_last: now.saturating_sub(self.last_token) }
        } else {
            self.rest.first_token = now;
            Moment::Prefilled {
                prompt_tokens: self.rest.sequence.prompt_tokens,
                cached_tokens: self.rest.cached_tokens,
                since_arrival: now.saturating_sub(self.rest.arrived),
                token: self.output > 0,
            }
        };
        self.last_token = now;
        self.known += u32::from(self.output > 0);
        let finished =
            (self.known >= self.prompt.saturating_add(self.output)).then(|| Box::new(self.timeline()));
        Some(Progress { id: self.id, moment, finished })
    }

    /// Gives its blocks back and begins anew, though not with what it has made.
    pub(super) fn preempt(&mut self, blocks: &mut Blocks) {
        self.release(blocks);
        (self.computed, self.planned, self.room) = (0, 0, 0);
        self.rest.preemptions += 1;
    }

    pub(super) fn release(&mut self, blocks: &mut Blocks) {
        blocks.release(&mut self.rest.held);
    }

    pub(super) fn aborted(&self) -> Aborted {
        let prompt_tokens = self.rest.sequence.prompt_tokens;
        Aborted { prefilling: self.known == self.prompt, prompt_tokens }
    }

    fn timeline(&self) -> Timeline {
        let Rest { sequence, arrived, started, first_token, cached_tokens, preemptions, .. } = &*self.rest;
        Timeline {
            arrived: *arrived,
            started: started.unwrap_or(*arrived),
            first_token: *first_token,
            last_token: self.last_token,
            prompt_tokens: sequence.prompt_tokens,
            cached_tokens: *cached_tokens,
            output_tokens: self.known - self.prompt,
            preemptions: *preemptions,
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> &Held {
        &self.rest.held
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> u32 {
        self.rest.held.len()
    }

    #[cfg(test)]
    pub(super) fn computed(&self) -> u32 {
        self.computed
    }
}
