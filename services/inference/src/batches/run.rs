//! A batch from its claim to its end: check → ask → keep → finalize.

use super::{
    Batch, Counts, Fault, Status,
    check::{self, check},
    finalize::{Keep, fail, finalize},
    keep::{Lost, keep},
    line::{self, Ask},
    places::{Place, Places},
};
use crate::{
    config,
    dispatch::Answer,
    error::{Error, Kept},
    files::lines::Lines,
    infer::Inference,
    jobs::{
        person::Submitter,
        run::{GRACE, failure, is_passing},
        submit::{Payload, prompt},
    },
    store::{self, Store, batches::Line},
};
use bytes::Bytes;
use shared::{
    claims::{self, BackOff, End, Ended, Failed, Failure, Held, Why},
    limits::Gate,
    seal::rows::Vault,
    status::IntoStatus,
    time,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Runs batches.
#[derive(Debug, Clone)]
pub struct Batches {
    store: Store,
    inference: Inference,
    settings: Arc<Settings>,
    /// Lines of all batches that run at once.
    places: Places,
    limits: Gate,
}

#[derive(Debug)]
struct Settings {
    batches: config::Batches,
    files: config::Files,
    jobs: config::Jobs,
}

/// Why no further line was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There was none.
    Done,
    /// Its owner wants it no more.
    Cancelled,
    /// Its time is over.
    Expired,
    /// The process ends.
    Stopping,
}

/// What each line of a batch needs.
#[derive(Debug)]
struct Asking {
    inference: Inference,
    limits: Gate,
    batch: Batch,
    by: Submitter,
    attempts: u32,
    back_off: BackOff,
    answers: mpsc::Sender<Line>,
}

impl Batches {
    /// What it needs to run them.
    #[must_use]
    pub fn new(store: Store, inference: Inference, config: &config::Config) -> Self {
        let settings = Settings {
            batches: config.batches.clone(),
            files: config.files.clone(),
            jobs: config.jobs.clone(),
        };
        let places = Places::new(&inference.queue, settings.batches.lines_waiting);
        Self { store, inference, settings: Arc::new(settings), places, limits: config.limits.clone() }
    }

    pub(crate) async fn run(&self, held: &Held) -> Ended {
        self.all(held).await.unwrap_or_else(|error| {
            let after = error.fault().retry_after.unwrap_or_default();
            Ended::Again(Failed { failure: failure(error), after })
        })
    }

    pub(crate) async fn give_up(&self, held: &Held, failure: Failure) -> Ended {
        let faults = [Fault {
            code: failure.reason.to_ascii_lowercase(),
            message: failure.message.clone(),
            param: None,
            line: None,
        }];
        let giving_up = async {
            let vault = self.store.vault()?;
            let Some(batch) = store::batches::get(vault, held.claim.ticket.id, held.claim.owner).await?
            else {
                return Ok::<_, Error>(Ended::Now(End::Failed(failure)));
            };
            fail(vault, held, &batch, &faults, self.keep(None)).await
        };
        giving_up.await.unwrap_or(Ended::Lost)
    }

    fn keep(&self, files: Option<u64>) -> Keep {
        let settings = &self.settings;
        let files = files.map_or(settings.files.keep_for, Duration::from_secs);
        Keep { files, rest: settings.jobs.keep_for }
    }

