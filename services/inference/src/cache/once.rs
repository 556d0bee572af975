//! Requests with an `Idempotency-Key`: done once for their caller, however often they are sent.

use super::{
    flight::{Flight, Seat},
    key::Key,
};
use crate::config;
use moka::sync::Cache;
use policy::UserId;
use sha2::{Digest, Sha256};
use std::sync::Arc;

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
