//! What was refused or looks like an attack, and which keys were used: collected beside the requests, never in their way.
//!
//! Every service holds one [`Watch`]. The authentication layer tells it of refusals and uses, the rules of fields tell
//! it of suspicious text through the [`Scene`] of the request. Equal incidents become one with a count, so that a
//! flood costs a few rows; a task takes what was collected away every few seconds, to the store or to permissions.

mod scene;
mod ship;
mod suspicion;

pub use scene::{Scene, inspect, report, report_sign_in};
pub use ship::{kind_from_proto, kind_to_proto, ship};
pub use suspicion::{Suspicion, suspicion};

use crate::{server::Tasks, telemetry};
use opentelemetry::{KeyValue, metrics::Counter};
use policy::{KeyId, Time};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often what was collected is taken away; equal incidents within it are one.
pub const WINDOW: Duration = Duration::from_secs(5);
/// Different incidents held at once; more are counted and dropped.
const INCIDENTS: usize = 4_096;
/// Keys whose uses are held at once.
const KEYS: usize = 65_536;
/// Longest time that the last delivery may take when the process ends.
const LAST: Duration = Duration::from_secs(2);

static SEEN: LazyLock<Counter<u64>> = LazyLock::new(|| {
    telemetry::meter()
        .u64_counter("tollgate_security_incidents")
        .with_description("Refusals and suspicious input, by kind")
        .build()
});
static DROPPED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    telemetry::meter()
        .u64_counter("tollgate_security_incidents_dropped")
        .with_description("Incidents and key uses that were too many to be kept")
        .build()
});

/// What kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A password, code or provider's answer was not accepted.
    SignInFailed,
    /// A key or token is nobody's, revoked, past its time, or came from a network it is not for.
    CredentialRefused,
    /// A good credential may not do this.
    CallRefused,
    /// A refresh token was used again.
    RefreshTokenReused,
    /// A management text looks like an injection.
    InjectionSuspected,
    /// Something else.
    Other,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::SignInFailed,
        Self::CredentialRefused,
        Self::CallRefused,
        Self::RefreshTokenReused,
        Self::InjectionSuspected,
        Self::Other,
    ];

    /// The word for it in stores and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignInFailed => "sign_in_failed",
            Self::CredentialRefused => "credential_refused",
            Self::CallRefused => "call_refused",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::InjectionSuspected => "injection_suspected",
            Self::Other => "other",
        }
    }

    /// The kind that this word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incident {
    /// What kind.
    pub kind: Kind,
    /// The id of the user, `service`, or empty when nobody knows.
    pub actor: String,
    /// The API key, when it was one that exists.
    pub key: Option<KeyId>,
    /// Where from.
    pub address: Option<IpAddr>,
    /// What was called.
    pub method: String,
    /// The reason the caller was told, or the pattern that was suspected. Never what the caller sent.
    pub detail: String,
}

/// An incident and how often it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What happened.
    pub incident: Incident,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: Time,
    /// When last.
    pub last: Time,
}

/// How often a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// Which one.
    pub key: KeyId,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Time,
}

/// What was collected since it was last taken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Incidents.
    pub incidents: Vec<Seen>,
    /// Uses of keys.
    pub uses: Vec<KeyUse>,
}

impl Batch {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty() && self.uses.is_empty()
    }
}

/// Collects, for one process.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    incidents: HashMap<Incident, Tally>,
    uses: HashMap<KeyId, Tally>,
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    count: u64,
    first: Time,
    last: Time,
}

impl Watch {
    /// Notes an incident. Takes no longer than a look into a map.
    pub fn report(&self, incident: Incident, now: Time) {
        SEEN.add(1, &[KeyValue::new("kind", incident.kind.as_str())]);
        let once = Tally { count: 1, first: now, last: now };
        add(&mut self.held().incidents, incident, once, INCIDENTS);
    }

    /// Notes that a key was used.
    pub fn used(&self, key: KeyId, now: Time) {
        add(&mut self.held().uses, key, Tally { count: 1, first: now, last: now }, KEYS);
    }

    /// How often a key was used since that was last taken, and when last.
    #[must_use]
    pub fn uses_of(&self, key: KeyId) -> Option<KeyUse> {
        self.held().uses.get(&key).map(|tally| KeyUse { key, count: tally.count, last: tally.last })
    }

    /// Takes what was collected.
    #[must_use]
    pub fn take(&self) -> Batch {
        let held = std::mem::take(&mut *self.held());
        let seen = |(incident, Tally { count, first, last })| Seen { incident, count, first, last };
        let used = |(key, Tally { count, last, .. })| KeyUse { key, count, last };
        Batch {
            incidents: held.incidents.into_iter().map(seen).collect(),
            uses: held.uses.into_iter().map(used).collect(),
        }
    }

    /// Gives back what could not be delivered.
    pub fn give_back(&self, batch: Batch) {
        let mut held = self.held();
        for Seen { incident, count, first, last } in batch.incidents {
            add(&mut held.incidents, incident, Tally { count, first, last }, INCIDENTS);
        }
        for KeyUse { key, count, last } in batch.uses {
            add(&mut held.uses, key, Tally { count, first: last, last }, KEYS);
        }
    }

    /// Hands over what is collected to `deliver`, `every` so often until the process ends, and then once more. What is
    /// handed back is tried again.
    pub fn deliver<F, Fut>(&self, tasks: &Tasks, every: Duration, mut deliver: F)
    where
        F: FnMut(Batch) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Batch>> + Send,
    {
        let (watch, stop) = (self.clone(), tasks.stopping());
        tasks.spawn(async move {
            while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
                watch.hand_over(&mut deliver).await;
            }
            if tokio::time::timeout(LAST, watch.hand_over(&mut deliver)).await.is_err() {
                tracing::warn!("the last incidents and key uses could not be delivered in time");
            }
        });
    }

    async fn hand_over<F, Fut>(&self, deliver: &mut F)
    where
        F: FnMut(Batch) -> Fut,
        Fut: Future<Output = Result<(), Batch>>,
    {
        let batch = self.take();
        if !batch.is_empty()
            && let Err(rest) = deliver(batch).await
        {
            self.give_back(rest);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add<K: Eq + std::hash::Hash>(held: &mut HashMap<K, Tally>, what: K, tally: Tally, most: usize) {
    if let Some(known) = held.get_mut(&what) {
        known.count = known.count.saturating_add(tally.count);
        known.first = known.first.min(tally.first);
        known.last = known.last.max(tally.last);
    } else if held.len() < most {
        held.insert(what, tally);
    } else {
        DROPPED.add(tally.count, &[]);
    }
}

#[cfg(test)]
mod tests;
