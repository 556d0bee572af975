//! How new an answer must be, the wait for that, and the state it is then made from.
//!
//! Waiting comes first and is asynchronous ([`settle`]); then the state is held and read at once ([`Moment::view`]).
//! Whatever is asked for, the memory stays warm: the strongest demand costs one look at the head of the log, which
//! everybody who came before it began shares.

mod metadata;

pub(crate) use metadata::{MinRevisionLayer, seal};

use crate::{
    error::Error,
    history::{History, Point, State as PastState},
    tail::Tail,
    token::Token,
};
use policy::{Freshness, Policy, Replica, Time};
use shared::time;
use std::{
    sync::{Arc, RwLockReadGuard},
    time::Duration,
};

/// Longest wait for a revision that a token names.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longest wait for a look at the log.
const LOOK: Duration = Duration::from_secs(2);
/// What is left of a deadline for the answer itself.
const MARGIN: Duration = Duration::from_millis(20);

/// How new an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// Whatever is known in this process.
    MinimizeLatency,
    /// What was all there was so long ago at most.
    MaxStaleness(Duration),
    /// This revision or a later one.
    AtLeast(Token),
    /// Everything committed before the question arrived.
    Full,
    /// Exactly this revision.
    AtRevision(Token),
    /// What was current at this instant.
    AtTime(Time),
}

/// The fields that tokens and instants stand in.
pub(crate) const AT_LEAST: &str = "consistency.at_least_as_fresh";
pub(crate) const AT_REVISION: &str = "consistency.at_revision";
pub(crate) const AT_TIME: &str = "consistency.at_time";

/// The state to answer from, once it is there.
#[derive(Debug)]
pub(crate) enum Moment {
    /// The replica as it goes on.
    Now,
    /// A state of before, and the instant asked about when it was one.
    Before { state: Arc<PastState>, place: Token, at: Option<Time> },
}

/// A state, held for the length of an answer. Not to be held over an await.
#[derive(Debug)]
pub(crate) struct View<'a> {
    state: State<'a>,
    place: Token,
    /// The instant at which everything that expires is looked at.
    pub(crate) now: Time,
    /// Whether this process has lost touch with the store.
    pub(crate) stale: bool,
    /// How long ago the state was known to be all there is.
    pub(crate) staleness: Duration,
    tail: &'a Tail,
}

