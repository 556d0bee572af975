//! What an API key is: whose, narrowed to what, until when, and when its secret must be another.

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;
use policy::{KeyHash, KeyId, ModelId, OldSecret, Scopes, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{api_key, auth};
use std::time::Duration;
use uuid::Uuid;

/// Characters of a secret that are shown later, to recognise it by.
const HINT: usize = 8;

/// A key without its secret.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) hash: KeyHash,
    pub(crate) hint: String,
    pub(crate) limits: Limits,
    /// Secrets of before that work for a while longer.
    pub(crate) previous: Vec<OldSecret>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) revoked_at: Option<Time>,
    pub(crate) created_at: Time,
    /// When its secret was made.
    pub(crate) secret_at: Time,
    pub(crate) rotation: Option<Rotation>,
    /// When its user was told that it is due.
    pub(crate) announced_at: Option<Time>,
}

/// What a key is limited to, below what its user may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `None`: every model.
    pub(crate) models: Option<Vec<ModelId>>,
    pub(crate) scopes: Scopes,
    /// Empty: every network.
    pub(crate) networks: Vec<IpNet>,
}

/// When a secret must be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// From the making of a secret until it is due.
    pub(crate) every: Duration,
    /// From then until it stops, if it does.
    pub(crate) grace: Duration,
    /// Whether it stops.
    pub(crate) expires: bool,
}

/// What has become of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Expired,
    Revoked,
}

/// What a new key is made of.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) expires_at: Option<Time>,
    pub(crate) rotation: Option<Rotation>,
}

impl NewKey {
    /// A key without limits and without an end.
    pub(crate) const fn of(user: UserId, name: String) -> Self {
        Self { user, name, limits: Limits::NONE, expires_at: None, rotation: None }
    }
}

impl Limits {
    /// No limits.
    pub(crate) const NONE: Self = Self { models: None, scopes: Scopes::ALL, networks: Vec::new() };

    /// Whether whatever these allow, `wider` allows too.
    pub(crate) fn within(&self, wider: &Self) -> bool {
        let models = wider.models.as_ref().is_none_or(|wider| {
            self.models.as_ref().is_some_and(|models| models.iter().all(|model| wider.contains(model)))
        });
        let inside = |network: &IpNet| wider.networks.iter().any(|wider| wider.contains(network));
        let networks =
            wider.networks.is_empty() || (!self.networks.is_empty() && self.networks.iter().all(inside));
        models && networks && self.scopes.within(wider.scopes)
    }
}

impl Key {
    /// A key that does not exist yet, and its secret.
    pub(crate) fn new(new: NewKey, now: Time) -> (Self, SecretString) {
        let secret = api_key::generate();
        let key = Self {
            id: KeyId(Uuid::now_v7()),
            user: new.user,
            name: new.name,
            hash: auth::hash(secret.expose_secret()),
            hint: hint(&secret),
            limits: new.limits,
            previous: Vec::new(),
            expires_at: new.expires_at,
            revoked_at: None,
            created_at: now,
            secret_at: now,
            rotation: new.rotation,
            announced_at: None,
        };
        (key, secret)
    }

    /// Gives it another secret; the one it had works on until `until`, when there is an until.
    pub(crate) fn renewed(self, until: Option<Time>, now: Time) -> (Self, SecretString) {
        let secret = api_key::generate();
        let mut previous = Vec::new();
        if let Some(until) = until {
            // Those of before keep their own end, however often the key is rotated.
            previous.extend(self.previous.into_iter().filter(|old| old.until > now));
            previous.push(OldSecret { hash: self.hash, until });
        }
        let (hash, hint) = (auth::hash(secret.expose_secret()), hint(&secret));
        let key = Self { hash, hint, previous, secret_at: now, announced_at: None, ..self };
        (key, secret)
    }

    /// When it is due to be rotated.
    pub(crate) fn due_at(&self) -> Option<Time> {
        self.rotation.map(|rotation| self.secret_at.plus(rotation.every))
    }

    /// When it stops: at its end, or because it was not rotated.
    pub(crate) fn ends_at(&self) -> Option<Time> {
        let stops = self.rotation.filter(|rotation| rotation.expires);
        let stops = stops.map(|rotation| self.secret_at.plus(rotation.every).plus(rotation.grace));
        self.expires_at.into_iter().chain(stops).min()
    }

    /// Until when a secret that it had before works.
    pub(crate) fn previous_until(&self, now: Time) -> Option<Time> {
        let end = self.ends_at();
        let old = self.previous.iter().map(|old| end.map_or(old.until, |end| end.min(old.until))).max();
        old.filter(|until| *until > now)
    }

