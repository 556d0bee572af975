//! What would change if some changes were made: who would gain or lose what.
//!
//! The changes say which users and models they could touch at all ([`scope`]). For those, and only for those, a small
//! state is built beside the real one ([`carve`]), the changes are applied to it, and both are asked. So the cost goes
//! with what is touched, not with all there is.

mod carve;
mod misfit;
mod scope;

use crate::{
    check::Decision,
    fact::{Action, Change},
    id::{ModelId, UserId},
    policy::{ApplyError, Policy},
    time::Time,
};
use scope::Scope;

pub use misfit::Misfit;

/// Pairs of user and model that one simulation looks at.
const PAIRS: usize = 200_000;

/// What some changes would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// Every action that would be allowed and is not, or the other way around, by user, model and action.
    pub differences: Vec<Difference>,
    /// Whether there is more than the limit, or the changes touch more than one simulation looks at.
    pub more: bool,
}

/// One permission that would be gained or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Who.
    pub user: UserId,
    /// On which model.
    pub model: ModelId,
    /// Doing what.
    pub action: Action,
    /// The answer as things are.
    pub before: Decision,
    /// The answer as things would be.
    pub after: Decision,
}

impl Policy {
    /// What these changes would do to anyone's permissions at `now`, in at most `limit` differences.
    ///
    /// # Errors
    /// As [`Policy::apply_all`] would give for them.
    pub fn simulate(&self, changes: &[Change], now: Time, limit: usize) -> Result<Simulation, ApplyError> {
        let scope = Scope::new(self, changes);
        let pairs = scope.pairs(PAIRS);
        let mut after = carve::carve(&scope, &pairs.items);
        after.apply_all(changes)?;
        let asked = pairs.items.iter().flat_map(|pair| Action::ALL.iter().map(move |action| (pair, *action)));
        let mut different = asked.filter_map(|((user, model), action)| {
            let before = self.check(*user, *model, action, now);
            let after = after.check(*user, *model, action, now);
            let (user, model) = (*user, *model);
            (before.allowed != after.allowed).then_some(Difference { user, model, action, before, after })
        });
        let differences: Vec<Difference> = different.by_ref().take(limit).collect();
        let more = different.next().is_some() || pairs.more;
        Ok(Simulation { differences, more })
    }
}
