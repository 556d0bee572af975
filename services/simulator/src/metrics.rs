//! What the engine counts, with the meaning the real engine gives each number: an aborted request leaves its tokens and
//! its time to first token behind, but never appears among the finished ones.

mod page;
mod write;

use std::time::Duration;

use self::write::Histogram;
use crate::batching::{Batch, Limits, Moment, Progress, Timeline};
use crate::engine::{Counters, Group};

/// Upper bounds of short waits, of single tokens and of whole requests, in seconds.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
const STEP_TOKENS: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];
const ANSWERS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];
const PREEMPTIONS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0];

/// Everything `/metrics` shows, apart from what admission counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    model: String,
    max_model_len: u32,
    limits: Limits,
    /// When the engine started, in seconds since 1970.
    created: f64,
    counters: Counters,
    /// Tokens of the prompts in `counters` that were in the cache.
    cached_tokens: u64,
    stopped: u64,
    length: u64,
    prompt_tokens: Histogram,
    generation_tokens: Histogram,
    step_tokens: Histogram,
    longest_answer: Histogram,
    answers: Histogram,
    max_tokens: Histogram,
    first_token: Histogram,
    between_tokens: Histogram,
    per_output_token: Histogram,
    whole: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    preemptions: Histogram,
    computed_tokens: Histogram,
}

impl Metrics {
    pub(crate) fn new(model: &str, max_model_len: u32, limits: Limits) -> Self {
        let (tokens, request) = (|| Histogram::new(&one_two_five(max_model_len)), || Histogram::new(REQUEST));
        Self {
            model: model.to_owned(),
            max_model_len,
            limits,
            created: crate::clock::unix_seconds_exact(),
            counters: Counters::default(),
            cached_tokens: 0,
            stopped: 0,
            length: 0,
            prompt_tokens: tokens(),
            generation_tokens: tokens(),
            step_tokens: Histogram::new(STEP_TOKENS),
            longest_answer: tokens(),
            answers: Histogram::new(ANSWERS),
            max_tokens: tokens(),
            first_token: Histogram::new(FIRST_TOKEN),
            between_tokens: Histogram::new(TOKEN),
            per_output_token: Histogram::new(TOKEN),
            whole: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            preemptions: Histogram::new(PREEMPTIONS),
            computed_tokens: tokens(),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// What is in the batch, in the queue and in the cache now.
    pub(crate) fn load(&mut self, batch: &Batch) {
        let counts = batch.counts();
        self.counters = Counters {
            running: batch.running(),
            waiting: batch.waiting(),
            preemptions: counts.preemptions,
            prefix_queries: counts.prefix_queries,
            prefix_hits: counts.prefix_hits,
            blocks_held: batch.cache().held,
            ..self.counters
        };
    }

    /// What one step made.
    pub(crate) fn step(&mut self, made: &[Progress]) {
        let (mut prompt, mut cached, mut generated) = (0, 0, 0);
        for progress in made {
            match progress.moment {
                Moment::Prefilled { prompt_tokens, cached_tokens, since_arrival, token } => {
                    prompt += u64::from(prompt_tokens);
                    cached += u64::from(cached_tokens);
                    generated += u64::from(token);
                    self.first_token.observe(since_arrival.as_secs_f64());
                }
                Moment::Decoded { since_last } => {
                    generated += 1;
                    self.between_tokens.observe(since_last.as_secs_f64());
                }
            }
        }
        self.counters.prompt_tokens += prompt;
        self.cached_tokens += cached;
        self.counters.generation_tokens += generated;
        self.step_tokens.observe((prompt + generated) as f64);
    }

    /// A sequence came to its end.
    pub(crate) fn finished(&mut self, timeline: &Timeline, group: Group, now: Duration) {
        let Timeline { arrived, started, first_token, last_token, .. } = *timeline;
        let Timeline { prompt_tokens, cached_tokens, output_tokens, preemptions, .. } = *timeline;
        self.counters.finished += 1;
        if group.stopped {
            self.stopped += 1
        } else {
            self.length += 1
        }
        let decode = seconds(first_token, last_token);
        self.whole.observe(seconds(arrived, now));
        self.queue.observe(seconds(arrived, started));
        self.prefill.observe(seconds(started, first_token));
        self.decode.observe(decode);
        self.inference.observe(seconds(started, last_token));
        self.per_output_token.observe(if output_tokens > 1 {
            decode / f64::from(output_tokens - 1)
        } else {
            0.0
        });
        self.prompt_tokens.observe(f64::from(prompt_tokens));
        self.computed_tokens.observe(f64::from(prompt_tokens - cached_tokens));
        self.generation_tokens.observe(f64::from(output_tokens));
        self.preemptions.observe(f64::from(preemptions));
        if let Some(most) = group.max_tokens {
            self.max_tokens.observe(f64::from(most));
        }
        if let Some(n) = group.n {
            self.answers.observe(f64::from(n));
            self.longest_answer.observe(f64::from(output_tokens));
        }
    }

    /// A sequence was taken out before its end.
    pub(crate) fn aborted(&mut self) {
        self.counters.aborted += 1;
    }
}

fn seconds(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64()
}

/// 1, 2, 5, 10, … up to the longest sequence.
fn one_two_five(most: u32) -> Vec<f64> {
    let most = f64::from(most);
    let decades = (0..10).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    decades.take_while(|bound| *bound <= most).collect()
}
