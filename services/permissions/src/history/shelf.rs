//! States that were made and may be asked for again, the next pages of a list before all: pure, it is told the time.

use super::State;
use crate::token::Token;
use policy::Revision;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// States that are kept at most.
const KEPT: usize = 4;
/// Facts that the kept states have together, but for the last one used, which may be of any size.
const FACTS: usize = 1_000_000;
/// How long a state is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(60);

/// The last used comes first.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    place: Token,
    state: Arc<State>,
    used: Instant,
}

impl Shelf {
    /// The state at this revision.
    pub(super) fn take(&mut self, place: Token, now: Instant) -> Option<Arc<State>> {
        let at = self.0.iter().position(|kept| kept.place == place)?;
        let kept = self.0.remove(at);
        let state = Arc::clone(&kept.state);
        self.0.insert(0, Kept { used: now, ..kept });
        Some(state)
    }

    /// The last state up to a revision, and not from before another.
    pub(super) fn near(&self, place: Token, least: Revision) -> Option<Arc<State>> {
        let same = self.0.iter().filter(|kept| kept.place.epoch == place.epoch);
        let near = same.filter(|kept| (least..=place.revision).contains(&kept.place.revision));
        near.max_by_key(|kept| kept.place.revision).map(|kept| Arc::clone(&kept.state))
    }

    /// Puts a state there, and returns what has to go for it.
    pub(super) fn put(&mut self, place: Token, state: Arc<State>, now: Instant) -> Vec<Arc<State>> {
        self.0.retain(|kept| kept.place != place);
        self.0.insert(0, Kept { place, state, used: now });
        let (mut facts, mut fitting) = (0, 0);
        for kept in self.0.iter().take(KEPT) {
            facts += kept.state.policy.size();
            if fitting > 0 && facts > FACTS {
                break;
            }
            fitting += 1;
        }
        self.0.drain(fitting..).map(|kept| kept.state).collect()
    }

    /// Returns the states that nobody has asked for in a while.
    pub(super) fn clear(&mut self, now: Instant) -> Vec<Arc<State>> {
        self.0.extract_if(.., |kept| now.duration_since(kept.used) >= IDLE).map(|kept| kept.state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Change, Epoch, Policy, Role, Time, User, UserId};
    use uuid::Uuid;

    fn place(revision: u64) -> Token {
        Token { epoch: Epoch(Uuid::from_u128(1)), revision: Revision(revision) }
    }

    fn state(revision: u64, users: u128) -> Arc<State> {
        let user = |id| User { id: UserId(Uuid::from_u128(id)), role: Role::Member, disabled: false };
        let policy = Policy::from_facts((0..users).map(|id| Change::PutUser(user(id)))).unwrap();
        Arc::new(State { revision: Revision(revision), at: Time(0), policy })
    }

    fn shelf(revisions: impl IntoIterator<Item = u64>) -> Shelf {
        let mut shelf = Shelf::default();
        for revision in revisions {
            shelf.put(place(revision), state(revision, 0), Instant::now());
        }
        shelf
    }

    fn revisions(states: &[Arc<State>]) -> Vec<u64> {
        states.iter().map(|state| state.revision.get()).collect()
    }

    #[test]
    fn the_one_longest_unused_goes_first() {
        let now = Instant::now();
        let mut shelf = shelf(1..=4);
        assert!(shelf.take(place(1), now).is_some());
        assert_eq!(revisions(&shelf.put(place(5), state(5, 0), now)), [2]);
        assert!(shelf.take(place(2), now).is_none());
        assert_eq!(revisions(&shelf.put(place(5), state(5, 0), now)), [0; 0]);
    }

    #[test]
    fn large_states_push_all_others_out_and_one_is_kept_whatever_its_size() {
        let now = Instant::now();
        let mut shelf = shelf(1..=3);
        let large = u128::try_from(FACTS).unwrap() + 1;
        assert_eq!(revisions(&shelf.put(place(4), state(4, large), now)), [3, 2, 1]);
        assert!(shelf.take(place(4), now).is_some());
        assert_eq!(revisions(&shelf.put(place(5), state(5, 0), now)), [4]);
    }

    #[test]
    fn the_nearest_one_before_is_found_within_its_log_only() {
        let shelf = shelf([3, 7, 9]);
        let near = |place, least| shelf.near(place, Revision(least)).map(|state| state.revision.get());
        assert_eq!(near(place(8), 0), Some(7));
        assert_eq!(near(place(7), 7), Some(7));
        assert_eq!((near(place(8), 8), near(place(2), 0)), (None, None));
        assert_eq!(near(Token { epoch: Epoch(Uuid::nil()), revision: Revision(8) }, 0), None);
    }

    #[test]
    fn what_nobody_asks_for_is_given_up() {
        let mut shelf = shelf([1, 2]);
        let later = Instant::now() + IDLE / 2;
        assert!(shelf.take(place(1), later).is_some());
        assert_eq!(revisions(&shelf.clear(later)), [0; 0]);
        assert_eq!(revisions(&shelf.clear(Instant::now() + IDLE)), [2]);
        assert_eq!(revisions(&shelf.clear(later + IDLE)), [1]);
    }
}
