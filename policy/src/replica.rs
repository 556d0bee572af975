//! A live copy of the policy that follows the change log: a pure state machine, told messages and time.
//!
//! Messages may be lost, repeated, late or out of order. A delta is applied only when it is the very next revision, so
//! the copy is always the state at some revision of one epoch, and never an earlier one than before. What is missing
//! is for the caller to fetch; the [`Outcome`] says what.

mod message;

use std::time::Duration;

use crate::{
    id::{Epoch, Revision},
    policy::{ApplyError, Policy},
    time::Time,
};

pub use message::{Delta, Heartbeat, Loaded, Message, Snapshot};

/// What a message did, and what the caller should fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The copy is newer, or is known to be complete up to a later instant.
    Applied,
    /// The message told nothing new.
    Ignored,
    /// The log has gone on: fetch the deltas after this revision, or a snapshot.
    Behind {
        /// The revision the copy is at.
        after: Revision,
    },
    /// The copy cannot be continued (nothing yet, another epoch, or a delta that did not fit): fetch a snapshot.
    NeedSnapshot,
    /// The snapshot contradicts itself; the copy is as before. Its source is broken: report it, fetch from another.
    Broken(ApplyError),
}

/// How old a copy may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Up to this age the copy is as good as the truth.
    pub fresh_within: Duration,
    /// Up to this age it may serve, marked as stale; zero means it may not.
    pub serve_stale_for: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { fresh_within: Duration::from_secs(2), serve_stale_for: Duration::from_secs(15 * 60) }
    }
}

/// How old a copy is, by its [`Bounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Serve.
    Fresh,
    /// Serve, mark the answer, and refuse who asked for better.
    Stale {
        /// How long ago the copy was last known to be complete.
        behind: Duration,
    },
    /// Do not serve.
    Expired,
}

/// The copy, where it is in the log, and when it was last known to be complete.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    epoch: Option<Epoch>,
    revision: Revision,
    policy: Policy,
    caught_up_at: Option<Time>,
    /// A delta failed half-way, and half a transaction may open what the whole would not: serve nothing, and take
    /// no delta, until a snapshot comes.
    torn: bool,
    /// Epochs left behind. A message of one of them is late, not news; there is one per restored database.
    retired: Vec<Epoch>,
}

impl Replica {
    /// A copy of nothing, which needs a snapshot before it can serve.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The copy as it was when the snapshot was taken, for instance from disk; as old as it was then.
    ///
    /// # Errors
    /// When the snapshot contradicts itself.
    pub fn restore(snapshot: &Snapshot, now: Time) -> Result<Self, ApplyError> {
        let mut replica = Self::new();
        replica.adopt(snapshot.load()?, now);
        Ok(replica)
    }

    /// The copy written out, to be kept on disk or sent on; none while there is nothing to write, or nothing whole.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (Some(epoch), Some(at), false) = (self.epoch, self.caught_up_at, self.torn) else { return None };
        Some(Snapshot { epoch, revision: self.revision, at, facts: self.policy.facts().collect() })
    }

    /// The copy as it is, to go on with apart from this one; none while there is nothing, or nothing whole.
    #[must_use]
    pub fn copy(&self) -> Option<Loaded> {
        let (Some(epoch), Some(at), false) = (self.epoch, self.caught_up_at, self.torn) else { return None };
        Some(Loaded { epoch, revision: self.revision, at, policy: self.policy.clone() })
    }

    /// What decides.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The log the copy follows, once it follows one.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The last revision applied.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest instant of which it is known that everything committed by then is in the copy.
    #[must_use]
    pub const fn caught_up_at(&self) -> Option<Time> {
        self.caught_up_at
    }

    /// Whether the copy may serve at `now`.
    #[must_use]
    pub fn freshness(&self, now: Time, bounds: &Bounds) -> Freshness {
        let Some(at) = self.caught_up_at.filter(|_| !self.torn) else { return Freshness::Expired };
        let behind = now.since(at);
        if behind <= bounds.fresh_within {
            Freshness::Fresh
        } else if behind <= bounds.serve_stale_for {
            Freshness::Stale { behind }
        } else {
            Freshness::Expired
        }
    }

    /// Takes one message in. `now` bounds what a sender with a fast clock can claim.
    pub fn receive(&mut self, message: &Message, now: Time) -> Outcome {
        match message {
            Message::Snapshot(snapshot) => match snapshot.load() {
                Ok(loaded) => self.adopt(loaded, now),
                Err(error) => Outcome::Broken(error),
            },
            Message::Delta(delta) => self.follow(delta),
            Message::Heartbeat(heartbeat) => self.hear(heartbeat, now),
        }
    }

    /// Takes in a snapshot that was loaded beforehand, which is the slow part and needs no lock on the copy.
    pub fn adopt(&mut self, loaded: Loaded, now: Time) -> Outcome {
        if self.retired.contains(&loaded.epoch) {
            return Outcome::Ignored;
        }
        let same = self.epoch == Some(loaded.epoch);
        // Revisions of two epochs do not compare, but their instants do: a snapshot read before this copy was last
        // complete is of an epoch that came and went.
        let late = if same { loaded.revision < self.revision } else { Some(loaded.at) < self.caught_up_at };
        if late {
            return Outcome::Ignored;
        }
        if same && loaded.revision == self.revision && !self.torn {
            return self.complete(loaded.at, now);
        }
        if let Some(left) = self.epoch.replace(loaded.epoch).filter(|_| !same) {
            self.retired.push(left);
        }
        self.policy = loaded.policy;
        self.revision = loaded.revision;
        self.torn = false;
        self.complete(loaded.at, now);
        Outcome::Applied
    }

    fn follow(&mut self, delta: &Delta) -> Outcome {
        if let Some(outcome) = self.astray(delta.epoch) {
            return outcome;
        }
        if delta.revision <= self.revision {
            return Outcome::Ignored;
        }
        if delta.revision != self.revision.next() {
            return Outcome::Behind { after: self.revision };
        }
        if self.policy.apply_all(&delta.changes).is_err() {
            self.torn = true;
            return Outcome::NeedSnapshot;
        }
        self.revision = delta.revision;
        Outcome::Applied
    }

    fn hear(&mut self, heartbeat: &Heartbeat, now: Time) -> Outcome {
        if let Some(outcome) = self.astray(heartbeat.epoch) {
            return outcome;
        }
        if heartbeat.head > self.revision {
            return Outcome::Behind { after: self.revision };
        }
        self.complete(heartbeat.at, now)
    }

    /// What to answer to a message that is not about the log this copy follows.
    fn astray(&self, epoch: Epoch) -> Option<Outcome> {
        if self.retired.contains(&epoch) {
            return Some(Outcome::Ignored);
        }
        (self.torn || self.epoch != Some(epoch)).then_some(Outcome::NeedSnapshot)
    }

    /// Notes that everything committed by `at` is in the copy.
    fn complete(&mut self, at: Time, now: Time) -> Outcome {
        let at = at.min(now);
        if self.caught_up_at.is_some_and(|known| at <= known) {
            return Outcome::Ignored;
        }
        self.caught_up_at = Some(at);
        Outcome::Applied
    }
}
