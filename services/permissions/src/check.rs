//! Answers from the replica in this process, without a query: may this user, what may this user, whose key is this.

use crate::{
    error::{Error, Forbidden},
    list::{Listed, Page},
    tail::Tail,
    token::Token,
    write::Write,
};
use policy::{Action, Decision, Freshness, GroupId, Model, ModelId, Reason, Replica, Role, Time, UserId};
use shared::{
    auth::{Credential, Person, Refusal, Tokens, Verify},
    time,
};
use std::{net::IpAddr, sync::RwLockReadGuard, time::Duration};

/// Longest wait for a revision that a token names.
const PATIENCE: Duration = Duration::from_millis(250);
/// What is left of a deadline for the answer itself.
const MARGIN: Duration = Duration::from_millis(20);

/// Which model is asked about.
#[derive(Debug)]
pub(crate) enum Subject {
    Id(ModelId),
    Name(String),
}

/// A question, and how new the answer must be.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) user: UserId,
    pub(crate) model: Subject,
    pub(crate) action: Action,
    pub(crate) at_least: Option<Token>,
}

/// The answer, and what it was made from.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    pub(crate) token: String,
    pub(crate) stale: bool,
}

/// Waits for the revision that was asked for, then decides in memory. `left` is the time until the deadline.
pub(crate) async fn check(tail: &Tail, question: &Question, left: Duration) -> Result<Answer, Error> {
    if let Some(token) = question.at_least {
        wait(tail, token, left).await?;
    }
    let now = time::now();
    let (replica, stale) = serving(tail, now)?;
    let policy = replica.policy();
    let model = match &question.model {
        Subject::Id(id) => *id,
        // No model has the nil id, so an unknown name is answered like an unknown id.
        Subject::Name(name) => policy.model_by_name(name).map_or_else(nobody, |model| model.id),
    };
    let decision = policy.check(question.user, model, question.action, now);
    Ok(Answer { decision, token: token(&replica), stale })
}

fn nobody() -> ModelId {
    ModelId(uuid::Uuid::nil())
}

async fn wait(tail: &Tail, token: Token, left: Duration) -> Result<(), Error> {
    if tail.reached(token, PATIENCE.min(left.saturating_sub(MARGIN))).await {
        return Ok(());
    }
    let other = tail.replica().epoch().is_some_and(|epoch| epoch != token.epoch);
    let fresh = tail.freshness() == Freshness::Fresh;
    Err(if other && fresh { Error::OtherEpoch } else { Error::NotYetApplied })
}

/// The replica and whether it is stale, unless it is too old to be asked.
fn serving(tail: &Tail, now: Time) -> Result<(RwLockReadGuard<'_, Replica>, bool), Error> {
    let replica = tail.replica();
    match replica.freshness(now, tail.bounds()) {
        Freshness::Fresh => Ok((replica, false)),
        Freshness::Stale { .. } => Ok((replica, true)),
        Freshness::Expired => Err(Error::Stale),
    }
}

fn token(replica: &Replica) -> String {
    replica.epoch().map(|epoch| Token { epoch, revision: replica.revision() }.encode()).unwrap_or_default()
}

/// One page of the models on which a user may do something, by name, and the token of the revision it was made at.
pub(crate) fn accessible(
    tail: &Tail,
    user: UserId,
    action: Action,
    page: &Page,
    now: Time,
) -> Result<(Listed<(ModelId, String)>, String), Error> {
    let (replica, _) = serving(tail, now)?;
    let rows = models_of(&replica, user, |_| true, action, now, page);
    Ok((page.cut(rows, |(_, name)| name.clone()), token(&replica)))
}

/// The models that a person may use with the credential at hand and that pass `keep`, by name.
pub(crate) fn usable(
    tail: &Tail,
    person: &Person,
    keep: impl Fn(&Model) -> bool,
    page: &Page,
    now: Time,
) -> Result<Vec<(ModelId, String)>, Error> {
    let (replica, _) = serving(tail, now)?;
    let keep = |model: &Model| keep(model) && within_key(&replica, person, model.id);
    Ok(models_of(&replica, person.user, keep, Action::Use, now, page))
}

fn models_of(
    replica: &Replica,
    user: UserId,
    keep: impl Fn(&Model) -> bool,
    action: Action,
    now: Time,
    page: &Page,
) -> Vec<(ModelId, String)> {
    let policy = replica.policy();
    let mut models: Vec<_> = policy
        .models()
        .filter(|model| model.name.as_str() > page.after() && keep(model))
        .filter(|model| policy.check(user, model.id, action, now).allowed)
        .map(|model| (model.id, model.name.clone()))
        .collect();
    models.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    models.truncate(usize::try_from(page.limit()).unwrap_or(usize::MAX));
    models
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
    let (replica, _) = serving(tail, now)?;
    let policy = replica.policy();
    let mut models: Vec<&str> = policy
        .models()
        .filter(|model| within_key(&replica, person, model.id))
        .filter(|model| policy.check(person.user, model.id, Action::Use, now).allowed)
        .map(|model| model.name.as_str())
        .collect();
    models.sort_unstable();
    Ok(Seen {
        groups: policy.groups_of(person.user, now).take(most).collect(),
        models: models.into_iter().take(most).map(str::to_owned).collect(),
        key_expires_at: person.key.and_then(|key| policy.key(key)?.expires_at),
        token: token(&replica),
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
        let (replica, _) = serving(&self.tail, now).map_err(|_| Refusal::Unavailable)?;
        self.tokens.person(replica.policy(), replica.epoch(), credential, peer, now)
    }
}

impl Verify for Verifier {
    async fn verify(&self, credential: Credential<'_>, peer: Option<IpAddr>) -> Result<Person, Refusal> {
        self.identify(credential, peer, time::now())
    }
}

/// The policy that a write decides by.
///
/// # Errors
/// [`Error::Stale`] when it is too old for that.
pub(crate) fn current(write: &Write) -> Result<RwLockReadGuard<'_, Replica>, Error> {
    Ok(serving(write.policy()?, write.now())?.0)
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
    let (replica, _) = serving(write.policy()?, write.now())?;
    let decision = replica.policy().check(person.user, model, Action::Manage, write.now());
    match decision {
        Decision { allowed: true, .. } if within_key(&replica, person, model) => Ok(()),
        Decision { allowed: true, .. } => Err(Forbidden::KeyNarrowed.into()),
        Decision { reason: Reason::UnknownModel, .. } => Err(Error::not_found("model", model)),
        Decision { .. } => Err(Forbidden::ManageRequired.into()),
    }
}

/// Whether the credential at hand reaches a model at all.
///
/// # Errors
/// [`Forbidden::KeyNarrowed`] when it is a key for others.
pub(crate) fn within_key_of(tail: &Tail, person: &Person, model: ModelId) -> Result<(), Forbidden> {
    if within_key(&tail.replica(), person, model) { Ok(()) } else { Err(Forbidden::KeyNarrowed) }
}

fn within_key(replica: &Replica, person: &Person, model: ModelId) -> bool {
    key_models(replica, person).is_none_or(|only| only.contains(&model))
}

/// The only models that the person's key is for, or `None` when the credential is not limited to some.
pub(crate) fn key_models<'a>(replica: &'a Replica, person: &Person) -> Option<&'a [ModelId]> {
    let key = replica.policy().key(person.key?)?;
    key.models.as_deref()
}
