//! Between what gateways say to each other and the contract's messages.

use super::claims::{GatewayId, Listed, Word};
use policy::Scopes;
use proto::{inference::v1 as inference, permissions::v1 as pb};
use shared::{
    auth::{Person, role_from_number, role_number, scope_from_number, scope_number},
    time,
};
use std::{collections::BTreeMap, str::FromStr};

/// What a gateway says of itself.
#[must_use]
pub fn to_proto(word: &Word, held: &BTreeMap<String, u32>) -> pb::Gateway {
    let claim = |(engine, claimed): (&String, &u32)| pb::EngineClaim {
        engine_id: engine.clone(),
        claimed: *claimed,
        held: held.get(engine).copied().unwrap_or(0),
    };
    let waits = word.waits.iter();
    pb::Gateway {
        address: word.address.clone(),
        weight: word.weight,
        sequence: word.sequence,
        draining: word.draining,
        hears: word.hears,
        claims: word.claims.iter().map(claim).collect(),
        waits: waits
            .map(|(model, wait)| pb::ModelWait {
                model: model.clone(),
                wait: Some(time::duration_to_proto(*wait)),
            })
            .collect(),
    }
}

/// The same the other way.
#[must_use]
pub fn from_proto(said: &pb::Gateway) -> Word {
    let wait = |one: &pb::ModelWait| {
        Some((one.model.clone(), one.wait.as_ref().and_then(time::duration_from_proto)?))
    };
    Word {
        sequence: said.sequence,
        address: said.address.clone(),
        weight: said.weight,
        draining: said.draining,
        hears: said.hears,
        claims: said.claims.iter().map(|claim| (claim.engine_id.clone(), claim.claimed)).collect(),
        waits: said.waits.iter().filter_map(wait).collect(),
    }
}

/// A gateway as permissions lists it.
#[must_use]
pub fn listed(replica: &pb::Replica) -> Option<Listed> {
    let id: GatewayId = replica.replica_id.parse().ok()?;
    Some(Listed { id, word: from_proto(replica.gateway.as_ref()?), live: replica.live })
}

/// Who asks, for the gateway that a call is passed on to.
#[must_use]
pub fn caller(person: &Person) -> inference::ForwardedCaller {
    inference::ForwardedCaller {
        user_id: person.user.to_string(),
        key_id: person.key.map(|key| key.to_string()).unwrap_or_default(),
        session_id: person.session.map(|session| session.to_string()).unwrap_or_default(),
        role: role_number(person.role),
        scopes: person.scopes.iter().map(scope_number).collect(),
    }
}

/// The same the other way; `None` for what is no person.
#[must_use]
pub fn person(caller: &inference::ForwardedCaller) -> Option<Person> {
    let scopes: Option<Scopes> = caller.scopes.iter().map(|scope| scope_from_number(*scope)).collect();
    Some(Person {
        user: caller.user_id.parse().ok()?,
        key: optional(&caller.key_id)?,
        session: optional(&caller.session_id)?,
        role: role_from_number(caller.role)?,
        scopes: scopes?,
    })
}

/// An id that may be left out; `None` for what is no id.
fn optional<T: FromStr>(id: &str) -> Option<Option<T>> {
    if id.is_empty() { Some(None) } else { id.parse().ok().map(Some) }
}
