//! What turned, at once: to whoever looks at rules here, and through the database to the replica that does.

use super::{Signals, Taken, at};
use crate::store::turned as store;
use policy::Time;
use series::{Sample, Value};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch::Receiver, time::timeout};

/// So long it may take to tell the other replica; a report is not held up by it.
const PATIENCE: Duration = Duration::from_millis(500);
/// What turned is read for so long: after that the minutes of the replica that heard of it are there.
const FRESH: Duration = Duration::from_secs(150);

impl Signals {
    /// Takes a report. When something turned, whoever looks at rules hears of it now.
    pub(crate) async fn hear(&self, now: Time, samples: &[Sample], turned: bool) -> Taken {
        let elsewhere = turned && !self.looking.load(Ordering::Relaxed);
        let gauges = if elsewhere { self.changed(samples) } else { Vec::new() };
        let taken = self.take(now, samples);
        if turned {
            self.turned.send_replace(());
        }
        if !gauges.is_empty() {
            match timeout(PATIENCE, store::put(&self.db, now, &gauges)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "no other replica was told of what turned"),
                Err(_) => tracing::debug!("the database is slow; no other replica was told of what turned"),
            }
        }
        taken
    }

    /// Gauges that are not what they were.
    fn changed<'a>(&self, samples: &'a [Sample]) -> Vec<&'a Sample> {
        let state = self.state();
        let differs = |sample: &&Sample| match &sample.value {
            Value::Gauge(gauge) => {
                let known = state.memory.last(&sample.name, &sample.labels);
                !matches!(known, Some(Value::Gauge(known)) if known.last == gauge.last)
            }
            Value::Counter(_) | Value::Histogram(_) => false,
        };
        samples.iter().filter(differs).collect()
    }

    /// Hears when something turned.
    pub(crate) fn news(&self) -> Receiver<()> {
        self.turned.subscribe()
    }

    /// Says whether this replica looks at rules.
    pub(crate) fn looks(&self, looking: bool) {
        self.looking.store(looking, Ordering::Relaxed);
    }

    /// Takes into memory what other replicas heard turn.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn read_turned(&self, now: Time) -> Result<(), sqlx::Error> {
        let start = at(now).plus(-i64::try_from(FRESH.as_secs()).unwrap_or(0));
        let found = store::since(&self.db, super::time(start)).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let mut read = HashMap::new();
        for (when, sample) in found {
            let key = (sample.name.clone(), sample.labels.clone());
            // Once: what this replica hears of it later counts.
            if known.get(&key) != Some(&when) {
                // What has no room is in the database within a minute.
                let _ = state.memory.take(at(when), &sample);
            }
            read.insert(key, when);
        }
        *known = read;
        Ok(())
    }

    /// Forgets what turned long ago.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn purge_turned(&self, now: Time) -> Result<(), sqlx::Error> {
        let start = at(now).plus(-2 * i64::try_from(FRESH.as_secs()).unwrap_or(0));
        store::purge(&self.db, super::time(start)).await
    }
}

/// What was read last, and when it turned.
pub(super) type Read = Arc<std::sync::Mutex<HashMap<(Box<str>, series::Labels), Time>>>;
