//! The policy as it was: the fold of the log of events, begun at the nearest checkpoint.
//!
//! Whatever is asked of the past here is asked of a [`Policy`] value like the present one, so both answer alike.
//! `access` tells over a span of the log when single permissions came and went, `diff` compares two points. States
//! take time and memory: `make` makes few at a time and each once for all who ask, `shelf` keeps some for the next.

mod access;
mod diff;
mod make;
mod shelf;
mod state;
mod walk;

pub(crate) use access::{Cause, Cursor, Interval, access};
#[cfg(any(test, fuzzing))]
pub(crate) use diff::start;
pub(crate) use diff::{Difference, SPAN, Scope, diff};
pub(crate) use state::{Facts, State, facts};
pub(crate) use walk::Walk;

use crate::{
    error::Error,
    store::{
        StoreError, checkpoints,
        events::{self, Head},
    },
    tail::Tail,
    token::Token,
};
use make::Makers;
use policy::{ApplyError, Revision, Time};
use shared::{db::Db, server::Tasks};
use std::sync::Arc;

/// A point in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// After this transaction.
    Revision(Revision),
    /// At this instant.
    Time(Time),
}

/// A revision, and the instant at which its state is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) revision: Revision,
    pub(crate) at: Time,
}

/// Answers questions about the past.
#[derive(Debug, Clone)]
pub(crate) struct History {
    db: Db,
    tail: Tail,
    makers: Makers,
}

impl History {
    pub(crate) fn start(db: Db, tail: Tail, tasks: &Tasks) -> Self {
        Self { db, tail, makers: Makers::start(tasks) }
    }

    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(crate) const fn db(&self) -> &Db {
        &self.db
    }

    /// The revision and instant that a point means; the newest one when there is none.
    ///
    /// # Errors
    /// [`Error::NotKept`] for what has not happened yet.
    pub(crate) async fn moment(&self, point: Option<Point>, now: Time) -> Result<Moment, Error> {
        let head = events::head(&self.db).await?;
        match point {
            None => Ok(Moment { revision: head.revision, at: now }),
            Some(Point::Time(at)) if at > now => Err(self.not_kept(&head).await?),
            Some(Point::Time(at)) => {
                let next = events::first_after(&self.db, at).await?;
                let revision = next.map_or(head.revision, |next| Revision(next.get().saturating_sub(1)));
                // Before the first checkpoint that is left there were other revisions, nobody knows which.
                if revision == self.earliest().await? && at < self.made_at(revision).await? {
                    return Err(self.not_kept(&head).await?);
                }
                Ok(Moment { revision, at })
            }
            Some(Point::Revision(revision)) if revision > head.revision => Err(self.not_kept(&head).await?),
            Some(Point::Revision(revision)) => Ok(Moment { revision, at: self.made_at(revision).await? }),
        }
    }

    /// The state after a revision.
    ///
    /// # Errors
    /// [`Error::NotKept`] for what is not kept any more or has not happened yet.
    pub(crate) async fn state(&self, revision: Revision) -> Result<Arc<State>, Error> {
        let epoch = events::head(&self.db).await?.epoch;
        self.at(Token { epoch, revision }).await
    }

    /// The same without keeping it, for who asks once.
    pub(crate) async fn state_once(&self, revision: Revision) -> Result<State, Error> {
        let nearest = checkpoints::nearest(&self.db, revision).await?;
        let start = State::load(&self.db, nearest.as_ref()).await?;
        self.fold(start, revision).await
    }

    async fn fold(&self, mut state: State, until: Revision) -> Result<State, Error> {
        let mut walk = Walk::new(self.db.clone(), state.revision, until);
        loop {
            let steps = walk.batch().await?;
            let Some(last) = steps.last() else { break };
            (state.revision, state.at) = (last.place.revision, state.at.max(last.at));
            state = state.with(steps.into_iter().filter_map(|step| step.change)).await?;
        }
        Ok(state)
    }

    /// The first revision whose state is known.
    pub(crate) async fn earliest(&self) -> Result<Revision, Error> {
        let from = match events::oldest(&self.db).await? {
            Some(Revision(0 | 1)) => return Ok(Revision(0)),
            Some(oldest) => Revision(oldest.get() - 1),
            None => events::head(&self.db).await?.revision,
        };
        if from == Revision(0) {
            return Ok(from);
        }
        let checkpoint = checkpoints::first_from(&self.db, from).await?;
        Ok(checkpoint.ok_or(StoreError::Corrupt("events"))?.revision)
    }

    async fn made_at(&self, revision: Revision) -> Result<Time, Error> {
        if let Some((at, _)) = events::last_of(&self.db, revision).await? {
            return Ok(at);
        }
        let checkpoint = checkpoints::nearest(&self.db, revision).await?;
        Ok(checkpoint.filter(|checkpoint| checkpoint.revision == revision).map_or(Time(0), |known| known.at))
    }

    /// The refusal of what is outside of what is known.
    pub(crate) async fn not_kept(&self, head: &Head) -> Result<Error, Error> {
        Ok(Error::NotKept { earliest: self.earliest().await?, latest: head.revision })
    }
}

/// Calculates something long beside the requests.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopping)
}

/// An event that the policy does not take.
pub(crate) fn unfit(error: &ApplyError) -> Error {
    tracing::error!(%error, "the log of events contradicts itself");
    StoreError::Corrupt("events").into()
}
