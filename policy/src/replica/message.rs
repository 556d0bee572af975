//! What a replica is told. `at` is always the sender's clock when it read what it sends.

use serde::{Deserialize, Serialize};

use crate::{
    fact::Change,
    id::{Epoch, Revision},
    policy::{ApplyError, Policy},
    time::Time,
};

/// One message about the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Everything, as of one revision.
    Snapshot(Snapshot),
    /// One transaction.
    Delta(Delta),
    /// Where the log ends.
    Heartbeat(Heartbeat),
}

/// The whole state at one revision; also the form in which a process keeps it on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The log the revision is of.
    pub epoch: Epoch,
    /// The revision.
    pub revision: Revision,
    /// The latest instant by which everything committed is in here.
    pub at: Time,
    /// Puts, each after what it refers to.
    pub facts: Vec<Change>,
}

/// Every change of one committed transaction, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The log the revision is of.
    pub epoch: Epoch,
    /// The revision the changes lead to.
    pub revision: Revision,
    /// When it was sent. A delta does not say that nothing came after it, so this proves no freshness.
    pub at: Time,
    /// The changes.
    pub changes: Vec<Change>,
}

/// The end of the log at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The log.
    pub epoch: Epoch,
    /// Its last revision.
    pub head: Revision,
    /// When that was read.
    pub at: Time,
}

/// A [`Snapshot`] ready to serve.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The log the revision is of.
    pub epoch: Epoch,
    /// The revision.
    pub revision: Revision,
    /// The latest instant by which everything committed is in here.
    pub at: Time,
    /// The state.
    pub policy: Policy,
}

impl Snapshot {
    /// Works out the state.
    ///
    /// # Errors
    /// When a fact refers to one that has not come before it.
    pub fn load(&self) -> Result<Loaded, ApplyError> {
        let policy = Policy::from_facts(&self.facts)?;
        Ok(Loaded { epoch: self.epoch, revision: self.revision, at: self.at, policy })
    }
}
