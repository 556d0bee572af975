//! From a recording to requests that this engine can take: when, how long, and which clients lose patience.

use crate::trace::Row;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use simulate::{Class, workload::Workload};
use std::time::Duration;

/// What bounds a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Tokens of prompt and answer together.
    pub(super) max_model_len: u32,
    /// Prompt tokens that the chat template adds to the words.
    pub(super) overhead: u32,
}

/// What chance decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lots {
    /// Share of clients that hang up.
    pub(super) hang_up: f64,
    pub(super) seed: u64,
}

/// One request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Place in the trace.
    pub(super) row: usize,
    /// Since the start of the replay.
    pub(super) at: Duration,
    /// Words in the prompt.
    pub(super) words: u32,
    /// Its tokens, with what the template adds.
    pub(super) prompt_tokens: u32,
    /// Tokens asked for, exactly.
    pub(super) max_tokens: u32,
    /// Whether it is shorter than recorded.
    pub(super) clipped: bool,
    /// How urgent it says that it is.
    pub(super) class: Option<Class>,
    /// Whose it is.
    pub(super) user: Option<usize>,
    /// Hangs up once so many events have come.
    pub(super) hang_up_after: Option<u32>,
    seed: u64,
}

/// Every request to be sent, in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) calls: Vec<Call>,
}

impl Plan {
    pub(super) fn new(rows: &[Row], speed: f64, limits: Limits, lots: Lots) -> Self {
        let calls = rows.iter().enumerate().map(|(row, recorded)| {
            let length = limits.clip(recorded);
            let seed = word_seed(lots.seed, row);
            let mut chance = SmallRng::seed_from_u64(!seed);
            let hangs_up = chance.random::<f64>() < lots.hang_up;
            let point = chance.random_range(0..length.max_tokens);
            Call {
                row,
                at: recorded.at.div_f64(speed),
                words: length.words,
                prompt_tokens: length.words + limits.overhead,
                max_tokens: length.max_tokens,
                clipped: length.clipped,
                class: None,
                user: None,
                hang_up_after: hangs_up.then_some(point),
                seed,
            }
        });
        Self { calls: calls.collect() }
    }

    /// What `tollgate simulate` would let arrive.
    pub(super) fn simulated(workload: &Workload, limits: Limits, seed: u64) -> Self {
        let calls = workload.offered.iter().enumerate().map(|(row, offered)| {
            let row_of =
                Row { at: offered.at, context_tokens: offered.prompt, generated_tokens: offered.output };
            let length = limits.clip(&row_of);
            Call {
                row,
                at: offered.at,
                words: length.words,
                prompt_tokens: length.words + limits.overhead,
                max_tokens: length.max_tokens,
                clipped: length.clipped,
                class: Some(offered.class),
                user: Some(offered.user),
                hang_up_after: None,
                seed: word_seed(seed, row),
            }
        });
        Self { calls: calls.collect() }
    }

    /// How many requests are shorter than recorded.
    pub(super) fn clipped(&self) -> usize {
        self.calls.iter().filter(|call| call.clipped).count()
    }
}

