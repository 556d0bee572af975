//! How far an answer has come: counted where it streams, read where the next start is decided.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The tokens that an answer has so far. Clones count the same answer.
#[derive(Debug, Clone, Default)]
pub struct Made(Arc<AtomicU32>);

impl Made {
    /// Counts further tokens.
    pub fn add(&self, tokens: u32) {
        self.0.fetch_add(tokens, Ordering::Relaxed);
    }

    /// All of them.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
