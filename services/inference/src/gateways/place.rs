//! Where a call goes: to the queue of this gateway, or to another one's.

use super::{AVOIDED, GatewayId, Gateways};
use crate::{engines::Engine, queue::EngineId};
use std::{collections::BTreeMap, sync::PoisonError, time::Duration};
use tokio::time::Instant;

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It waits here.
    Here,
    /// It goes to another gateway.
    At {
        /// Which.
        gateway: GatewayId,
        /// Where that is.
        address: String,
    },
    /// The engines that serve it are between two owners.
    Nowhere,
}

/// A wait that is shorter is waited for here: what another says of its queue is up to a second old.
const SHORT: Duration = Duration::from_secs(1);
/// Another queue is shorter when its wait is at most this part of ours.
const SHORTER: f64 = 0.5;

impl Gateways {
    /// Where a call for a model goes now, where `only` one engine will do if that is said. `chance` is anything from 0 to 1.
    #[must_use]
    pub fn place(&self, model: &str, only: Option<EngineId>, chance: f64) -> Place {
        let engines = self.0.fleet.all();
        let serve = engines.iter().filter(|engine| serves(engine, model, only));
        let names: Vec<&str> = serve.map(|engine| engine.name.as_str()).collect();
        let state = self.state();
        let mine = names.iter().any(|name| state.parts.get(*name).is_some_and(|part| part.mine));
        let owners = names.iter().filter_map(|name| state.claims.elsewhere(name));
        let mut waits: BTreeMap<GatewayId, Duration> = owners.map(|owner| (owner, Duration::ZERO)).collect();
        waits.retain(|owner, _| !self.is_avoided(*owner));
        let mut addresses = BTreeMap::new();
        for (id, word) in state.claims.others() {
            if let Some(wait) = waits.get_mut(&id) {
                *wait = word.waits.get(model).copied().unwrap_or_default();
                addresses.insert(id, word.address.clone());
            }
        }
        drop(state);
        let waits: Vec<(GatewayId, Duration)> = waits.into_iter().collect();
        let own = if mine { Some(self.0.queue.backlog(model).unwrap_or_default()) } else { None };
        match choose(own, &waits, chance) {
            // Nobody has such an engine: the queue here says so.
            None if own.is_some() || names.is_empty() => Place::Here,
            None => Place::Nowhere,
            Some(gateway) => {
                addresses.remove(&gateway).map_or(Place::Nowhere, |address| Place::At { gateway, address })
            }
        }
    }

    /// Whether requests for a model may wait here. One without any engine is refused here too.
    #[must_use]
    pub fn is_here(&self, model: &str, only: Option<EngineId>) -> bool {
        let engines = self.0.fleet.all();
        let mut serve = engines.iter().filter(|engine| serves(engine, model, only)).peekable();
        let nobody = serve.peek().is_none();
        let state = self.state();
        nobody || serve.any(|engine| state.parts.get(&engine.name).is_some_and(|part| part.mine))
    }

    /// Resolves when requests for a model no longer wait here.
    pub async fn gone_from_here(&self, model: &str, only: Option<EngineId>) {
        let mut moves = self.moves();
        while self.is_here(model, only) {
            if moves.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until an engine has another owner, or for a time.
    pub async fn changed(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.moves().changed()).await;
    }

    /// A gateway was not reached.
    pub(super) fn avoid(&self, gateway: GatewayId) {
        let mut avoided = self.0.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        avoided.retain(|_, until| *until > now);
        avoided.insert(gateway, now + AVOIDED);
    }

    fn is_avoided(&self, gateway: GatewayId) -> bool {
        let avoided = self.0.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.get(&gateway).is_some_and(|until| *until > Instant::now())
    }
}

/// Whether an engine may take a call.
fn serves(engine: &Engine, model: &str, only: Option<EngineId>) -> bool {
    only.is_none_or(|only| only == engine.id)
        && engine.accepting()
        && engine.state().sight.models.contains_key(model)
}

/// Which of the others a call goes to, if to any. `own` is the wait here, when it can wait here.
fn choose(own: Option<Duration>, others: &[(GatewayId, Duration)], chance: f64) -> Option<GatewayId> {
    let (best, wait) = others.iter().min_by_key(|(_, wait)| *wait)?;
    let Some(own) = own else {
        // Of those that are alike, now this one and now that one.
        let alike: Vec<GatewayId> =
            others.iter().filter(|(_, other)| *other <= *wait + SHORT / 2).map(|(id, _)| *id).collect();
        let place = (chance * alike.len() as f64) as usize;
        return alike.get(place.min(alike.len().saturating_sub(1))).or(Some(best)).copied();
    };
    let gain = own.saturating_sub(*wait).as_secs_f64() / own.as_secs_f64().max(f64::MIN_POSITIVE);
    // As everybody else hears of the shorter queue too, only so many go there that both may be alike after.
    let goes = own >= SHORT && gain >= 1.0 - SHORTER && chance < gain / 2.0;
    goes.then_some(*best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn others(waits: &[u64]) -> Vec<(GatewayId, Duration)> {
        let ids = (1..).map(Uuid::from_u128);
        ids.zip(waits.iter().map(|wait| Duration::from_millis(*wait))).collect()
    }

    fn id(number: u128) -> Option<GatewayId> {
        Some(Uuid::from_u128(number))
    }

    #[test]
    fn what_cannot_wait_here_goes_where_it_waits_least_and_to_those_alike_in_turn() {
        let waits = others(&[3_000, 1_000, 1_200]);
        assert_eq!((choose(None, &waits, 0.1), choose(None, &waits, 0.9)), (id(2), id(3)));
        assert_eq!(choose(None, &others(&[9_000]), 1.0), id(1));
        assert_eq!(choose(None, &[], 0.5), None);
    }

    #[test]
    fn what_can_wait_here_leaves_only_for_a_queue_that_is_clearly_shorter() {
        let own = |millis| Some(Duration::from_millis(millis));
        assert_eq!(choose(own(900), &others(&[0]), 0.0), None, "it is short anyway");
        assert_eq!(choose(own(5_000), &others(&[4_000, 3_000]), 0.0), None, "it is not clear");
        assert_eq!(choose(own(5_000), &others(&[4_000, 1_000]), 0.0), id(2));
        assert_eq!(choose(own(5_000), &others(&[4_000, 1_000]), 0.9), None, "not everyone goes");
        assert_eq!(choose(own(0), &others(&[0]), 0.0), None);
        assert_eq!(choose(own(5_000), &[], 0.0), None);
    }
}
