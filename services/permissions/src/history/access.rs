//! When a user might do something with a model: the decision is followed through the log, and through every instant
//! at which it changes by itself.

use super::{History, State, Walk, unfit};
use crate::{
    error::Error,
    store::events::{self, Place},
};
use policy::{Action, Decision, ModelId, Policy, Question, Revision, Time, UserId};
use serde::{Deserialize, Serialize};
use shared::page::PageError;

/// Revisions that one page walks over.
const STRIDE: u64 = 5_000;

/// What began or ended a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) at: Time,
    /// Revision and ordinal of the event; none when it was the time alone.
    pub(crate) event: Option<(u64, u32)>,
}

/// A time in which something was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) action: Action,
    /// None: from before what is known.
    pub(crate) begin: Option<Cause>,
    /// None: still.
    pub(crate) end: Option<Cause>,
}

/// The answer to one question as time passes and events happen.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) question: Question,
    decision: Decision,
}

impl Tracked {
    pub(super) fn new(policy: &Policy, question: Question, now: Time) -> Self {
        Self { question, decision: policy.answer(&question, now) }
    }

    pub(super) const fn allowed(&self) -> bool {
        self.decision.allowed
    }

    /// Lets the time pass, up to and including an instant, and tells what changes on the way.
    pub(super) fn pass(&mut self, policy: &Policy, until: Time, mut tell: impl FnMut(bool, Cause)) {
        while let Some(at) = self.decision.valid_until.filter(|at| *at <= until) {
            let next = policy.answer(&self.question, at);
            if next.allowed != self.decision.allowed {
                tell(next.allowed, Cause { at, event: None });
            }
            self.decision = next;
        }
    }

    /// Looks again after an event.
    pub(super) fn see(&mut self, policy: &Policy, at: Time, place: Place, mut tell: impl FnMut(bool, Cause)) {
        let next = policy.answer(&self.question, at);
        if next.allowed != self.decision.allowed {
            tell(next.allowed, Cause { at, event: Some((place.revision.get(), place.ordinal)) });
        }
        self.decision = next;
    }
}

/// Follows questions through the log: the time passes up to each event, then the event happens.
pub(super) async fn follow(
    mut walk: Walk,
    state: &mut State,
    tracked: &mut [Tracked],
    mut tell: impl FnMut(usize, bool, Cause),
) -> Result<(), Error> {
    loop {
        let steps = walk.batch().await?;
        if steps.is_empty() {
            return Ok(());
        }
        for step in steps {
            state.revision = step.place.revision;
            state.at = state.at.max(step.at);
            for (number, one) in tracked.iter_mut().enumerate() {
                one.pass(&state.policy, state.at, |allowed, cause| tell(number, allowed, cause));
            }
            let Some(change) = &step.change else { continue };
            state.policy.apply(change).map_err(|error| unfit(&error))?;
            for (number, one) in tracked.iter_mut().enumerate() {
                one.see(&state.policy, state.at, step.place, |allowed, cause| tell(number, allowed, cause));
            }
        }
    }
}

/// Where a page of the history ends: what the next one begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    revision: u64,
    /// What is open for each action, and since when.
    open: Vec<Option<Option<Cause>>>,
}

impl Cursor {
    /// The cursor in a page's token.
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let cursor: Option<Self> = serde_json::from_str(text).ok();
        let cursor = cursor.filter(|cursor| cursor.actions() == Action::ALL.len());
        cursor.ok_or_else(|| Error::page(PageError::Token))
    }

    /// Of how many actions it tells.
    pub(crate) fn actions(&self) -> usize {
        self.open.len()
    }
}

/// One page of the times in which a user might use and manage a model, and where the next one starts.
pub(crate) async fn access(
    history: &History,
    user: UserId,
    model: ModelId,
    from: Option<Cursor>,
    now: Time,
) -> Result<(Vec<Interval>, Option<Cursor>), Error> {
    let start = match &from {
        Some(cursor) => Revision(cursor.revision),
        None => history.earliest().await?,
    };
    let mut state = State::clone(&*history.state(start).await?);
    let mut tracked: Vec<Tracked> = Action::ALL
        .iter()
        .map(|action| Tracked::new(&state.policy, Question { user, model, action: *action }, state.at))
        .collect();
    let open = match from {
        Some(cursor) => cursor.open,
        None => tracked.iter().map(|one| one.allowed().then_some(None)).collect(),
    };
    let mut intervals = Intervals { open, done: Vec::new() };
    let head = events::head(history.db()).await?.revision;
    let until = Revision(head.get().min(start.get().saturating_add(STRIDE)));
    let walk = Walk::new(history.db().clone(), start, until);
    follow(walk, &mut state, &mut tracked, |number, allowed, cause| intervals.tell(number, allowed, cause))
        .await?;
    if until < head {
        let cursor = Cursor { revision: until.get(), open: intervals.open };
        return Ok((intervals.done, Some(cursor)));
    }
    for (number, one) in tracked.iter_mut().enumerate() {
        one.pass(&state.policy, now, |allowed, cause| intervals.tell(number, allowed, cause));
    }
    Ok((intervals.finish(), None))
}

/// Puts beginnings and ends together.
#[derive(Debug)]
struct Intervals {
    open: Vec<Option<Option<Cause>>>,
    done: Vec<Interval>,
}

impl Intervals {
    fn tell(&mut self, number: usize, allowed: bool, cause: Cause) {
        let (Some(open), Some(action)) = (self.open.get_mut(number), Action::ALL.get(number).copied()) else {
            return;
        };
        if allowed {
            // What ends and begins again at the same instant, as when one transaction replaces a grant, goes on.
            let same =
                |known: &Interval| known.action == action && known.end.is_some_and(|end| end.at == cause.at);
            let before = self.done.iter().rposition(same).map(|at| self.done.remove(at));
            *open = Some(before.map_or(Some(cause), |known| known.begin));
        } else if let Some(begin) = open.take().filter(|begin| begin.is_none_or(|begin| begin.at < cause.at))
        {
            self.done.push(Interval { action, begin, end: Some(cause) });
        }
    }

    fn finish(mut self) -> Vec<Interval> {
        for (begin, action) in self.open.into_iter().zip(Action::ALL) {
            self.done.extend(begin.map(|begin| Interval { action: *action, begin, end: None }));
        }
        self.done
    }
}
