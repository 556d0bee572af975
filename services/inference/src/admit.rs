//! First step: may this caller use this model? Answered from the local policy replica; nothing leaves the process.

use crate::{error::Error, follow::PolicyView, prompt::Prompt};
use policy::{Action, ModelId, Reason};
use shared::auth::Person;
use std::time::Instant;

/// A prompt whose caller may use its model.
#[derive(Debug)]
pub struct Admitted {
    /// Who asks.
    pub person: Person,
    /// The registered model.
    pub model: ModelId,
    /// What is asked.
    pub prompt: Prompt,
    /// When it was accepted.
    pub accepted: Instant,
}

/// Decides by the policy as it is known here and now.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Denied`], or [`Error::PolicyUnavailable`] when the replica is too old.
pub fn admit(policy: &PolicyView, person: Person, prompt: Prompt) -> Result<Admitted, Error> {
    let now = shared::time::now();
    let accepted = Instant::now();
    let model = policy.read(now, |policy| {
        let unknown = || Error::UnknownModel { model: prompt.model.clone() };
        let model = policy.model_by_name(&prompt.model).ok_or_else(unknown)?;
        let denied = |reason: Reason| Error::Denied { model: prompt.model.clone(), reason: reason.as_str() };
        let key = person.key.and_then(|key| policy.key(key));
        let narrowed = key.and_then(|key| key.models.as_ref()).is_some_and(|only| !only.contains(&model.id));
        if narrowed {
            return Err(denied(Reason::KeyNarrowed));
        }
        let decision = policy.check(person.user, model.id, Action::Use, now);
        if decision.allowed { Ok(model.id) } else { Err(denied(decision.reason)) }
    })??;
    Ok(Admitted { person, model, prompt, accepted })
}

/// The models that a caller may use, by name.
///
/// # Errors
/// [`Error::PolicyUnavailable`] when the replica is too old.
pub fn permitted(policy: &PolicyView, person: &Person) -> Result<Vec<String>, Error> {
    let now = shared::time::now();
    let mut names = policy.read(now, |policy| {
        let key = person.key.and_then(|key| policy.key(key));
        let only = key.and_then(|key| key.models.clone());
        let models = policy.accessible_models(person.user, Action::Use, now).into_iter();
        let models = models.filter(|model| only.as_ref().is_none_or(|only| only.contains(model)));
        models.filter_map(|model| Some(policy.model(model)?.name.clone())).collect::<Vec<_>>()
    })?;
    names.sort_unstable();
    Ok(names)
}