#[derive(Debug)]
enum State<'a> {
    Live(RwLockReadGuard<'a, Replica>),
    Past(&'a Policy),
}

/// Waits until the state that is asked for is there. `left` is the time until the deadline.
pub(crate) async fn settle(history: &History, wanted: Consistency, left: Duration) -> Result<Moment, Error> {
    let (tail, left) = (history.tail(), left.saturating_sub(MARGIN));
    match wanted {
        Consistency::MinimizeLatency => {}
        Consistency::MaxStaleness(limit) => {
            if staleness(&tail.replica(), time::now()).is_none_or(|staleness| staleness > limit) {
                // A look that begins now is newer than any limit demands.
                tail.current(LOOK.min(left)).await?;
            }
        }
        Consistency::AtLeast(token) => reach(tail, AT_LEAST, token, left).await?,
        Consistency::Full => tail.current(LOOK.min(left)).await?,
        Consistency::AtRevision(token) => {
            reach(tail, AT_REVISION, token, left).await?;
            return before(history, AT_REVISION, token, None).await;
        }
        Consistency::AtTime(at) => {
            let now = time::now();
            if at > now {
                return Err(Error::invalid(AT_TIME, "must not lie in the future"));
            }
            if tail.replica().caught_up_at().is_none_or(|complete| complete < at) {
                tail.current(LOOK.min(left)).await?;
            }
            let epoch = tail.place().ok_or(Error::Stale)?.epoch;
            let moment = history.moment(Some(Point::Time(at)), now).await;
            let revision = moment.map_err(|error| too_long_ago(AT_TIME, error))?.revision;
            return before(history, AT_TIME, Token { epoch, revision }, Some(at)).await;
        }
    }
    Ok(Moment::Now)
}

async fn before(
    history: &History,
    field: &'static str,
    place: Token,
    at: Option<Time>,
) -> Result<Moment, Error> {
    let state = history.at(place).await.map_err(|error| too_long_ago(field, error))?;
    Ok(Moment::Before { state, place, at })
}

fn too_long_ago(field: &'static str, error: Error) -> Error {
    match error {
        Error::NotKept { earliest, .. } => Error::TooLongAgo { field, earliest },
        Error::StoreReplaced => Error::OtherEpoch { field },
        error => error,
    }
}

/// Waits until the replica has the token's revision.
pub(crate) async fn reach(
    tail: &Tail,
    field: &'static str,
    token: Token,
    left: Duration,
) -> Result<(), Error> {
    if tail.reached(token, PATIENCE.min(left)).await {
        return Ok(());
    }
    let other = tail.replica().epoch().is_some_and(|epoch| epoch != token.epoch);
    let fresh = tail.freshness() == Freshness::Fresh;
    Err(if other && fresh { Error::OtherEpoch { field } } else { Error::NotYetApplied })
}

impl Moment {
    /// The same state by itself, so that looking at it for long holds nobody up.
    pub(crate) async fn apart(self, history: &History) -> Result<Self, Error> {
        match self {
            Self::Now => {
                let place = history.tail().place().ok_or(Error::Stale)?;
                Ok(Self::Before { state: history.at(place).await?, place, at: None })
            }
            before => Ok(before),
        }
    }

    /// The state by itself, and the instant at which to look at everything that expires.
    ///
    /// # Errors
    /// [`Error::Stale`] when it is not by itself: [`Moment::apart`] makes it so.
    pub(crate) fn state(&self, tail: &Tail) -> Result<(Arc<PastState>, Time), Error> {
        let now = self.view(tail)?.now;
        match self {
            Self::Before { state, .. } => Ok((Arc::clone(state), now)),
            Self::Now => Err(Error::Stale),
        }
    }

    /// Holds the state and looks at it.
    ///
    /// # Errors
    /// [`Error::Stale`] when the replica is too old to be asked.
    pub(crate) fn view<'a>(&'a self, tail: &'a Tail) -> Result<View<'a>, Error> {
        let now = time::now();
        let live = serving(tail, now)?;
        Ok(match self {
            Self::Now => live,
            Self::Before { state, place, at } => {
                let View { stale, staleness, .. } = live;
                let now = at.unwrap_or(now);
                View { state: State::Past(&state.policy), place: *place, now, stale, staleness, tail }
            }
        })
    }
}

/// The replica as it is, unless it is too old to be asked.
pub(crate) fn serving(tail: &Tail, now: Time) -> Result<View<'_>, Error> {
    let replica = tail.replica();
    let freshness = replica.freshness(now, tail.bounds());
    let place = replica.epoch().map(|epoch| Token { epoch, revision: replica.revision() });
    let (Some(place), Some(staleness)) = (place, staleness(&replica, now)) else { return Err(Error::Stale) };
    let stale = match freshness {
        Freshness::Fresh => false,
        Freshness::Stale { .. } => true,
        Freshness::Expired => return Err(Error::Stale),
    };
    Ok(View { state: State::Live(replica), place, now, stale, staleness, tail })
}

fn staleness(replica: &Replica, now: Time) -> Option<Duration> {
    replica.caught_up_at().map(|at| now.since(at))
}

impl View<'_> {
    /// What decides.
    pub(crate) fn policy(&self) -> &Policy {
        match &self.state {
            State::Live(replica) => replica.policy(),
            State::Past(policy) => policy,
        }
    }

    /// The revision of the state.
    pub(crate) const fn place(&self) -> Token {
        self.place
    }

    /// The revision of the state as callers carry it.
    pub(crate) fn token(&self) -> String {
        self.tail.tokens().encode(self.place)
    }
}
