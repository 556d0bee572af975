//! Who may ask about whom: everybody about themselves, the offices and services about everybody, and whoever manages
//! a model about that model.

use crate::{
    check::within_key,
    error::{Error, Forbidden},
};
use policy::{Action, ModelId, Policy, Role, Time, UserId};
use shared::auth::{Caller, Person, Refusal};

/// Offices whose holders may ask about everybody.
const OFFICES: [Role; 3] = [Role::Owner, Role::Admin, Role::Auditor];

/// Whether the caller may ask what `user`, or everybody when there is none, may do with `model`, or with all of them.
pub(crate) fn may_ask(
    policy: &Policy,
    caller: &Caller,
    user: Option<UserId>,
    model: Option<ModelId>,
    now: Time,
) -> Result<(), Error> {
    let Caller::Person(person) = caller else { return Ok(()) };
    let own = user.is_some_and(|user| user == person.user);
    if own || OFFICES.contains(&person.role) || model.is_some_and(|model| manages(policy, person, model, now))
    {
        return Ok(());
    }
    let forbidden = if user.is_some() { Forbidden::NotYourself } else { Forbidden::ManageRequired };
    Err(forbidden.into())
}

fn manages(policy: &Policy, person: &Person, model: ModelId, now: Time) -> bool {
    within_key(policy, person, model) && policy.check(person.user, model, Action::Manage, now).allowed
}

/// Whether a caller who goes on asking for long still is who they were: not disabled, key not revoked or over, in the
/// same office.
pub(crate) fn still_there(policy: &Policy, caller: &Caller, now: Time) -> Result<(), Refusal> {
    let Caller::Person(person) = caller else { return Ok(()) };
    let user = policy.user(person.user).filter(|user| !user.disabled).ok_or(Refusal::OwnerDisabled)?;
    if user.role != person.role {
        return Err(Refusal::Revoked);
    }
    if person.session.is_some_and(|session| policy.session_ended(session, now)) {
        return Err(Refusal::SessionEnded);
    }
    let Some(key) = person.key else { return Ok(()) };
    let key = policy.key(key).filter(|key| !key.disabled).ok_or(Refusal::Revoked)?;
    if key.expires_at.is_some_and(|end| now >= end) { Err(Refusal::Expired) } else { Ok(()) }
}