    pub(crate) fn state(&self, now: Time) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if self.ends_at().is_some_and(|end| end <= now) {
            State::Expired
        } else {
            State::Active
        }
    }

    /// The key as events show it: nothing that opens anything, and no name, which can be erased.
    pub(crate) fn image(&self) -> Value {
        json!({
            "user": self.user,
            "models": self.limits.models,
            "scopes": self.limits.scopes,
            "networks": self.limits.networks,
            "secret_at": self.secret_at,
            "rotation": self.rotation.map(|rotation| json!({
                "every_seconds": rotation.every.as_secs(),
                "grace_seconds": rotation.grace.as_secs(),
                "expires": rotation.expires,
            })),
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        })
    }

    /// What the policy knows of the key.
    pub(crate) fn fact(&self) -> policy::Key {
        policy::Key {
            id: self.id,
            hash: self.hash,
            owner: self.user,
            models: self.limits.models.clone(),
            expires_at: self.ends_at(),
            disabled: self.revoked_at.is_some(),
            scopes: self.limits.scopes,
            networks: self.limits.networks.clone(),
            previous: self.previous.clone(),
        }
    }

    /// Changes whenever anything that can be read of the key does, but for its uses.
    pub(crate) fn etag(&self) -> String {
        let content = json!([self.image(), self.name, self.hint, self.previous]).to_string();
        URL_SAFE_NO_PAD.encode(&Sha256::digest(content)[..12])
    }

    /// Refuses when the caller has read another state of it. A caller who sends no etag means it as it is.
    pub(crate) fn is_as(&self, etag: &str) -> Result<(), Error> {
        if etag.is_empty() || etag == self.etag() { Ok(()) } else { Err(Error::EtagMismatch) }
    }
}

fn hint(secret: &SecretString) -> String {
    secret.expose_secret().chars().take(HINT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn limits(models: Option<&[u128]>, scopes: &[policy::Scope], networks: &[&str]) -> Limits {
        Limits {
            models: models.map(|ids| ids.iter().map(|id| ModelId(Uuid::from_u128(*id))).collect()),
            scopes: scopes.iter().copied().collect(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn limits_are_within_those_that_allow_all_they_do() {
        use policy::Scope::{Inference, Read};
        let wide = limits(Some(&[1, 2]), &[Inference, Read], &["10.0.0.0/8", "2001:db8::/32"]);
        for narrow in [
            wide.clone(),
            limits(Some(&[1]), &[Read], &["10.1.0.0/16"]),
            limits(Some(&[]), &[Read], &["10.0.0.0/8", "2001:db8:1::/48"]),
        ] {
            assert!(narrow.within(&wide) && narrow.within(&Limits::NONE), "{narrow:?}");
        }
        for wider in [
            Limits::NONE,
            limits(None, &[Read], &["10.1.0.0/16"]),
            limits(Some(&[3]), &[Read], &["10.1.0.0/16"]),
            limits(Some(&[1]), &[], &["10.1.0.0/16"]),
            limits(Some(&[1]), &[Read], &[]),
            limits(Some(&[1]), &[Read], &["0.0.0.0/0"]),
            limits(Some(&[1]), &[Read], &["10.1.0.0/16", "192.0.2.0/24"]),
        ] {
            assert!(!wider.within(&wide), "{wider:?}");
        }
    }

    #[test]
    fn ends_count_from_creation_and_from_the_making_of_the_secret() {
        let (mut key, _) = Key::new(NewKey::of(UserId(Uuid::nil()), "key".to_owned()), Time(0));
        assert_eq!((key.due_at(), key.ends_at()), (None, None));
        key.rotation = Some(Rotation { every: 30 * DAY, grace: 7 * DAY, expires: false });
        assert_eq!((key.due_at(), key.ends_at()), (Some(Time(0).plus(30 * DAY)), None));
        key.rotation = Some(Rotation { every: 30 * DAY, grace: 7 * DAY, expires: true });
        assert_eq!(key.ends_at(), Some(Time(0).plus(37 * DAY)));
        key.expires_at = Some(Time(0).plus(33 * DAY));
        assert_eq!((key.ends_at(), key.fact().expires_at), (key.expires_at, key.expires_at));
        let now = Time(0).plus(31 * DAY);
        let (key, _) = key.renewed(Some(now.plus(DAY)), now);
        assert_eq!((key.due_at(), key.ends_at()), (Some(now.plus(30 * DAY)), key.expires_at));
        assert_eq!(key.previous_until(now), Some(now.plus(DAY)));
        assert_eq!(key.previous_until(now.plus(DAY)), None);
        assert_eq!(key.state(now), State::Active);
        assert_eq!(key.state(Time(0).plus(33 * DAY)), State::Expired);
    }

    #[test]
    fn a_grace_of_nothing_ends_every_older_secret() {
        let (key, _) = Key::new(NewKey::of(UserId(Uuid::nil()), "key".to_owned()), Time(0));
        let (key, _) = key.renewed(Some(Time(100)), Time(1));
        let (key, _) = key.renewed(Some(Time(200)), Time(2));
        assert_eq!(key.previous.iter().map(|old| old.until).collect::<Vec<_>>(), [Time(100), Time(200)]);
        let (late, _) = key.clone().renewed(Some(Time(300)), Time(150));
        assert_eq!(late.previous.iter().map(|old| old.until).collect::<Vec<_>>(), [Time(200), Time(300)]);
        let (key, _) = key.renewed(None, Time(3));
        assert!(key.previous.is_empty());
    }
}
