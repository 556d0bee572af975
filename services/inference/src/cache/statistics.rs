//! How much the cache is worth, per model.

use crate::sse::Usage;
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Where an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// In this process.
    Memory,
    /// In the second tier.
    Redis,
    /// On its way, for somebody else.
    Flight,
    /// Under its `Idempotency-Key`.
    Repeated,
    /// Nowhere.
    Missed,
}

impl Found {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Redis, Self::Flight, Self::Repeated, Self::Missed];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Flight => "flight",
            Self::Repeated => "repeated",
            Self::Missed => "missed",
        }
    }
}

/// What was counted of a model.
#[derive(Debug, Default)]
struct Counts {
    found: [AtomicU64; Found::ALL.len()],
    prompt: AtomicU64,
    completion: AtomicU64,
    micros: AtomicU64,
}

/// What was counted of a model since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Requests by where their answers were found, in the order of [`Found::ALL`].
    pub found: [u64; Found::ALL.len()],
    /// Tokens that no engine had to read.
    pub prompt_tokens: u64,
    /// Tokens that no engine had to make.
    pub completion_tokens: u64,
    /// Time that the same answers took when engines made them.
    pub time: Duration,
}

impl Total {
    /// Requests whose answers could have been there.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.found.iter().sum()
    }

    /// Those of them whose answers were.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.asked() - self.found[Found::Missed as usize]
    }
}

/// Counts of every model that was asked.
#[derive(Debug, Clone, Default)]
pub struct Statistics(Arc<RwLock<HashMap<Arc<str>, Arc<Counts>>>>);

impl Statistics {
    /// A request whose answer was looked for.
    pub fn count(&self, model: &str, found: Found) {
        self.of(model).found[found as usize].fetch_add(1, Relaxed);
    }

    /// Work that no engine had to do.
    pub fn saved(&self, model: &str, usage: Usage, time: Duration) {
        let counts = self.of(model);
        counts.prompt.fetch_add(usage.prompt, Relaxed);
        counts.completion.fetch_add(usage.completion, Relaxed);
        counts.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(0), Relaxed);
    }

    fn of(&self, model: &str) -> Arc<Counts> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned();
        known.unwrap_or_else(|| {
            let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(counts.entry(model.into()).or_default())
        })
    }

    /// All of it, the models in order.
    #[must_use]
    pub fn read(&self) -> Vec<(Arc<str>, Total)> {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            counts.iter().map(|(model, counts)| (Arc::clone(model), counts.total())).collect();
        drop(counts);
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

impl Counts {
    fn total(&self) -> Total {
        Total {
            found: std::array::from_fn(|at| self.found[at].load(Relaxed)),
            prompt_tokens: self.prompt.load(Relaxed),
            completion_tokens: self.completion.load(Relaxed),
            time: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }
}
