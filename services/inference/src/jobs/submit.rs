//! Entering a job: what can be refused is refused now, not when it runs.

use super::{Jobs, kind::Kind, person::Submitter};
use crate::{
    admit::admit,
    batches::{self, Batch, NewBatch},
    error::{Error, Kept},
    infer::Inference,
    lock::{self, LockName},
    prompt::{Endpoint, Prompt},
    queue::Class,
    store,
};
use bytes::Bytes;
use policy::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use shared::{
    auth::Person,
    claims::{self, Entered, New, Row},
    db::Tx,
    redis::locks::{Asked, Lock},
    seal::Sealer,
};
use uuid::Uuid;

/// How often a job may be begun when nothing is said, and at most.
pub const ATTEMPTS: (u32, u32) = (5, 20);
/// A batch goes on where it was, however often that is needed.
const BATCH_ATTEMPTS: u32 = 1_000;

/// A job to be entered.
#[derive(Debug)]
pub struct Submission {
    /// What to do.
    pub task: Task,
    /// While it is not over, nothing else with this lock runs.
    pub lock: Option<LockName>,
    /// How often it may be begun.
    pub attempts: u32,
    /// Not before.
    pub due: Option<Time>,
    /// Its name by its submitter, by which it is found instead of entered again.
    pub request: Option<Uuid>,
    /// Everything is decided, and nothing is entered.
    pub validate_only: bool,
}

/// A job that was entered, or would be.
#[derive(Debug)]
pub struct Submitted {
    /// The job; nothing has the id of one that would be.
    pub job: Row,
    /// Its batch, when it is one that would be.
    pub batch: Option<Batch>,
}

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Ask a model.
    Request {
        /// Where.
        endpoint: Endpoint,
        /// What.
        body: Bytes,
    },
    /// Run a file of requests.
    Batch(NewBatch),
}

impl Task {
    /// The same with nothing else to say about it.
    #[must_use]
    pub const fn alone(self) -> Submission {
        let (attempts, lock, due, request) = (ATTEMPTS.0, None, None, None);
        Submission { task: self, lock, attempts, due, request, validate_only: false }
    }
}

/// What a job is done with, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payload<'a> {
    pub(crate) by: Submitter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<&'a RawValue>,
    /// How long what a batch writes is kept, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<u64>,
}

impl Jobs {
    /// Enters a job in somebody's name. What a model is asked must be allowed now already.
    ///
    /// # Errors
    /// Whatever is wrong with it; [`Kept::Locked`], [`Kept::Full`], or that the store is away.
    pub async fn submit(
        &self,
        inference: &Inference,
        person: &Person,
        submission: Submission,
        now: Time,
    ) -> Result<Submitted, Error> {
        let asked = submission.request.map(|name| (name.to_string(), digest(&submission.task)));
        let (vault, owner, id) = (self.store.vault()?, person.user.uuid(), Uuid::now_v7());
        let by = Submitter::from(person);
        let (kind, payload, batch) = match submission.task {
            Task::Request { endpoint, body } => {
                check(inference, *person, endpoint, body.clone())?;
                let kind = if endpoint.makes() { Kind::Completion } else { Kind::Embedding };
                let body: &RawValue = serde_json::from_slice(&body)
                    .map_err(|error| Error::Malformed(format!("the body is not valid JSON: {error}")))?;
                let endpoint = Some(endpoint.path().to_owned());
                (kind, payload(&Payload { by, endpoint, body: Some(body), keep: None })?, None)
            }
            Task::Batch(new) => {
                let keep = new.keep.map(|keep| keep.as_secs());
                let batch = batches::prepare(vault, id, person.user, new, now).await?;
                let written = payload(&Payload { by, endpoint: None, body: None, keep })?;
                (Kind::Batch, written, Some(batch))
            }
        };
        let limit = self.settings.waiting;
        if claims::waiting(&vault.db, owner, limit).await? >= limit {
            return Err(Kept::Full { limit }.into());
        }
        let new = New {
            id,
            queue: kind.queue().name(),
            kind: kind.name(),
            owner,
            payload: &payload,
            lock: submission.lock.as_ref().map(LockName::as_str),
            request: asked.as_ref().map(|(name, digest)| (name.as_str(), digest.as_slice())),
            attempts: if kind == Kind::Batch { BATCH_ATTEMPTS } else { submission.attempts },
            due: submission.due.unwrap_or(now).max(now),
        };
        let mut tx = vault.begin().await?;
        let id = match self.enter(&mut tx, &vault.sealer, &new, batch.as_ref(), now).await? {
            Entered::New => id,
            Entered::Known(known) => {
                return Ok(Submitted { job: self.get(known, person.user).await?, batch: None });
            }
            Entered::Reused => return Err(Error::KeyReused),
            Entered::Locked(_) => return Err(lock::locked(new.lock)),
        };
        if submission.validate_only {
            return Ok(Submitted { job: new.row(now), batch });
        }
        let held = self.lock(&new).await?;
        tx.commit().await?;
        if let Some(held) = held {
            held.keep();
        }
        self.wake(kind.queue());
        Ok(Submitted { job: self.get(id, person.user).await?, batch: None })
    }

    async fn enter(
        &self,
        tx: &mut Tx,
        sealer: &Sealer,
        new: &New<'_>,
        batch: Option<&Batch>,
        now: Time,
    ) -> Result<Entered, Error> {
        let entered = claims::enter(tx, sealer, new, now).await?;
        if let (Entered::New, Some(batch)) = (entered, batch) {
            store::batches::insert(tx, sealer, batch).await?;
        }
        Ok(entered)
    }

    /// The lock that keeps calls away; other jobs the table keeps away.
    async fn lock(&self, new: &New<'_>) -> Result<Option<Lock>, Error> {
        let Some(name) = new.lock else { return Ok(None) };
        match self.locks.ask(name, &lock::token_of(new.id)).await {
            Asked::Held(held) => Ok(Some(held)),
            Asked::Taken => Err(lock::locked(new.lock)),
            Asked::Unknown => {
                lock::missed();
                Ok(None)
            }
        }
    }
}

/// A prompt that runs in the background.
///
/// # Errors
/// When it is not well-formed, or its answer would be a stream.
pub fn prompt(endpoint: Endpoint, body: Bytes) -> Result<Prompt, Error> {
    let mut prompt = Prompt::read(endpoint, body)?;
    if prompt.stream {
        let problem = "must be left out: nobody is there to read a stream";
        return Err(Error::Invalid { param: "stream", problem });
    }
    if prompt.lock.is_some() {
        return Err(Error::Invalid {
            param: lock::FIELD,
            problem: "must be left out: a job names its lock beside its body",
        });
    }
    prompt.class = Class::Batch;
    Ok(prompt)
}

/// Of what is to be done: the same name with another task is a mistake.
fn digest(task: &Task) -> Vec<u8> {
    let digest = Sha256::new();
    let digest = match task {
        Task::Request { endpoint, body } => digest.chain_update(endpoint.path()).chain_update(body),
        Task::Batch(new) => digest.chain_update(format!("{new:?}")),
    };
    digest.finalize().to_vec()
}

fn check(inference: &Inference, person: Person, endpoint: Endpoint, body: Bytes) -> Result<(), Error> {
    admit(&inference.policy, &inference.weights, person, prompt(endpoint, body)?).map(drop)
}

fn payload(payload: &Payload<'_>) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(payload).map_err(|error| Error::Malformed(error.to_string()))
}