/// What decides the words of one prompt.
const fn word_seed(seed: u64, row: usize) -> u64 {
    seed ^ (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Call {
    /// Words that are one token each. No two prompts begin alike, so neither a prefix cache nor a response cache makes
    /// the replay cheaper than what was recorded.
    pub(super) fn prompt(&self) -> String {
        let mut words = SmallRng::seed_from_u64(self.seed);
        let words = (0..self.words).map(|_| format!("w{}", words.random_range(0..500)));
        words.collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Length {
    words: u32,
    max_tokens: u32,
    clipped: bool,
}

impl Limits {
    /// The answer keeps its length as long as a prompt of one word still fits beside it; the prompt gets the rest.
    /// A prompt shorter than what the template adds becomes one word, an answer of nothing one token.
    fn clip(self, row: &Row) -> Length {
        let shortest = self.overhead + 1;
        let room = self.max_model_len.saturating_sub(shortest).max(1);
        let max_tokens = row.generated_tokens.clamp(1, room);
        let longest = self.max_model_len.saturating_sub(max_tokens).max(shortest);
        let context = row.context_tokens.clamp(shortest, longest);
        let clipped = context < row.context_tokens || max_tokens < row.generated_tokens;
        Length { words: context - self.overhead, max_tokens, clipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_model_len: 100, overhead: 3 };

    fn row(at: u64, context_tokens: u32, generated_tokens: u32) -> Row {
        Row { at: Duration::from_secs(at), context_tokens, generated_tokens }
    }

    fn clip(context: u32, generated: u32) -> (u32, u32, bool) {
        let length = LIMITS.clip(&row(0, context, generated));
        (length.words, length.max_tokens, length.clipped)
    }

    #[test]
    fn what_fits_is_sent_as_recorded() {
        assert_eq!(clip(50, 20), (47, 20, false));
        assert_eq!(clip(80, 20), (77, 20, false), "exactly full");
    }

    #[test]
    fn a_long_prompt_makes_way_for_the_answer() {
        assert_eq!(clip(81, 20), (77, 20, true));
        assert_eq!(clip(7_000, 90), (7, 90, true));
    }

    #[test]
    fn an_answer_that_leaves_no_room_is_clipped_too() {
        assert_eq!(clip(50, 96), (1, 96, true));
        assert_eq!(clip(50, 500), (1, 96, true));
    }

    #[test]
    fn the_smallest_request_is_one_word_and_one_token() {
        assert_eq!(clip(2, 0), (1, 1, false));
        assert_eq!(clip(0, 5), (1, 5, false));
    }

    fn plan(rows: &[Row], speed: f64, hang_up: f64, seed: u64) -> Plan {
        Plan::new(rows, speed, LIMITS, Lots { hang_up, seed })
    }

    #[test]
    fn arrivals_are_compressed_by_the_speed() {
        let rows = [row(0, 50, 5), row(3, 200, 5), row(10, 50, 5)];
        let plan = plan(&rows, 4.0, 0.0, 1);
        let at: Vec<_> = plan.calls.iter().map(|call| call.at.as_millis()).collect();
        assert_eq!(at, [0, 750, 2500]);
        assert_eq!(plan.clipped(), 1);
        assert!(plan.calls.iter().all(|call| call.hang_up_after.is_none()));
    }

    #[test]
    fn the_seed_decides_who_hangs_up_and_where() {
        let rows: Vec<_> = (0..2_000).map(|at| row(at, 50, 40)).collect();
        let points = |seed| -> Vec<_> {
            plan(&rows, 1.0, 0.05, seed).calls.iter().map(|call| call.hang_up_after).collect()
        };
        assert_eq!(points(7), points(7));
        assert_ne!(points(7), points(8));
        let hung_up: Vec<_> = points(7).into_iter().flatten().collect();
        assert!((60..140).contains(&hung_up.len()), "{} of 2000 are not about 5 %", hung_up.len());
        assert!(hung_up.iter().all(|point| *point < 40));
        assert!(plan(&rows, 1.0, 1.0, 7).calls.iter().all(|call| call.hang_up_after.is_some()));
    }

    #[test]
    fn prompts_have_their_words_and_differ() {
        let rows = [row(0, 50, 5), row(1, 50, 5)];
        let calls = plan(&rows, 1.0, 0.0, 1).calls;
        let prompts: Vec<_> = calls.iter().map(Call::prompt).collect();
        assert_eq!(prompts[0].split(' ').count(), 47);
        assert!(prompts[0].split(' ').all(|word| word.starts_with('w')));
        assert_ne!(prompts[0], prompts[1]);
        assert_eq!(prompts[0], calls[0].prompt(), "the same call has the same prompt");
    }
}
