//! Encryption of single columns: what a stolen database or backup must not tell.
//!
//! XChaCha20-Poly1305 with a random nonce per value; the place a value belongs to is authenticated with it, so a
//! sealed value moved to another row or column does not open. Every value names its key, so keys can be rotated:
//! the first key of the list seals, all of them open. Equality is looked up by a keyed digest beside the value. [`rows`]
//! does the same for whole tables.

pub mod rows;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const KEY: usize = 32;
const NAME: usize = 4;
const NONCE: usize = 24;
const VERSION: u8 = 1;

/// A value could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// None of the keys at hand sealed it.
    #[error("a stored value was encrypted with a key that is not configured; add that key to the list")]
    UnknownKey,
    /// It was changed, or belongs to another place.
    #[error("a stored value does not belong where it was found, or was changed")]
    Broken,
}

/// Seals and opens values.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<[Key]>,
}

struct Key {
    name: [u8; NAME],
    cipher: XChaCha20Poly1305,
    index: [u8; KEY],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Sealer({} keys)", self.keys.len())
    }
}

impl Sealer {
    /// A sealer of these keys, each 32 bytes in base64 or `file:` and the path of a file that holds them; the first one
    /// seals.
    ///
    /// # Errors
    /// What is wrong, when there is no key or one is malformed.
    pub fn new(keys: &[SecretString]) -> Result<Self, &'static str> {
        if keys.is_empty() {
            return Err(
                "needs at least one key: 32 random bytes in base64, as `openssl rand -base64 32` prints",
            );
        }
        let keys: Result<Vec<Key>, _> = keys.iter().map(Key::read).collect();
        Ok(Self { keys: keys?.into() })
    }

    /// A new key, as configuration takes it.
    #[must_use]
    pub fn generate() -> SecretString {
        STANDARD.encode(rand::random::<[u8; KEY]>()).into()
    }

    /// Seals `plain` for one place: a table, a column and a row.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let Some(key) = self.keys.first() else { return Vec::new() };
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        [&[VERSION][..], &key.name, &nonce, &sealed].concat()
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// When no key fits, or the value is not of this place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let parts = split(sealed).ok_or(SealError::Broken)?;
        let key = self.keys.iter().find(|key| key.name == parts.name).ok_or(SealError::UnknownKey)?;
        let payload = Payload { msg: parts.body, aad: place.as_bytes() };
        key.cipher.decrypt(&XNonce::from(parts.nonce), payload).map_err(|_| SealError::Broken)
    }

    /// Opens a text that was sealed for this place.
    ///
    /// # Errors
    /// As [`Sealer::open`], or when it is no text.
    pub fn open_text(&self, place: &str, sealed: &[u8]) -> Result<String, SealError> {
        String::from_utf8(self.open(place, sealed)?).map_err(|_| SealError::Broken)
    }

    /// Whether the key that seals now sealed this value; if not, it should be sealed again.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let current = self.keys.first().map(|key| key.name);
        split(sealed).is_some_and(|parts| Some(parts.name) == current)
    }

    /// The name by which values say which key sealed them, of the key that seals now.
    #[must_use]
    pub fn current(&self) -> String {
        self.keys.first().map(|key| hex::encode(key.name)).unwrap_or_default()
    }

    /// The digest to store beside a sealed `text`, by which it is found again.
    #[must_use]
    pub fn index(&self, column: &str, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.keys.first().map(|key| key.digest(column, text.as_ref())).unwrap_or_default()
    }

    /// The digests that `text` may be stored under: one per key, for the time of a rotation.
    #[must_use]
    pub fn indexes(&self, column: &str, text: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        self.keys.iter().map(|key| key.digest(column, text.as_ref())).collect()
    }
}

