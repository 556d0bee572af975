//! Secrets: kept and looked up as SHA-256 digests only, and compared in constant time where they are compared.
//!
//! Secrets have 256 random bits, so no slow hash is needed. Looking a digest up in a map or an index takes a time that
//! depends on the digest, which tells nothing about the secret: whoever guesses cannot steer digests.

use crate::config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use policy::KeyHash;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Prefix of service tokens.
pub const SERVICE_PREFIX: &str = "tgs_";

/// Notes what is wrong with the token that services prove themselves with, where one is set.
pub fn validate_token(token: &Secret, faults: &mut Vec<String>) {
    let strong = |token: &SecretString| {
        token.expose_secret().strip_prefix(SERVICE_PREFIX).is_some_and(|rest| rest.len() >= 32)
    };
    match token.read() {
        Err(fault) => faults.push(format!("service_token.file: {fault}")),
        Ok(Some(token)) if !strong(&token) => faults.push(format!(
            "service_token: must begin with {SERVICE_PREFIX} and have at least 32 further characters"
        )),
        Ok(_) => {}
    }
}

/// The digest of a secret. It has no `==`: what compares digests is [`ConstantTimeEq`].
#[derive(Clone)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of this secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(<Sha256 as sha2::Digest>::digest(secret).into())
    }

    /// The digest, to look it up by.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the digest of what is presented.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.ct_eq(&Self::of(presented)).into()
    }
}

impl ConstantTimeEq for Digest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Digest")
    }
}

/// The digest by which an API key is looked up.
#[must_use]
pub fn hash(secret: &str) -> KeyHash {
    KeyHash::new(*Digest::of(secret).as_bytes())
}

/// What services prove themselves with to each other.
#[derive(Debug, Clone)]
pub struct ServiceToken(Digest);

impl ServiceToken {
    /// Keeps the digest of the token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self(Digest::of(token.expose_secret()))
    }

    pub(super) fn matches(&self, presented: &str) -> bool {
        self.0.matches(presented)
    }

    /// A key for one purpose, which all services of an installation derive alike and nobody else can.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut block = [0; 64];
        block[..32].copy_from_slice(self.0.as_bytes());
        let mut key = <Hmac<Sha256> as KeyInit>::new(&block.into());
        key.update(purpose.as_bytes());
        key.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::marker::PhantomData;

    struct Compares<T>(PhantomData<T>);

    trait Not {
        const BY_EQ: bool = false;
    }

    impl<T> Not for Compares<T> {}

    // Found before the trait's when the bound holds.
    impl<T: PartialEq> Compares<T> {
        const BY_EQ: bool = true;
    }

    #[test]
    fn digests_of_secrets_can_be_compared_in_constant_time_only() {
        const { assert!(Compares::<[u8; 32]>::BY_EQ, "the probe sees an `==` where there is one") };
        const { assert!(!Compares::<Digest>::BY_EQ && !Compares::<ServiceToken>::BY_EQ) };
        let token = ServiceToken::new(&"tgs_one".into());
        assert!(token.matches("tgs_one"));
        for other in ["tgs_two", "tgs_on", "tgs_one ", ""] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "ServiceToken(Digest)");
    }
}
