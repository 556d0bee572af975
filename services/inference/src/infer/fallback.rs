//! Which model stands in for which.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Which model stands in for which, by their own names.
#[derive(Debug, Clone, Default)]
pub struct Fallback(Arc<RwLock<BTreeMap<String, String>>>);

impl Fallback {
    /// As configured.
    #[must_use]
    pub fn new(configured: &BTreeMap<String, String>) -> Self {
        Self(Arc::new(RwLock::new(configured.clone())))
    }

    /// As configured from now on.
    pub fn configure(&self, configured: &BTreeMap<String, String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(configured);
    }

    pub(super) fn of(&self, model: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }
}
