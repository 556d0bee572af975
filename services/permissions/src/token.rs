//! Revision tokens: what every answer hands out and a read may ask to be at least as new as. Opaque to callers.
//!
//! `version, cluster, epoch, revision, MAC` in base64url. The MAC is keyed from the encryption keys, so every process
//! of an installation reads what any of them made, and what somebody made up is refused instead of waited for.

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use policy::{Epoch, Revision};
use sha2::Sha256;
use shared::seal::Sealer;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

const VERSION: u8 = 1;
/// Leading bytes of the cluster's id that a token carries: to tell installations apart, not to prove anything.
const CLUSTER: usize = 8;
/// Version, cluster, epoch, revision.
const BODY: usize = 1 + CLUSTER + 16 + 8;
const MAC: usize = 8;

/// One revision of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

/// Makes and reads the tokens of one installation.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    cluster: Uuid,
    /// The first one signs, all of them verify, as with the keys they come from.
    keys: Vec<Hmac<Sha256>>,
    /// The one that was made last: every answer carries it until something changes.
    latest: Mutex<Option<(Token, String)>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Tokens({})", self.0.cluster)
    }
}

impl Tokens {
    /// The tokens of the installation that the store belongs to.
    pub(crate) fn new(cluster: Uuid, sealer: &Sealer) -> Self {
        let derived = sealer.indexes("revision tokens", cluster.to_string());
        let keys = derived.iter().filter_map(|key| Hmac::new_from_slice(key).ok()).collect();
        Self(Arc::new(Inner { cluster, keys, latest: Mutex::default() }))
    }

    /// The installation.
    pub(crate) fn cluster(&self) -> Uuid {
        self.0.cluster
    }

    /// The token as callers carry it.
    pub(crate) fn encode(&self, token: Token) -> String {
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((known, text)) if *known == token => text.clone(),
            _ => latest.insert((token, self.sign(token))).1.clone(),
        }
    }

    fn sign(&self, token: Token) -> String {
        let mut bytes = [0; BODY + MAC];
        let (body, mac) = bytes.split_at_mut(BODY);
        body[0] = VERSION;
        body[1..=CLUSTER].copy_from_slice(self.prefix());
        body[1 + CLUSTER..BODY - 8].copy_from_slice(token.epoch.uuid().as_bytes());
        body[BODY - 8..].copy_from_slice(&token.revision.get().to_be_bytes());
        if let Some(key) = self.0.keys.first() {
            let whole = key.clone().chain_update(&*body).finalize().into_bytes();
            mac.copy_from_slice(&whole[..MAC]);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The token in a field of a request.
    pub(crate) fn decode(&self, field: &'static str, text: &str) -> Result<Token, Error> {
        let malformed = || Error::invalid(field, "is not a revision token; send one as an answer carried it");
        // Longer than any token: not worth decoding.
        let text = Some(text).filter(|text| text.len() <= 2 * (BODY + MAC)).ok_or_else(malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
        let bytes: [u8; BODY + MAC] = bytes.try_into().map_err(|_| malformed())?;
        let (body, mac) = bytes.split_at(BODY);
        if body[0] != VERSION {
            return Err(malformed());
        }
        if &body[1..=CLUSTER] != self.prefix() {
            return Err(Error::OtherCluster { field });
        }
        let signs = |key: &Hmac<Sha256>| key.clone().chain_update(body).verify_truncated_left(mac).is_ok();
        if !self.0.keys.iter().any(signs) {
            return Err(malformed());
        }
        let epoch = Uuid::from_slice(&body[1 + CLUSTER..BODY - 8]).map_err(|_| malformed())?;
        let revision: [u8; 8] = body[BODY - 8..].try_into().map_err(|_| malformed())?;
        Ok(Token { epoch: Epoch(epoch), revision: Revision(u64::from_be_bytes(revision)) })
    }

    fn prefix(&self) -> &[u8] {
        &self.0.cluster.as_bytes()[..CLUSTER]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::SecretString;

    const ONE: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
    const TWO: &str = "bGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw=";

    fn tokens(cluster: u128, keys: &[&str]) -> Tokens {
        let keys: Vec<SecretString> = keys.iter().map(|key| (*key).into()).collect();
        Tokens::new(Uuid::from_u128(cluster), &Sealer::new(&keys).unwrap())
    }

    fn token() -> Token {
        Token { epoch: Epoch(Uuid::from_u128(7)), revision: Revision(1 << 40) }
    }

    fn refused(result: Result<Token, Error>) -> bool {
        matches!(result, Err(Error::OtherCluster { field: "token" }))
            || matches!(result, Err(Error::Invalid { field, .. }) if field == "token")
    }

    #[test]
    fn a_token_survives_the_way_out_and_back_and_no_changed_one_does() {
        let tokens = tokens(1 << 100, &[ONE]);
        let text = tokens.encode(token());
        assert_eq!(tokens.decode("token", &text).unwrap(), token());
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(refused(tokens.decode("token", &URL_SAFE_NO_PAD.encode(changed))), "byte {at}");
            assert!(refused(tokens.decode("token", &URL_SAFE_NO_PAD.encode(&bytes[..at]))), "cut at {at}");
        }
        assert!(refused(tokens.decode("token", &format!("{text}AAAA"))));
    }

    #[test]
    fn a_token_of_another_installation_says_so_and_a_rotated_key_still_reads() {
        let (here, there) = (tokens(1 << 100, &[ONE]), tokens(1 << 101, &[ONE]));
        let foreign = here.decode("token", &there.encode(token()));
        assert!(matches!(foreign, Err(Error::OtherCluster { field: "token" })));
        let rotated = tokens(1 << 100, &[TWO, ONE]);
        assert_eq!(rotated.decode("token", &here.encode(token())).unwrap(), token());
        assert!(refused(here.decode("token", &rotated.encode(token()))), "not of a key it does not have");
    }

    proptest! {
        #[test]
        fn nothing_made_up_is_read_and_nothing_panics(text in ".{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let tokens = tokens(1 << 100, &[ONE]);
            prop_assert!(refused(tokens.decode("token", &text)));
            prop_assert!(refused(tokens.decode("token", &URL_SAFE_NO_PAD.encode(bytes))));
        }

        #[test]
        fn every_token_is_read_back(epoch in any::<u128>(), revision in any::<u64>()) {
            let tokens = tokens(1 << 100, &[ONE]);
            let token = Token { epoch: Epoch(Uuid::from_u128(epoch)), revision: Revision(revision) };
            prop_assert_eq!(tokens.decode("token", &tokens.encode(token)).unwrap(), token);
        }
    }
}
