//! Building a state from facts as they come in, for instance from rows of a database, without holding them all.

use super::{ApplyError, Policy, reach::Touched};
use crate::fact::Change;

/// A state that is being built.
#[derive(Debug, Default)]
pub struct Loader {
    policy: Policy,
    touched: Touched,
}

impl Loader {
    /// A state without any fact yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one fact in; it may be forgotten afterwards.
    ///
    /// # Errors
    /// When it refers to one that has not come before it; see [`Policy::apply`].
    pub fn take(&mut self, fact: &Change) -> Result<(), ApplyError> {
        self.policy.write(fact, &mut self.touched)
    }

    /// Works out once, for all facts together, what the check needs.
    #[must_use]
    pub fn finish(mut self) -> Policy {
        self.policy.refresh(self.touched);
        self.policy.recomputed = 0;
        self.policy
    }
}
