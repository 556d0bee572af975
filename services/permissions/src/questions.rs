//! Questions about permissions beyond the single check: who may ask them, and the lists that answer "which".

mod asker;
mod place;
mod subjects;

pub(crate) use asker::{may_ask, still_there};
pub(crate) use place::Place;
pub(crate) use subjects::{Subject, subjects};

use crate::{
    check::within_key,
    error::Error,
    freshness::{Moment, View, serving},
    history::beside,
    list::Page,
    tail::Tail,
};
use policy::{Action, Change, Member, Misfit, Model, ModelId, Policy, Simulation, Target, Time, UserId};
use shared::auth::Person;

/// One page of the models on which a user may do something, by name.
pub(crate) fn accessible(
    view: &View<'_>,
    user: UserId,
    action: Action,
    after: &str,
    page: &Page,
) -> Vec<(ModelId, String)> {
    models_of(view.policy(), user, |_| true, action, (after, page.limit()), view.now)
}

/// The models that a person may use with the credential at hand and that pass `keep`, by name.
pub(crate) fn usable(
    tail: &Tail,
    person: &Person,
    keep: impl Fn(&Model) -> bool,
    page: &Page,
    now: Time,
) -> Result<Vec<(ModelId, String)>, Error> {
    let view = serving(tail, now)?;
    let policy = view.policy();
    let keep = |model: &Model| keep(model) && within_key(policy, person, model.id);
    Ok(models_of(policy, person.user, keep, Action::Use, (page.after(), page.limit()), now))
}

fn models_of(
    policy: &Policy,
    user: UserId,
    keep: impl Fn(&Model) -> bool,
    action: Action,
    (after, limit): (&str, i64),
    now: Time,
) -> Vec<(ModelId, String)> {
    let mut models: Vec<_> = policy
        .accessible_models(user, action, now)
        .into_iter()
        .filter_map(|model| policy.model(model))
        .filter(|model| model.name.as_str() > after && keep(model))
        .map(|model| (model.id, model.name.clone()))
        .collect();
    models.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    models.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    models
}

/// Refuses what would be answered about no model at all.
pub(crate) fn must_know(policy: &Policy, model: ModelId) -> Result<(), Error> {
    policy.model(model).map(drop).ok_or_else(|| Error::not_found("model", model))
}

/// What these changes would do, worked out beside everything else.
pub(crate) async fn simulate(
    moment: &Moment,
    tail: &Tail,
    changes: Vec<Change>,
    limit: usize,
) -> Result<Simulation, Error> {
    let (state, now) = moment.state(tail)?;
    let simulate = move || match state.policy.misfit(&changes) {
        Some(misfit) => Err(refused(misfit)),
        None => Ok(state.policy.simulate(&changes, now, limit)),
    };
    beside(simulate).await??.map_err(|error| Error::invalid("changes", error.to_string()))
}

/// What would be said to who really tried.
fn refused(misfit: Misfit) -> Error {
    match misfit {
        Misfit::NoGrant(id) => Error::not_found("grant", id),
        Misfit::GrantExists => Error::grant_exists(),
        Misfit::NoMember(Member::User(id)) => Error::not_found("member", id),
        Misfit::NoMember(Member::Group(id)) => Error::not_found("member", id),
        Misfit::NoItem(Target::Model(id)) => Error::not_found("item", id),
        Misfit::NoItem(Target::Set(id)) => Error::not_found("item", id),
        Misfit::GroupCycle => Error::GroupCycle,
        Misfit::SetCycle => Error::SetCycle,
    }
}
