//! What stands between a query and the database: the breaker, a time limit, and the list of slow statements.
//!
//! A frozen server neither answers nor closes a connection, so the limit is ours: nine tenths of what the request
//! has left, so that its caller still hears of it, and no more than [`Options::limit`].

use super::{
    Options,
    breaker::{Breaker, Outcome, Pass, Rules, Standing},
    failure,
    slow::Slow,
};
use crate::{deadline, telemetry};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge},
};
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// A query that nobody waits for any more has failed when it went unanswered for so long.
const LONG: Duration = Duration::from_secs(1);

static STANDING: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    telemetry::meter()
        .u64_gauge("tollgate.db.breaker.state")
        .with_description("Breaker before the database: 0 closed, 1 half open, 2 open")
        .build()
});
static OPENED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    telemetry::meter()
        .u64_counter("tollgate.db.breaker.opened")
        .with_description("Times that the breaker before the database opened")
        .build()
});

/// The eyes on one database.
#[derive(Debug)]
pub(super) struct Watch {
    breaker: Mutex<Breaker>,
    slow: Slow,
    limit: Duration,
    labels: [KeyValue; 1],
}

/// A question let through. However it ends, the breaker learns of it.
#[derive(Debug)]
pub(super) struct Asked<'w> {
    watch: &'w Watch,
    /// `None`: it is settled.
    pass: Option<Pass>,
    since: Instant,
    limit: Duration,
}

impl Watch {
    pub(super) fn new(service: &'static str, options: Options) -> Self {
        let labels = [KeyValue::new("service", service)];
        STANDING.record(Standing::Closed as u64, &labels);
        let breaker = Mutex::new(Breaker::new(Rules::default()));
        Self { breaker, slow: Slow::new(service, options.slow_after), limit: options.limit, labels }
    }

    pub(super) const fn slow(&self) -> &Slow {
        &self.slow
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Asks the database something, unless the breaker is open.
    pub(super) async fn ask<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut asked = self.admit(limit)?;
        let answer = asked.within(answer).await?;
        asked.answered();
        Ok(answer)
    }

    /// Asks it even while the breaker is open.
    pub(super) async fn conclude<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let pass = self.told(|breaker| breaker.pass());
        let mut asked = self.asked(pass, Instant::now(), self.limit);
        let answer = asked.within(answer).await?;
        asked.answered();
        Ok(answer)
    }

    /// Lets one question through, or says that the breaker is open.
    pub(super) fn admit(&self, limit: Duration) -> Result<Asked<'_>, sqlx::Error> {
        let since = Instant::now();
        let pass = self.told(|breaker| breaker.admit(since.into_std()));
        Ok(self.asked(pass.map_err(failure::refused)?, since, limit))
    }

    fn asked(&self, pass: Pass, since: Instant, limit: Duration) -> Asked<'_> {
        let limit = deadline::left().map_or(limit, |left| left.mul_f64(0.9).min(limit));
        Asked { watch: self, pass: Some(pass), since, limit }
    }

    /// Changes the breaker and says so where it matters.
    fn told<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.standing();
        let result = change(&mut breaker);
        let after = breaker.standing();
        drop(breaker);
        if before != after {
            STANDING.record(after as u64, &self.labels);
            match after {
                Standing::Open => {
                    OPENED.add(1, &self.labels);
                    tracing::warn!("the database fails; nothing is asked of it until the next probe");
                }
                Standing::HalfOpen => tracing::info!("probing whether the database is back"),
                Standing::Closed => tracing::info!("the database answers again"),
            }
        }
        result
    }
}

impl Asked<'_> {
    /// Waits for an answer, or a part of it, no longer than the question may take.
    pub(super) async fn within<T>(
        &mut self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        match timeout_at(self.since + self.limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.settle(if failure::is_outage(&error) { Outcome::Failed } else { Outcome::Answered });
                Err(error)
            }
            Err(_) => {
                self.give_up();
                Err(failure::late(self.limit))
            }
        }
    }

    pub(super) fn answered(&mut self) {
        self.settle(Outcome::Answered);
    }

    /// Little time says nothing about the database.
    fn give_up(&mut self) {
        self.settle(if self.since.elapsed() < LONG { Outcome::Abandoned } else { Outcome::Failed });
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            self.watch.told(|breaker| breaker.settle(pass, outcome, Instant::now().into_std()));
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}
