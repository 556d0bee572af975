//! An instance as monitoring keeps it. A move counts only when it is the next one of the registration that holds now:
//! compare and set on (epoch, version), so that of two agents that both take an instance for theirs one is refused.

use crate::{Cause, State};
use std::time::Duration;

/// A move that an agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which registration it is of.
    pub epoch: u64,
    /// Its number among the moves since then, from 1.
    pub version: u64,
    /// Where it leads.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Duration,
}

/// What is kept of an instance's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub state: State,
    /// Raised by every registration.
    pub epoch: u64,
    /// Moves since then.
    pub version: u64,
}

/// A move that was made: one line of an instance's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The registration and the number of the move; 0 is the registration itself.
    pub epoch: u64,
    /// See `epoch`.
    pub version: u64,
    /// From where; nothing for a registration.
    pub from: Option<State>,
    /// To where.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Duration,
}

/// Why a move does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The instance was registered again since: whoever reports is no longer its agent.
    Replaced {
        /// The epoch that holds.
        epoch: u64,
    },
    /// Another move was made with this number, or numbers are missing before it.
    OutOfTurn {
        /// How many moves were made.
        version: u64,
    },
    /// Such a move is never made.
    Illegal {
        /// Where the instance is.
        from: State,
        /// Where it should have gone.
        to: State,
    },
}

impl Record {
    /// An instance that registers, for the first time or again.
    #[must_use]
    pub fn register(previous: Option<Self>, at: Duration) -> (Self, Entry) {
        let epoch = previous.map_or(1, |previous| previous.epoch + 1);
        let record = Self { state: State::Init, epoch, version: 0 };
        let from = previous.map(|previous| previous.state);
        (record, Entry { epoch, version: 0, from, to: State::Init, cause: Cause::Registered, at })
    }

    /// The instance after a move, and the line for its history; no line when it had been reported already.
    ///
    /// # Errors
    /// [`Refused`], and nothing changes.
    pub fn accept(self, claim: &Claim) -> Result<(Self, Option<Entry>), Refused> {
        if claim.epoch != self.epoch {
            return Err(Refused::Replaced { epoch: self.epoch });
        }
        // The answer to the last report may have been lost.
        if claim.version == self.version && claim.to == self.state && self.version > 0 {
            return Ok((self, None));
        }
        if claim.version != self.version + 1 {
            return Err(Refused::OutOfTurn { version: self.version });
        }
        self.follow(claim.to, claim.cause, claim.at).map(|(record, entry)| (record, Some(entry)))
    }

    /// The instance after a move that monitoring makes itself.
    ///
    /// # Errors
    /// [`Refused::Illegal`].
    pub fn follow(self, to: State, cause: Cause, at: Duration) -> Result<(Self, Entry), Refused> {
        if !self.state.may_become(to) {
            return Err(Refused::Illegal { from: self.state, to });
        }
        let after = Self { state: to, version: self.version + 1, ..self };
        let (epoch, version) = (after.epoch, after.version);
        Ok((after, Entry { epoch, version, from: Some(self.state), to, cause, at }))
    }
}
