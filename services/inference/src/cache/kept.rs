//! An answer as it is kept.

use super::gone::Mark;
use crate::{jobs::person::Submitter, sse::Usage};
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
    /// What its gateway knew of invalidations when it was asked for.
    pub mark: Mark,
    /// What was asked, where it may be asked again ahead of its callers.
    pub asked: Option<Asked>,
    /// How often it was served.
    pub uses: AtomicU64,
    /// How many of these were counted for the hour in which they were.
    pub(super) counted: AtomicU64,
}

/// What was asked, and who asked it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// In whose name it may be asked again, as long as they may.
    pub by: Submitter,
    /// The body, as engines get it.
    pub body: Bytes,
    /// Whether it was asked by somebody, and not ahead of everybody.
    pub in_time: bool,
}

/// What an answer is of, by which it is found when it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The model as engines name it.
    pub model: Arc<str>,
    /// Which of its weights and templates.
    pub revision: Arc<str>,
    /// The route, as the usage ledger names it.
    pub endpoint: &'static str,
    /// What the prompt was made from; empty when nobody said so.
    pub template: Arc<str>,
    /// Whose data it is about.
    pub tags: Arc<[Box<str>]>,
}

/// What an answer takes in memory beside its bytes.
const BESIDES: usize = 512;

impl Origin {
    /// Of nothing yet.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { model: "".into(), revision: "".into(), endpoint: "", template: "".into(), tags: [].into() }
    }
}

impl Kept {
    /// The vector of a text.
    #[must_use]
    pub fn vector(bytes: Bytes, tokens: u64, of: Origin) -> Self {
        let usage = Usage { prompt: tokens, ..Usage::default() };
        Self::new(bytes, usage, shared::time::now(), of)
    }

    /// An answer that is good for ever, as far as that is known.
    #[must_use]
    pub fn new(bytes: Bytes, usage: Usage, made: policy::Time, of: Origin) -> Self {
        Self {
            bytes,
            usage_event: None,
            usage,
            took: Duration::ZERO,
            made,
            ttl: Duration::MAX,
            of,
            mark: Mark::default(),
            asked: None,
            uses: 0.into(),
            counted: 0.into(),
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
        let asked = self.asked.as_ref().map_or(0, |asked| asked.body.len());
        u32::try_from(self.bytes.len() + asked + BESIDES).unwrap_or(u32::MAX)
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

    /// `uses × novelty`, by which answers that are about to end are made anew: how often it was served, times how new
    /// another would be, 0 for one that was just made and 1 for one whose time is over.
    #[must_use]
    pub fn score(&self, now: policy::Time) -> f64 {
        if self.ttl.is_zero() {
            return 0.0;
        }
        let novelty = (self.age(now).as_secs_f64() / self.ttl.as_secs_f64()).min(1.0);
        self.uses() as f64 * novelty
    }

    /// How often it was asked for and not counted yet; whoever had it made counts.
    pub(super) fn newly_asked(&self) -> u64 {
        let made = u64::from(self.asked.as_ref().is_some_and(|asked| asked.in_time));
        (self.uses() + made).saturating_sub(self.counted.load(Ordering::Relaxed))
    }

    /// So many of them are counted by now.
    pub(crate) fn was_counted(&self, uses: u64) {
        self.counted.fetch_add(uses, Ordering::Relaxed);
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
