//! Who does not have a revision yet: a pure state machine, told reports and the time.
//!
//! Reports may be lost, late, repeated and out of order. A replica counts from its first report until its lease is
//! over, which every newer report renews; it has a revision once a report of it said so, for no replica goes back.

use crate::token::Token;
use policy::Time;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// The replicas that were heard of.
#[derive(Debug)]
pub(super) struct Roll {
    lease: Duration,
    heard: BTreeMap<Uuid, Heard>,
}

#[derive(Debug)]
struct Heard {
    name: String,
    place: Token,
    at: Time,
}

impl Roll {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, heard: BTreeMap::new() }
    }

    /// Takes in where a replica was at an instant.
    pub(super) fn hear(&mut self, id: Uuid, name: &str, place: Token, at: Time) {
        let heard = self.heard.entry(id).or_insert_with(|| Heard { name: name.to_owned(), place, at });
        // Two reports of one instant: the further one was made later.
        let newer = at > heard.at;
        let further = place.epoch == heard.place.epoch && place.revision > heard.place.revision;
        if newer || (at == heard.at && further) {
            heard.at = at;
            heard.place = place;
        }
    }

    /// The names of the replicas that are alive and do not have the revision.
    pub(super) fn laggards(&self, wanted: Token, now: Time) -> Vec<String> {
        let live = self.heard.values().filter(|heard| now.since(heard.at) <= self.lease);
        let behind = live.filter(|heard| !heard.has(wanted));
        behind.map(|heard| heard.name.clone()).collect()
    }
}

impl Heard {
    fn has(&self, wanted: Token) -> bool {
        self.place.epoch == wanted.epoch && self.place.revision >= wanted.revision
    }
}

#[cfg(test)]
mod tests;
