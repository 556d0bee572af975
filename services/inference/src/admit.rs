//! First step: may this caller use this model? Answered from the local policy replica; nothing leaves the process.

use crate::{error::Error, follow::PolicyView, prompt::Prompt, warm, weights::Weights};
use policy::{Action, Grantee, GroupId, ModelId, Reason};
use schedule::Share;
use shared::auth::Person;
use std::time::Instant;

/// A prompt whose caller may use its model.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Who asks.
    pub person: Person,
    /// The registered model.
    pub model: ModelId,
    /// What is asked.
    pub prompt: Prompt,
    /// The group through which the caller may.
    pub group: Option<GroupId>,
    /// Whose share of the engines it takes: the group through which the caller may, the user, the key.
    pub path: Vec<Share>,
    /// When it was accepted.
    pub accepted: Instant,
}

/// Decides by the policy as it is known here and now.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Denied`], or [`Error::PolicyUnavailable`] when the replica is too old.
pub fn admit(
    policy: &PolicyView,
    weights: &Weights,
    person: Person,
    prompt: Prompt,
) -> Result<Admitted, Error> {
    let now = shared::time::now();
    let accepted = Instant::now();
    let (model, served, group) = policy.read(now, |policy| {
        let unknown = || Error::UnknownModel { model: prompt.model.clone() };
        let model = policy.model_by_name(&prompt.model).ok_or_else(unknown)?;
        let denied = |reason: Reason| Error::Denied { model: prompt.model.clone(), reason: reason.as_str() };
        let key = person.key.and_then(|key| policy.key(key));
        let narrowed = key.and_then(|key| key.models.as_ref()).is_some_and(|only| !only.contains(&model.id));
        if narrowed {
            return Err(denied(Reason::KeyNarrowed));
        }
        let alias = (model.name != prompt.model).then(|| model.name.clone());
        // Decided before in the name of whoever asked first; nobody else has this id.
        if person.user == warm::SYSTEM {
            return Ok((model.id, alias, None));
        }
        let decision = policy.check(person.user, model.id, Action::Use, now);
        if !decision.allowed {
            return Err(denied(decision.reason));
        }
        let granted = decision.grant.and_then(|grant| policy.grant(grant)).map(|grant| grant.grantee);
        Ok((model.id, alias, granted.and_then(group)))
    })??;
    let prompt = match served {
        Some(served) => prompt.served_as(served),
        None => prompt,
    };
    Ok(Admitted { person, model, prompt, group, path: weights.path(&person, group), accepted })
}

fn group(grantee: Grantee) -> Option<GroupId> {
    match grantee {
        Grantee::Group(group) => Some(group),
        Grantee::User(_) | Grantee::Everyone => None,
    }
}

/// A name that a caller may send as `model`, and the name that engines know the model by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permitted {
    /// The model's own name or a further one.
    pub name: String,
    /// The model's own name.
    pub served: String,
}

/// The names of the models that a caller may use, in order.
///
/// # Errors
/// [`Error::PolicyUnavailable`] when the replica is too old.
pub fn permitted(policy: &PolicyView, person: &Person) -> Result<Vec<Permitted>, Error> {
    let now = shared::time::now();
    let mut names = policy.read(now, |policy| {
        let key = person.key.and_then(|key| policy.key(key));
        let only = key.and_then(|key| key.models.clone());
        let models = policy.accessible_models(person.user, Action::Use, now).into_iter();
        let models = models.filter(|model| only.as_ref().is_none_or(|only| only.contains(model)));
        let mut names = Vec::new();
        for model in models.filter_map(|model| policy.model(model)) {
            let own = std::iter::once(model.name.as_str());
            let all = own.chain(policy.aliases_of(model.id)).map(str::to_owned);
            names.extend(all.map(|name| Permitted { name, served: model.name.clone() }));
        }
        names
    })?;
    names.sort_unstable();
    Ok(names)
}
