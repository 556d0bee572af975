//! Requests with an `Idempotency-Key`: done once for their caller, however often they are sent.

use super::{
    flight::{Flight, Seat},
    kept::Kept,
    key::Key,
    plan::origin,
    pump::Pump,
};
use crate::{admit::Admitted, config};
use moka::sync::Cache;
use policy::UserId;
use sha2::{Digest, Sha256};
use shared::redis::locks::{Asked, Lock};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Whose request it is, and what they call it.
type Name = (UserId, Arc<str>);

/// What a caller's request is called in the second tier, where nobody reads what they called it.
pub(super) fn remote(user: UserId, key: &str) -> String {
    format!("once:{user}:{}", hex::encode(Sha256::digest(key)))
}

/// The requests that are to be done once.
#[derive(Debug)]
pub struct Names(Cache<Name, Arc<Named>, ahash::RandomState>);

#[derive(Debug)]
struct Named {
    /// What was asked.
    fingerprint: Key,
    flight: Arc<Flight>,
}

/// What is known of a request that is to be done once.
#[derive(Debug)]
pub enum Once {
    /// It is new: whoever asked does it.
    First(Seat, Arc<Flight>),
    /// It is done, or under way.
    Again(Seat),
    /// The same name was given to another request.
    Another,
}

/// Whose turn it is to do a request that may have come to several gateways.
#[derive(Debug)]
pub enum Turn {
    /// It was done: what was asked, and the answer.
    Done(Key, Box<Kept>),
    /// It is this gateway's; held against the others where there is a Redis that says so.
    Own(Option<Claim>),
    /// Another one was at it until the time was over.
    Late,
}

/// Keeps other gateways from a request.
#[derive(Debug)]
pub struct Claim(Lock);

/// How long a claim lasts that nobody renews: whoever waits takes over from a gateway that died.
const LEASE: Duration = Duration::from_secs(10);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(3);
/// Longest wait for Redis: whoever names a request would rather wait than have it done twice.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two looks at what another gateway does.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

impl Claim {
    /// Keeps it until it is dropped; never resolves.
    pub async fn renewed(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEW).await;
            // Where it is lost already, whoever has it by now does it as well.
            let _ = self.0.renew(LEASE).await;
        }
    }
}

impl super::Cache {
    /// Waits for the turn to do a request, or for the answer that another gateway got.
    pub async fn turn(&self, user: UserId, key: &str, admitted: &Admitted, until: Instant) -> Turn {
        let within = self.settings().redis_wait;
        let Some(second) = self.0.second.as_ref().filter(|_| !within.is_zero()) else {
            return Turn::Own(None);
        };
        let (name, of) = (remote(user, key), origin(admitted, ""));
        let done = async |within| second.named(&name, &of, within).await;
        let (mut look, mut known_at) = (LOOKS.0, None);
        loop {
            // Another token each time: what is given back of a claim that came too late is no later one.
            let token = Uuid::new_v4().to_string();
            match self.0.locks.ask_for(&name, &token, LEASE, PATIENCE).await {
                Asked::Held(lock) => {
                    return match done(PATIENCE).await {
                        Some((asked, kept)) => Turn::Done(asked, Box::new(kept)),
                        None => Turn::Own(Some(Claim(lock))),
                    };
                }
                Asked::Taken => known_at = Some(Instant::now()),
                // Whoever was at it is believed for as long as their claim lasts.
                Asked::Unknown if known_at.is_some_and(|at: Instant| at.elapsed() < LEASE) => {}
                Asked::Unknown => {
                    return match done(within).await {
                        Some((asked, kept)) => Turn::Done(asked, Box::new(kept)),
                        None => Turn::Own(None),
                    };
                }
            }
            if let Some((asked, kept)) = done(PATIENCE).await {
                return Turn::Done(asked, Box::new(kept));
            }
            if Instant::now() >= until {
                return Turn::Late;
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(LOOKS.1);
        }
    }

    /// Lets other gateways know what a caller asked under a name, and the answer.
    pub async fn remember(
        &self,
        (user, key): (UserId, &str),
        fingerprint: Key,
        admitted: &Admitted,
        pump: Pump,
    ) {
        let Some(second) = &self.0.second else { return };
        let (ttl, largest) = {
            let settings = self.settings();
            (settings.idempotency_ttl, settings.largest_bytes)
        };
        let kept = pump.kept(origin(admitted, ""), ttl, admitted.accepted.elapsed());
        if let Some(kept) = kept.filter(|kept| kept.bytes.len() <= largest) {
            // Where it cannot be written, whoever waits does it as well.
            let _ = second.name(remote(user, key), fingerprint, &kept).await;
        }
    }
}

/// What a name takes in memory beside the answer.
const BESIDES: usize = 1_024;

impl Names {
    pub(super) fn new(config: &config::Cache) -> Self {
        let weigh =
            |_: &Name, named: &Arc<Named>| u32::try_from(named.flight.bytes() + BESIDES).unwrap_or(u32::MAX);
        let names = Cache::builder().max_capacity(config.idempotency_bytes).weigher(weigh);
        Self(names.time_to_live(config.idempotency_ttl).build_with_hasher(ahash::RandomState::new()))
    }

    /// What is known of a request.
    #[must_use]
    pub fn ask(&self, user: UserId, key: &Arc<str>, fingerprint: Key) -> Once {
        let mut first = None;
        let entry = self.0.entry((user, Arc::clone(key))).or_insert_with(|| {
            let (flight, seat) = Flight::new(true);
            first = Some(seat);
            Arc::new(Named { fingerprint, flight })
        });
        let named = entry.into_value();
        match first {
            Some(seat) => Once::First(seat, Arc::clone(&named.flight)),
            None if named.fingerprint != fingerprint => Once::Another,
            // One that goes on always has a seat.
            None => named.flight.seat().map_or(Once::Another, Once::Again),
        }
    }

    /// A request has ended. What did not end well may be tried again.
    pub fn landed(&self, user: UserId, key: &Arc<str>, flight: &Arc<Flight>) {
        let name = (user, Arc::clone(key));
        match self.0.get(&name) {
            Some(named) if flight.landed().is_some_and(|landed| landed.well) => {
                // Once more, because it weighs what it weighs by now.
                self.0.insert(name, named);
            }
            _ => self.0.invalidate(&name),
        }
    }
}
