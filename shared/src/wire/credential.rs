//! Keys, the keys that sign tokens, and the ends of sessions, message by message.

use super::{Malformed, id, instant};
use crate::time;
use policy::{Change, Key, KeyHash, ModelId, OldSecret, Scopes, SessionId, SigningKey, Time};
use proto::permissions::v1 as pb;
use uuid::Uuid;

pub(super) fn key_to_proto(key: &Key) -> pb::PolicyKey {
    // An empty list means "every model" on the wire and "no model" in memory: the nil id is no model's.
    let nobody = || vec![Uuid::nil().to_string()];
    let model_ids = match &key.models {
        None => Vec::new(),
        Some(models) if models.is_empty() => nobody(),
        Some(models) => models.iter().map(ModelId::to_string).collect(),
    };
    pb::PolicyKey {
        key_id: key.id.to_string(),
        key_hash: key.hash.as_bytes().to_vec().into(),
        user_id: key.owner.to_string(),
        model_ids,
        expire_time: key.expires_at.map(time::to_proto),
        disabled: key.disabled,
        scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        networks: key.networks.iter().map(ToString::to_string).collect(),
        previous: key.previous.iter().map(old_secret_to_proto).collect(),
    }
}

pub(super) fn key_from_proto(key: &pb::PolicyKey) -> Result<Key, Malformed> {
    let models: Result<Vec<ModelId>, Malformed> =
        key.model_ids.iter().map(|text| id(text, "model")).collect();
    let scopes: Result<Scopes, _> = key.scopes.iter().map(|word| word.parse()).collect();
    let networks: Result<_, _> = key.networks.iter().map(|text| text.parse()).collect();
    let previous: Result<_, _> = key.previous.iter().map(old_secret_from_proto).collect();
    Ok(Key {
        id: id(&key.key_id, "key")?,
        hash: key_hash(&key.key_hash)?,
        owner: id(&key.user_id, "user")?,
        models: Some(models?).filter(|models| !models.is_empty()),
        expires_at: instant(key.expire_time.as_ref())?,
        disabled: key.disabled,
        scopes: scopes.map_err(|_| Malformed("scope"))?,
        networks: networks.map_err(|_| Malformed("network"))?,
        previous: previous?,
    })
}

fn old_secret_to_proto(old: &OldSecret) -> pb::PolicyOldSecret {
    pb::PolicyOldSecret {
        key_hash: old.hash.as_bytes().to_vec().into(),
        until_time: Some(time::to_proto(old.until)),
    }
}

fn old_secret_from_proto(old: &pb::PolicyOldSecret) -> Result<OldSecret, Malformed> {
    let until = instant(old.until_time.as_ref())?.ok_or(Malformed("time"))?;
    Ok(OldSecret { hash: key_hash(&old.key_hash)?, until })
}

fn key_hash(bytes: &[u8]) -> Result<KeyHash, Malformed> {
    bytes.try_into().map(KeyHash::new).map_err(|_| Malformed("key hash"))
}

pub(super) fn signing_key_to_proto(key: &SigningKey) -> pb::PolicySigningKey {
    pb::PolicySigningKey {
        kid: key.id.clone(),
        public_key: key.public.to_vec().into(),
        until_time: key.until.map(time::to_proto),
    }
}

pub(super) fn signing_key_from_proto(key: &pb::PolicySigningKey) -> Result<SigningKey, Malformed> {
    Ok(SigningKey {
        id: Some(key.kid.clone()).filter(|kid| !kid.is_empty()).ok_or(Malformed("kid"))?,
        public: key.public_key.as_ref().try_into().map_err(|_| Malformed("public key"))?,
        until: instant(key.until_time.as_ref())?,
    })
}

pub(super) fn ended_to_proto(session: SessionId, at: Time, until: Time) -> pb::PolicyEndedSession {
    pb::PolicyEndedSession {
        session_id: session.to_string(),
        end_time: Some(time::to_proto(at)),
        until_time: Some(time::to_proto(until)),
    }
}

pub(super) fn ended_from_proto(ended: &pb::PolicyEndedSession) -> Result<Change, Malformed> {
    let time = |time: &Option<_>| instant(time.as_ref())?.ok_or(Malformed("time"));
    let (at, until) = (time(&ended.end_time)?, time(&ended.until_time)?);
    Ok(Change::EndSession { session: id(&ended.session_id, "session")?, at, until })
}
