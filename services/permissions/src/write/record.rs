//! What was done to one thing, before it becomes an event.

use policy::{Change, GrantId, GroupId, KeyId, ModelId, ModelSetId, UserId};
use serde_json::Value;
use uuid::Uuid;

/// What was changed: the kind that events are listed by, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
}

impl Thing {
    /// Anything with a UUID.
    pub(crate) fn new(kind: &'static str, id: Uuid) -> Self {
        Self { kind, id: id.to_string() }
    }

    pub(crate) fn user(id: UserId) -> Self {
        Self::new("user", id.uuid())
    }

    pub(crate) fn group(id: GroupId) -> Self {
        Self::new("group", id.uuid())
    }

    pub(crate) fn model(id: ModelId) -> Self {
        Self::new("model", id.uuid())
    }

    pub(crate) fn set(id: ModelSetId) -> Self {
        Self::new("model_set", id.uuid())
    }

    /// A further name of a model.
    pub(crate) fn alias(name: &str) -> Self {
        Self { kind: "alias", id: name.to_owned() }
    }

    pub(crate) fn grant(id: GrantId) -> Self {
        Self::new("grant", id.uuid())
    }

    pub(crate) fn key(id: KeyId) -> Self {
        Self::new("key", id.uuid())
    }
}

/// One action on one thing: what it was, what it became, and what that means to the policy.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) thing: Thing,
    pub(crate) action: &'static str,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    pub(crate) change: Option<Change>,
}

impl Record {
    /// Something is new.
    pub(crate) const fn created(thing: Thing, after: Value) -> Self {
        Self { thing, action: "created", before: None, after: Some(after), change: None }
    }

    /// Something is different.
    pub(crate) const fn updated(thing: Thing, before: Value, after: Value) -> Self {
        Self { thing, action: "updated", before: Some(before), after: Some(after), change: None }
    }

    /// Something is gone.
    pub(crate) const fn deleted(thing: Thing, before: Value) -> Self {
        Self { thing, action: "deleted", before: Some(before), after: None, change: None }
    }

    /// The same under a more telling word: `revoked`, `member_added`.
    pub(crate) fn called(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    /// What it means to the policy.
    pub(crate) fn with(self, change: Change) -> Self {
        Self { change: Some(change), ..self }
    }
}
