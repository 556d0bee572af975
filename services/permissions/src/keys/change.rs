//! Changes what a key is called, limited to, and how long it works.

use super::{Key, Limits, Rotation, State, may_act_for, models_exist, one_of_mine, within_own_key};
use crate::{
    error::{Error, Forbidden},
    store,
    write::{Record, Thing, Write},
};
use ipnet::IpNet;
use policy::{Change, KeyId, ModelId, Scopes, Time};

/// What to change; `None` stays as it is.
#[derive(Debug)]
pub(crate) struct KeyPatch {
    pub(crate) id: KeyId,
    pub(crate) etag: String,
    pub(crate) name: Option<String>,
    pub(crate) models: Option<Option<Vec<ModelId>>>,
    pub(crate) scopes: Option<Scopes>,
    pub(crate) networks: Option<Vec<IpNet>>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) rotation: Option<Option<Rotation>>,
}

/// Changes a key. What becomes of it must lie within the limits of the key that the call is made with, if it is one.
pub(crate) async fn update(write: &mut Write, patch: KeyPatch) -> Result<Key, Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    let before = one_of_mine(write, &person, patch.id).await?;
    may_act_for(write, &person, before.user).await?;
    before.is_as(&patch.etag)?;
    if before.state(write.now()) == State::Revoked {
        return Err(Error::KeyEnded);
    }
    let after = patched(before.clone(), patch);
    within_own_key(write, &person, &after.limits).await?;
    if after.limits.models != before.limits.models {
        models_exist(write, &after.limits).await?;
    }
    if after.etag() != before.etag() {
        store::keys::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::key(after.id), before.image(), after.image());
        write.record(record.with(Change::PutKey(after.fact())));
    }
    Ok(after)
}

fn patched(key: Key, patch: KeyPatch) -> Key {
    let limits = Limits {
        models: patch.models.unwrap_or(key.limits.models),
        scopes: patch.scopes.unwrap_or(key.limits.scopes),
        networks: patch.networks.unwrap_or(key.limits.networks),
    };
    let rotation = patch.rotation.unwrap_or(key.rotation);
    Key {
        name: patch.name.unwrap_or(key.name),
        limits,
        expires_at: patch.expires_at.or(key.expires_at),
        // Another rhythm is announced anew.
        announced_at: key.announced_at.filter(|_| rotation == key.rotation),
        rotation,
        ..key
    }
}
