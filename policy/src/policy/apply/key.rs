//! Credentials: API keys by every secret they have, the keys that sign tokens, and the sessions that were ended.

use super::ApplyError;
use crate::{
    fact::{Key, SigningKey},
    id::{KeyId, SessionId},
    policy::{Ended, KeyEntry, Policy},
    time::Time,
};

impl Policy {
    pub(super) fn put_key(&mut self, key: &Key) -> Result<(), ApplyError> {
        let owner = self.user_index(key.owner)?;
        let known = self.keys.find(&key.id);
        let held = key.hashes().filter_map(|hash| self.hashes.get(&hash).copied());
        if let Some(other) = held.filter(|at| Some(*at) != known).find_map(|at| self.keys.at(at)) {
            return Err(ApplyError::HashTaken { by: other.fact.id });
        }
        self.remove_key(key.id);
        let index = self.keys.insert(KeyEntry { fact: key.clone(), owner });
        self.hashes.extend(key.hashes().map(|hash| (hash, index)));
        if let Some(user) = self.users.at_mut(owner) {
            user.links.keys.push(key.id);
        }
        Ok(())
    }

    pub(super) fn remove_key(&mut self, id: KeyId) {
        let Some((_, entry)) = self.keys.remove(&id) else { return };
        for hash in entry.fact.hashes() {
            self.hashes.remove(&hash);
        }
        if let Some(user) = self.users.at_mut(entry.owner) {
            user.links.keys.retain(|key| *key != id);
        }
    }

    pub(super) fn put_signing_key(&mut self, key: &SigningKey) {
        self.signing.insert(key.id.as_str().into(), key.clone());
    }

    pub(super) fn remove_signing_key(&mut self, kid: &str) {
        self.signing.remove(kid);
    }

    /// What is kept never holds an end that may be forgotten by the time of another one: so the same ends are kept
    /// in whatever order they come, and again when the state is rebuilt from what is kept.
    pub(super) fn end_session(&mut self, session: SessionId, at: Time, until: Time) {
        let known = self.sessions.remove(&session).unwrap_or(Ended { at, until });
        let (at, until) = (at.max(known.at), until.max(known.until));
        self.sessions.retain(|_, ended| at < ended.until);
        if at < until && self.sessions.values().all(|ended| ended.at < until) {
            self.sessions.insert(session, Ended { at, until });
        }
    }
}
