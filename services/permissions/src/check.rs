//! Answers from the policy in this process, without a query: may this user do this, whose key is this.

use crate::{
    error::{Error, Forbidden},
    freshness::{View, serving},
    tail::Tail,
    write::Write,
};
use policy::{Action, Decision, GroupId, KeyHash, ModelId, Policy, Reason, Role, Time, UserId};
use shared::{
    auth::{Credential, Known, Person, Refusal, Tokens, Verify},
    time,
};
use std::{net::IpAddr, time::Duration};

/// How long an unknown key is looked for in what other processes wrote.
const UNKNOWN: Duration = Duration::from_millis(250);

/// Who is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    User(UserId),
    /// Whoever shows the key with this digest, from this address.
    Key(KeyHash, Option<IpAddr>),
}

/// Which model is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Id(ModelId),
    Name(String),
}

/// May somebody do this?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) who: Who,
    pub(crate) model: Subject,
    pub(crate) action: Action,
}

/// The answer; its reason is a word, because keys have reasons that users do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    pub(crate) reason: &'static str,
}

impl Subject {
    /// The model, or an id that no model has: what is unknown by name is answered like what is unknown by id.
    pub(crate) fn find(&self, policy: &Policy) -> ModelId {
        match self {
            Self::Id(id) => *id,
            Self::Name(name) => {
                policy.model_by_name(name).map_or(ModelId(uuid::Uuid::nil()), |model| model.id)
            }
        }
    }
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        Self { decision, reason: decision.reason.as_str() }
    }
}

/// Decides in memory.
pub(crate) fn check(view: &View<'_>, question: &Question) -> Answer {
    let policy = view.policy();
    let model = question.model.find(policy);
    match question.who {
        Who::User(user) => policy.check(user, model, question.action, view.now).into(),
        Who::Key(hash, peer) => by_key(policy, (hash, peer), model, question.action, view.now),
    }
}

fn by_key(
    policy: &Policy,
    (hash, peer): (KeyHash, Option<IpAddr>),
    model: ModelId,
    action: Action,
    now: Time,
) -> Answer {
    let key = match policy.key_by_hash(&hash, peer, now) {
        Ok(key) => key,
        Err(refusal) => {
            let decision =
                Decision { allowed: false, reason: Reason::NoGrant, valid_until: None, grant: None };
            return Answer { decision, reason: refusal.as_str() };
        }
    };
    if action == Action::Use {
        // The very question of an inference request.
        let name = policy.model(model).map(|model| model.name.as_str()).unwrap_or_default();
        if let Ok(access) = policy.authorize(&hash, name, peer, now) {
            return access.decision.into();
        }
    }
    let mut decision = policy.check(key.owner, model, action, now);
    if decision.allowed && key.models.as_ref().is_some_and(|only| !only.contains(&model)) {
        decision = Decision { allowed: false, reason: Reason::KeyNarrowed, valid_until: None, grant: None };
    } else if decision.allowed {
        decision.valid_until = decision.valid_until.into_iter().chain(key.expires_at).min();
    }
    decision.into()
}

/// What the policy says of a person.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) groups: Vec<GroupId>,
    /// Names of models that the person may use with the credential at hand, in order.
    pub(crate) models: Vec<String>,
    pub(crate) key_expires_at: Option<Time>,
    pub(crate) token: String,
}

/// Groups and models of a person at one revision, at most so many of each.
pub(crate) fn seen(tail: &Tail, person: &Person, most: usize, now: Time) -> Result<Seen, Error> {
    let view = serving(tail, now)?;
    let policy = view.policy();
    let mut models: Vec<&str> = policy
        .accessible_models(person.user, Action::Use, now)
        .into_iter()
        .filter(|model| within_key(policy, person, *model))
        .filter_map(|model| policy.model(model))
        .map(|model| model.name.as_str())
        .collect();
    models.sort_unstable();
    Ok(Seen {
        groups: policy.groups_of(person.user, now).take(most).collect(),
        models: models.into_iter().take(most).map(str::to_owned).collect(),
        key_expires_at: person.key.and_then(|key| policy.key(key)?.expires_at),
        token: view.token(),
    })
}

/// Verifies credentials against the replica of this process.
#[derive(Debug, Clone)]
pub struct Verifier {
    tail: Tail,
    tokens: Tokens,
}

impl Verifier {
    pub(crate) fn new(tail: Tail) -> Self {
        Self { tail, tokens: Tokens::default() }
    }

    /// The person who holds a credential.
    pub(crate) fn identify(
        &self,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<Person, Refusal> {
        let view = serving(&self.tail, now).map_err(|_| Refusal::Unavailable)?;
        // Without the store nobody can renew a token.
        let at = if view.stale { now.minus(view.staleness) } else { now };
        let known = Known { policy: view.policy(), epoch: Some(view.place().epoch), at };
        self.tokens.person(known, credential, peer, now)
    }
}

impl Verify for Verifier {
    async fn verify(&self, credential: Credential<'_>, peer: Option<IpAddr>) -> Result<Person, Refusal> {
        match self.identify(credential, peer, time::now()) {
            // Another process may have made it a moment ago. Whoever guesses shares one look with all others.
            Err(Refusal::Unknown) if self.tail.current(UNKNOWN).await.is_ok() => {
                self.identify(credential, peer, time::now())
            }
            known => known,
        }
    }
}

/// The policy that a write decides by.
///
/// # Errors
/// [`Error::Stale`] when it is too old for that.
pub(crate) fn current(write: &Write) -> Result<View<'_>, Error> {
    serving(write.policy()?, write.now())
}

/// Whether the caller may change this model and its grants.
///
/// # Errors
/// [`Forbidden::ManageRequired`] when not, [`Forbidden::KeyNarrowed`] when only the key stands against it.
pub(crate) fn may_manage(write: &Write, model: ModelId) -> Result<(), Error> {
    let person = write.origin.person().ok_or(Forbidden::ManageRequired)?;
    if matches!(person.role, Role::Owner | Role::Admin) {
        return Ok(());
    }
    let view = current(write)?;
    let policy = view.policy();
    let decision = policy.check(person.user, model, Action::Manage, write.now());
    match decision {
        Decision { allowed: true, .. } if within_key(policy, person, model) => Ok(()),
        Decision { allowed: true, .. } => Err(Forbidden::KeyNarrowed.into()),
        Decision { reason: Reason::UnknownModel, .. } => Err(Error::not_found("model", model)),
        Decision { .. } => Err(Forbidden::ManageRequired.into()),
    }
}

/// Whether the person's key, if it is one, reaches this model.
pub(crate) fn within_key(policy: &Policy, person: &Person, model: ModelId) -> bool {
    key_models(policy, person).is_none_or(|only| only.contains(&model))
}

/// Whether the credential at hand reaches a model at all.
///
/// # Errors
/// [`Forbidden::KeyNarrowed`] when it is a key for others.
pub(crate) fn within_key_of(tail: &Tail, person: &Person, model: ModelId) -> Result<(), Forbidden> {
    let within = within_key(tail.replica().policy(), person, model);
    within.then_some(()).ok_or(Forbidden::KeyNarrowed)
}

/// The only models that the person's key is for, or `None` when the credential is not limited to some.
pub(crate) fn key_models<'a>(policy: &'a Policy, person: &Person) -> Option<&'a [ModelId]> {
    let key = policy.key(person.key?)?;
    key.models.as_deref()
}
