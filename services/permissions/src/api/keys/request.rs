//! What requests about keys say, read and checked field by field.

use super::super::{incidents::address_of, instant};
use crate::{
    error::Error,
    field,
    keys::{self, Asked, KeyPatch, Limits, NewKey, Rotation, State, Turn, Which},
};
use ipnet::IpNet;
use policy::{KeyId, ModelId, Scope, Scopes, Time, UserId};
use proto::{common::v1 as common, permissions::v1 as pb};
use shared::{auth::Caller, security::KeyUse, time};
use std::{collections::BTreeMap, time::Duration};

/// Most models that a key can be limited to.
const MODELS: usize = 1_000;
/// Most networks that a key can be limited to.
const NETWORKS: usize = 100;
/// Most keys of one report of uses.
const REPORT: usize = 1_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = HOUR.saturating_mul(24);
const CENTURY: Duration = DAY.saturating_mul(36_525);

pub(super) fn new_key(caller: UserId, request: pb::CreateKeyRequest, now: Time) -> Result<NewKey, Error> {
    let end = instant("expire_time", request.expire_time.as_ref())?;
    Ok(NewKey {
        user: field::optional_id("user_id", &request.user_id)?.unwrap_or(caller),
        name: field::name("name", request.name)?,
        limits: Limits {
            models: models("model_ids", &request.model_ids)?,
            scopes: scopes("scopes", &request.scopes)?,
            networks: networks("networks", &request.networks)?,
        },
        expires_at: field::end("expire_time", end, now)?,
        rotation: request.rotation.map(rotation).transpose()?.flatten(),
    })
}

pub(super) fn patch(request: pb::UpdateKeyRequest, now: Time) -> Result<KeyPatch, Error> {
    let end = instant("expire_time", request.expire_time.as_ref())?;
    Ok(KeyPatch {
        id: field::id("key_id", &request.key_id)?,
        etag: request.etag,
        name: request.name.map(|name| field::name("name", name)).transpose()?,
        models: request.models.map(|only| models("models.model_ids", &only.model_ids)).transpose()?,
        scopes: request.scopes.map(|only| scopes("scopes.scopes", &only.scopes)).transpose()?,
        networks: request.networks.map(|only| networks("networks.networks", &only.networks)).transpose()?,
        expires_at: field::end("expire_time", end, now)?,
        rotation: request.rotation.map(rotation).transpose()?,
    })
}

pub(super) fn turn(request: &pb::RotateKeyRequest, grace: Duration, now: Time) -> Result<Turn, Error> {
    let end = instant("expire_time", request.expire_time.as_ref())?;
    let asked = request.grace.as_ref().map(|grace| duration("grace", grace, Duration::ZERO..=DAY * 90));
    Ok(Turn {
        id: field::id("key_id", &request.key_id)?,
        etag: request.etag.clone(),
        grace: asked.transpose()?.unwrap_or(grace),
        expires_at: field::end("expire_time", end, now)?,
    })
}

pub(super) fn asked(caller: &Caller, request: pb::VerifyKeyRequest) -> Result<Asked, Error> {
    let key = match (request.secret.is_empty(), request.key_id.is_empty()) {
        (false, false) => return Err(Error::invalid("key_id", "must be left out when a secret is sent")),
        (false, true) => Which::Secret(request.secret),
        (true, false) => Which::Id(field::id("key_id", &request.key_id)?),
        (true, true) => keys::own(caller)?,
    };
    let named = !request.model.is_empty();
    Ok(Asked {
        key,
        model: named.then(|| field::model_name("model", request.model)).transpose()?,
        address: address_of("address", &request.address)?,
        scope: if request.scope == 0 { None } else { Some(scope("scope", request.scope)?) },
    })
}

