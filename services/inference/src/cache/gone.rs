//! Answers that were said to go, so that one in Redis, in flight, or at a gateway that was not reached, is not served again.
//!
//! No clock decides what was made before: each invalidation has a number in the order of the database, and each answer
//! the number that its gateway had heard of when it was asked for. An answer that did not know of an invalidation may have
//! been made before it, and goes.

use super::{chosen::Chosen, kept::Origin, key::Key};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use uuid::Uuid;

/// How far a gateway had heard of what was invalidated: in which database, and the last number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The database in which they are counted; nil before it was reached.
    pub epoch: Uuid,
    /// The last one.
    pub sequence: u64,
}

impl Mark {
    /// Whether whoever was that far had heard of this one.
    #[must_use]
    pub fn knew(&self, epoch: Uuid, sequence: u64) -> bool {
        self.epoch == epoch && self.sequence >= sequence
    }
}

/// What was said to go.
#[derive(Debug, Default)]
pub(super) struct Gone(RwLock<Heard>);

#[derive(Debug, Default)]
struct Heard {
    mark: Mark,
    chosen: Vec<(u64, Chosen)>,
}

/// Choices that are remembered; of more, the oldest is held to have chosen everything.
const REMEMBERED: usize = 1_000;

impl Gone {
    /// How far it was heard.
    pub(super) fn mark(&self) -> Mark {
        self.heard().mark
    }

    /// Further ones, in order, up to `mark`.
    pub(super) fn hear(&self, mark: Mark, rows: &[(u64, Chosen)]) {
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if heard.mark.epoch != mark.epoch {
            heard.chosen.clear();
        }
        heard.mark = mark;
        for (sequence, chosen) in rows {
            heard.chosen.retain(|(_, known)| known != chosen);
            heard.chosen.push((*sequence, chosen.clone()));
            if heard.chosen.len() > REMEMBERED {
                let (oldest, _) = heard.chosen.remove(0);
                heard.chosen[0] = (oldest.max(heard.chosen[0].0), Chosen::default());
            }
        }
    }

    /// Whether an answer is to go that was asked for by whoever was that far.
    pub(super) fn has(&self, key: &Key, of: &Origin, mark: Mark) -> bool {
        let heard = self.heard();
        let epoch = heard.mark.epoch;
        heard.chosen.iter().any(|(sequence, chosen)| !mark.knew(epoch, *sequence) && chosen.matches(key, of))
    }

    fn heard(&self) -> RwLockReadGuard<'_, Heard> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Uuid = Uuid::from_u128(1);

    fn of(model: &str) -> Origin {
        Origin { model: model.into(), ..Origin::none() }
    }

    fn chosen(model: &str) -> Chosen {
        Chosen { model: model.to_owned(), ..Chosen::default() }
    }

    #[test]
    fn whoever_knew_of_it_is_believed_and_nobody_else() {
        let gone = Gone::default();
        gone.hear(Mark { epoch: EPOCH, sequence: 7 }, &[(5, chosen("m")), (7, chosen("n"))]);
        let has = |model, epoch, sequence| gone.has(&Key([0; 32]), &of(model), Mark { epoch, sequence });
        assert!(has("m", EPOCH, 4) && !has("m", EPOCH, 5) && has("n", EPOCH, 6) && !has("o", EPOCH, 0));
        let (other, none) = (Uuid::from_u128(2), Uuid::nil());
        assert!(has("m", other, 99) && has("n", none, 0), "counted elsewhere, or not yet");
        gone.hear(Mark { epoch: other, sequence: 0 }, &[]);
        assert!(!has("m", EPOCH, 4), "nothing of the other database is to go");
    }

    #[test]
    fn what_is_forgotten_is_held_to_have_chosen_all() {
        let gone = Gone::default();
        let rows: Vec<(u64, Chosen)> =
            (1..=1_002).map(|number| (number, chosen(&number.to_string()))).collect();
        gone.hear(Mark { epoch: EPOCH, sequence: 1_002 }, &rows);
        let has = |model, sequence| gone.has(&Key([0; 32]), &of(model), Mark { epoch: EPOCH, sequence });
        assert!(has("other", 2) && !has("other", 3) && has("1000", 999) && !has("1000", 1_000));
        // Said again, one is not there twice.
        gone.hear(Mark { epoch: EPOCH, sequence: 1_003 }, &[(1_003, chosen("1000"))]);
        assert!(has("1000", 1_002) && !has("other", 3));
    }
}
