//! Credentials: API keys with what narrows them, and the public keys that tokens are verified with.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::{
    id::{KeyHash, KeyId, ModelId, UserId},
    time::Time,
};

/// An API key: it acts as its owner, on no more models than it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The key's id.
    pub id: KeyId,
    /// The digest of its secret.
    pub hash: KeyHash,
    /// The user it acts as.
    pub owner: UserId,
    /// The only models it may be used for; none means whatever its owner may use. Ids of models that are gone may
    /// stay in the list: dropping them could empty it, and an empty list must keep meaning "no model".
    pub models: Option<Vec<ModelId>>,
    /// The instant from which it is refused.
    pub expires_at: Option<Time>,
    /// A disabled key is refused.
    pub disabled: bool,
    /// What it may be used for.
    #[serde(default)]
    pub scopes: Scopes,
    /// The only networks it may be used from; empty means from anywhere.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// Secrets it had before, which work for a while longer.
    #[serde(default)]
    pub previous: Vec<OldSecret>,
}

impl Key {
    /// Whether it may be used from this address; one that is bound to networks needs to know it.
    #[must_use]
    pub fn admits(&self, peer: Option<IpAddr>) -> bool {
        self.networks.is_empty() || peer.is_some_and(|peer| self.networks.iter().any(|net| holds(net, peer)))
    }

    /// Every digest by which it can be found.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = KeyHash> {
        std::iter::once(self.hash).chain(self.previous.iter().map(|old| old.hash))
    }

    /// The instant from which this secret of it is refused; the first one representable when it is none of its own.
    pub(crate) fn until(&self, hash: &KeyHash) -> i64 {
        let old = self.previous.iter().filter(|old| old.hash == *hash).map(|old| old.until.0).max();
        let secret = if self.hash == *hash { Time::NEVER } else { old.unwrap_or(Time::ALWAYS) };
        self.expires_at.map_or(secret, |end| secret.min(end.0))
    }
}

/// An IPv4 address may arrive dressed as IPv6, and so may a network be written.
fn holds(net: &IpNet, peer: IpAddr) -> bool {
    const MAPPED_PREFIX: u8 = 96;
    let peer = peer.to_canonical();
    net.contains(&peer)
        || match (net, peer) {
            (IpNet::V6(net), IpAddr::V4(peer)) => {
                net.prefix_len() >= MAPPED_PREFIX && net.contains(&peer.to_ipv6_mapped())
            }
            _ => false,
        }
}

/// A secret that was rotated out and still works before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldSecret {
    /// The digest of the secret.
    pub hash: KeyHash,
    /// The instant from which it is refused.
    pub until: Time,
}

/// What a key may be used for: a set that is never empty, because naming no scope means all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(0b111);

    /// Whether `scope` is among them.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Whether all of them are among `wider`.
    #[must_use]
    pub const fn within(self, wider: Self) -> bool {
        self.0 & !wider.0 == 0
    }

    /// The scopes, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.contains(*scope))
    }
}

const fn bit(scope: Scope) -> u8 {
    match scope {
        Scope::Inference => 1,
        Scope::Read => 2,
        Scope::Write => 4,
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Scope> for Scopes {
    /// These scopes; all of them when there are none.
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        match scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)) {
            0 => Self::ALL,
            bits => Self(bits),
        }
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        scopes.into_iter().collect()
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.iter().collect()
    }
}

/// The public half of a key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The `kid` by which tokens name it.
    pub id: String,
    /// The Ed25519 public key.
    #[serde(with = "crate::hex")]
    pub public: [u8; 32],
    /// The instant from which its signatures count for nothing; none means it is in use.
    pub until: Option<Time>,
}
