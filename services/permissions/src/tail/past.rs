//! The last thousand or two states: one state of a while ago, and what was changed since.
//!
//! An old state is made when it is asked for and kept while others are likely to ask for it too, the next pages of a
//! list before all. Nothing here is on the way of a check, and making a state holds nobody up.

use crate::token::Token;
use policy::{Delta, Epoch, Policy, Revision, Time};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Revisions that can be gone back at least, once there were as many.
const KEPT: usize = 1_024;
/// States that stay made.
const MADE: usize = 4;

/// States of a while ago.
#[derive(Debug, Default)]
pub(super) struct Past(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    /// The oldest state, and an instant at which it was the current one.
    base: (Revision, Time, Arc<Policy>),
    deltas: VecDeque<Arc<Delta>>,
    made: VecDeque<(Revision, Arc<Policy>)>,
}

impl Past {
    /// Starts anew from one state.
    pub(super) fn begin(&self, epoch: Epoch, revision: Revision, at: Time, policy: Policy) {
        let base = (revision, at, Arc::new(policy));
        *self.lock() = Some(Kept { epoch, base, deltas: VecDeque::new(), made: VecDeque::new() });
    }

    /// Adds what comes after all that was added.
    pub(super) fn push(&self, delta: Arc<Delta>) {
        if let Some(kept) = self.lock().as_mut() {
            kept.deltas.push_back(delta);
            if kept.deltas.len() >= 2 * KEPT {
                kept.forget();
            }
        }
    }

    /// The state at this revision, if it is recent enough to be known.
    pub(super) fn at(&self, token: Token) -> Option<Arc<Policy>> {
        let (base, deltas) = {
            let kept = self.lock();
            let kept = kept.as_ref().filter(|kept| kept.epoch == token.epoch)?;
            if let Some((_, made)) = kept.made.iter().find(|(revision, _)| *revision == token.revision) {
                return Some(Arc::clone(made));
            }
            kept.up_to(token.revision)?
        };
        // Made without the lock: on a large policy this takes a while.
        let mut policy = base;
        for delta in deltas {
            Arc::make_mut(&mut policy).apply_all(&delta.changes).ok()?;
        }
        if let Some(kept) = self.lock().as_mut().filter(|kept| kept.epoch == token.epoch) {
            kept.made.push_back((token.revision, Arc::clone(&policy)));
            kept.made.drain(..kept.made.len().saturating_sub(MADE));
        }
        Some(policy)
    }

    /// The revision that was current at this instant, if that is recent enough to be known.
    pub(super) fn revision_at(&self, time: Time) -> Option<Token> {
        let kept = self.lock();
        let kept = kept.as_ref().filter(|kept| kept.base.1 <= time)?;
        let before = kept.deltas.iter().take_while(|delta| delta.at <= time).last();
        let revision = before.map_or(kept.base.0, |delta| delta.revision);
        Some(Token { epoch: kept.epoch, revision })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn up_to(&self, revision: Revision) -> Option<(Arc<Policy>, Vec<Arc<Delta>>)> {
        let last = self.deltas.back().map_or(self.base.0, |delta| delta.revision);
        if revision < self.base.0 || revision > last {
            return None;
        }
        let deltas = self.deltas.iter().take_while(|delta| delta.revision <= revision);
        Some((Arc::clone(&self.base.2), deltas.map(Arc::clone).collect()))
    }

    /// Moves the oldest state on.
    fn forget(&mut self) {
        let excess = self.deltas.len().saturating_sub(KEPT);
        let policy = Arc::make_mut(&mut self.base.2);
        for delta in self.deltas.drain(..excess) {
            // What was applied to the current state fits the older one as well; if not, the past is not to be trusted.
            if policy.apply_all(&delta.changes).is_err() {
                tracing::error!(revision = %delta.revision, "the past of the policy contradicts itself");
            }
            (self.base.0, self.base.1) = (delta.revision, delta.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Change, Role, User, UserId};
    use uuid::Uuid;

    const EPOCH: Epoch = Epoch(Uuid::from_u128(1));

    fn user(number: u64) -> UserId {
        UserId(Uuid::from_u128(u128::from(number)))
    }

    /// One user more with every revision, one revision every second.
    fn delta(number: u64) -> Arc<Delta> {
        let fact = User { id: user(number), role: Role::Member, disabled: false };
        let at = Time(i64::try_from(number).unwrap() * 1_000_000);
        Arc::new(Delta { epoch: EPOCH, revision: Revision(number), at, changes: vec![Change::PutUser(fact)] })
    }

    fn past(until: u64) -> Past {
        let past = Past::default();
        past.begin(EPOCH, Revision(10), Time(10_000_000), Policy::new());
        (11..=until).for_each(|number| past.push(delta(number)));
        past
    }

    fn at(past: &Past, revision: u64) -> Option<usize> {
        let token = Token { epoch: EPOCH, revision: Revision(revision) };
        past.at(token).map(|policy| policy.users().count())
    }

    #[test]
    fn every_recent_state_is_what_it_was_and_older_ones_are_not_known() {
        let past = past(20);
        for revision in 10..=20 {
            assert_eq!(at(&past, revision), Some(usize::try_from(revision).unwrap() - 10));
        }
        assert_eq!((at(&past, 9), at(&past, 21)), (None, None));
        assert!(past.at(Token { epoch: Epoch(Uuid::nil()), revision: Revision(15) }).is_none());
    }

    #[test]
    fn what_falls_off_the_end_moves_the_oldest_state_on() {
        let last = 10 + 5 * u64::try_from(KEPT).unwrap();
        let past = past(last);
        let oldest = (10..=last).find(|revision| at(&past, *revision).is_some()).unwrap();
        assert!(last - oldest >= u64::try_from(KEPT).unwrap(), "{oldest} of {last}");
        assert!(last - oldest <= 2 * u64::try_from(KEPT).unwrap(), "{oldest} of {last}");
        for revision in [oldest, oldest + 1, last] {
            assert_eq!(at(&past, revision), Some(usize::try_from(revision).unwrap() - 10));
        }
    }

    #[test]
    fn an_instant_belongs_to_the_revision_that_was_current() {
        let past = past(20);
        let revision = |micros| past.revision_at(Time(micros)).map(|token| token.revision.get());
        assert_eq!(revision(9_999_999), None);
        assert_eq!(revision(10_000_000), Some(10));
        assert_eq!(revision(10_999_999), Some(10));
        assert_eq!(revision(11_000_000), Some(11));
        assert_eq!(revision(99_000_000), Some(20));
    }
}
