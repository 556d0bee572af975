//! How long an engine takes for a prompt and for a step: believed at first, then learned from what it does.

use crate::fit::Fit;

/// What an engine takes, in seconds. A step computes prompts and one token of each answer under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Of each step.
    pub step: f64,
    /// Of each token of a prompt that is not in the prefix cache.
    pub prefill: f64,
    /// Of each such token, times the tokens before it.
    pub attention: f64,
    /// Of each answer under way, per step.
    pub sequence: f64,
    /// Of each token that these hold, per step.
    pub context: f64,
}

impl Default for Speed {
    /// A model of some ten billion parameters on one data-centre GPU, from public measurements of vLLM. It is a guess
    /// to begin with; a few dozen requests correct it.
    fn default() -> Self {
        Self { step: 8e-3, prefill: 60e-6, attention: 1.5e-9, sequence: 25e-6, context: 52e-9 }
    }
}

/// A stretch of an engine's time and what it did in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stretch {
    pub(crate) seconds: f64,
    pub(crate) prefilled: Prefill,
    pub(crate) steps: f64,
    /// Answers under way, on the mean.
    pub(crate) running: f64,
    /// Tokens that they held.
    pub(crate) context: f64,
}

/// Prompt tokens to be computed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Prefill {
    pub(crate) tokens: f64,
    /// Sum of the tokens before each.
    pub(crate) pairs: f64,
}

impl Prefill {
    /// A prompt of which the beginning is cached.
    pub(crate) fn of(prompt: u32, cached: u32) -> Self {
        let (tokens, cached) = (f64::from(prompt.saturating_sub(cached)), f64::from(cached));
        Self { tokens, pairs: tokens * (cached + tokens / 2.0) }
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self { tokens: self.tokens - before.tokens, pairs: self.pairs - before.pairs }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.pairs += other.pairs;
    }
}

/// Sizes of prompts, by powers of four from 256 tokens.
const SIZES: usize = 5;
/// Seconds in which a size's own correction loses two thirds: what is refused is never measured again, so that what
/// was once learned of it must not stay.
const FORGET: f64 = 60.0;
/// Weight of the newest observation in a correction.
const NEWEST: f64 = 0.1;
/// The part of starts that are to be in time by their margin.
const CONFIDENCE: f64 = 0.9;
/// The margin before anything was seen, as a part of the predicted time.
const FIRST_MARGIN: f64 = 0.15;
/// Step of the margin's stochastic approximation.
const MARGIN_STEP: f64 = 0.02;

/// What is known of one engine's speed.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    believed: Speed,
    fit: Fit<5>,
    corrections: [(f64, f64); SIZES],
    margin: f64,
    known: bool,
}

impl Cost {
    pub(crate) fn new(believed: Speed) -> Self {
        Self {
            believed,
            fit: Fit::new(),
            corrections: [(1.0, 0.0); SIZES],
            margin: FIRST_MARGIN,
            known: false,
        }
    }

    /// Whether something was learned of it.
    pub(crate) const fn is_known(&self) -> bool {
        self.known
    }

    /// Takes over what is known of a peer, as a belief that its own observations soon outweigh.
    pub(crate) fn guess(&mut self, peer: &Self) {
        self.believed = peer.believed;
        self.fit = Fit::from(peer.fit.weights());
    }

    /// Seconds that a prompt takes.
    pub(crate) fn prefill(&self, prefill: Prefill) -> f64 {
        let [tokens, pairs, ..] = self.fit.weights();
        tokens * self.believed.prefill * prefill.tokens + pairs * self.believed.attention * prefill.pairs
    }

    /// Seconds that a step takes in which no prompt is computed.
    pub(crate) fn step(&self, running: f64, context: f64) -> f64 {
        let [_, _, step, sequence, held] = self.fit.weights();
        step * self.believed.step
            + sequence * self.believed.sequence * running
            + held * self.believed.context * context
    }

    /// By how much prompts of this size take longer than they should.
    pub(crate) fn correction(&self, tokens: f64, now: f64) -> f64 {
        let (excess, at) = self.corrections[size(tokens)];
        ((excess - 1.0) * (-(now - at).max(0.0) / FORGET).exp()) + 1.0
    }

    /// What is added to a predicted time, as a part of it, so that most are in time.
    pub(crate) const fn margin(&self) -> f64 {
        self.margin
    }

    /// Learns from a stretch of time.
    pub(crate) fn learn(&mut self, seen: Stretch) {
        self.known = true;
        let believed = &self.believed;
        let parts = [
            believed.prefill * seen.prefilled.tokens,
            believed.attention * seen.prefilled.pairs,
            believed.step * seen.steps,
            believed.sequence * seen.running * seen.steps,
            believed.context * seen.context * seen.steps,
        ];
        self.fit.learn(parts, seen.seconds);
    }

    /// Learns from a first token how good the prediction was, both counted from the start.
    pub(crate) fn judge(&mut self, predicted: f64, took: f64, tokens: f64, now: f64) {
        if predicted <= 0.0 || took <= 0.0 {
            return;
        }
        let error = took / predicted - 1.0;
        let side = if error > self.margin { CONFIDENCE } else { CONFIDENCE - 1.0 };
        self.margin = MARGIN_STEP.mul_add(side, self.margin).clamp(0.0, 1.0);
        let correction = self.correction(tokens, now);
        let ratio = (correction * (1.0 + error)).clamp(0.5, 2.0);
        self.corrections[size(tokens)] = (NEWEST.mul_add(ratio - correction, correction), now);
    }
}

fn size(tokens: f64) -> usize {
    let mut size = 0;
    let mut most = 256.0;
    while size + 1 < SIZES && tokens > most {
        size += 1;
        most *= 4.0;
    }
    size
}

#[cfg(test)]
mod tests;
