//! The outbox: letters that are in the table of claims leave once each, and are tried until they arrived or are given up.

use super::{
    kept::{Event, EventKind},
    letter::{Content, Letter, Target},
};
use crate::{
    alerting::receivers::{self, Receivers, Undelivered},
    store::alerts::history,
};
use alerts::{Labels, Severity};
use shared::{
    claims::{self, BackOff, End, Ended, Entered, Failed, Failure, Held, New, Pace, Work, Workers},
    db::Tx,
    seal::rows::Vault,
    server::Tasks,
    time,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The queue of the outbox, and what is in it.
pub(crate) const QUEUE: &str = "notifications";
const KIND: &str = "letter";
/// Letters on their way at once.
const PLACES: usize = 8;
/// Letters on their way that the database did not take; more wait for it.
const DIRECT: usize = 64;

const PACE: Pace = Pace {
    lease: Duration::from_secs(30),
    look: Duration::from_secs(5),
    back_off: BackOff { first: Duration::from_secs(1), most: Duration::from_secs(300) },
    keep: Duration::from_secs(86_400),
};

/// Whatever leaves this installation leaves here.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    vault: Vault,
    receivers: Receivers,
    workers: Workers<Postman>,
    attempts: u32,
    tasks: Tasks,
    direct: Arc<Semaphore>,
}

/// Carries letters.
#[derive(Debug, Clone)]
struct Postman {
    vault: Vault,
    receivers: Receivers,
}

impl Outbox {
    /// An outbox whose letters are carried from now on.
    pub(crate) fn start(vault: Vault, receivers: Receivers, attempts: u32, tasks: &Tasks) -> Self {
        let postman = Postman { vault: vault.clone(), receivers: receivers.clone() };
        let name = format!("monitoring-{}", Uuid::now_v7().simple());
        let workers = Workers::new(vault.clone(), &name, QUEUE, PLACES, PACE, postman);
        workers.start(tasks);
        let direct = Arc::new(Semaphore::new(DIRECT));
        Self { vault, receivers, workers, attempts, tasks: tasks.clone(), direct }
    }

    /// Puts a letter into the outbox, together with whatever else is in the transaction. Sent again by the same owner
    /// under the same name it is the first one.
    pub(crate) async fn enter(
        &self,
        tx: &mut Tx,
        letter: &Letter,
        request: Option<&str>,
        now: policy::Time,
    ) -> Result<Entered, sqlx::Error> {
        let payload = serde_json::to_vec(letter).unwrap_or_default();
        let new = New {
            id: Uuid::now_v7(),
            queue: QUEUE,
            kind: KIND,
            owner: Uuid::nil(),
            payload: &payload,
            lock: None,
            request: request.map(|name| (name, payload.as_slice())),
            attempts: self.attempts,
            due: now,
        };
        let entered = claims::enter(tx, &self.vault.sealer, &new, now).await?;
        Ok(if entered == Entered::New { Entered::Known(new.id) } else { entered })
    }

    /// Says that something was entered.
    pub(crate) fn wake(&self) {
        self.workers.wake();
    }

    /// Carries a letter that the database does not take: what is wrong may be the database. Only this process knows of
    /// it, so it is tried for as long as it lives, and no longer than others are.
    pub(crate) fn carry(&self, letter: Letter) {
        let (receivers, attempts, stop) = (self.receivers.clone(), self.attempts, self.tasks.stopping());
        let Ok(place) = Arc::clone(&self.direct).try_acquire_owned() else {
            receivers::given_up(&letter.to.label(), "TOO_MANY");
            tracing::error!("too many messages wait for the database; one is not sent");
            return;
        };
        self.tasks.spawn(async move {
            let _place = place;
            let id = Uuid::now_v7();
            let carried = async {
                for attempt in 1..=attempts {
                    match receivers.send(&letter, id).await {
                        Ok(()) => return,
                        Err(Undelivered { again: Some(after), .. }) if attempt < attempts => {
                            let wait = PACE.back_off.after(attempt, rand::random());
                            tokio::time::sleep(wait.max(after)).await;
                        }
                        Err(why) => {
                            receivers::given_up(&letter.to.label(), why.reason);
                            tracing::error!(receiver = letter.to.label(), problem = why.problem, "a message was not delivered");
                            return;
                        }
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => tracing::error!("a message was not delivered: the process ends, and the database is away"),
                () = carried => {}
            }
        });
    }

    /// How many letters have not left, up to ten thousand.
    pub(crate) async fn waiting(&self) -> Result<u64, sqlx::Error> {
        let counts = claims::count(&self.vault.db, &[QUEUE]).await?;
        let waiting = counts.into_iter().filter(|count| !count.state.is_over());
        Ok(waiting.map(|count| count.number).sum())
    }

    /// Forgets letters that left long ago.
    pub(crate) async fn purge(&self) -> Result<(), sqlx::Error> {
        claims::purge(&self.vault.db, 500, time::now()).await.map(drop)
    }
}

impl Postman {
    /// Notes of each alert of a letter what came of it.
    async fn note(&self, letter: &Letter, kind: EventKind, detail: String) {
        let written = async {
            let mut tx = self.vault.begin().await?;
            for event in events(letter, kind, &detail) {
                history::insert(&mut tx, &event).await?;
            }
            tx.commit().await
        };
        // The letter left all the same.
        if let Err(error) = written.await {
            tracing::debug!(%error, "the history of alerts has a gap");
        }
    }
}

pub(crate) fn events(letter: &Letter, kind: EventKind, detail: &str) -> Vec<Event> {
    let now = time::now();
    match &letter.content {
        Content::Alerts(message) => {
            let of = |alert: &super::letter::Told| {
                Event::of(kind, alert.fingerprint, &alert.labels, now, detail.to_owned())
            };
            message.alerts.iter().map(of).collect()
        }
        // Whom it was for is in no history: it may be a person's address. Nor is what it said.
        Content::Note { .. } => vec![Event {
            id: Uuid::now_v7(),
            at: now,
            kind,
            fingerprint: None,
            name: match &letter.to {
                Target::Receiver(name) => name.clone(),
                Target::Email(_) => "email".to_owned(),
            },
            severity: Severity::Info,
            labels: Labels::default(),
            detail: detail.to_owned(),
        }],
    }
}

impl Work for Postman {
    async fn run(&self, held: &Held) -> Ended {
        let letter: Letter = match serde_json::from_slice(&held.claim.payload) {
            Ok(letter) => letter,
            Err(_) => {
                let message = "this version cannot read the message".to_owned();
                return Ended::Now(End::Failed(Failure { reason: "LETTER_UNREADABLE".to_owned(), message }));
            }
        };
        match self.receivers.send(&letter, held.claim.ticket.id).await {
            Ok(()) => {
                self.note(&letter, EventKind::Notified, letter.to.label()).await;
                Ended::Now(End::Succeeded(Vec::new()))
            }
            Err(why) => {
                let failure = Failure { reason: why.reason.to_owned(), message: why.problem };
                match why.again {
                    Some(after) => Ended::Again(Failed { failure, after }),
                    None => self.give_up(held, failure).await,
                }
            }
        }
    }

    async fn give_up(&self, held: &Held, failure: Failure) -> Ended {
        if let Ok(letter) = serde_json::from_slice::<Letter>(&held.claim.payload) {
            receivers::given_up(&letter.to.label(), &failure.reason);
            let detail = format!("{}: {}", letter.to.label(), failure.message);
            self.note(&letter, EventKind::NotNotified, detail).await;
        }
        tracing::error!(reason = failure.reason, problem = failure.message, "a message was not delivered");
        Ended::Now(End::Failed(failure))
    }
}
