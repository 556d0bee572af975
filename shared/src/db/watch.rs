//! What is known of one database while it is used: how its breaker stands, when it was silent, what was slow.

use super::{
    Options,
    breaker::{Breaker, Rules, Standing},
    slow::Slow,
};
use crate::telemetry;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge},
};
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

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

/// So long after the database was found silent nobody asks again whether it is there.
const FINDING: Duration = Duration::from_secs(2);

/// The eyes on one database.
#[derive(Debug)]
pub(super) struct Watch {
    breaker: Mutex<Breaker>,
    slow: Slow,
    /// Held while the database is asked whether it is there.
    pub(super) asking: tokio::sync::Mutex<()>,
    /// When it last did not say that it is there.
    silent: Mutex<Option<Instant>>,
    limit: Duration,
    service: &'static str,
    labels: [KeyValue; 1],
}

impl Watch {
    pub(super) fn new(service: &'static str, options: Options) -> Self {
        let labels = [KeyValue::new("service", service)];
        STANDING.record(Standing::Closed as u64, &labels);
        let breaker = Mutex::new(Breaker::new(Rules::default()));
        let slow = Slow::new(service, options.slow_after);
        Self {
            breaker,
            slow,
            asking: tokio::sync::Mutex::default(),
            silent: Mutex::default(),
            limit: options.limit,
            service,
            labels,
        }
    }

    /// Whose database it is.
    pub(super) const fn service(&self) -> &'static str {
        self.service
    }

    pub(super) const fn slow(&self) -> &Slow {
        &self.slow
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether the database answered anybody from then on.
    pub(super) fn heard_since(&self, then: Instant) -> bool {
        self.told(|breaker| breaker.answered_since(then.into_std()))
    }

    /// Notes that it did not say that it is there.
    pub(super) fn found_silent(&self, now: Instant) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether it was found silent just now and has not been heard since.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|found| now.duration_since(found) < FINDING && !self.heard_since(found))
    }

    /// Changes the breaker and says so where it matters.
    pub(super) fn told<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.standing();
        let result = change(&mut breaker);
        let after = breaker.standing();
        let refused = if before != after && after == Standing::Closed { breaker.take_refused() } else { 0 };
        drop(breaker);
        if before != after {
            STANDING.record(after as u64, &self.labels);
            match after {
                Standing::Open => {
                    OPENED.add(1, &self.labels);
                    // Said once for all that is refused from now on, and not again after a probe that failed.
                    if before == Standing::Closed {
                        tracing::warn!("the database fails; nothing is asked of it until the next probe");
                    }
                }
                Standing::HalfOpen => tracing::info!("probing whether the database is back"),
                Standing::Closed => tracing::info!(refused, "the database answers again"),
            }
        }
        result
    }
}
