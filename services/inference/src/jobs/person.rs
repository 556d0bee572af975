//! In whose name a job runs: whoever submitted it, with the rights that they have when it runs.

use crate::{error::Error, follow::PolicyView};
use policy::{KeyId, Scope, Time, UserId};
use serde::{Deserialize, Serialize};
use shared::auth::{Person, Refusal, replica};
use uuid::Uuid;

/// Who submitted a job, and with which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitter {
    user: Uuid,
    key: Option<Uuid>,
}

impl From<&Person> for Submitter {
    fn from(person: &Person) -> Self {
        Self { user: person.user.uuid(), key: person.key.map(KeyId::uuid) }
    }
}

impl Submitter {
    /// As it was kept.
    #[must_use]
    pub const fn kept(user: Uuid, key: Option<Uuid>) -> Self {
        Self { user, key }
    }

    /// What is kept of it: the user and the key.
    #[must_use]
    pub const fn ids(self) -> (Uuid, Option<Uuid>) {
        (self.user, self.key)
    }

    /// The person, as they are now.
    ///
    /// # Errors
    /// When they, or the key that they used, may do nothing any more.
    pub fn person(self, policy: &PolicyView, now: Time) -> Result<Person, Error> {
        policy.read(now, |policy| {
            let person = replica::still(policy, UserId(self.user), self.key.map(KeyId), now)?;
            if !person.scopes.contains(Scope::Inference) {
                return Err(Refusal::Revoked.into());
            }
            Ok(person)
        })?
    }
}
