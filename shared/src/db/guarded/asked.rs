//! One question to the database, from the leave to ask it to what the breaker learns of it.
//!
//! A frozen server neither answers nor closes a connection, and a statement may rightly take its time. So when nobody
//! was answered for a while, the database is asked whether it is there, on a connection made for that alone; while it
//! is, whoever waits goes on waiting, and when it is not, its callers hear so before their deadline.

use super::Guarded;
use crate::{
    db::{
        breaker::{Outcome, Pass},
        failure,
    },
    deadline,
};
use sqlx::{ConnectOptions as _, Database};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, timeout_at};

/// So long without an answer to anybody is silence.
const SILENCE: Duration = Duration::from_secs(1);
/// So long waits who asks just after the database was found silent: those in line behind one who waited in vain are
/// not to wait in vain one after the other.
const BRIEF: Duration = Duration::from_millis(50);
/// So long may the answer to "are you there?" take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A request with less time than this hears of its deadline sooner than of anything else.
const SHORT: Duration = Duration::from_millis(400);

/// A question let through. However it ends, the breaker learns of it.
#[derive(Debug)]
pub(super) struct Asked<'g, D: Database> {
    guarded: &'g Guarded<D>,
    /// `None`: it is settled.
    pass: Option<Pass>,
    end: Instant,
}

impl<D: Database> Guarded<D> {
    /// Asks the database something that takes no longer than `limit`, unless the breaker is open.
    pub(in crate::db) async fn ask<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut asked = self.admit(limit)?;
        let answer = asked.wait(answer).await?;
        asked.answered();
        Ok(answer)
    }

    /// Asks it even while the breaker is open.
    pub(super) async fn conclude<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let pass = Some(self.watch.told(|breaker| breaker.pass()));
        let mut asked = Asked { guarded: self, pass, end: Instant::now() + self.watch.limit() };
        let answer = asked.wait(answer).await?;
        asked.answered();
        Ok(answer)
    }

    /// Lets one question through, or says that the breaker is open.
    pub(super) fn admit(&self, limit: Duration) -> Result<Asked<'_, D>, sqlx::Error> {
        let now = Instant::now();
        let pass = self.watch.told(|breaker| breaker.admit(now.into_std())).map_err(failure::refused)?;
        Ok(Asked { guarded: self, pass: Some(pass), end: now + limit })
    }

    /// Whether anybody was answered since `then`, or else the database says within `patience` that it is there.
    async fn is_there(&self, then: Instant, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        if self.watch.heard_since(then) {
            return true;
        }
        // One at a time asks for all who wait.
        let Ok(_asking) = timeout_at(end, self.watch.asking.lock()).await else { return false };
        if self.watch.heard_since(then) {
            return true;
        }
        if self.watch.is_silent(Instant::now()) {
            return false;
        }
        let there = matches!(timeout_at(end, self.pool.connect_options().connect()).await, Ok(Ok(_)));
        let now = Instant::now();
        if there {
            self.watch.told(|breaker| breaker.heard(now.into_std()));
        } else if patience >= SILENCE {
            tracing::warn!("the database answers nobody and does not say that it is there");
            self.watch.found_silent(now);
        }
        there
    }
}

impl<D: Database> Asked<'_, D> {
    /// Waits for an answer, or a part of it, as long as the database is there and the question's time is not over.
    pub(super) async fn wait<T>(
        &mut self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let begun = Instant::now();
        let mut answer = pin!(answer);
        let answered = loop {
            let (looked, left) = (Instant::now(), deadline::left().unwrap_or(Duration::MAX));
            let silence =
                if self.guarded.watch.is_silent(looked) { BRIEF } else { SILENCE.min(left.mul_f64(0.5)) };
            let until = if left < SHORT { self.end } else { self.end.min(looked + silence) };
            if let Ok(answered) = timeout_at(until, &mut answer).await {
                break answered;
            }
            if Instant::now() >= self.end {
                self.settle(Outcome::Abandoned);
                return Err(failure::late(begun.elapsed()));
            }
            let patience = PATIENCE.min(left.mul_f64(0.4));
            tokio::select! {
                biased;
                answered = &mut answer => break answered,
                there = self.guarded.is_there(looked, patience) => if !there {
                    self.settle(Outcome::Failed);
                    return Err(failure::late(begun.elapsed()));
                }
            }
        };
        answered.inspect_err(|error| {
            self.settle(if failure::is_outage(error) { Outcome::Failed } else { Outcome::Answered });
        })
    }

    pub(super) fn answered(&mut self) {
        self.settle(Outcome::Answered);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            self.guarded.watch.told(|breaker| breaker.settle(pass, outcome, Instant::now().into_std()));
        }
    }
}

impl<D: Database> Drop for Asked<'_, D> {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}
