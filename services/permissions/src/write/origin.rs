//! Where a change comes from.

use super::Repeat;
use policy::{KeyId, Role, Time};
use shared::{
    auth::{Caller, Person},
    event,
};

/// Who changes something.
#[derive(Debug, Clone)]
pub(crate) enum Actor {
    /// Somebody who called.
    Caller(Caller),
    /// Somebody of whom only this is known any more.
    Told {
        /// As events name them.
        name: String,
        /// With which API key.
        key: Option<KeyId>,
    },
    /// This service by itself: what has expired, what is due.
    System,
    /// The first run, before there is anybody.
    FirstRun,
}

/// Who changes something, in which request, why and when.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) actor: Actor,
    pub(crate) request_id: String,
    pub(crate) reason: String,
    pub(crate) now: Time,
    /// What makes a repetition of the request recognisable.
    pub(crate) repeat: Option<Repeat>,
    /// Only whether it could be done is asked.
    pub(crate) validate_only: bool,
}

impl Origin {
    /// A change of the service's own.
    pub(crate) fn own(actor: Actor, reason: &str, now: Time) -> Self {
        let request_id = uuid::Uuid::now_v7().to_string();
        Self { actor, request_id, reason: reason.to_owned(), now, repeat: None, validate_only: false }
    }

    /// Of a change that is only noted here.
    pub(crate) fn told(origin: event::Origin) -> Self {
        let event::Origin { at, actor, key, request_id, reason } = origin;
        let actor = Actor::Told { name: actor, key };
        Self { actor, request_id, reason, now: at, repeat: None, validate_only: false }
    }

    /// The calling person, when it is one.
    pub(crate) fn person(&self) -> Option<&Person> {
        match &self.actor {
            Actor::Caller(caller) => caller.person(),
            Actor::Told { .. } | Actor::System | Actor::FirstRun => None,
        }
    }

    /// The actor as events name it.
    pub(crate) fn name(&self) -> String {
        match &self.actor {
            Actor::Caller(Caller::Person(person)) => person.user.to_string(),
            Actor::Caller(Caller::Service) => "service".to_owned(),
            Actor::Told { name, .. } => name.clone(),
            Actor::System => "system".to_owned(),
            Actor::FirstRun => "first-run".to_owned(),
        }
    }

    /// The API key that it is made with, when it is one.
    pub(crate) fn key(&self) -> Option<KeyId> {
        match &self.actor {
            Actor::Told { key, .. } => *key,
            _ => self.person().and_then(|person| person.key),
        }
    }

    /// Whether the caller's office alone decides, whatever the policy says.
    pub(crate) fn may_anything(&self) -> bool {
        self.person().is_none_or(|person| matches!(person.role, Role::Owner | Role::Admin))
    }
}