/// Uses by key, each key once.
pub(super) fn uses(request: &pb::ReportKeyUseRequest) -> Result<Vec<KeyUse>, Error> {
    if request.uses.len() > REPORT {
        return Err(Error::invalid("uses", format!("must be at most {REPORT}")));
    }
    let mut uses: BTreeMap<KeyId, KeyUse> = BTreeMap::new();
    for one in &request.uses {
        let key = field::id("key_id", &one.key_id)?;
        let last = instant("last_use_time", one.last_use_time.as_ref())?;
        let last = last.ok_or_else(|| Error::invalid("last_use_time", "is needed"))?;
        let count = u64::try_from(one.count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::invalid("count", "must be 1 or more"))?;
        let sum = uses.entry(key).or_insert(KeyUse { key, count: 0, last });
        sum.count = sum.count.saturating_add(count);
        sum.last = sum.last.max(last);
    }
    Ok(uses.into_values().collect())
}

pub(super) fn state(number: i32) -> Result<Option<State>, Error> {
    match pb::KeyState::try_from(number) {
        Ok(pb::KeyState::Unspecified) => Ok(None),
        Ok(pb::KeyState::Active) => Ok(Some(State::Active)),
        Ok(pb::KeyState::Expired) => Ok(Some(State::Expired)),
        Ok(pb::KeyState::Revoked) => Ok(Some(State::Revoked)),
        Err(_) => Err(Error::invalid("state", "must be one of the states 1 to 3")),
    }
}

fn models(field: &'static str, ids: &[String]) -> Result<Option<Vec<ModelId>>, Error> {
    if ids.len() > MODELS {
        return Err(Error::invalid(field, format!("must name at most {MODELS} models")));
    }
    let mut models = ids.iter().map(|id| field::id(field, id)).collect::<Result<Vec<ModelId>, Error>>()?;
    models.sort_unstable();
    models.dedup();
    Ok(Some(models).filter(|models| !models.is_empty()))
}

fn networks(field: &'static str, texts: &[String]) -> Result<Vec<IpNet>, Error> {
    if texts.len() > NETWORKS {
        return Err(Error::invalid(field, format!("must name at most {NETWORKS} networks")));
    }
    // 10.1.2.3/8 means 10.0.0.0/8, and is shown as that.
    let read = |text: &String| text.parse().map(|network: IpNet| network.trunc());
    let networks: Result<Vec<_>, _> = texts.iter().map(read).collect();
    let mut networks = networks.map_err(|_| {
        Error::invalid(field, "must be networks in CIDR form, such as 10.0.0.0/8 or 2001:db8::/32")
    })?;
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}

fn scopes(field: &'static str, numbers: &[i32]) -> Result<Scopes, Error> {
    numbers.iter().map(|number| scope(field, *number)).collect()
}

fn scope(field: &'static str, number: i32) -> Result<Scope, Error> {
    let found = Scope::ALL.iter().copied().find(|scope| scope_number(*scope) == number);
    found.ok_or_else(|| Error::invalid(field, "must be INFERENCE, READ or WRITE"))
}

/// A scope as the contract numbers it.
pub(super) fn scope_number(scope: Scope) -> i32 {
    (match scope {
        Scope::Inference => common::Scope::Inference,
        Scope::Read => common::Scope::Read,
        Scope::Write => common::Scope::Write,
    }) as i32
}

/// A rotation; `None` when it has no rhythm.
fn rotation(rotation: pb::Rotation) -> Result<Option<Rotation>, Error> {
    let Some(every) = rotation.every else { return Ok(None) };
    let every = duration("rotation.every", &every, HOUR..=CENTURY)?;
    let grace = rotation.grace.map(|grace| duration("rotation.grace", &grace, Duration::ZERO..=CENTURY));
    let expires = match pb::RotationPolicy::try_from(rotation.policy) {
        Ok(pb::RotationPolicy::Unspecified | pb::RotationPolicy::Remind) => false,
        Ok(pb::RotationPolicy::Expire) => true,
        Err(_) => return Err(Error::invalid("rotation.policy", "must be REMIND or EXPIRE")),
    };
    Ok(Some(Rotation { every, grace: grace.transpose()?.unwrap_or(DAY * 7), expires }))
}

fn duration(
    field: &'static str,
    value: &prost_types::Duration,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, Error> {
    let value = time::duration_from_proto(value).filter(|value| range.contains(value));
    value.ok_or_else(|| {
        let (least, most) = (range.start().as_secs(), range.end().as_secs());
        Error::invalid(field, format!("must be between {least} s and {most} s"))
    })
}
