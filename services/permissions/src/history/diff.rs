//! Who gained and who lost what between two points of the log, and what made the difference.

use super::{
    Cause, History, Moment, Walk,
    access::{Tracked, follow},
};
use crate::{error::Error, list::Page};
use policy::{Action, ModelId, Question, UserId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Decisions compared for one page; a page may be short, and still have a next one.
const COMPARED: usize = 250_000;
/// Revisions that a difference is looked for in.
pub(crate) const SPAN: u64 = 100_000;

/// Whose permissions on what; `None` is everybody's, on everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) user: Option<UserId>,
    pub(crate) model: Option<ModelId>,
}

/// A permission that is there at one of the points only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) question: Question,
    /// Whether it was gained.
    pub(crate) gained: bool,
    pub(crate) cause: Option<Cause>,
}

/// The pairs to look at, in order.
struct Pairs {
    users: Vec<UserId>,
    models: Vec<ModelId>,
}

/// The differences of one page, and after which pair the next one starts.
pub(crate) async fn diff(
    history: &History,
    (from, to): (Moment, Moment),
    scope: Scope,
    page: &Page,
) -> Result<(Vec<Difference>, Option<String>), Error> {
    let (before, after) = (history.state(from.revision).await?, history.state(to.revision).await?);
    let mut users: BTreeSet<UserId> =
        before.policy.users().chain(after.policy.users()).map(|user| user.id).collect();
    let mut models: BTreeSet<ModelId> =
        before.policy.models().chain(after.policy.models()).map(|model| model.id).collect();
    users.retain(|user| scope.user.is_none_or(|only| only == *user));
    models.retain(|model| scope.model.is_none_or(|only| only == *model));
    let pairs = Pairs { users: users.into_iter().collect(), models: models.into_iter().collect() };
    let most = usize::try_from(page.limit() - 1).unwrap_or(usize::MAX);
    let (mut found, mut next) = (Vec::new(), None);
    for (number, (user, model)) in pairs.after(page.after())?.enumerate() {
        if found.len() >= most || number >= COMPARED {
            break;
        }
        next = Some((user, model));
        for action in Action::ALL {
            let question = Question { user, model, action: *action };
            let gained = after.policy.answer(&question, to.at).allowed;
            if gained != before.policy.answer(&question, from.at).allowed {
                found.push(Difference { question, gained, cause: None });
            }
        }
    }
    explain(history, &before, (from, to), &mut found).await?;
    let last = pairs.last();
    Ok((found, next.filter(|pair| Some(*pair) != last).map(|(user, model)| format!("{user} {model}"))))
}

/// Finds what made each difference: the last thing that turned it.
async fn explain(
    history: &History,
    before: &super::State,
    (from, to): (Moment, Moment),
    found: &mut [Difference],
) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    let mut state = before.clone();
    state.at = from.at;
    let mut tracked: Vec<Tracked> =
        found.iter().map(|one| Tracked::new(&state.policy, one.question, from.at)).collect();
    let mut turned = |number: usize, allowed: bool, cause: Cause| {
        if let Some(one) = found.get_mut(number).filter(|one| one.gained == allowed) {
            one.cause = Some(cause);
        }
    };
    let walk = Walk::new(history.db().clone(), from.revision, to.revision);
    follow(walk, &mut state, &mut tracked, &mut turned).await?;
    for (number, one) in tracked.iter_mut().enumerate() {
        one.pass(&state.policy, to.at, |allowed, cause| turned(number, allowed, cause));
    }
    Ok(())
}

impl Pairs {
    /// The pairs after the one that a page ended with.
    fn after(&self, last: &str) -> Result<impl Iterator<Item = (UserId, ModelId)>, Error> {
        let broken = || Error::page(shared::page::PageError::Token);
        let start = match last.split_once(' ') {
            _ if last.is_empty() => None,
            Some((user, model)) => {
                let id = |text| Uuid::try_parse(text).map_err(|_| broken());
                Some((UserId(id(user)?), ModelId(id(model)?)))
            }
            None => return Err(broken()),
        };
        let first = start.map_or(0, |(user, _)| self.users.partition_point(|known| *known < user));
        let pairs =
            self.users.iter().skip(first).flat_map(|user| self.models.iter().map(|model| (*user, *model)));
        Ok(pairs.skip_while(move |pair| start.is_some_and(|start| *pair <= start)))
    }

    fn last(&self) -> Option<(UserId, ModelId)> {
        Some((*self.users.last()?, *self.models.last()?))
    }
}