    async fn all(&self, held: &Held) -> Result<Ended, Error> {
        let (vault, claim) = (self.store.vault()?, &held.claim);
        let Some(mut batch) = store::batches::get(vault, claim.ticket.id, claim.owner).await? else {
            let message = "there is no such batch".to_owned();
            return Ok(Ended::Now(End::Failed(Failure { reason: "BATCH_NOT_FOUND".to_owned(), message })));
        };
        let unreadable = || Error::Malformed("what is kept of the batch is not understood".to_owned());
        let payload: Payload<'_> = serde_json::from_slice(&claim.payload).map_err(|_| unreadable())?;
        let keeping = self.keep(payload.keep);
        if batch.in_progress.is_none() && !claim.cancel {
            match check(vault, &batch).await? {
                Err(faults) => return fail(vault, held, &batch, &faults, keeping).await,
                Ok(total) => batch.total = total,
            }
            let (now, mut tx) = (time::now(), vault.begin().await?);
            if !claims::holds(&mut tx, claim.ticket).await? {
                return Ok(Ended::Lost);
            }
            store::batches::begin(&mut tx, batch.id, batch.total, now).await?;
            tx.commit().await?;
        }
        let (stop, counts) = match self.lines(vault, held, &batch, payload.by).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(Lost)) => return Ok(Ended::Lost),
            Err(Error::Kept(Kept::Missing { .. })) => {
                return fail(vault, held, &batch, &[check::deleted()], keeping).await;
            }
            Err(error) => return Err(error),
        };
        let status = match stop {
            Stop::Stopping => return Ok(Ended::Back),
            Stop::Done => Status::Completed,
            Stop::Cancelled => Status::Cancelled,
            Stop::Expired => Status::Expired,
        };
        finalize(vault, held, &batch, status, counts, keeping).await
    }

    /// Asks for every line that was not answered before, and keeps what is answered.
    async fn lines(
        &self,
        vault: &Vault,
        held: &Held,
        batch: &Batch,
        by: Submitter,
    ) -> Result<Result<(Stop, Counts), Lost>, Error> {
        let before = store::batches::answered(vault, batch.id).await?;
        let failed = before.values().filter(|failed| **failed).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let counts = Counts { completed: count(before.len() - failed), failed: count(failed) };
        let (answers, answered) = mpsc::channel(self.settings.batches.lines_waiting);
        let jobs = &self.settings.jobs;
        let asking = Arc::new(Asking {
            inference: self.inference.clone(),
            limits: self.limits.clone(),
            batch: batch.clone(),
            by,
            attempts: self.settings.batches.attempts,
            back_off: BackOff { first: jobs.back_off, most: jobs.max_back_off },
            answers,
        });
        let asked = Box::pin(self.ask(vault, held, asking, before));
        let kept = keep(vault, held, batch, counts, answered);
        let (stop, kept) = tokio::join!(asked, kept);
        Ok(match (stop, kept) {
            (_, Err(lost)) => Err(lost),
            (stop, Ok(counts)) => Ok((stop?, counts)),
        })
    }

    async fn ask(
        &self,
        vault: &Vault,
        held: &Held,
        asking: Arc<Asking>,
        before: BTreeMap<u32, bool>,
    ) -> Result<Stop, Error> {
        let mut running = JoinSet::new();
        let batch = asking.batch.clone();
        let mut stopping = std::pin::pin!(stopping(held, &batch));
        let begun = async {
            let (mut lines, mut seen) = (Lines::of(vault.clone(), batch.input), 0);
            while let Some((number, text)) = lines.next().await? {
                seen += 1;
                while running.try_join_next().is_some() {}
                if before.contains_key(&number) {
                    continue;
                }
                // It was checked when it was first read, and files do not change.
                let Ok(ask) = line::read(number, &text, batch.endpoint) else { continue };
                let place = self.places.take().await;
                running.spawn(Arc::clone(&asking).one(number, ask, place));
            }
            // It was deleted meanwhile.
            if seen < batch.total {
                return Err(Kept::missing(crate::error::Thing::File, crate::files::name(batch.input)).into());
            }
            Ok::<_, Error>(())
        };
        let stop = tokio::select! {
            biased;
            stop = &mut stopping => stop,
            begun = begun => {
                begun?;
                tokio::select! {
                    biased;
                    stop = &mut stopping => stop,
                    () = async { while running.join_next().await.is_some() {} } => return Ok(Stop::Done),
                }
            }
        };
        if stop == Stop::Stopping {
            let rest = async { while running.join_next().await.is_some() {} };
            // What is not answered by then is asked again by whoever takes it next.
            let _ = tokio::time::timeout(GRACE, rest).await;
        }
        running.shutdown().await;
        Ok(stop)
    }
}

/// Resolves when no further line is to be begun.
async fn stopping(held: &Held, batch: &Batch) -> Stop {
    let left = u64::try_from(batch.expires.0.saturating_sub(time::now().0)).unwrap_or(0);
    tokio::select! {
        biased;
        why = held.ending() => match why {
            Why::Cancelled => Stop::Cancelled,
            Why::Stopping => Stop::Stopping,
        },
        () = tokio::time::sleep(Duration::from_micros(left)) => Stop::Expired,
    }
}

impl Asking {
    /// Asks for one line, as often as it takes, and hands in what is written of it.
    async fn one(self: Arc<Self>, number: u32, ask: Ask, place: Place) {
        let mut attempt = 1;
        let line = loop {
            let error = match Box::pin(self.answer(number, ask.body.clone())).await {
                Ok(answer) => break line::answered(self.batch.id, number, &ask, Ok(&answer)),
                Err(error) => error,
            };
            if !is_passing(&error) || (is_its_own(&error) && attempt >= self.attempts) {
                break line::answered(self.batch.id, number, &ask, Err(error));
            }
            let wait = self.back_off.after(attempt, rand::random());
            tokio::time::sleep(wait.max(error.fault().retry_after.unwrap_or_default())).await;
            attempt = attempt.saturating_add(1);
        };
        // Whoever keeps them is gone only when the batch is somebody else's.
        let _ = self.answers.send(line).await;
        drop(place);
    }

    async fn answer(&self, number: u32, body: Bytes) -> Result<Bytes, Error> {
        let person = self.by.person(&self.inference.policy, time::now())?;
        let mut prompt = prompt(self.batch.endpoint, body)?;
        prompt.spare = true;
        self.inference.serving.served(prompt.class).await;
        let id = line::id(self.batch.id, number);
        let asked = Box::pin(self.inference.infer(person, prompt, &id, None));
        match self.limits.background().around(asked).await?.answer {
            Answer::Whole(answer, _) => Ok(answer),
            Answer::Stream(_) | Answer::Relayed(_) | Answer::Replayed(_) => {
                Err(Error::EngineFailed { cause: "its answer was of the wrong kind" })
            }
        }
    }
}

/// Whether the line itself may be the reason; all else only means that it has to wait.
fn is_its_own(error: &Error) -> bool {
    matches!(error, Error::EngineFailed { .. } | Error::Deadline)
}
