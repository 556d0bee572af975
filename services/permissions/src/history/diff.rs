//! Who gained and who lost what between two points of the log, and what made the difference.

use super::{
    Cause, History, Moment, State, Walk,
    access::{Tracked, follow},
};
use crate::{error::Error, list::Page};
use policy::{Action, ModelId, Question, Time, UserId};
use shared::page::PageError;
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

/// Pairs compared for one page; a page may be short, and still have a next one.
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

type Pair = (UserId, ModelId);

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
    let pairs = Pairs::new(&before, &after, scope);
    let start = start(page.after())?;
    let most = usize::try_from(page.limit() - 1).unwrap_or(usize::MAX);
    let states = (Arc::clone(&before), after);
    let compare = move || pairs.compare((&states.0, from.at), (&states.1, to.at), start, most);
    let (mut found, last) = super::beside(compare).await?;
    explain(history, &before, (from, to), &mut found).await?;
    Ok((found, last.map(|(user, model)| format!("{user} {model}"))))
}

/// The pair that the page before ended with.
pub(crate) fn start(last: &str) -> Result<Option<Pair>, Error> {
    if last.is_empty() {
        return Ok(None);
    }
    let pair = last.split_once(' ').and_then(|(user, model)| {
        Some((UserId(Uuid::try_parse(user).ok()?), ModelId(Uuid::try_parse(model).ok()?)))
    });
    pair.map(Some).ok_or_else(|| Error::page(PageError::Token))
}

/// Finds what made each difference: the last thing that turned it.
async fn explain(
    history: &History,
    before: &State,
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
    /// Everybody and everything that was there at either point.
    fn new(before: &State, after: &State, scope: Scope) -> Self {
        let users = before.policy.users().chain(after.policy.users()).map(|user| user.id);
        let models = before.policy.models().chain(after.policy.models()).map(|model| model.id);
        let users: BTreeSet<_> = users.filter(|user| scope.user.is_none_or(|only| only == *user)).collect();
        let models: BTreeSet<_> =
            models.filter(|model| scope.model.is_none_or(|only| only == *model)).collect();
        Self { users: users.into_iter().collect(), models: models.into_iter().collect() }
    }

    /// The differences after a pair, and the last pair looked at unless it was the last of all.
    fn compare(
        &self,
        before: (&State, Time),
        after: (&State, Time),
        start: Option<Pair>,
        most: usize,
    ) -> (Vec<Difference>, Option<Pair>) {
        let (mut found, mut last) = (Vec::new(), None);
        for (number, (user, model)) in self.after(start).enumerate() {
            if found.len() >= most || number >= COMPARED {
                return (found, last);
            }
            last = Some((user, model));
            for action in Action::ALL {
                let question = Question { user, model, action: *action };
                let gained = after.0.policy.answer(&question, after.1).allowed;
                if gained != before.0.policy.answer(&question, before.1).allowed {
                    found.push(Difference { question, gained, cause: None });
                }
            }
        }
        (found, None)
    }

    fn after(&self, start: Option<Pair>) -> impl Iterator<Item = Pair> {
        let first = start.map_or(0, |(user, _)| self.users.partition_point(|known| *known < user));
        let users = self.users.iter().skip(first);
        let pairs = users.flat_map(|user| self.models.iter().map(|model| (*user, *model)));
        pairs.skip_while(move |pair| start.is_some_and(|start| *pair <= start))
    }
}
