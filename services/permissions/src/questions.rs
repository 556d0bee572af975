//! Questions about permissions beyond the single check: who may ask them, and the lists that answer "which".

mod asker;
mod place;

pub(crate) use asker::{may_ask, still_there};
pub(crate) use place::Place;

use crate::{
    check::within_key,
    error::Error,
    freshness::{View, serving},
    list::Page,
    tail::Tail,
};
use policy::{Action, ModelId, Policy, Time, UserId};
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
        .models()
        .filter(|model| model.name.as_str() > asked.after && model.name.to_lowercase().contains(&search))
        .filter(|model| asked.with.is_none_or(|person| within_key(policy, person, model.id)))
        .filter(|model| policy.check(asked.user, model.id, asked.action, now).allowed)
        .map(|model| (model.id, model.name.clone()))
        .collect();
    models.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    models.truncate(usize::try_from(asked.limit).unwrap_or(usize::MAX));
    models
}
