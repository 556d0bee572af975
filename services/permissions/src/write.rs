//! The one way in which anything is changed: lock the head, change rows, log the changes, commit, and wait until
//! this process has heard of it.
//!
//! The head is locked before the first look at a row and not only at the end, so that what a write has found (the
//! group exists, no cycle arises, another owner is left) is still so when it commits.

use crate::{error::Error, store::events, tail::Tail, token::Token};
use policy::{Change, Revision, Time};
use shared::{
    auth::{Caller, Person},
    db::{Db, Tx},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Longest wait until this process has applied its own write. The write is done either way.
const ECHO: Duration = Duration::from_secs(2);

/// Who changes something, in which request, why and when.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// `None`: the first run, before there is anybody.
    pub(crate) caller: Option<Caller>,
    pub(crate) request_id: String,
    pub(crate) reason: String,
    pub(crate) now: Time,
}

impl Origin {
    /// The calling person, when it is one.
    pub(crate) fn person(&self) -> Option<&Person> {
        self.caller.as_ref().and_then(Caller::person)
    }

    /// The actor as events name it.
    pub(crate) fn actor(&self) -> String {
        match &self.caller {
            Some(Caller::Person(person)) => person.user.to_string(),
            Some(Caller::Service) => "service".to_owned(),
            None => "first-run".to_owned(),
        }
    }
}

/// A change under way. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) tx: Tx,
    pub(crate) origin: Origin,
    token: Token,
    changes: Vec<Change>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Write {
    /// Takes the next revision; other writes wait until this one has ended.
    pub(crate) async fn begin(db: &Db, origin: Origin) -> Result<Self, Error> {
        let mut tx = db.begin().await?;
        let head = events::raise(&mut tx).await?;
        let token = Token { epoch: head.epoch, revision: head.revision };
        Ok(Self { tx, origin, token, changes: Vec::new(), _turn: None })
    }

    /// Notes what the rows written so far mean to the policy.
    pub(crate) fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Makes it last, or nothing when nothing was changed. Returns the revision the store is at then.
    pub(crate) async fn commit(mut self) -> Result<Token, Error> {
        if self.changes.is_empty() {
            let before = Revision(self.token.revision.get().saturating_sub(1));
            return Ok(Token { revision: before, ..self.token });
        }
        events::append(&mut self.tx, self.token.revision, &self.changes, &self.origin).await?;
        self.tx.commit().await?;
        Ok(self.token)
    }
}

/// Begins and ends the writes of this process.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    db: Db,
    tail: Tail,
    turn: Arc<Mutex<()>>,
}

impl Writer {
    pub(crate) fn new(db: Db, tail: Tail) -> Self {
        Self { db, tail, turn: Arc::default() }
    }

    /// Waits for its turn, then begins. Waiting here takes no connection from the reads.
    pub(crate) async fn begin(&self, origin: Origin) -> Result<Write, Error> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let write = Write::begin(&self.db, origin).await?;
        Ok(Write { _turn: Some(turn), ..write })
    }

    /// Commits, so that whoever is answered after this finds here what was written.
    pub(crate) async fn commit(&self, write: Write) -> Result<String, Error> {
        let token = write.commit().await?;
        self.tail.reached(token, ECHO).await;
        Ok(token.encode())
    }

    /// The policy that decides what a caller may change.
    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The database, for reading outside of a write.
    pub(crate) const fn db(&self) -> &Db {
        &self.db
    }
}
