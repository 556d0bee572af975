//! In whose name a job runs: whoever submitted it, with the rights that they have when it runs.

use crate::{error::Error, follow::PolicyView};
use policy::{KeyId, Scope, Scopes, Time, UserId};
use serde::{Deserialize, Serialize};
use shared::auth::{Person, Refusal};
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
    /// The person, as they are now.
    ///
    /// # Errors
    /// When they, or the key that they used, may do nothing any more.
    pub fn person(self, policy: &PolicyView, now: Time) -> Result<Person, Error> {
        policy.read(now, |policy| {
            let user = policy.user(UserId(self.user)).filter(|user| !user.disabled);
            let user = user.ok_or(Refusal::OwnerDisabled)?;
            let person =
                Person { user: user.id, key: None, session: None, role: user.role, scopes: Scopes::ALL };
            let Some(key) = self.key else { return Ok(person) };
            let key = policy.key(KeyId(key)).filter(|key| key.owner == user.id).ok_or(Refusal::Unknown)?;
            if key.disabled || !key.scopes.contains(Scope::Inference) {
                return Err(Refusal::Revoked.into());
            }
            if key.expires_at.is_some_and(|end| end <= now) {
                return Err(Refusal::Expired.into());
            }
            Ok(Person { key: Some(key.id), scopes: key.scopes, ..person })
        })?
    }
}
