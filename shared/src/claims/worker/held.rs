//! A claim in work: how far it is, and what its worker is told of it.

use crate::claims::Claim;
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};
use tokio::sync::{Notify, watch};

/// Why something is to be ended before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its owner wants it no more.
    Cancelled,
    /// This process ends.
    Stopping,
}

/// A claim in work.
#[derive(Debug)]
pub struct Held {
    /// The claim.
    pub claim: Claim,
    percent: AtomicU8,
    told: Arc<Told>,
}

/// What its worker is told.
#[derive(Debug)]
pub(super) struct Told {
    why: watch::Sender<Option<Why>>,
    nudge: Notify,
}

impl Held {
    pub(super) fn new(claim: Claim) -> Self {
        let why = watch::Sender::new(claim.cancel.then_some(Why::Cancelled));
        let (percent, told) = (AtomicU8::new(claim.percent), Arc::new(Told { why, nudge: Notify::new() }));
        Self { claim, percent, told }
    }

    pub(super) const fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// Says how far it is, 0 to 100; it is written with the next sign of life.
    pub fn progress(&self, percent: u8) {
        self.percent.store(percent.min(100), Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }

    /// Resolves when it is to be ended before it is done.
    pub async fn ending(&self) -> Why {
        let mut told = self.told.why.subscribe();
        match told.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(why)) => why,
            // The sender is held here.
            _ => std::future::pending().await,
        }
    }
}

impl Told {
    /// What its owner wants goes before what the process wants.
    pub(super) fn cancel(&self) {
        self.why.send_if_modified(|why| why.replace(Why::Cancelled) != Some(Why::Cancelled));
    }

    pub(super) fn stop(&self) {
        self.why.send_if_modified(|why| {
            let first = why.is_none();
            *why = why.or(Some(Why::Stopping));
            first
        });
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.why.borrow().is_some()
    }

    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }
}