impl Key {
    fn read(text: &SecretString) -> Result<Self, &'static str> {
        let text = match text.expose_secret().trim().strip_prefix("file:") {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|_| "the file of a key cannot be read")?.into()
            }
            None => text.clone(),
        };
        let bytes = STANDARD.decode(text.expose_secret().trim()).map_err(|_| "a key is not base64")?;
        let bytes: [u8; KEY] = bytes.try_into().map_err(|_| "a key does not have 32 bytes")?;
        let mut name = [0; NAME];
        name.copy_from_slice(&derived(&bytes, "name")[..NAME]);
        Ok(Self {
            name,
            cipher: XChaCha20Poly1305::new(&derived(&bytes, "seal").into()),
            index: derived(&bytes, "index"),
        })
    }

    fn digest(&self, column: &str, text: &[u8]) -> Vec<u8> {
        keyed(&self.index, &[column.as_bytes(), &[0], text]).to_vec()
    }
}

/// One key per purpose, so that none is used for two.
fn derived(key: &[u8; KEY], purpose: &str) -> [u8; KEY] {
    keyed(key, &[b"tollgate ", purpose.as_bytes()])
}

fn keyed(key: &[u8; KEY], parts: &[&[u8]]) -> [u8; KEY] {
    // A MAC takes a key of any length; the digest of the parts is only what is left if it should not.
    match <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) {
        Ok(mut mac) => {
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        }
        Err(_) => Sha256::digest(parts.concat()).into(),
    }
}

struct Parts<'a> {
    name: [u8; NAME],
    nonce: [u8; NONCE],
    body: &'a [u8],
}

fn split(sealed: &[u8]) -> Option<Parts<'_>> {
    let rest = sealed.strip_prefix(&[VERSION])?;
    let (name, rest) = rest.split_first_chunk::<NAME>()?;
    let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
    Some(Parts { name: *name, nonce: *nonce, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(count: usize) -> (Sealer, Vec<SecretString>) {
        let keys: Vec<_> = (0..count).map(|_| Sealer::generate()).collect();
        (Sealer::new(&keys).unwrap(), keys)
    }

    #[test]
    fn a_value_opens_where_it_belongs_and_nowhere_else() {
        let (sealer, _) = sealer(1);
        let sealed = sealer.seal("users.email 1", b"ana@example.org");
        assert_eq!(sealer.open_text("users.email 1", &sealed).unwrap(), "ana@example.org");
        assert_eq!(sealer.open("users.email 2", &sealed), Err(SealError::Broken));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("users.email 1", &changed).is_err(), "byte {at}");
            assert!(sealer.open("users.email 1", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, sealer.seal("users.email 1", b"ana@example.org"), "no two values are alike");
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let (old, keys) = sealer(1);
        let new = Sealer::new(&[Sealer::generate(), keys[0].clone()]).unwrap();
        let sealed = old.seal("x", b"secret");
        assert_eq!(new.open("x", &sealed).unwrap(), b"secret");
        assert!(!new.is_current(&sealed) && new.is_current(&new.seal("x", b"")));
        assert_eq!(old.open("x", &new.seal("x", b"secret")), Err(SealError::UnknownKey));
        assert!(new.indexes("users.email", "a").contains(&old.index("users.email", "a")));
        assert_ne!(new.index("users.email", "a"), old.index("users.email", "a"));
        assert_ne!(old.index("users.email", "a"), old.index("users.name", "a"));
    }

    #[test]
    fn keys_are_checked_and_not_shown() {
        assert!(Sealer::new(&[]).is_err());
        for bad in ["", "x", "AAAA", "%"] {
            assert!(Sealer::new(&[bad.into()]).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", sealer(2).0), "Sealer(2 keys)");
    }

    #[test]
    fn a_key_may_be_in_a_file() {
        let (key, folder) = (Sealer::generate(), tempfile::tempdir().unwrap());
        let path = folder.path().join("key");
        std::fs::write(&path, format!("{}\n", key.expose_secret())).unwrap();
        let file = Sealer::new(&[format!("file:{}", path.display()).into()]).unwrap();
        let literal = Sealer::new(&[key]).unwrap();
        assert_eq!(file.open("x", &literal.seal("x", b"secret")).unwrap(), b"secret");
        assert!(Sealer::new(&["file:/nowhere/at/all".into()]).is_err());
    }
}
