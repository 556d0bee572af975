//! The one shape of a management change, whichever service it was made through, and the chain that binds them.
//!
//! Each event carries the SHA-256 of itself and of the one before it, so none can be changed, left out, added or moved
//! without all that follow telling. Events name people by id; names and addresses live elsewhere and can be erased.
//!
//! A service that changes something notes an [`Origin`] and its [`Change`]s in its [`log`], in the same transaction.
//! Permissions has a log of its own, whose revisions are also those of the policy.

pub mod log;
mod origin;
pub mod serve;
pub mod wire;

pub use origin::{Change, Origin};

use policy::{Revision, Time};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One change that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The transaction it was part of.
    pub revision: Revision,
    /// Its place in the transaction, from 0.
    pub ordinal: u32,
    /// When.
    pub at: Time,
    /// Who: a user's id, `service`, `system` or `first-run`.
    pub actor: String,
    /// With which API key, when it was one; its id.
    pub key: Option<String>,
    /// In which request.
    pub request_id: String,
    /// Why, in the actor's words.
    pub reason: String,
    /// What kind of thing was changed: `user`, `grant`, …
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What was done to it: `created`, `updated`, `deleted`, …
    pub action: String,
    /// What it was; nothing when it was not there.
    pub before: Option<Value>,
    /// What it became; nothing when it is gone.
    pub after: Option<Value>,
    /// What the change means to the policy, when it means something.
    pub change: Option<Value>,
}

/// A link of the chain: the digest of an event and of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// Where the chain begins.
    pub const FIRST: Self = Self([0; 32]);

    /// The link of the event after this one.
    #[must_use]
    pub fn then(self, event: &Event) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        // Strings, numbers and JSON values have no way to fail; a verifier would find the same link if they did.
        hash.update(event.canonical().unwrap_or_default());
        Self(hash.finalize().into())
    }
}

impl Event {
    /// The event as the chain reads it: a JSON array of its fields in their order. Objects have their keys sorted, as
    /// `serde_json` keeps them, so it does not matter how a database stores them.
    fn canonical(&self) -> serde_json::Result<Vec<u8>> {
        let fields = (
            self.revision.get(),
            self.ordinal,
            self.at.micros(),
            &self.actor,
            &self.key,
            &self.request_id,
            &self.reason,
            &self.kind,
            &self.id,
            &self.action,
            &self.before,
            &self.after,
            &self.change,
        );
        serde_json::to_vec(&fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(ordinal: u32) -> Event {
        Event {
            revision: Revision(7),
            ordinal,
            at: Time(1_000_000),
            actor: "somebody".to_owned(),
            key: None,
            request_id: "r".to_owned(),
            reason: String::new(),
            kind: "grant".to_owned(),
            id: "1".to_owned(),
            action: "created".to_owned(),
            before: None,
            after: Some(json!({"b": 1, "a": [true]})),
            change: None,
        }
    }

    #[test]
    fn every_field_and_the_order_are_bound() {
        let whole = Link::FIRST.then(&event(0)).then(&event(1));
        assert_ne!(whole, Link::FIRST.then(&event(1)).then(&event(0)));
        assert_ne!(whole, Link::FIRST.then(&event(1)));
        let changed: [fn(&mut Event); 12] = [
            |event| event.revision = Revision(8),
            |event| event.at = Time(1),
            |event| event.actor.push('x'),
            |event| event.key = Some(String::new()),
            |event| event.request_id.push('x'),
            |event| event.reason.push('x'),
            |event| event.kind.push('x'),
            |event| event.id.push('x'),
            |event| event.action.push('x'),
            |event| event.before = Some(json!({})),
            |event| event.after = Some(json!({"b": 1, "a": [false]})),
            |event| event.change = Some(json!({})),
        ];
        for (number, change) in changed.into_iter().enumerate() {
            let mut event = event(0);
            change(&mut event);
            assert_ne!(Link::FIRST.then(&event), Link::FIRST.then(&self::event(0)), "change {number}");
        }
    }
}
