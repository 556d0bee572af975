//! An answer as it is kept.

use crate::sse::Usage;
use bytes::Bytes;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// An answer that came to its end.
#[derive(Debug)]
pub struct Kept {
    /// The JSON, or all events.
    pub bytes: Bytes,
    /// Where in a stream the event stands that says the usage; `None` for an answer that is no stream.
    pub usage_event: Option<Range<usize>>,
    /// What it took to make it.
    pub usage: Usage,
    /// From acceptance to the end.
    pub took: Duration,
    /// When it was made.
    pub made: policy::Time,
    /// How long it is good for.
    pub ttl: Duration,
    /// What it is an answer of.
    pub of: Origin,
    /// How often it was served.
    pub uses: AtomicU64,
}

/// What an answer is of, by which it is found when it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The model as engines name it.
    pub model: Arc<str>,
    /// The route, as the usage ledger names it.
    pub endpoint: &'static str,
    /// Whose data it is about.
    pub tags: Arc<[Box<str>]>,
}

/// What an answer takes in memory beside its bytes.
const BESIDES: usize = 512;

impl Origin {
    /// Of nothing yet.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { model: "".into(), endpoint: "", tags: [].into() }
    }
}

impl Kept {
    /// The vector of a text.
    #[must_use]
    pub fn vector(bytes: Bytes, tokens: u64, of: Origin) -> Self {
        let usage = Usage { prompt: tokens, ..Usage::default() };
        let made = shared::time::now();
        Self {
            bytes,
            usage_event: None,
            usage,
            took: Duration::ZERO,
            made,
            ttl: Duration::MAX,
            of,
            uses: 0.into(),
        }
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: policy::Time) -> Duration {
        Duration::from_micros(u64::try_from(now.0.saturating_sub(self.made.0)).unwrap_or(0))
    }

    /// For how long it is still good.
    #[must_use]
    pub fn left(&self, now: policy::Time) -> Duration {
        self.ttl.saturating_sub(self.age(now))
    }

    /// What it takes in memory.
    #[must_use]
    pub fn weight(&self) -> u32 {
        u32::try_from(self.bytes.len() + BESIDES).unwrap_or(u32::MAX)
    }

    /// It is served once more.
    pub fn used(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was served.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Its bytes for a client, in at most two pieces: with the event that says the usage or without.
    #[must_use]
    pub fn pieces(&self, wants_usage: bool) -> [Bytes; 2] {
        match &self.usage_event {
            Some(usage) if !wants_usage => [self.bytes.slice(..usage.start), self.bytes.slice(usage.end..)],
            _ => [self.bytes.clone(), Bytes::new()],
        }
    }
}
