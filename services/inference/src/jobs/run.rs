//! What the workers do with a job, by its kind.

use super::{
    kind::Kind,
    submit::{Payload, prompt},
};
use crate::{batches::run::Batches, dispatch::Answer, error::Error, infer::Inference, lock};
use bytes::Bytes;
use shared::{
    claims::{Claim, End, Ended, Failed, Failure, Held, Why, Work},
    limits::Gate,
    redis::locks::Locks,
    status::IntoStatus,
    time,
};
use std::{sync::Arc, time::Duration};
use tonic::Code;

/// How long what was begun may take when the process ends.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Largest answer that is kept, in bytes.
const LARGEST: usize = 32 * 1024 * 1024;

/// Does jobs.
#[derive(Debug, Clone)]
pub struct Runner(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    inference: Inference,
    batches: Batches,
    locks: Locks,
    limits: Gate,
}

impl Runner {
    /// What it needs to do them.
    #[must_use]
    pub fn new(inference: Inference, batches: Batches, locks: Locks, limits: Gate) -> Self {
        Self(Arc::new(Parts { inference, batches, locks, limits }))
    }

    async fn ask(&self, claim: &Claim) -> Ended {
        match Box::pin(self.answer(claim)).await {
            Ok(answer) => Ended::Now(End::Succeeded(answer)),
            Err(error) if is_passing(&error) => {
                let after = error.fault().retry_after.unwrap_or_default();
                Ended::Again(Failed { failure: failure(error), after })
            }
            Err(error) => Ended::Now(End::Failed(failure(error))),
        }
    }

    async fn answer(&self, claim: &Claim) -> Result<Vec<u8>, Error> {
        let unreadable = || Error::Malformed("what is kept of the job is not understood".to_owned());
        let payload: Payload<'_> = serde_json::from_slice(&claim.payload).map_err(|_| unreadable())?;
        let endpoint = payload.endpoint.and_then(|path| path.parse().ok()).ok_or_else(unreadable)?;
        let body = payload.body.ok_or_else(unreadable)?.get().to_owned();
        let person = payload.by.person(&self.0.inference.policy, time::now())?;
        let prompt = prompt(endpoint, Bytes::from(body))?;
        self.0.inference.serving.served(prompt.class).await;
        let id = claim.ticket.id.to_string();
        let asked = Box::pin(self.0.inference.infer(person, prompt, &id, None));
        let inferred = self.0.limits.background().around(asked).await?;
        match inferred.answer {
            Answer::Whole(answer, _) if answer.len() <= LARGEST => Ok(answer.into()),
            Answer::Whole(..) => Err(Error::TooLarge { limit: LARGEST }),
            Answer::Stream(_) | Answer::Relayed(_) | Answer::Replayed(_) => {
                Err(Error::EngineFailed { cause: "its answer was of the wrong kind" })
            }
        }
    }
}

impl Work for Runner {
    async fn run(&self, held: &Held) -> Ended {
        match Kind::named(&held.claim.kind) {
            Some(Kind::Batch) => Box::pin(self.0.batches.run(held)).await,
            Some(Kind::Completion | Kind::Embedding) => tokio::select! {
                biased;
                ended = ending(held) => ended,
                ended = self.ask(&held.claim) => ended,
            },
            // A newer version has entered it, and may be there to do it.
            None => {
                let message = "this gateway does not know what to do; upgrade it".to_owned();
                let failure = Failure { reason: "JOB_KIND_UNKNOWN".to_owned(), message };
                Ended::Again(Failed { failure, after: Duration::from_secs(30) })
            }
        }
    }

    async fn give_up(&self, held: &Held, failure: Failure) -> Ended {
        match Kind::named(&held.claim.kind) {
            Some(Kind::Batch) => self.0.batches.give_up(held, failure).await,
            _ => Ended::Now(End::Failed(failure)),
        }
    }

    async fn over(&self, claim: &Claim) {
        if let Some(name) = &claim.lock {
            self.0.locks.free(name, &lock::token_of(claim.ticket.id));
        }
    }
}

/// How it ends when it may not go on.
async fn ending(held: &Held) -> Ended {
    match held.ending().await {
        Why::Cancelled => Ended::Now(End::Cancelled),
        Why::Stopping => {
            tokio::time::sleep(GRACE).await;
            Ended::Back
        }
    }
}

/// Whether it may be otherwise the next time.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error.fault().code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded)
}

/// The same for the owner of a job.
pub(crate) fn failure(error: Error) -> Failure {
    let reason = error.fault().reason.to_owned();
    Failure { reason, message: error.into_status().message().to_owned() }
}
