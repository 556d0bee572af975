//! What goes into a batch and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

/// One answer to be made; an embedding is a sequence without output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Tells it from the others; never two of the same in one batch.
    pub id: u64,
    /// Lower is sooner, when the batch goes by priority.
    pub priority: i64,
    /// Tokens to be computed before the first one is made. A prompt of none counts as one.
    pub prompt_tokens: u32,
    /// Tokens to be made.
    pub output_tokens: u32,
    /// What its blocks will hold: hashes of the full blocks of the prompt, and of the answer behind it when that is
    /// known, each of them covering everything before it too. Blocks past the end of this list, all of them when it is
    /// empty, are never shared and are computed again after a preemption.
    pub prefix: Arc<[u64]>,
}

/// What a step made for one sequence: its prompt was completed, or it got a further token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which sequence.
    pub id: u64,
    /// What it got.
    pub moment: Moment,
    /// Set with the last one: the sequence has left the batch. Boxed, since hundreds of others are written in a step.
    pub finished: Option<Box<Timeline>>,
}

/// Which token it was, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The prompt is computed, and the first token made unless the sequence has no output.
    Prefilled {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Those of them that were found in the cache.
        cached_tokens: u32,
        /// Since the sequence was added.
        since_arrival: Duration,
        /// Whether a token was made.
        token: bool,
    },
    /// One more token was made.
    Decoded {
        /// Since the token before; long when the sequence was preempted in between.
        since_last: Duration,
    },
}

/// When the stations of a finished sequence were passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    /// It was added.
    pub arrived: Duration,
    /// It left the queue for the first time.
    pub started: Duration,
    /// Its prompt was computed.
    pub first_token: Duration,
    /// It got its last token.
    pub last_token: Duration,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Those of them that were found in the cache when it started.
    pub cached_tokens: u32,
    /// Tokens made.
    pub output_tokens: u32,
    /// How often it lost its blocks and began anew.
    pub preemptions: u32,
}

/// What a sequence that was taken out still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Its prompt was never computed to its end.
    pub prefilling: bool,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
}

/// A sequence that could not end even if it had the whole cache to itself. A real engine refuses to start with a cache
/// that is smaller than its longest sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{tokens} tokens do not fit into a cache of {room}")]
pub struct TooLong {
    /// Tokens of the sequence, prompt and output.
    pub tokens: u64,
    /// Tokens the cache holds.
    pub room: u64,
}
