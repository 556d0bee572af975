//! The first tier: answers in this process, as many as fit.

use super::{kept::Kept, key::Key};
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An answer's key, and whether it is a stream.
pub(super) type Slot = (Key, bool);

/// Answers by their keys.
#[derive(Debug, Clone)]
pub(super) struct Memory(Cache<Slot, Arc<Kept>, ahash::RandomState>);

#[derive(Debug)]
struct WhileGood;

impl Expiry<Slot, Arc<Kept>> for WhileGood {
    fn expire_after_create(&self, _: &Slot, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(kept.left(shared::time::now()))
    }

    fn expire_after_update(
        &self,
        _: &Slot,
        kept: &Arc<Kept>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.left(shared::time::now()))
    }
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_: &Slot, kept: &Arc<Kept>| kept.weight())
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .expire_after(WhileGood);
        Self(cache.build_with_hasher(ahash::RandomState::new()))
    }

    pub(super) fn get(&self, slot: &Slot) -> Option<Arc<Kept>> {
        self.0.get(slot)
    }

    pub(super) fn put(&self, slot: Slot, kept: Arc<Kept>) {
        self.0.insert(slot, kept);
    }

    pub(super) fn forget(&self, slot: &Slot) {
        self.0.invalidate(slot);
    }

    /// Drops what is chosen. Returns how many answers that were.
    pub(super) fn drop_those(&self, mut chosen: impl FnMut(&Key, &Kept) -> bool) -> u64 {
        let mut dropped = 0;
        for (slot, kept) in &self.0 {
            if chosen(&slot.0, &kept) {
                self.0.invalidate(slot.as_ref());
                dropped += 1;
            }
        }
        dropped
    }

    /// Answers, and bytes that they take.
    pub(super) fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }

    /// What is chosen, with its keys.
    pub(super) fn list(&self, chosen: impl Fn(&Key, &Kept) -> bool) -> Vec<(Key, Arc<Kept>)> {
        let all = self.0.iter().map(|(slot, kept)| (slot.0, kept));
        all.filter(|(key, kept)| chosen(key, kept)).collect()
    }
}
