//! How long a step takes: a sum over what is in it, times some noise.

use std::time::Duration;

use serde::Deserialize;

use crate::text::mix;

/// What each part of a step costs. Where the figures come from stands beside them in `engines.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Milliseconds of any step: launching kernels, reading the weights, sampling, the scheduler itself.
    pub step_ms: f64,
    /// Microseconds for each prompt token: what the matrix products cost once they, and not memory, are the limit.
    pub prefill_token_us: f64,
    /// Nanoseconds for each pair of a prompt token and a token before it (or itself): attention's square.
    pub attention_ns: f64,
    /// Microseconds for each sequence in the step: its share of scheduling, sampling and sending.
    pub sequence_us: f64,
    /// Nanoseconds for each token in front of a token being made: its keys and values have to be read.
    pub context_token_ns: f64,
    /// Standard deviation of a step's length, as a share of it. 0 makes every step exactly as long as the model says.
    pub noise: f64,
}

/// What is in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Tokens of prompts.
    pub prefill_tokens: u64,
    /// Over these, the sum of the tokens each of them looks back on, itself included.
    pub attended: u64,
    /// Sequences.
    pub sequences: u64,
    /// Over the sequences that are making tokens, the sum of the tokens they look back on.
    pub context_tokens: u64,
}

impl Work {
    /// A piece of a prompt behind so many tokens that are computed already.
    #[must_use]
    #[inline]
    pub fn prefill(tokens: u32, behind: u32) -> Self {
        let (tokens, behind) = (u64::from(tokens), u64::from(behind));
        let attended = tokens * behind + tokens * (tokens + 1) / 2;
        Self { prefill_tokens: tokens, attended, sequences: 1, context_tokens: 0 }
    }

    /// One more token behind so many.
    #[must_use]
    #[inline]
    pub fn decode(behind: u32) -> Self {
        Self { sequences: 1, context_tokens: u64::from(behind) + 1, ..Self::default() }
    }

    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.prefill_tokens += other.prefill_tokens;
        self.attended += other.attended;
        self.sequences += other.sequences;
        self.context_tokens += other.context_tokens;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.prefill_tokens -= other.prefill_tokens;
        self.attended -= other.attended;
        self.sequences -= other.sequences;
        self.context_tokens -= other.context_tokens;
    }
}

impl Speed {
    /// A model in which nothing takes any time.
    pub const INSTANT: Self = Self {
        step_ms: 0.0,
        prefill_token_us: 0.0,
        attention_ns: 0.0,
        sequence_us: 0.0,
        context_token_ns: 0.0,
        noise: 0.0,
    };

    /// How long a step with this in it takes, without noise.
    #[must_use]
    pub fn duration(&self, work: &Work) -> Duration {
        span(self.seconds(work))
    }

    /// The same with noise: the one of step `step` in the run that `seed` stands for.
    #[must_use]
    pub fn noisy(&self, work: &Work, seed: u64, step: u64) -> Duration {
        if self.noise == 0.0 {
            return self.duration(work);
        }
        span(self.seconds(work) * (1.0 + self.noise * bell(mix(seed, step))).max(0.0))
    }

    /// Everything so many times as slow, the noise as it is.
    #[must_use]
    pub fn slower(&self, times: f64) -> Self {
        Self {
            step_ms: self.step_ms * times,
            prefill_token_us: self.prefill_token_us * times,
            attention_ns: self.attention_ns * times,
            sequence_us: self.sequence_us * times,
            context_token_ns: self.context_token_ns * times,
            noise: self.noise,
        }
    }

    fn seconds(&self, work: &Work) -> f64 {
        self.step_ms * 1e-3
            + (self.prefill_token_us * work.prefill_tokens as f64 + self.sequence_us * work.sequences as f64)
                * 1e-6
            + (self.attention_ns * work.attended as f64 + self.context_token_ns * work.context_tokens as f64)
                * 1e-9
    }
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// Four dice of 16 bits: mean 0, standard deviation 1, and never beyond 3.5, so that no step takes less than no time.
fn bell(bits: u64) -> f64 {
    let dice = (0..4).map(|die| f64::from((bits >> (16 * die)) as u16) / 32_767.5 - 1.0);
    dice.sum::<f64>() * 0.75_f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_prompt_is_cut_does_not_change_what_it_costs() {
        let whole = Work::prefill(1000, 24);
        let mut pieces = Work::prefill(300, 24);
        pieces.add(Work::prefill(700, 324));
        assert_eq!((whole.prefill_tokens, whole.attended), (pieces.prefill_tokens, pieces.attended));
        pieces.remove(Work::prefill(700, 324));
        assert_eq!(pieces, Work::prefill(300, 24));
    }

    #[test]
    fn noise_keeps_the_mean_and_has_the_width_asked_for() {
        let draws: Vec<f64> = (0..40_000).map(|step| bell(mix(7, step))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
        assert!(draws.iter().all(|draw| draw.abs() < 3.5));
    }

    #[test]
    fn the_same_seed_makes_the_same_noise() {
        let (speed, work) = (Speed { step_ms: 10.0, noise: 0.1, ..Speed::INSTANT }, Work::decode(9));
        assert_eq!(speed.noisy(&work, 1, 5), speed.noisy(&work, 1, 5));
        assert_ne!(speed.noisy(&work, 1, 5), speed.noisy(&work, 1, 6));
        assert_ne!(speed.noisy(&work, 1, 5), speed.noisy(&work, 2, 5));
        assert_eq!(Speed { noise: 0.0, ..speed }.noisy(&work, 1, 5), Duration::from_millis(10));
    }
}
