//! Who holds a credential, by a policy in memory: what permissions and inference verify with.
//!
//! A verified token is remembered by its digest, because a signature costs more than all else that a request needs.
//! What can change while it is remembered is looked up on every use: its key, its session, its user and their role.
//!
//! Access tokens are short because they can be renewed. While permissions is away they cannot, so they count as they did
//! when it was last heard, for as long as its policy does.

use super::{
    Credential, Person, Refusal,
    token::{self, BadToken, Claims},
};
use moka::sync::Cache;
use policy::{Epoch, Key, KeyHash, KeyId, KeyRefusal, Policy, Scopes, SessionId, Time, UserId};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// Tokens remembered at once; at about 300 bytes each.
const TOKENS: u64 = 50_000;
/// Longest time that a token is remembered without being used again.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The tokens that were verified before.
#[derive(Debug, Clone)]
pub struct Tokens(Cache<[u8; 32], Arc<Verified>>);

/// What is known of everybody.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The state.
    pub policy: &'a Policy,
    /// The log that it is of.
    pub epoch: Option<Epoch>,
    /// The instant up to which it is known to be complete.
    pub at: Time,
}

#[derive(Debug)]
struct Verified {
    claims: Claims,
    kid: String,
    public: [u8; 32],
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(TOKENS).time_to_idle(IDLE).build())
    }
}

impl Tokens {
    /// The person who shows a credential from `peer` at `now`.
    ///
    /// # Errors
    /// When nobody holds it, or it does not count.
    pub fn person(
        &self,
        known: Known<'_>,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<Person, Refusal> {
        match credential {
            Credential::Key(hash) => of_key(known.policy, &hash, peer, now),
            Credential::Token(token) => of_token(known, &*self.verified(known, token)?, now),
        }
    }

    fn verified(&self, Known { policy, at, .. }: Known<'_>, text: &str) -> Result<Arc<Verified>, Refusal> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        if let Some(known) = self.0.get(&digest) {
            return Ok(known);
        }
        let mut public = [0; 32];
        let (claims, kid) = token::verify(text, |kid| {
            public = policy.signing_key(kid, at)?.public;
            Some(public)
        })?;
        let verified = Arc::new(Verified { claims, kid, public });
        self.0.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }
}

/// Whoever began what goes on now, with the rights that they have by now: the key that they showed, or nothing but who
/// they are.
///
/// # Errors
/// When they, or the key, count no more.
pub fn still(policy: &Policy, user: UserId, key: Option<KeyId>, now: Time) -> Result<Person, Refusal> {
    match key {
        Some(key) => {
            let key = policy.key_by_id(key, now)?;
            if key.owner == user { with_key(policy, key) } else { Err(Refusal::Unknown) }
        }
        None => of_user(policy, user, None),
    }
}

fn of_key(policy: &Policy, hash: &KeyHash, peer: Option<IpAddr>, now: Time) -> Result<Person, Refusal> {
    with_key(policy, policy.key_by_hash(hash, peer, now)?)
}

fn with_key(policy: &Policy, key: &Key) -> Result<Person, Refusal> {
    Ok(Person { key: Some(key.id), scopes: key.scopes, ..of_user(policy, key.owner, None)? })
}

fn of_user(policy: &Policy, user: UserId, session: Option<SessionId>) -> Result<Person, Refusal> {
    let user = policy.user(user).filter(|user| !user.disabled).ok_or(Refusal::OwnerDisabled)?;
    Ok(Person { user: user.id, key: None, session, role: user.role, scopes: Scopes::ALL })
}

fn of_token(known: Known<'_>, token: &Verified, now: Time) -> Result<Person, Refusal> {
    let (Known { policy, epoch, at }, claims) = (known, &token.claims);
    token::in_time(claims, at, now)?;
    let key = policy.signing_key(&token.kid, at);
    // A store that was restored has forgotten which sessions were ended since, so what is of before counts no more.
    if key.is_none_or(|key| key.public != token.public) || epoch != Some(claims.epoch) {
        return Err(Refusal::Token);
    }
    if policy.session_ended(claims.sid, at) {
        return Err(Refusal::SessionEnded);
    }
    of_user(policy, claims.sub, Some(claims.sid))
}

impl From<KeyRefusal> for Refusal {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::Unknown => Self::Unknown,
            KeyRefusal::Disabled => Self::Revoked,
            KeyRefusal::Expired => Self::Expired,
            KeyRefusal::OwnerDisabled => Self::OwnerDisabled,
            KeyRefusal::Network => Self::Network,
        }
    }
}

impl From<BadToken> for Refusal {
    fn from(bad: BadToken) -> Self {
        match bad {
            BadToken::Invalid => Self::Token,
            BadToken::Expired => Self::TokenExpired,
        }
    }
}

#[cfg(test)]
mod tests;
