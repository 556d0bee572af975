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
    list::Page,
    tail::Tail,
};
use policy::{Action, Change, ModelId, Policy, Simulation, Time, UserId};
use shared::auth::Person;

/// One page of the models on which a user may do something, by name.
pub(crate) fn accessible(
    view: &View<'_>,
    user: UserId,
    action: Action,
    after: &str,
    page: &Page,
) -> Vec<(ModelId, String)> {
    let asked = Asked { user, with: None, action, search: "", after, limit: page.limit() };
    models_of(view.policy(), &asked, view.now)
}

/// The models that a person may use with the credential at hand, by name, whose name contains `search` in any case.
pub(crate) fn usable(
    tail: &Tail,
    person: &Person,
    search: &str,
    page: &Page,
    now: Time,
) -> Result<Vec<(ModelId, String)>, Error> {
    let view = serving(tail, now)?;
    let asked = Asked {
        user: person.user,
        with: Some(person),
        action: Action::Use,
        search,
        after: page.after(),
        limit: page.limit(),
    };
    Ok(models_of(view.policy(), &asked, now))
}

struct Asked<'a> {
    user: UserId,
    with: Option<&'a Person>,
    action: Action,
    search: &'a str,
    after: &'a str,
    limit: i64,
}

fn models_of(policy: &Policy, asked: &Asked<'_>, now: Time) -> Vec<(ModelId, String)> {
    let search = asked.search.to_lowercase();
    let mut models: Vec<_> = policy
        .accessible_models(asked.user, asked.action, now)
        .into_iter()
        .filter_map(|model| policy.model(model))
        .filter(|model| model.name.as_str() > asked.after && model.name.to_lowercase().contains(&search))
        .filter(|model| asked.with.is_none_or(|person| within_key(policy, person, model.id)))
        .map(|model| (model.id, model.name.clone()))
        .collect();
    models.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    models.truncate(usize::try_from(asked.limit).unwrap_or(usize::MAX));
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
    let (policy, now) = moment.state(tail)?;
    for change in &changes {
        if let Change::RemoveGrant(id) = change
            && policy.grant(*id).is_none()
        {
            return Err(Error::not_found("grant", id));
        }
    }
    let simulated = tokio::task::spawn_blocking(move || policy.simulate(&changes, now, limit)).await;
    let simulated = simulated.map_err(|_| Error::Stale)?;
    simulated.map_err(|error| Error::invalid("changes", error.to_string()))
}
