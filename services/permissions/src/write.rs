//! The one way in which anything is changed: lock the head, change rows, record what was done, commit, and wait until
//! this process has heard of it.
//!
//! The head is locked before the first look at a row and not only at the end, so that what a write has found (the
//! group exists, no cycle arises, another owner is left) is still so when it commits.

mod origin;
mod record;
mod repeat;
mod told;

pub(crate) use origin::{Actor, Origin};
pub(crate) use record::{Record, Thing};
pub(crate) use repeat::{KEPT, Repeat};

use crate::{error::Error, store::events, tail::Tail, token::Token};
use policy::Time;
use prost::Message;
use proto::Written;
use shared::{
    db::{Db, Tx},
    event::Link,
    seal::Sealer,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Longest wait until this process has applied its own write. The write is done either way.
const ECHO: Duration = Duration::from_secs(2);

/// A change under way. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) tx: Tx,
    pub(crate) origin: Origin,
    /// What encrypts single columns; none in the first run.
    pub(crate) sealer: Option<Sealer>,
    token: Token,
    link: Link,
    records: Vec<Record>,
    tail: Option<Tail>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Write {
    /// Locks the head; other writes wait until this one has ended.
    pub(crate) async fn begin(db: &Db, origin: Origin) -> Result<Self, Error> {
        let mut tx = db.begin().await?;
        let head = events::lock(&mut tx).await?;
        let token = Token { epoch: head.epoch, revision: head.revision };
        let (link, records, sealer) = (head.link, Vec::new(), None);
        Ok(Self { tx, origin, sealer, token, link, records, tail: None, _turn: None })
    }

    /// When it happens.
    pub(crate) const fn now(&self) -> Time {
        self.origin.now
    }

    /// Notes what was done to one thing; every change of a row is recorded.
    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// The policy before this change, to decide from what the caller may change.
    ///
    /// # Errors
    /// [`Error::Stale`] for a write of the first run, which nobody asks for.
    pub(crate) fn policy(&self) -> Result<&Tail, Error> {
        self.tail.as_ref().ok_or(Error::Stale)
    }

    /// The revision that the store is at once this is committed.
    pub(crate) fn token(&self) -> Token {
        let revision = self.token.revision;
        Token { revision: if self.records.is_empty() { revision } else { revision.next() }, ..self.token }
    }

    /// Makes it last. Returns the revision the store is at then.
    pub(crate) async fn commit(mut self) -> Result<Token, Error> {
        let token = self.token();
        if !self.records.is_empty() {
            let records = std::mem::take(&mut self.records);
            events::append(&mut self.tx, token.revision, self.link, records, &self.origin).await?;
        }
        self.tx.commit().await?;
        Ok(token)
    }
}

/// Begins and ends the writes of this process.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    db: Db,
    tail: Tail,
    sealer: Sealer,
    turn: Arc<Mutex<()>>,
}

impl Writer {
    pub(crate) fn new(db: Db, tail: Tail, sealer: Sealer) -> Self {
        Self { db, tail, sealer, turn: Arc::default() }
    }

    /// Makes one change and answers once this process has heard of it; or answers what the same request was answered
    /// before; or, when only asked whether it could be done, changes nothing.
    pub(crate) async fn perform<R>(
        &self,
        origin: Origin,
        change: impl AsyncFnOnce(&mut Write) -> Result<R, Error>,
    ) -> Result<R, Error>
    where
        R: Written + Message + Default,
    {
        if !origin.may_anything() {
            // What was granted or revoked anywhere before this call counts.
            self.tail.current(ECHO).await?;
        }
        let mut write = self.begin(origin).await?;
        if let Some(answer) = repeat::answered(&mut write, &self.sealer).await? {
            return Ok(answer);
        }
        let mut answer = change(&mut write).await?;
        if write.origin.validate_only {
            return Ok(answer);
        }
        answer.set_token(self.tail.tokens().encode(write.token()));
        repeat::keep(&mut write, &answer, &self.sealer).await?;
        let token = write.commit().await?;
        self.tail.wrote(token, ECHO).await;
        Ok(answer)
    }

    /// Waits for its turn, then begins. Waiting here takes no connection from the reads.
    async fn begin(&self, origin: Origin) -> Result<Write, Error> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let write = Write::begin(&self.db, origin).await?;
        let (sealer, tail) = (Some(self.sealer.clone()), Some(self.tail.clone()));
        Ok(Write { _turn: Some(turn), tail, sealer, ..write })
    }

    /// Makes a change that is no answer to one request: a part of a stream, or what the service does by itself. When
    /// only asked whether it could be done, changes nothing.
    pub(crate) async fn make<T>(
        &self,
        origin: Origin,
        change: impl AsyncFnOnce(&mut Write) -> Result<T, Error>,
    ) -> Result<(T, Token), Error> {
        let mut write = self.begin(origin).await?;
        let made = change(&mut write).await?;
        if write.origin.validate_only {
            return Ok((made, write.token));
        }
        let token = write.commit().await?;
        self.tail.wrote(token, ECHO).await;
        Ok((made, token))
    }

    /// The policy as this process knows it.
    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The database, for reading outside of a write.
    pub(crate) const fn db(&self) -> &Db {
        &self.db
    }

    /// What encrypts single columns.
    pub(crate) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}
