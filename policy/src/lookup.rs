//! From what a request carries to a decision: the key's secret and the model's name, as they came.

use std::net::IpAddr;

use crate::{
    check::{Decision, Reason},
    fact::{Action, Key, Model, Scope},
    id::{KeyHash, KeyId, ModelId, UserId},
    policy::{KeyEntry, Policy},
    time::Time,
};

/// Why a key is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyRefusal {
    /// No key has this secret.
    #[error("the API key is not known; create one, or check that it was copied whole")]
    Unknown,
    /// The key was disabled.
    #[error("the API key is disabled; use another one")]
    Disabled,
    /// The key's time is over.
    #[error("the API key has expired; rotate it or create another one")]
    Expired,
    /// The user it acts as is disabled.
    #[error("the owner of the API key is disabled; ask an administrator")]
    OwnerDisabled,
    /// The key is bound to networks, and the caller is in none of them.
    #[error("the API key may not be used from this address; use it from a network it is for, or widen them")]
    Network,
}

impl KeyRefusal {
    /// The stable word for this refusal on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "KEY_UNKNOWN",
            Self::Disabled => "KEY_DISABLED",
            Self::Expired => "KEY_EXPIRED",
            Self::OwnerDisabled => "KEY_OWNER_DISABLED",
            Self::Network => "KEY_NETWORK",
        }
    }
}

/// A good key's question answered: who asked, for what, and whether they may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The key that was shown.
    pub key: KeyId,
    /// The user it acts as.
    pub user: UserId,
    /// The model the name stands for, if it stands for one.
    pub model: Option<ModelId>,
    /// Whether that user may use that model with that key.
    pub decision: Decision,
}

impl Policy {
    /// Key, owner, model and decision in one go, without allocating: what every inference request asks.
    ///
    /// # Errors
    /// When the key is no credential for a caller at `peer`. A good key that may not use the model is an answer.
    pub fn authorize(
        &self,
        key: &KeyHash,
        model: &str,
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<Access, KeyRefusal> {
        let entry = self.live_key(key, peer, now)?;
        let index = self.names.get(model).map(|name| name.model);
        let model = index.and_then(|index| self.models.at(index)).map(|entry| entry.fact.id);
        let narrowed =
            entry.fact.models.as_ref().zip(model).is_some_and(|(only, model)| !only.contains(&model));
        let mut decision = if !entry.fact.scopes.contains(Scope::Inference) {
            Decision::refused(Reason::KeyScope)
        } else if narrowed {
            Decision::refused(Reason::KeyNarrowed)
        } else {
            self.decide(Some(entry.owner), index, Action::Use, now)
        };
        if decision.allowed {
            decision.valid_until = earlier(decision.valid_until, Time::known(entry.fact.until(key)));
        }
        Ok(Access { key: entry.fact.id, user: entry.fact.owner, model, decision })
    }

    /// The key with this secret, if it is a credential for a caller at `peer` at `now`.
    ///
    /// # Errors
    /// When there is none, when it or its owner is out of service, or when it may not be used from there.
    pub fn key_by_hash(&self, hash: &KeyHash, peer: Option<IpAddr>, now: Time) -> Result<&Key, KeyRefusal> {
        self.live_key(hash, peer, now).map(|entry| &entry.fact)
    }

    /// A key and whether it counts at `now`, for work that goes on after the call that showed it: wherever that came from.
    ///
    /// # Errors
    /// When there is none, or when it or its owner is out of service.
    pub fn key_by_id(&self, id: KeyId, now: Time) -> Result<&Key, KeyRefusal> {
        let entry = self.keys.get(&id).ok_or(KeyRefusal::Unknown)?;
        let end = entry.fact.expires_at.map_or(Time::NEVER, |end| end.0);
        self.counts(entry, end, now).map(|entry| &entry.fact)
    }

    /// The model of exactly this name, be it its own or an alias.
    #[must_use]
    pub fn model_by_name(&self, name: &str) -> Option<&Model> {
        self.names.get(name).and_then(|name| self.models.at(name.model)).map(|entry| &entry.fact)
    }

    /// A plain map lookup is safe here, although its time depends on the hash: whoever guesses secrets cannot steer
    /// their digests, so learning how far a digest matched tells nothing about the next guess.
    fn live_key(&self, hash: &KeyHash, peer: Option<IpAddr>, now: Time) -> Result<&KeyEntry, KeyRefusal> {
        let entry =
            self.hashes.get(hash).and_then(|index| self.keys.at(*index)).ok_or(KeyRefusal::Unknown)?;
        let entry = self.counts(entry, entry.fact.until(hash), now)?;
        if entry.fact.admits(peer) { Ok(entry) } else { Err(KeyRefusal::Network) }
    }

    fn counts<'a>(&self, entry: &'a KeyEntry, end: i64, now: Time) -> Result<&'a KeyEntry, KeyRefusal> {
        if entry.fact.disabled {
            return Err(KeyRefusal::Disabled);
        }
        if now.0 >= end {
            return Err(KeyRefusal::Expired);
        }
        if self.users.at(entry.owner).is_none_or(|owner| owner.fact.disabled) {
            return Err(KeyRefusal::OwnerDisabled);
        }
        Ok(entry)
    }
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}
