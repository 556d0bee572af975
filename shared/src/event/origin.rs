//! Where a change comes from, and what it did to one thing, before it becomes an [`Event`](super::Event).

use crate::{
    auth::{Caller, RequestExt},
    request_id::RequestId,
    time,
};
use policy::{KeyId, Time};
use serde_json::Value;
use tonic::{Request, Status};

/// Who changes something, when, in which request and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When.
    pub at: Time,
    /// Who: a user's id, `service` or `system`.
    pub actor: String,
    /// With which API key, when it was one.
    pub key: Option<KeyId>,
    /// In which request.
    pub request_id: String,
    /// Why, in the actor's words.
    pub reason: String,
}

impl Origin {
    /// Of a call: its caller, its `x-request-id`, and the reason that it gives.
    ///
    /// # Errors
    /// UNAUTHENTICATED when no authentication stood before this service.
    pub fn of<T>(request: &Request<T>, reason: &str) -> Result<Self, Status> {
        let id = request.extensions().get::<RequestId>().map_or("", RequestId::as_str);
        let (actor, key) = match request.caller()? {
            Caller::Person(person) => (person.user.to_string(), person.key),
            Caller::Service => ("service".to_owned(), None),
        };
        Ok(Self { at: time::now(), actor, key, request_id: id.to_owned(), reason: reason.to_owned() })
    }

    /// Of a service by itself: what is due, what was found out.
    #[must_use]
    pub fn system(reason: &str) -> Self {
        let request_id = uuid::Uuid::now_v7().to_string();
        Self { at: time::now(), actor: "system".to_owned(), key: None, request_id, reason: reason.to_owned() }
    }
}

/// One action on one thing: what it was and what it became. Neither holds secrets, names or e-mail addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What kind of thing: `budget`, `silence`, `engine`, …
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// What was done to it: `created`, `updated`, `deleted`, or a more telling word.
    pub action: &'static str,
    /// What it was; nothing when it was not there.
    pub before: Option<Value>,
    /// What it became; nothing when it is gone.
    pub after: Option<Value>,
}

impl Change {
    /// Something is new.
    #[must_use]
    pub fn created(kind: &'static str, id: impl Into<String>, after: Value) -> Self {
        Self { kind, id: id.into(), action: "created", before: None, after: Some(after) }
    }

    /// Something is different.
    #[must_use]
    pub fn updated(kind: &'static str, id: impl Into<String>, before: Value, after: Value) -> Self {
        Self { kind, id: id.into(), action: "updated", before: Some(before), after: Some(after) }
    }

    /// Something is gone.
    #[must_use]
    pub fn deleted(kind: &'static str, id: impl Into<String>, before: Value) -> Self {
        Self { kind, id: id.into(), action: "deleted", before: Some(before), after: None }
    }

    /// The same under a more telling word: `drained`, `acknowledged`.
    #[must_use]
    pub fn called(self, action: &'static str) -> Self {
        Self { action, ..self }
    }
}
