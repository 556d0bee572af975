//! Names of the responses that engines keep.
//!
//! Engines keep responses in their memory, under the name that they are given. So a name says which engine that is and
//! proves whose the response is, and a gateway that is asked for one knows both without asking anybody. Every gateway
//! over the same engines understands the names that the others gave.

use hmac::{Hmac, KeyInit, Mac};
use policy::UserId;
use sha2::Sha256;
use shared::auth::ServiceToken;
use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};
use uuid::Uuid;

const PREFIX: &str = "resp_";
/// Bytes of an engine's name, of the id in the usage ledger, and of the proof.
const PARTS: (usize, usize, usize) = (6, 16, 16);
/// What the key is derived for.
const PURPOSE: &str = "names of stored responses";
/// The key of a gateway that is alone.
const FILE: &str = "responses.key";

/// Gives names and reads them.
#[derive(Clone)]
pub struct Names(Arc<[u8; 32]>);

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Names")
    }
}

impl Names {
    /// With a key that lasts: of what all gateways know where there are `several`, else of the data folder.
    ///
    /// # Errors
    /// When the folder's key can be neither read nor written.
    pub fn open(several: Option<&ServiceToken>, data_dir: &Path) -> io::Result<Self> {
        if let Some(token) = several {
            return Ok(Self(Arc::new(token.derive(PURPOSE))));
        }
        let path = data_dir.join(FILE);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let key: [u8; 32] = rand::random();
                file.write_all(hex::encode(key).as_bytes())?;
                file.sync_all()?;
                Ok(Self(Arc::new(key)))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut key = [0; 32];
                let kept = fs::read_to_string(&path)?;
                let torn = |_| io::Error::other(format!("{} is not a key; delete it", path.display()));
                hex::decode_to_slice(kept.trim(), &mut key).map_err(torn)?;
                Ok(Self(Arc::new(key)))
            }
            Err(error) => Err(error),
        }
    }

    /// The name of a response that an engine is to make for a user, by its id in the ledger.
    #[must_use]
    pub fn make(&self, engine: &str, usage_id: &str, user: &str) -> String {
        let usage_id = usage_id.parse::<Uuid>().unwrap_or_default().simple().to_string();
        let proof = self.proof(engine, &usage_id, user).finalize().into_bytes();
        format!("{PREFIX}{engine}{usage_id}{}", hex::encode(&proof[..PARTS.2]))
    }

    /// The name of the engine that keeps a response of this user; `None` when there is no such response.
    #[must_use]
    pub fn engine<'a>(&self, name: &'a str, user: UserId) -> Option<&'a str> {
        let hex = name.strip_prefix(PREFIX).filter(|hex| hex.is_ascii())?;
        let (engine, rest) = hex.split_at_checked(2 * PARTS.0)?;
        let (usage_id, proof) = rest.split_at_checked(2 * PARTS.1)?;
        let mut said = [0; PARTS.2];
        hex::decode_to_slice(proof, &mut said).ok()?;
        let proof = self.proof(engine, usage_id, &user.to_string());
        proof.verify_truncated_left(&said).ok().map(|()| engine)
    }

    fn proof(&self, engine: &str, usage_id: &str, user: &str) -> Hmac<Sha256> {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&*self.0);
        let mut proof = <Hmac<Sha256> as KeyInit>::new(&block.into());
        for part in [engine, "/", usage_id, "/", user] {
            proof.update(part.as_bytes());
        }
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "0123456789ab";

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn name(names: &Names, number: u128) -> String {
        names.make(ENGINE, &Uuid::from_u128(7).to_string(), &user(number).to_string())
    }

    #[test]
    fn a_name_says_where_its_response_is_to_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(None, folder.path()).unwrap();
        let made = name(&names, 1);
        assert_eq!(names.engine(&made, user(1)), Some(ENGINE));
        assert_eq!(names.engine(&made, user(2)), None);
        let again = Names::open(None, folder.path()).unwrap();
        assert_eq!(again.engine(&made, user(1)), Some(ENGINE), "after a restart");
        for place in PREFIX.len()..made.len() {
            let mut other = made.clone().into_bytes();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(names.engine(&other, user(1)), None, "{other}");
        }
        for other in ["", "resp_", "resp_é", &made[..made.len() - 1], &format!("{made}0"), &made[1..]] {
            assert_eq!(names.engine(other, user(1)), None, "{other}");
        }
    }

    #[test]
    fn gateways_of_one_installation_understand_each_other_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let token = |text: &str| ServiceToken::new(&text.into());
        let [one, other, third] =
            ["tgs_a", "tgs_a", "tgs_b"].map(|text| Names::open(Some(&token(text)), folder.path()).unwrap());
        let made = name(&one, 1);
        assert_eq!(other.engine(&made, user(1)), Some(ENGINE));
        assert_eq!(third.engine(&made, user(1)), None);
        assert_eq!(Names::open(None, folder.path()).unwrap().engine(&made, user(1)), None);
    }
}
