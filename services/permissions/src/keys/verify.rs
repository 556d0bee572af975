//! Whether a key is good: at all, from an address, for a model. Answered from memory, as the gateways decide it.

use crate::{check, error::Error, tail::Tail};
use policy::{KeyHash, KeyId, KeyRefusal, Policy, Reason, Role, Scope, Time, UserId};
use shared::{api_key, auth, auth::Caller};
use std::net::IpAddr;

/// What is asked of which key.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: Which,
    /// Name of a model.
    pub(crate) model: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) scope: Option<Scope>,
}

/// Which key is asked about.
pub(crate) enum Which {
    /// The one that this secret is of.
    Secret(String),
    /// The one of this id.
    Id(KeyId),
}

impl std::fmt::Debug for Which {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(_) => formatter.write_str("Secret"),
            Self::Id(id) => write!(formatter, "Id({id})"),
        }
    }
}

/// The answer.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) good: bool,
    pub(crate) reason: &'static str,
    pub(crate) key: Option<KeyId>,
    pub(crate) user: Option<UserId>,
    pub(crate) valid_until: Option<Time>,
}

/// Asks the policy in this process. By id only those may ask who may read the key.
pub(crate) fn verify(tail: &Tail, caller: &Caller, asked: &Asked, now: Time) -> Result<Verdict, Error> {
    let (replica, _) = check::serving(tail, now)?;
    let policy = replica.policy();
    let hash = match &asked.key {
        Which::Secret(secret) if !api_key::is_plausible(secret) => return Ok(no("KEY_MALFORMED")),
        Which::Secret(secret) => auth::hash(secret),
        Which::Id(id) => {
            let reader =
                caller.person().is_none() || caller.has_role(&[Role::Owner, Role::Admin, Role::Auditor]);
            let mine = |user| caller.person().is_some_and(|person| person.user == user);
            let key = policy.key(*id).filter(|key| reader || mine(key.owner));
            key.ok_or_else(|| Error::not_found("key", *id))?.hash
        }
    };
    Ok(decide(policy, &hash, asked, now))
}

/// The key that a call is made with, when it is one.
pub(crate) fn own(caller: &Caller) -> Result<Which, Error> {
    let key = caller.person().and_then(|person| person.key);
    key.map(Which::Id)
        .ok_or_else(|| Error::invalid("secret", "or key_id is needed: this call is made without a key"))
}

fn decide(policy: &Policy, hash: &KeyHash, asked: &Asked, now: Time) -> Verdict {
    let key = match policy.key_by_hash(hash, asked.address, now) {
        Ok(key) => key,
        Err(refusal) => return no(word(refusal)),
    };
    let end = key.expires_at.into_iter().chain(old_end(key, hash)).min();
    let known = Verdict { key: Some(key.id), user: Some(key.owner), ..Verdict::default() };
    let scope = asked.scope.or_else(|| asked.model.as_ref().map(|_| Scope::Inference));
    if scope.is_some_and(|scope| !key.scopes.contains(scope)) {
        return Verdict { reason: Reason::KeyScope.as_str(), ..known };
    }
    let Some(model) = &asked.model else {
        return Verdict { good: true, reason: "GOOD", valid_until: end, ..known };
    };
    match policy.authorize(hash, model, asked.address, now) {
        Ok(access) => {
            let decision = access.decision;
            let (good, reason) = (decision.allowed, decision.reason.as_str());
            Verdict { good, reason, valid_until: decision.valid_until, ..known }
        }
        Err(refusal) => Verdict { reason: word(refusal), ..known },
    }
}

fn old_end(key: &policy::Key, hash: &KeyHash) -> Option<Time> {
    key.previous.iter().filter(|old| old.hash == *hash && key.hash != *hash).map(|old| old.until).max()
}

/// The word for a refusal, the same that a call with the key would be told.
const fn word(refusal: KeyRefusal) -> &'static str {
    match refusal {
        KeyRefusal::Unknown => "KEY_UNKNOWN",
        KeyRefusal::Disabled => "KEY_REVOKED",
        KeyRefusal::Expired => "KEY_EXPIRED",
        KeyRefusal::OwnerDisabled => "ACCOUNT_DISABLED",
        KeyRefusal::Network => "KEY_NETWORK",
    }
}

fn no(reason: &'static str) -> Verdict {
    Verdict { reason, ..Verdict::default() }
}
